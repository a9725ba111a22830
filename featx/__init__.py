"""featx: frozen ImageNet features, the classifiers on them, and an honest comparison.

What the commands do is here as functions; see docs/api.md. Importing featx imports none of what
they need before it is used, so that it takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__: str  # as installed; setup.cfg says it

if TYPE_CHECKING:
    from featx.assembly import Extraction as Extraction
    from featx.auditing import Audit as Audit
    from featx.auditing import audit as audit
    from featx.candidates import Candidate as Candidate
    from featx.candidates import Pair as Pair
    from featx.candidates import Verdict as Verdict
    from featx.catalogue import describe_weights as list_weights
    from featx.comparison import Comparison as Comparison
    from featx.comparison import compare as compare
    from featx.data.dataset import Dataset as Dataset
    from featx.data.dataset import Skipped as Skipped
    from featx.data.samples import write_caltech256_animals as write_caltech256_animals
    from featx.data.samples import write_digits as write_digits
    from featx.data.sources import read_dataset as read_dataset
    from featx.deployment import Deployment as Deployment
    from featx.deployment import export_model as export_model
    from featx.distribution import extract_distributed as extract_distributed
    from featx.doctor import Check as Check
    from featx.doctor import examine as examine
    from featx.errors import FeatxError as FeatxError
    from featx.export import Export as Export
    from featx.export import export_features as export_features
    from featx.extraction import extract as extract
    from featx.features import Features as Features
    from featx.fetch import resolve_weights as fetch_weights
    from featx.findings import Finding as Finding
    from featx.finetuning import finetune as finetune
    from featx.heads import fit as fit
    from featx.housekeeping import Entry as Entry
    from featx.housekeeping import list_cache as list_cache
    from featx.housekeeping import remove_entry as remove_entry
    from featx.merging import merge as merge
    from featx.metrics import Score as Score
    from featx.models import Model as Model
    from featx.models import Outcome as Outcome
    from featx.models import read_model as read_model
    from featx.planning import make_plan as make_plan
    from featx.plans import Plan as Plan
    from featx.prediction import Prediction as Prediction
    from featx.prediction import predict as predict
    from featx.provenance import Provenance as Provenance
    from featx.report import Report as Report
    from featx.report import write_report as write_report
    from featx.sharding import ShardWorker as ShardWorker
    from featx.store import read_features as load_features
    from featx.training import Epoch as Epoch
    from featx.transformer import ResNet50Features as ResNet50Features
    from featx.views import extract_views as extract_views

# Name here, module, and name there. No name here is a module's: importing one would hide it.
_HOMES = {
    "Audit": ("auditing", "Audit"),
    "Candidate": ("candidates", "Candidate"),
    "Check": ("doctor", "Check"),
    "Comparison": ("comparison", "Comparison"),
    "Dataset": ("data.dataset", "Dataset"),
    "Deployment": ("deployment", "Deployment"),
    "Entry": ("housekeeping", "Entry"),
    "Epoch": ("training", "Epoch"),
    "Export": ("export", "Export"),
    "Extraction": ("assembly", "Extraction"),
    "Features": ("features", "Features"),
    "FeatxError": ("errors", "FeatxError"),
    "Finding": ("findings", "Finding"),
    "Model": ("models", "Model"),
    "Outcome": ("models", "Outcome"),
    "Pair": ("candidates", "Pair"),
    "Plan": ("plans", "Plan"),
    "Prediction": ("prediction", "Prediction"),
    "Provenance": ("provenance", "Provenance"),
    "Report": ("report", "Report"),
    "ResNet50Features": ("transformer", "ResNet50Features"),
    "Score": ("metrics", "Score"),
    "ShardWorker": ("sharding", "ShardWorker"),
    "Skipped": ("data.dataset", "Skipped"),
    "Verdict": ("candidates", "Verdict"),
    "audit": ("auditing", "audit"),
    "compare": ("comparison", "compare"),
    "examine": ("doctor", "examine"),
    "export_features": ("export", "export_features"),
    "export_model": ("deployment", "export_model"),
    "extract": ("extraction", "extract"),
    "extract_distributed": ("distribution", "extract_distributed"),
    "extract_views": ("views", "extract_views"),
    "fetch_weights": ("fetch", "resolve_weights"),
    "finetune": ("finetuning", "finetune"),
    "fit": ("heads", "fit"),
    "list_cache": ("housekeeping", "list_cache"),
    "list_weights": ("catalogue", "describe_weights"),
    "load_features": ("store", "read_features"),
    "make_plan": ("planning", "make_plan"),
    "merge": ("merging", "merge"),
    "predict": ("prediction", "predict"),
    "read_dataset": ("data.sources", "read_dataset"),
    "read_model": ("models", "read_model"),
    "remove_entry": ("housekeeping", "remove_entry"),
    "write_caltech256_animals": ("data.samples", "write_caltech256_animals"),
    "write_digits": ("data.samples", "write_digits"),
    "write_report": ("report", "write_report"),
}
# Spelled out, since type checkers read it: they take a renamed import for none of ours otherwise.
__all__ = [
    "Audit",
    "Candidate",
    "Check",
    "Comparison",
    "Dataset",
    "Deployment",
    "Entry",
    "Epoch",
    "Export",
    "Extraction",
    "Features",
    "FeatxError",
    "Finding",
    "Model",
    "Outcome",
    "Pair",
    "Plan",
    "Prediction",
    "Provenance",
    "Report",
    "ResNet50Features",
    "Score",
    "ShardWorker",
    "Skipped",
    "Verdict",
    "__version__",
    "audit",
    "compare",
    "examine",
    "export_features",
    "export_model",
    "extract",
    "extract_distributed",
    "extract_views",
    "fetch_weights",
    "finetune",
    "fit",
    "list_cache",
    "list_weights",
    "load_features",
    "make_plan",
    "merge",
    "predict",
    "read_dataset",
    "read_model",
    "remove_entry",
    "write_caltech256_animals",
    "write_digits",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("featx")
    if name not in _HOMES:
        raise AttributeError(f"module 'featx' has no attribute {name!r}")
    module, there = _HOMES[name]
    value = globals()[name] = getattr(import_module(f"featx.{module}"), there)
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
