"""featx: frozen ImageNet features, the classifiers on them, and an honest comparison.

What the commands do is here as functions; see docs/api.md. Importing featx imports none of what
they need before it is used, so that it takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__: str  # as installed; setup.cfg says it

if TYPE_CHECKING:
    from featx.auditing.audit import Audit as Audit
    from featx.auditing.audit import audit as audit
    from featx.auditing.findings import Finding as Finding
    from featx.comparison.candidates import Candidate as Candidate
    from featx.comparison.candidates import Pair as Pair
    from featx.comparison.compare import compare as compare
    from featx.comparison.cross_validation import cross_validate as cross_validate
    from featx.comparison.fold_scores import CrossValidation as CrossValidation
    from featx.comparison.result import Comparison as Comparison
    from featx.comparison.verdict import Verdict as Verdict
    from featx.data.dataset import Dataset as Dataset
    from featx.data.dataset import Skipped as Skipped
    from featx.deployment.drift import detect_drift as detect_drift
    from featx.deployment.export import Deployment as Deployment
    from featx.deployment.export import export_model as export_model
    from featx.deployment.predict import Prediction as Prediction
    from featx.deployment.predict import predict as predict
    from featx.deployment.similar import Similar as Similar
    from featx.deployment.similar import find_similar as find_similar
    from featx.doctor import Check as Check
    from featx.doctor import examine as examine
    from featx.errors import FeatxError as FeatxError
    from featx.explaining.explain import Explanation as Explanation
    from featx.explaining.explain import explain as explain
    from featx.extraction.extract import extract as extract
    from featx.extraction.result import Extraction as Extraction
    from featx.extraction.transformer import ResNet50Features as ResNet50Features
    from featx.extraction.views import extract_views as extract_views
    from featx.features.content import Features as Features
    from featx.features.corrections import correct_labels as correct_labels
    from featx.features.export import Export as Export
    from featx.features.export import export_features as export_features
    from featx.features.file import read_features as load_features
    from featx.features.housekeeping import Entry as Entry
    from featx.features.housekeeping import list_cache as list_cache
    from featx.features.housekeeping import remove_entry as remove_entry
    from featx.features.nearest import find_nearest as find_nearest
    from featx.features.provenance import Provenance as Provenance
    from featx.finetuning.finetune import finetune as finetune
    from featx.heads.fit import fit as fit
    from featx.labelling.choosing import choose_next as choose_next
    from featx.labelling.next import NextImages as NextImages
    from featx.labelling.next import find_next as find_next
    from featx.multilabel.compare import compare_multilabel as compare_multilabel
    from featx.multilabel.fit import fit_multilabel as fit_multilabel
    from featx.network.catalogue import describe_weights as list_weights
    from featx.network.fetch import resolve_weights as fetch_weights
    from featx.novelty.shift import Drift as Drift
    from featx.report.card import render_card as render_card
    from featx.report.comparison import Report as Report
    from featx.report.comparison import write_report as write_report
    from featx.scale.distribute import extract_distributed as extract_distributed
    from featx.scale.merge import merge as merge
    from featx.scale.plan import make_plan as make_plan
    from featx.scale.plan_file import Plan as Plan
    from featx.scale.shard import ShardWorker as ShardWorker
    from featx.sources.boxes import Boxes as Boxes
    from featx.sources.reading import read_dataset as read_dataset
    from featx.sources.samples import write_caltech256_animals as write_caltech256_animals
    from featx.sources.samples import write_digits as write_digits
    from featx.training.metrics import Score as Score
    from featx.training.model import Epoch as Epoch
    from featx.training.model import Model as Model
    from featx.training.model import Outcome as Outcome
    from featx.training.model import read_model as read_model

# Name here, module, and name there. No name here is a module's: importing one would hide it.
_HOMES = {
    "Audit": ("auditing.audit", "Audit"),
    "Boxes": ("sources.boxes", "Boxes"),
    "Candidate": ("comparison.candidates", "Candidate"),
    "Check": ("doctor", "Check"),
    "Comparison": ("comparison.result", "Comparison"),
    "CrossValidation": ("comparison.fold_scores", "CrossValidation"),
    "Dataset": ("data.dataset", "Dataset"),
    "Deployment": ("deployment.export", "Deployment"),
    "Drift": ("novelty.shift", "Drift"),
    "Entry": ("features.housekeeping", "Entry"),
    "Epoch": ("training.model", "Epoch"),
    "Explanation": ("explaining.explain", "Explanation"),
    "Export": ("features.export", "Export"),
    "Extraction": ("extraction.result", "Extraction"),
    "Features": ("features.content", "Features"),
    "FeatxError": ("errors", "FeatxError"),
    "Finding": ("auditing.findings", "Finding"),
    "Model": ("training.model", "Model"),
    "NextImages": ("labelling.next", "NextImages"),
    "Outcome": ("training.model", "Outcome"),
    "Pair": ("comparison.candidates", "Pair"),
    "Plan": ("scale.plan_file", "Plan"),
    "Prediction": ("deployment.predict", "Prediction"),
    "Provenance": ("features.provenance", "Provenance"),
    "Report": ("report.comparison", "Report"),
    "ResNet50Features": ("extraction.transformer", "ResNet50Features"),
    "Score": ("training.metrics", "Score"),
    "ShardWorker": ("scale.shard", "ShardWorker"),
    "Similar": ("deployment.similar", "Similar"),
    "Skipped": ("data.dataset", "Skipped"),
    "Verdict": ("comparison.verdict", "Verdict"),
    "audit": ("auditing.audit", "audit"),
    "choose_next": ("labelling.choosing", "choose_next"),
    "compare": ("comparison.compare", "compare"),
    "compare_multilabel": ("multilabel.compare", "compare_multilabel"),
    "correct_labels": ("features.corrections", "correct_labels"),
    "cross_validate": ("comparison.cross_validation", "cross_validate"),
    "detect_drift": ("deployment.drift", "detect_drift"),
    "examine": ("doctor", "examine"),
    "explain": ("explaining.explain", "explain"),
    "export_features": ("features.export", "export_features"),
    "export_model": ("deployment.export", "export_model"),
    "extract": ("extraction.extract", "extract"),
    "extract_distributed": ("scale.distribute", "extract_distributed"),
    "extract_views": ("extraction.views", "extract_views"),
    "fetch_weights": ("network.fetch", "resolve_weights"),
    "find_nearest": ("features.nearest", "find_nearest"),
    "find_next": ("labelling.next", "find_next"),
    "find_similar": ("deployment.similar", "find_similar"),
    "finetune": ("finetuning.finetune", "finetune"),
    "fit": ("heads.fit", "fit"),
    "fit_multilabel": ("multilabel.fit", "fit_multilabel"),
    "list_cache": ("features.housekeeping", "list_cache"),
    "list_weights": ("network.catalogue", "describe_weights"),
    "load_features": ("features.file", "read_features"),
    "make_plan": ("scale.plan", "make_plan"),
    "merge": ("scale.merge", "merge"),
    "predict": ("deployment.predict", "predict"),
    "read_dataset": ("sources.reading", "read_dataset"),
    "read_model": ("training.model", "read_model"),
    "remove_entry": ("features.housekeeping", "remove_entry"),
    "render_card": ("report.card", "render_card"),
    "write_caltech256_animals": ("sources.samples", "write_caltech256_animals"),
    "write_digits": ("sources.samples", "write_digits"),
    "write_report": ("report.comparison", "write_report"),
}
# Spelled out, since type checkers read it: they take a renamed import for none of ours otherwise.
__all__ = [
    "Audit",
    "Boxes",
    "Candidate",
    "Check",
    "Comparison",
    "CrossValidation",
    "Dataset",
    "Deployment",
    "Drift",
    "Entry",
    "Epoch",
    "Explanation",
    "Export",
    "Extraction",
    "Features",
    "FeatxError",
    "Finding",
    "Model",
    "NextImages",
    "Outcome",
    "Pair",
    "Plan",
    "Prediction",
    "Provenance",
    "Report",
    "ResNet50Features",
    "Score",
    "ShardWorker",
    "Similar",
    "Skipped",
    "Verdict",
    "__version__",
    "audit",
    "choose_next",
    "compare",
    "compare_multilabel",
    "correct_labels",
    "cross_validate",
    "detect_drift",
    "examine",
    "explain",
    "export_features",
    "export_model",
    "extract",
    "extract_distributed",
    "extract_views",
    "fetch_weights",
    "find_nearest",
    "find_next",
    "find_similar",
    "finetune",
    "fit",
    "fit_multilabel",
    "list_cache",
    "list_weights",
    "load_features",
    "make_plan",
    "merge",
    "predict",
    "read_dataset",
    "read_model",
    "remove_entry",
    "render_card",
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
