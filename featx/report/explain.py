"""Maps of a run as files: a PNG for each image, all with one scale, and one page."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import math
import re
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from featx.data.dataset import Skipped
from featx.deployment.classifier import find_weights_here
from featx.drawing.charts import FONT
from featx.drawing.overlay import COLOURS, blend_map, draw_overlay
from featx.errors import FeatxError, OutputExistsError
from featx.explaining.explain import Explanation, explain
from featx.explaining.shortcuts import Evidence, EvidenceTally
from featx.report.page import clean_values, load_environment
from featx.storage.files import write_text, write_whole
from featx.storage.places import is_place
from featx.training.model import Model

log = logging.getLogger(__name__)

PAGE = "index.html"
_OURS = '<p class="kicker">featx explain</p>'  # of the page's template
_DRAWN = re.compile(r"\d{5,}-[\w-]*\.png", re.ASCII)  # as `name_picture` has it
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
    given each explanation, and the page what it sums up to. Pictures of the page that was there
    before go with it.
    """
    older = _list_drawn(folder)
    drawings: list[Drawing] = []
    skipped: list[Skipped] = []
    with _make_folder(folder), tempfile.TemporaryFile(dir=folder) as pixels:
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
    for name in older - {one.said["file"] for one in drawings}:
        (folder / name).unlink(missing_ok=True)


def _list_drawn(folder: Path) -> set[str]:
    """Pictures that an earlier run drew; none where the page there is not ours."""
    page = folder / PAGE
    if not page.is_file() or _OURS not in page.read_text("utf-8", "replace"):
        return set()
    return {path.name for path in folder.iterdir() if _DRAWN.fullmatch(path.name)}


@contextlib.contextmanager
def _make_folder(folder: Path) -> Iterator[None]:
    """A folder; one that was not there and into which nothing came goes again after an error."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


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


def map_exhibits(
    root: Path, model: Model, exhibits: Mapping[str, Any], labels: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, str], Evidence | None]:
    """Maps of what a comparison shows: of its mistakes, and of one right image a class.

    Of a mistake it is what speaks for the class that it was taken for rather than its own. There
    are none where the model has no map, and where its network or the pictures are not here.

    Returns
    -------
    exhibits : dict
        The same with a "map" beside each path that has one, as JSON values.
    pictures : dict of str to str
        Their drawings by path, as data: URIs.
    evidence : Evidence or None
        Where the evidence lies in the images of `labels`, by path; all of them go through the
        network then.
    """
    labels = labels or {}
    right = {one["truth"]: one["path"] for one in reversed(exhibits["examples"])}
    wrong = [one["path"] for one in exhibits["mistakes"]]
    tally = EvidenceTally({str(root / path): label for path, label in labels.items()})
    explained = _explain_here(root, model, [*right.values(), *wrong], [*labels], tally)
    added, pictures = dict(exhibits), dict[str, str]()
    for part in ("examples", "mistakes"):
        maps = {
            one["path"]: _take_map(explained[one["path"]], one)
            for one in exhibits[part]
            if one["path"] in explained
        }
        limit = max((float(np.abs(one.map).max()) for one in maps.values()), default=0.0)
        for path, one in maps.items():
            pictures[path] = _embed(blend_map(one.pixels, one.map, limit))
        added[part] = [
            {**one, "map": _say_map(maps[one["path"]], limit)} if one["path"] in maps else one
            for one in exhibits[part]
        ]
    return added, pictures, tally.sum_up()


def _explain_here(
    root: Path, model: Model, kept: Sequence[str], more: Sequence[str], tally: EvidenceTally
) -> dict[str, Explanation]:
    """Explanations of `kept`, as far as they can be had; of `more` the tally is told, too."""
    every = dict.fromkeys([*kept, *more])
    there = {str(root / path): path for path in every if is_place(root / path)}
    found: dict[str, Explanation] = {}
    try:
        if there and find_weights_here(model) is not None:
            for one in tally.watch(explain(model, list(there))):
                if isinstance(one, Explanation) and there[one.prediction.path] in kept:
                    found[there[one.prediction.path]] = one
    except FeatxError as error:
        log.debug("the page has no maps: %s", error)
    return found


def _take_map(one: Explanation, exhibit: Mapping[str, Any]) -> Explanation:
    wrong = exhibit["truth"] != exhibit["predicted"]
    return replace(
        one, shown=exhibit["predicted"], against=exhibit["truth"] if wrong else None
    )  # fmt: skip


def _say_map(one: Explanation, limit: float) -> dict[str, Any]:
    values = one.to_dict()
    kept = {name: values[name] for name in ("shown", "against", "logit", "bias", "map")}
    return {**kept, "limit": limit}


def _embed(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
