"""Maps of a run as files: a PNG for each image, all with one scale, and one page."""

from __future__ import annotations

import base64
import io
import math
import re
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from featx.data.dataset import Skipped
from featx.errors import OutputExistsError
from featx.explaining.explain import Explanation
from featx.explaining.shortcuts import EvidenceTally
from featx.report.charts import FONT
from featx.report.overlay import COLOURS, draw_overlay
from featx.report.page import clean_values, load_environment
from featx.storage.files import write_text, write_whole

PAGE = "index.html"
_SHOWN = 60  # images on the page; more are neither legible nor light
_NAMED = 20  # skipped files on the page


@dataclass(frozen=True)
class Drawing:
    """What is drawn of an image; its pixels wait in a file without a name.

    Attributes
    ----------
    said : dict
        What the page says of it, as JSON values.
    map : ndarray of shape (height, width), float64
    side : int
        Of the picture, in pixels.
    """

    said: dict[str, Any]
    map: npt.NDArray[np.float64]
    side: int


def check_map_folder(folder: Path, overwrite: bool = False) -> None:
    """Raise OutputExistsError where maps would come among other files."""
    if not folder.exists() or (overwrite and folder.is_dir()):
        return
    if not folder.is_dir():
        raise OutputExistsError(folder, ("no folder",))
    if any(folder.iterdir()):
        raise OutputExistsError(folder, ("a folder with files",))


def record_explanations(
    found: Iterable[Explanation | Skipped], folder: Path, title: str, tally: EvidenceTally
) -> Generator[Explanation | Skipped]:
    """The same, each drawn into `folder`; pictures and page are there once all have passed.

    One scale is for all: it ends at the largest number, of either sign, of any map. `tally` is
    given each explanation, and the page what it sums up to.
    """
    drawings: list[Drawing] = []
    skipped: list[Skipped] = []
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as pixels:
        for one in found:
            if isinstance(one, Explanation):
                tally.add(one)
                pixels.write(one.pixels.tobytes())
                drawings.append(_describe(one, len(drawings)))
            else:
                skipped.append(one)
            yield one
        pixels.seek(0)
        limit = max((float(np.abs(one.map).max()) for one in drawings), default=0.0)
        pictures = _draw_all(drawings, limit, pixels, folder)
        shown = [{**one.said, "picture": uri} for one, uri in zip(drawings, pictures, strict=False)]
    values = {
        "title": title,
        "total": len(drawings),
        "limit": limit,
        "shown": shown,
        "skipped": [one.to_dict() for one in skipped[:_NAMED]],
        "n_skipped": len(skipped),
        "evidence": evidence.to_dict() if (evidence := tally.sum_up()) else None,
    }
    write_text(folder / PAGE, render_maps_page(values))


def _describe(one: Explanation, number: int) -> Drawing:
    said = one.prediction
    values = {
        "path": said.path,
        "file": name_picture(number, said.path),
        "label": said.label,
        "probability": said.probability,
        "shown": one.shown,
        "against": one.against,
        "logit": one.logit,
    }
    return Drawing(values, one.map, len(one.pixels))


def _draw_all(
    drawings: Sequence[Drawing], limit: float, pixels: IO[bytes], folder: Path
) -> list[str]:
    """Write every picture; gives the first ones as the page has them."""
    embedded: list[str] = []
    for one in drawings:
        shape = one.side, one.side, 3
        seen = np.frombuffer(pixels.read(math.prod(shape)), np.uint8).reshape(shape)
        drawn = draw_overlay(seen, one.map, limit)
        with write_whole(folder / one.said["file"]) as temporary:
            drawn.save(temporary, "PNG")
        if len(embedded) < _SHOWN:
            embedded.append(_embed(drawn))
    return embedded


def name_picture(number: int, path: str) -> str:
    """A file's name for the map of an image, the first of which is number 0."""
    stem = re.sub(r"[^\w-]", "_", Path(path).stem, flags=re.ASCII)[:60]
    return f"{number + 1:05d}-{stem}.png"


def render_maps_page(values: Mapping[str, Any]) -> str:
    """The page's text of JSON values; pictures are data: URIs."""
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        "form-action 'none'"
    )
    template = load_environment().get_template("explain.html")
    gradient = ", ".join(f"rgb({r} {g} {b})" for r, g, b in COLOURS)
    page = template.render(policy=policy, font=FONT, gradient=gradient, **clean_values(values))
    return page.lstrip()


def _embed(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
