"""featx: frozen ImageNet features, the classifiers on them, and an honest comparison.

What the commands do is here as functions; see docs/api.md. Importing featx imports none of what
they need before it is used, so that it takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from featx.auditing import audit as audit
    from featx.comparison import compare as compare
    from featx.deployment import export_model as export_model
    from featx.distribution import extract_distributed as extract_distributed
    from featx.errors import FeatxError as FeatxError
    from featx.export import export_features as export_features
    from featx.extraction import extract as extract
    from featx.features import Features as Features
    from featx.finetuning import finetune as finetune
    from featx.heads import fit as fit
    from featx.merging import merge as merge
    from featx.models import read_model as read_model
    from featx.planning import make_plan as make_plan
    from featx.prediction import predict as predict
    from featx.report import write_report as write_report
    from featx.sharding import ShardWorker as ShardWorker
    from featx.store import read_features as load_features  # noqa: F401
    from featx.transformer import ResNet50Features as ResNet50Features

# Name here, module, and name there. No name here is a module's: importing one would hide it.
_HOMES = {
    "FeatxError": ("errors", "FeatxError"),
    "Features": ("features", "Features"),
    "ResNet50Features": ("transformer", "ResNet50Features"),
    "ShardWorker": ("sharding", "ShardWorker"),
    "audit": ("auditing", "audit"),
    "compare": ("comparison", "compare"),
    "export_features": ("export", "export_features"),
    "export_model": ("deployment", "export_model"),
    "extract": ("extraction", "extract"),
    "extract_distributed": ("distribution", "extract_distributed"),
    "finetune": ("finetuning", "finetune"),
    "fit": ("heads", "fit"),
    "load_features": ("store", "read_features"),
    "make_plan": ("planning", "make_plan"),
    "merge": ("merging", "merge"),
    "predict": ("prediction", "predict"),
    "read_model": ("models", "read_model"),
    "write_report": ("report", "write_report"),
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'featx' has no attribute {name!r}")
    module, there = _HOMES[name]
    value = globals()[name] = getattr(import_module(f"featx.{module}"), there)
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _HOMES.keys())
