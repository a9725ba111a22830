"""What repeats a comparison: a command line, and a file for ``featx compare --config``."""

from __future__ import annotations

import shlex
from typing import Any

import tomli_w

from featx.comparison.result import Comparison
from featx.config import BACKBONE, LAST_LAYER, MARGIN

SETTINGS_NAME = "featx.toml"  # in the comparison's folder
# Options whose value is left out where it is this one.
_USUAL: dict[str, Any] = {
    "C": "auto", "scale": "none", "class_weight": "none", "calibrate": False, "views": 0,
    "seeds": 1, "margin": MARGIN, "protocol": "none", "augment": False, "prefix_cache": True,
    "learning_curves": True, "strangers": True, "cv": None, "cv_baselines": False,
    "decode": "exact", "backbone": BACKBONE, "weights": "auto", "learning_rate": "auto",
    "engine": "auto", "precision": "fp32", "seed": 0, "prevalence": None, "group": None,
    "labels": None, "choose_on": "folds", "refit": True, "layers": LAST_LAYER,
    "depth": "auto", "range": None, "channels": None, "profiles": "srgb",
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
    for name, value in comparison.options.items():
        if name in ("clf", "baseline"):
            settings[name] = list(value) or ["none"]
        elif value != _USUAL.get(name):
            said = ("off", "on")[value] if name == "prefix_cache" else value
            settings[name.replace("_", "-")] = said
    return {**settings, "output": f"{comparison.folder.resolve()}-again"}


def say_command(comparison: Comparison) -> str:
    """The same as a line for a shell."""
    settings = list_settings(comparison)
    words = ["featx", "compare", settings.pop("data")]
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
