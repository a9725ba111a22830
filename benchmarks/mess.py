"""A folder as people have them, of any size, and whether every file in it is accounted for.

    python benchmarks/mess.py --files 100000

Half of the files are pictures in class folders; the others are of the kinds of `KINDS`, one after
the other: pictures in wrong places, pictures that cannot be decoded, what systems, cameras and
people leave behind. What each file is stands in truth.csv beside the folder. `featx extract --json`
is then run on it, with resnet18 and random parameters, in a process of its own, and held against
that: rows by name, skipped images by name and kind, all else by kind and number. JSON with what was
found, seconds and peak memory goes to standard output; exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featx.sources.folders import (
    BESIDE_CLASSES,
    HIDDEN,
    LINKS,
    NESTED,
    OF_SYSTEMS,
    UNKNOWN,
    UNNAMED,
)
from featx.text import as_text

CLASSES = ("Émeu", "cat", "dog", "owl")
ROW = "image"
_PICTURES = 16  # that differ: copies cost no network
_LINK = object()

# By name: where the file goes (i counts, c is a class folder), what is in it, and what becomes of
# it: an image, "skipped KIND", or the kind that it is left out as.
KINDS: dict[str, tuple[str, Any, str]] = {
    "PNG": ("{c}/{i}.png", "png", ROW),
    "JPEG in capitals": ("{c}/IMG_{i}.JPG", "jpg", ROW),
    "PNG called JPEG": ("{c}/{i}.jpeg", "png", ROW),
    "TIFF": ("{c}/{i}.tif", "tiff", ROW),
    "link to a picture": ("{c}/{i} copy.png", "link", ROW),
    "class folder in the other form of Unicode": ("E\u0301meu/{i}.png", "png", ROW),
    "empty": ("{c}/{i}.jpg", b"", "skipped empty"),
    "a page of a web site": ("{c}/{i}.png", b"<!DOCTYPE html>", "skipped not-an-image"),
    "cut off": ("{c}/{i}.jpg", "cut", "skipped damaged"),
    "dangling link": ("{c}/{i}.jpg", _LINK, "skipped unreadable"),
    "name that is no UTF-8": ("{c}/{i}\udcff.png", "png", "skipped bad-name"),
    "below a class": ("{c}/day {i}/1.png", "png", NESTED),
    "deep below a class": ("{c}/a/b/c/{i}.png", "png", NESTED),
    "beside class folders": ("sheet {i}.png", "png", BESIDE_CLASSES),
    "without a suffix": ("{c}/IMG_{i}", "jpg", UNNAMED),
    "under another suffix": ("{c}/{i}.jpg_large", "jpg", UNNAMED),
    "AppleDouble": ("{c}/._{i}.png", b"\0\5\x16\7", OF_SYSTEMS),
    "thumbnail of a NAS": ("{c}/@eaDir/{i}.png/SYNOPHOTO_THUMB_M.jpg", "jpg", OF_SYSTEMS),
    "zip of a Mac": ("__MACOSX/cat/._{i}.jpg", b"\0\5\x16\7", OF_SYSTEMS),
    "bin of Windows": ("$RECYCLE.BIN/S-1/{i}.jpg", "jpg", OF_SYSTEMS),
    "bin of a NAS": ("#recycle/cat/{i}.jpg", "jpg", OF_SYSTEMS),
    "bin of Linux": (".Trash-1000/files/{i}.jpg", "jpg", OF_SYSTEMS),
    "lost and found": ("lost+found/#{i}", "jpg", OF_SYSTEMS),
    "checkpoint of a notebook": ("{c}/.ipynb_checkpoints/{i}.png", "png", OF_SYSTEMS),
    "Thumbs.db": ("{c}/{i}/Thumbs.db", b"\xd0\xcf\x11\xe0", OF_SYSTEMS),
    "hidden picture": ("{c}/.{i}.png", "png", HIDDEN),
    "hidden folder": (".git/objects/{i}", b"x", HIDDEN),
    "video": ("{c}/{i}.MP4", b"\0\0\0\x18ftypmp42", "videos (.mp4)"),
    "raw photograph": ("{c}/{i}.NEF", b"MM\0*", "raw photographs (.nef)"),
    "medical": ("{c}/{i}.dcm", b"\0" * 128 + b"DICM", "medical images (.dcm)"),
    "table": ("labels {i}.csv", b"path,label\n", "tables (.csv)"),
    "annotation": ("{c}/{i}.xml", b"<annotation/>", "annotations and text (.xml)"),
    "archive": ("{i}.zip", b"PK\5\6", "archives (.zip)"),
    "layers": ("{c}/{i}.psd", b"8BPS", "drawings and layered images (.psd)"),
    "download": ("{c}/{i}.jpg.part", b"\xff\xd8", "unfinished downloads and copies (.part)"),
    "text without a suffix": ("{c}/README {i}", b"hello", UNKNOWN),
    "unknown": ("{c}/{i}.xyz", b"hello", "other files (.xyz)"),
    "link to a folder": ("{c}/all {i}", "folder", LINKS),
}  # fmt: skip


def make_mess(root: Path, n_files: int) -> dict[str, str]:
    """Write so many files below `root`; what becomes of each, by its path."""
    rng = np.random.default_rng(0)
    pictures = {
        form: [draw(rng, form) for _ in range(_PICTURES)] for form in ("png", "jpg", "tiff")
    }
    truth: dict[str, str] = {}
    kinds = itertools.cycle(KINDS.values())
    plain = ("{c}/photo {i}.jpg", "jpg", ROW)
    for i in range(n_files):
        place, content, fate = next(kinds) if i % 2 else plain
        name = place.format(i=i, c=CLASSES[i // 2 % len(CLASSES)])
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is _LINK:
            path.symlink_to("nowhere.jpg")
        elif content == "link":
            path.symlink_to(root / next(iter(truth)))
        elif content == "folder":
            path.symlink_to(root / CLASSES[1])
        elif content == "cut":
            path.write_bytes(pictures["jpg"][i % _PICTURES][:-300])
        else:
            drawn = pictures[content][i % _PICTURES] if isinstance(content, str) else content
            path.write_bytes(drawn)
        truth[name] = fate
    return truth


def draw(rng: np.random.Generator, form: str) -> bytes:
    """A small picture of noise in a format of Pillow's."""
    held = io.BytesIO()
    picture = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
    picture.save(held, {"jpg": "jpeg"}.get(form, form))
    return held.getvalue()


def find_wrong(
    truth: Mapping[str, str], rows: Sequence[str], values: Mapping[str, Any]
) -> list[str]:
    """In what an extraction's rows and JSON differ from the truth, a sentence each."""
    wrong: list[str] = []
    expected = {as_text(name) for name, fate in truth.items() if fate == ROW}
    for what, names in (("no row", expected - set(rows)), ("a row", set(rows) - expected)):
        wrong += [f"{name} has {what}" for name in sorted(names)[:3]]
    skipped = {one["path"]: f"skipped {one['kind']}" for one in values["skipped_files"]}
    wanted = {as_text(n): fate for n, fate in truth.items() if fate.startswith("skipped ")}
    wrong += [f"{name}: {fate}, not said" for name, fate in wanted.items() - skipped.items()]
    wrong += [f"{name}: {fate}, not so" for name, fate in skipped.items() - wanted.items()]
    left_out = Counter(truth.values())
    for fate in {ROW, *wanted.values()}:
        del left_out[fate]
    said = {one["kind"]: one["count"] for one in values["left_out"]}
    wrong += [f"{n} {kind}, not said" for kind, n in left_out.items() - said.items()]
    wrong += [f"{n} {kind}, not so" for kind, n in said.items() - left_out.items()]
    fates = {as_text(name): fate for name, fate in truth.items()}
    for one in values["left_out"]:
        wrong += [
            f"{n} is no {one['kind']}" for n in one["examples"] if fates.get(n) != one["kind"]
        ]
    total = values["images"] + len(skipped) + sum(said.values())
    if total != len(truth):
        wrong.append(f"{total} files are accounted for, of {len(truth)}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", help="where to put it all (default: a temporary folder)")
    asked = parser.parse_args()

    import torch
    import torchvision

    from featx.features.file import read_features
    from featx.machine import describe_machine

    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        home = Path(folder)
        truth = make_mess(home / "mess", asked.files)
        with (home / "truth.csv").open("w", newline="", errors="surrogateescape") as file:
            csv.writer(file).writerows([("path", "fate"), *truth.items()])
        torch.manual_seed(0)
        torch.save(torchvision.models.resnet18().state_dict(), home / "random.pth")
        words = [
            "extract", "mess", "--split", "0.7,0.1,0.2", "--backbone", "resnet18", "--weights",
            "random.pth", "--max-skipped", "1", "-o", "F.h5", "--json", "-q",
        ]  # fmt: skip
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "featx.cli", *words],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONWARNINGS": "default", "FEATX_CACHE": str(home / "cache")},
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.stderr.write(done.stderr)
            return 1
        rows = read_features(home / "F.h5").paths.tolist()
        values = json.loads(done.stdout)
        wrong = find_wrong(truth, rows, values)
        wrong += [x for x in done.stderr.splitlines() if re.search(r"Traceback|\w+Warning\b", x)]
    found = {
        "files": len(truth),
        "kinds": len(KINDS),
        "images": values["images"],
        "skipped": len(values["skipped_files"]),
        "left_out": sum(one["count"] for one in values["left_out"]),
        "wrong": wrong,
        "seconds": seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
        "machine": describe_machine(),
    }
    sys.stdout.write(f"{json.dumps(found, indent=2)}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
