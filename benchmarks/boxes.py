"""What an image costs that is a box in a picture, beside one that is a picture of its own.

    python benchmarks/boxes.py DATA [--count 200] [--rounds 3] [--only decode]

Prints one JSON object. Of the first pictures of DATA, as they are and enlarged to twelve megapixels
(see decoding.py): "decode" are images/s of one core, from a file to the square that the network
takes, whole, of one box that has half of each side, and of three; "extract" the same of whole
extractions, from the first picture to the last feature. Each is the best of some rounds in turn.
"share" is a box's rate in that of a whole picture, and "decodes" how often a picture is decoded.
"equal" says whether rows are those of the boxes saved as PNG.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from decoding import enlarge
from PIL import Image

import featx
from featx.config import TORCHVISION_V1
from featx.data.images import load_image
from featx.decoding import crops
from featx.decoding.crops import Box, measure_picture, name_box
from featx.machine import describe_machine

SHORT, LARGE = 3000, 16  # pixels of the short side of twelve megapixels; pictures of that size
# Left and top of boxes with half of each side, in shares.
CORNERS = {1: ((0.25, 0.25),), 3: ((0.0, 0.1), (0.25, 0.25), (0.5, 0.4))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="DIR/<class>/*")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["decode"], help="Leave extractions out.")
    words = parser.parse_args()
    paths = sorted(p for p in words.data.glob("*/*") if p.is_file())
    chosen = paths[:: max(1, len(paths) // words.count)][: words.count]
    found: dict[str, Any] = {"machine": describe_machine()}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        small, large = Path(folder) / "small", Path(folder) / "large"
        for made in (small, large):
            made.mkdir()
        for i, path in enumerate(chosen):
            (small / f"{i:04d}{path.suffix}").write_bytes(path.read_bytes())
        for i, path in enumerate(chosen[:LARGE]):
            enlarge(path, large / f"{i:04d}.jpg", i, SHORT)
        for name, data in (("as they are", small), ("12 megapixels", large)):
            found[name] = measure(data, Path(folder), words.rounds, words.only is None)
    print(json.dumps(found))  # noqa: T201


def measure(data: Path, folder: Path, rounds: int, extracts: bool) -> dict[str, Any]:
    """Rates of the pictures of a folder, and of boxes in them."""
    pictures = sorted(data.iterdir())
    places = {0: pictures, **{n: list_boxes(pictures, corners) for n, corners in CORNERS.items()}}
    files = {n: write_boxes(folder / f"{n}.csv", places[n]) for n in CORNERS}
    decode(pictures)  # which hashes them
    rates: dict[str, dict[int, float]] = {"decode": {}, "extract": {}}
    decodes = {n: count_decodes(lambda n=n: decode(places[n])) / len(pictures) for n in CORNERS}
    for turn in range(rounds):
        for n, some in places.items():
            forget()
            begun = time.process_time()
            decode(some)
            note(rates["decode"], n, len(some) / (time.process_time() - begun))
            if not extracts:
                continue
            output = folder / f"{data.name}-{n}-{turn}.h5"
            done = featx.extract(
                data, boxes=files.get(n), output=output, cache_dir=folder / output.stem
            )
            note(rates["extract"], n, done.images_per_second or 0.0)
    return {
        **{name: {str(n): rate for n, rate in of.items()} for name, of in rates.items()},
        "share": {
            name: {str(n): of[n] / of[0] for n in CORNERS} for name, of in rates.items() if of
        },
        "decodes": {str(n): times for n, times in decodes.items()},
        "equal": extracts and are_equal(folder, places[3], folder / f"{data.name}-3-0.h5"),
    }


def note(rates: dict[int, float], n: int, rate: float) -> None:
    """Keep the best."""
    rates[n] = max(rates.get(n, 0.0), rate)


@functools.cache
def hash_once(path: Path) -> str:
    """What an extraction knows of an image before it decodes it, and holds against its bytes."""
    return crops.hash_image(path)


def decode(paths: Sequence[Path]) -> None:
    """All of them in this thread alone."""
    for path in paths:
        load_image(path, TORCHVISION_V1, hash_once(path))


def forget() -> None:
    """Keep no picture of those that boxes were cut from."""
    crops._in_hand = crops._InHand()


def list_boxes(pictures: Sequence[Path], corners: Sequence[tuple[float, float]]) -> list[Path]:
    """The paths of boxes with half of each side, those of a picture one after the other."""
    made = []
    for path in pictures:
        width, height = measure_picture(path)
        for x, y in corners:
            box = Box(int(x * width), int(y * height), width // 2, height // 2)
            made.append(Path(name_box(str(path), box)))
    return made


def write_boxes(path: Path, places: Sequence[Path]) -> Path:
    """The same as a CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "x", "y", "w", "h"])
        for place in places:
            picture, box = crops.split_path(place)
            assert box is not None
            writer.writerow([picture.name, *box])
    return path


def count_decodes(work: Callable[[], None]) -> int:
    """How many pictures are decoded for boxes on the way."""
    forget()
    real, count = crops.decode_sooner, 0

    def counted(*told: Any) -> Any:
        nonlocal count
        count += 1
        return real(*told)

    crops.decode_sooner = counted
    try:
        work()
    finally:
        crops.decode_sooner = real
    return count


def are_equal(folder: Path, places: Sequence[Path], output: Path) -> bool:
    """Whether an extraction's rows are those of its boxes, cut out by Pillow and saved."""
    cut = folder / f"{output.stem}-cut"
    cut.mkdir()
    for place in places:
        picture, box = crops.split_path(place)
        assert box is not None
        with Image.open(picture) as opened:
            edges = (box.left, box.top, box.left + box.width, box.top + box.height)
            opened.convert("RGB").crop(edges).save(cut / f"{picture.name}{box}.png")
    saved = featx.extract(cut, output=folder / f"{cut.name}.h5", cache_dir=cut)
    rows = [read_rows(saved.features), read_rows(output)]
    wanted, found = ({name.replace("/", ""): row for name, row in of.items()} for of in rows)
    return all(np.array_equal(found[name.removesuffix(".png")], wanted[name]) for name in wanted)


def read_rows(path: Path) -> dict[str, Any]:
    held = featx.load_features(path)
    return dict(zip(held.paths.tolist(), held.X, strict=True))


if __name__ == "__main__":
    main()
