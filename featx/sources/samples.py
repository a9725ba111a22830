"""Data with names of their own: handwritten digits for a first try, and the paper's ten animals."""

from __future__ import annotations

import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

from featx.data.dataset import Dataset
from featx.errors import DatasetError
from featx.sources.folders import list_images
from featx.sources.manifest import write_manifest
from featx.storage.files import as_path, write_whole

# The paper's counts: 600 train, 100 val, 409 test in ten classes.
DIGITS_SPLIT = "first:60,10"
DIGITS_IMAGES = 1109
_DIGIT_SIDE = 64  # pixels; scikit-learn's are 8
_DIGIT_MARGIN = 8  # pixels of paper around, so that the centre crop (7/8 of a side) cuts no ink

CALTECH_CLASSES = (
    "009.bear",
    "038.chimp",
    "084.giraffe",
    "090.gorilla",
    "134.llama-101",
    "151.ostrich",
    "164.porcupine",
    "186.skunk",
    "228.triceratops",
    "250.zebra",
)
CALTECH_COUNTS = (102, 110, 84, 212, 119, 109, 101, 81, 95, 96)
_CALTECH_TRAIN, _CALTECH_VAL = 60, 10


def write_digits(folder: str | Path) -> Path:
    """Write 1,109 of scikit-learn's handwritten digits as PNG files in ten class folders.

    The first 111 of each of the digits 0 to 8 and the first 110 of 9, in the order of
    `sklearn.datasets.load_digits`, enlarged from 8x8 to 64x64 pixels on 80x80 pixels of paper.
    With ``first:60,10`` that is 600 train, 100 val and 409 test images. Files that are there are
    left as they are.

    Parameters
    ----------
    folder : path
        Is made.

    Returns
    -------
    Path
        `folder`.
    """
    folder = Path(folder)
    bunch = load_digits()
    per_class = -(-DIGITS_IMAGES // 10)
    seen: Counter[int] = Counter()
    for pixels, target in zip(bunch.images, bunch.target.tolist(), strict=True):
        i = seen[target]
        seen[target] += 1
        if i >= per_class - (target == 9):
            continue
        path = folder / str(target) / f"{target}_{i:04d}.png"
        if not path.exists():
            # Grey levels 0 to 16, ink high; written dark on white, as on paper.
            grey = Image.fromarray(np.round(255 - pixels * (255 / 16)).astype(np.uint8))
            large = grey.resize((_DIGIT_SIDE, _DIGIT_SIDE), Image.Resampling.BICUBIC)
            large = ImageOps.expand(large, _DIGIT_MARGIN, fill=255)
            with write_whole(path) as temporary:
                large.save(temporary, "PNG")
    return folder


def split_caltech256_animals(root: Path) -> Dataset:
    """The paper's ten animals in its split: per class by file name 60 train, 10 val, rest test.

    Parameters
    ----------
    root : Path
        The folder 256_ObjectCategories.

    Raises
    ------
    DatasetError
        A class folder is missing or has another number of images than Caltech-256.
    """
    if not root.is_dir():
        raise DatasetError(f"no such folder: {root}")
    missing = [name for name in CALTECH_CLASSES if not (root / name).is_dir()]
    if missing:
        raise DatasetError(
            f"{root} is not Caltech-256's 256_ObjectCategories: it lacks {', '.join(missing)}"
        )
    rows: list[tuple[str, int, str]] = []
    val_end = _CALTECH_TRAIN + _CALTECH_VAL
    for k, name in enumerate(CALTECH_CLASSES):
        images = list_images(root / name)
        if len(images) != CALTECH_COUNTS[k]:
            raise DatasetError(
                f"{root / name} has {len(images)} images, Caltech-256 has {CALTECH_COUNTS[k]}: "
                "this would not be the paper's split; unpack the archive again"
            )
        for i, image in enumerate(images):
            split = "train" if i < _CALTECH_TRAIN else "val" if i < val_end else "test"
            rows.append((split, k, f"{name}/{image}"))
    return Dataset(
        root=root,
        name="caltech256-animals",
        # "134.llama-101" is the folder's name; the animal is a llama.
        classes=tuple(name.partition(".")[2].removesuffix("-101") for name in CALTECH_CLASSES),
        paths=tuple(path for _, _, path in rows),
        targets=np.array([k for _, k, _ in rows], dtype=np.int64),
        splits=np.array([split for split, _, _ in rows], dtype="<U5"),
        split_rule=f"first:{_CALTECH_TRAIN},{_CALTECH_VAL}",
    )


def download_caltech256(folder: Path) -> Path:
    """Have torchvision download Caltech-256 (1.2 GB) below `folder`.

    Returns
    -------
    Path
        256_ObjectCategories.

    Raises
    ------
    DatasetError
        The download failed.
    """
    from torchvision.datasets import Caltech256

    root = folder / "caltech256" / "256_ObjectCategories"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # torchvision takes any folder of this name for a whole one; a part of one is no use here.
        split_caltech256_animals(root)
        return root
    except DatasetError:
        pass
    try:
        Caltech256(str(folder), download=True)
    except (OSError, RuntimeError, tarfile.TarError) as error:
        raise DatasetError(
            f"Caltech-256 could not be downloaded to {folder}: {error}; fetch "
            "256_ObjectCategories.tar by other means, unpack it and name the folder with --root"
        ) from error
    return root


def write_caltech256_animals(
    root: str | Path, output: str | Path | None = None, overwrite: bool = False
) -> tuple[Path, Dataset]:
    """Write the paper's split as a manifest.

    Parameters
    ----------
    root : path
        256_ObjectCategories.
    output : path, optional
        None: caltech256-animals.csv beside `root`, where it works without --root.
    overwrite : bool
        Replace an `output` that is no manifest of featx.

    Returns
    -------
    Path, Dataset
        The manifest, and what it holds.

    Raises
    ------
    DatasetError
    """
    root, output = Path(root), as_path(output)
    dataset = split_caltech256_animals(root)
    if output is None:
        # Beside the folder and not in it: torchvision takes whatever lies in there for a class.
        output = root.absolute().parent / "caltech256-animals.csv"
        inside = tuple(f"{root.absolute().name}/{path}" for path in dataset.paths)
        dataset = replace(dataset, root=output.parent, paths=inside)
    write_manifest(dataset, output, overwrite)
    return output, dataset
