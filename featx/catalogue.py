"""Which weights are known by name, which are stored, and where; no torch is needed for it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from safetensors import SafetensorError, safe_open

from featx.config import KERAS, TORCHVISION_V1, TORCHVISION_V2, Preprocessing
from featx.errors import WeightsError

WEIGHTS_MARK = "featx-weights"  # where a stored file's header holds its facts
FROM_FILE = "file:"  # before the name of weights that are known by their file alone


@dataclass(frozen=True)
class Recipe:
    """What is known of weights by name, before they are here."""

    preprocessing: Preprocessing
    stride_in_1x1: bool
    about: str


# In the order that "auto" tries them.
RECIPES = {
    "imagenet1k-v1": Recipe(TORCHVISION_V1, False, "torchvision's first, top-1 76.1 % on ImageNet"),
    "keras-imagenet": Recipe(KERAS, True, "Keras', by way of npm, top-1 74.9 % on ImageNet"),
    "imagenet1k-v2": Recipe(
        TORCHVISION_V2, False, "torchvision's second, top-1 80.9 % on ImageNet"
    ),
}


def find_weights_dir() -> Path:
    """The folder that weights are kept in: FEATX_WEIGHTS, or the user's cache folder."""
    if moved := os.environ.get("FEATX_WEIGHTS"):
        return Path(moved).expanduser()
    return Path(platformdirs.user_cache_dir("featx", appauthor=False)) / "weights"


def stored_path(name: str) -> Path:
    """Where weights of this name are kept, whether they are there or not."""
    return find_weights_dir() / f"{name}.safetensors"


def read_stored_hash(name: str) -> str | None:
    """The hash that the stored weights of this name were stored with; None where there is none."""
    try:
        with safe_open(stored_path(name), framework="np") as file:
            return str(json.loads((file.metadata() or {})[WEIGHTS_MARK])["sha256"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def list_stored() -> list[tuple[str, Path]]:
    """Names and files of the weights in the weights folder, known ones first."""
    folder = find_weights_dir()
    files = {p.stem: p for p in sorted(folder.glob("*.safetensors"))} if folder.is_dir() else {}
    names = [n for n in RECIPES if n in files] + [n for n in files if n not in RECIPES]
    return [(name, files[name]) for name in names]


def describe_weights() -> list[dict[str, Any]]:
    """Known weights and stored ones: name, whether stored, path, what they are."""
    stored = dict(list_stored())
    names = [*RECIPES, *(name for name in stored if name not in RECIPES)]
    return [
        {
            "name": name,
            "stored": name in stored,
            "path": str(stored.get(name, stored_path(name))),
            "about": RECIPES[name].about if name in RECIPES else "put there by hand",
        }
        for name in names
    ]


def find_stored(name: str) -> Path:
    """The file of stored weights; raises WeightsError where there is none of that name."""
    path = stored_path(name)
    if not path.is_file():
        raise WeightsError(f"{name} is not stored: {path} is not there; featx weights fetch {name}")
    return path
