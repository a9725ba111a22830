"""What repeats a comparison, or trains a model again: command lines, and one of the two a file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import tomli_w

from featx.comparison.result import Comparison
from featx.config import BACKBONE, EPOCHS, LAST_LAYER, MARGIN, RANK_PRECISION, TRAIN_BATCH_SIZE
from featx.data.splits import parse_split
from featx.decoding.decoders import read_decode
from featx.decoding.pixel_format import FIRST_COLOURS, read_colours
from featx.errors import DatasetError
from featx.network.catalogue import KNOWN
from featx.novelty.taxonomy import TAXONOMY_NAME
from featx.sources.groups import Grouping
from featx.training.model import Model

SETTINGS_NAME = "featx.toml"  # in the comparison's folder
# Options whose value is left out where it is this one.
_USUAL: dict[str, Any] = {
    "C": "auto", "scale": "none", "class_weight": "none", "calibrate": False, "views": 0,
    "seeds": 1, "margin": MARGIN, "protocol": "none", "augment": False, "prefix_cache": True,
    "learning_curves": True, "strangers": True, "cv": None, "cv_baselines": False,
    "decode": "exact", "backbone": BACKBONE, "weights": "auto", "learning_rate": "auto",
    "engine": "auto", "precision": "fp32", "seed": 0, "prevalence": None, "group": None,
    "labels": None, "choose_on": "folds", "refit": True, "layers": LAST_LAYER,
    "shortcuts": False, "boxes": None, "taxonomy": None, "precision_at_least": RANK_PRECISION,
    "depth": "auto", "range": None, "channels": None, "profiles": "srgb",
}  # fmt: skip
# The same of commands that train one model.
_USUAL_OF_ONE = _USUAL | {
    "epochs": EPOCHS, "batch_size": TRAIN_BATCH_SIZE, "storage": "float32", "strangers": False,
}  # fmt: skip


def list_settings(comparison: Comparison) -> dict[str, Any]:
    """What `featx compare` is told to do it again, on the same images in the same splits.

    Returns
    -------
    dict
        By the long name of an option, without its dashes; "data" is the argument.
    """
    settings: dict[str, Any] = {
        "data": str((comparison.folder / "split.csv").resolve()),
        "root": str(comparison.root.resolve()),
    }
    options = dict(comparison.options)
    for name in ("clf", "baseline"):
        if name in options:
            settings[name] = list(options.pop(name)) or ["none"]
    settings |= _spell(options, _USUAL)
    return {**settings, "output": f"{comparison.folder.resolve()}-again"}


def say_command(comparison: Comparison) -> str:
    """The same as a line for a shell."""
    settings = list_settings(comparison)
    return _join("compare", settings.pop("data"), settings)


def say_training(model: Model) -> list[str]:
    """Commands that train a model as this one was.

    DATA stands for its images, F.h5 for their features, FILE for weights that are known by no name,
    BOXES for the file of the boxes that a rule of splits kept together, whose padding the model
    does not know, nor by what groups were made.
    """
    made, recipe, details = model.provenance, model.recipe, model.outcome.details
    reading = read_colours(made.get("colours") or recipe.get("colours", FIRST_COLOURS))
    rule = details.get("data", {}).get("split", "")
    data = {
        "split": _find_rule(rule),
        "boxes": "BOXES" if f" {Grouping('picture')}" in rule else None,
        "backbone": made.get("backbone", BACKBONE),
        "weights": made["weights"] if made["weights"] in KNOWN else "FILE",
        "decode": read_decode(made.get("decoder") or recipe.get("decoder", "")),
        "depth": "auto" if reading.depth == "full" else "used",
        **reading.to_options(),
    }
    shared = {name: recipe[name] for name in ("seed", "class_weight", "calibrate")}
    if model.kind != "head":
        rate = recipe["learning_rate" if model.name == "fc" else "tune_learning_rate"]
        own = {
            **{name: recipe[name] for name in ("train", "epochs", "batch_size", "augment")},
            **{**shared, "learning_rate": _find_given(rate), "output": "RUN"},
        }
        return [_join("finetune", "DATA", _spell({**data, **own}, _USUAL_OF_ONE))]
    framed, kept = made["preprocessing"]["interpolation"], made.get("layers", LAST_LAYER)
    sets, views, labels = recipe.get("layers", ()), len(recipe["views"]), details.get("labels")
    data |= {
        "protocol": "linear-eval" if framed == "bicubic" else "none",
        "engine": made["engine"].split()[0], "precision": made["precision"],
        "storage": made["storage"], "layers": kept, "views": views, "output": "F.h5",
    }  # fmt: skip
    own = {
        "clf": model.name,
        "C": _find_given(recipe.get("C", "auto")),
        "scale": recipe["scale"],
        "choose_on": recipe.get("choose_on", "folds"),
        "refit": recipe["refit"] or "folds" not in recipe or "val" not in model.outcome.scores,
        "epochs": recipe.get("epochs", EPOCHS),
        "learning_rate": _find_given(recipe.get("learning_rate", "auto")),
        "views": views,
        "strangers": "strangers" in details,
        "labels": PurePath(labels["file"]).name if labels else None,
        "taxonomy": TAXONOMY_NAME if "ranks" in details else None,
        "precision_at_least": (details.get("ranks") or {}).get("precision", RANK_PRECISION),
        **shared,
    }
    read: dict[str, Any] = {}  # what fit does by itself
    if len(sets) == 1 or (not sets and kept != LAST_LAYER):
        read = {"layers": sets[0]["layers"] if sets else LAST_LAYER}
    return [
        _join("extract", "DATA", _spell(data, _USUAL_OF_ONE)),
        _join("fit", "F.h5", {**_spell(own, _USUAL_OF_ONE), **read, "output": "MODEL"}),
    ]


def _find_rule(split: str) -> str | None:
    """The rule that made splits; None where they were there before."""
    rule = split.split(";")[0].split(" ")[0]  # behind it stand groups and corrections
    try:
        parse_split(rule)
    except DatasetError:
        return None
    return rule


def _find_given(value: Any) -> Any:
    """The one value that was given; "auto" where it was chosen among several."""
    if not isinstance(value, list):
        return value
    return value[0] if len(value) == 1 else "auto"


def _spell(options: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their long names, but for those that have their usual value."""
    return {
        name.replace("_", "-"): ("off", "on")[value] if name == "prefix_cache" else value
        for name, value in options.items()
        if value != usual.get(name)
    }


def _join(command: str, argument: str, settings: Mapping[str, Any]) -> str:
    """A line for a shell."""
    words = ["featx", command, argument]
    for name, value in settings.items():
        option = f"-{name}" if name == "C" else f"--{name}"
        if value is True:
            words.append(option)
        elif value is False:
            words.append(f"--no-{name}")
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [option, str(one)]
    return shlex.join(words)


def format_settings(comparison: Comparison) -> str:
    """The same as TOML.

    Raises
    ------
    UnicodeEncodeError
        A path has bytes that are no UTF-8, which TOML has no way to write.
    """
    place = shlex.quote(str((comparison.folder / SETTINGS_NAME).resolve()))
    text = (
        "# Repeats this comparison on the same images in the same splits:\n"
        f"# featx compare --config {place}\n\n"
    ) + tomli_w.dumps({"compare": list_settings(comparison)})
    text.encode()
    return text
