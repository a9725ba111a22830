"""An audit for people: text for a terminal, rows to act on, and one page with the pictures."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tabulate import tabulate

from featx.auditing.audit import Audit
from featx.auditing.findings import COLUMNS, KINDS, Finding
from featx.config import ANSWERS, LAST_LAYER, PAGE_BYTES
from featx.drawing.charts import FONT
from featx.features.corrections import CORRECTION_COLUMNS, CORRECTIONS_NAME, Corrections
from featx.report.gallery import LARGE, embed_jpeg, iterate_thumbnails
from featx.report.page import clean_values, hash_script, load_environment, load_script
from featx.storage.files import check_own_folder, hash_json, write_text
from featx.storage.rows import iterate_slices
from featx.text import as_text, format_interval, format_score, format_seconds, printable

_NAMED = 10  # findings of a kind in the text
_SHOWN = 60  # of a kind with pictures on the page
_TOGETHER = 32  # pictures that the review reads at once
_SPARED = ("leak", "copy")  # of which one picture is enough
_UNASKED = ("unseen", "skipped")  # of which there is nothing to look at
_MARK = "featx-audit.txt"  # in the folder of a large page's pictures
_PAIRS = ("leak", "divided", "conflict", "copy", "unconfirmed", "relative")
PAGE_START = "<!-- featx audit -->"  # the page's first line: what may be written over


def render_audit(audit: Audit) -> str:
    """All that a terminal shows of an audit."""
    table = tabulate(
        [[kind, n, KINDS[kind]] for kind, n in audit.counts.items()],
        ["kind", "found", "what"], disable_numparse=True, colalign=("left", "right", "left"),
    )  # fmt: skip
    corrected = audit.features.corrected
    lines = [say_head(audit), *(corrected.notes[:1] if corrected else ()), "", table, ""]
    lines += [*say_leak(audit), *say_strangers(audit), *say_classes(audit), *audit.notes]
    for kind, found in _by_kind(audit):
        rows = [
            [
                printable(one.path), printable(one.split), printable(one.label),
                printable(one.other or one.suggested),
                "" if one.score is None else f"{one.score:.3g}", printable(one.detail),
            ]
            for one in found[:_NAMED]
        ]  # fmt: skip
        last = "other" if kind in _PAIRS else "suggested" if kind == "label" else ""
        head = ["image", "split", "label", last, "score", "detail"]
        lines += ["", f"{kind}: {KINDS[kind]}", tabulate(rows, head, disable_numparse=True)]
        if len(found) > _NAMED:
            lines.append(f"… and {len(found) - _NAMED} more: --csv and --json have all.")
    return "\n".join(lines)


def say_head(audit: Audit) -> str:
    """What was audited, in a line."""
    n = len(audit.features.targets)
    how = "" if audit.layers == LAST_LAYER else f" by {audit.layers}"
    return (
        f"{audit.features.dataset}: {n:,} images, {audit.looked:,} pictures looked at, "
        f"{audit.judged:,} labels judged{how} ({format_seconds(audit.seconds)} s)"
    )


def say_found(audit: Audit) -> str:
    """How much was found in how many images, in a sentence."""
    images = f"{len(audit.features.targets):,} images"
    found = [f"{kind} {n:,}" for kind, n in audit.counts.items() if n]
    if not found:
        return f"Nothing was found in {images}."
    return f"Found in {images}: {', '.join(found)}."


def say_leak(audit: Audit) -> list[str]:
    """The accuracy with and without the leaked test images, in sentences."""
    leak = audit.leak
    if leak is None:
        return []
    every = leak.everything
    how = "" if every.method == "wilson" else " by groups"
    interval = format_interval(every.interval)
    whole = f"{format_score(every.correct, every.total)}, 95 % interval{how} {interval}"
    if not leak.leaked:
        return [f"No test image has a copy in train or val. Accuracy of {leak.clf}: {whole}."]
    verb = "image has a copy" if leak.leaked == 1 else "images have copies"
    said = f"{leak.leaked} test {verb} in train or val. Accuracy of {leak.clf} on all: {whole}; "
    if leak.without is None:
        return [said + "without them no test image is left."]
    left = leak.without
    without = f"{format_score(left.correct, left.total)}, {format_interval(left.interval)}"
    return [said + f"without them: {without}."]


def say_strangers(audit: Audit) -> list[str]:
    """By which score strangers were looked for, and how well it tells them, in a sentence."""
    if audit.strangers is None:
        return []
    told = audit.strangers.details
    areas = [f"{name} {100 * area:.1f} %" for name, area in told["auroc"].items()]
    how = f"chosen by {told['by']} (AUROC: {', '.join(areas)})" if areas else told["by"]
    return [f"Strangers by {told['score']}, {how}."]


def say_classes(audit: Audit) -> list[str]:
    """How unequal the classes are, in a sentence."""
    for split, counts in audit.classes.items():
        if len(counts) > 1:
            few, many = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
            said = f"A class of {split or 'no split'} has {counts[few]} images ({few})"
            if counts[few] < counts[many]:
                said += f" to {counts[many]} ({many})"
            else:
                said = f"Every class of {split or 'no split'} has {counts[few]} images"
            rare = f"; rare: {', '.join(audit.rare)}" if audit.rare else ""
            return [f"{said}{rare}."]
    return []


def list_rows(audit: Audit) -> Iterator[list[Any]]:
    """Rows of the CSV, in the order of `COLUMNS`."""
    for one in audit.findings:
        values = dataclasses.asdict(one)
        yield ["" if values[name] is None else values[name] for name in COLUMNS]


def write_audit_page(
    audit: Audit, path: Path, corrections: Corrections | None = None, most: int = PAGE_BYTES
) -> Path:
    """Write the audit as an HTML page that needs no network, on which findings are answered, too.

    Parameters
    ----------
    audit : Audit
    path : Path
        Where it would be larger than `most`, its pictures lie in the folder beside it that
        `pictures_folder` says.
    corrections : Corrections, optional
        Earlier answers, which the page goes on with.
    most : int
        Bytes.

    Raises
    ------
    OutputExistsError
        That folder holds something else.
    """
    pictures = {} if audit.root is None else _place_pictures(audit, audit.root, path, most)
    write_text(path, as_text(render_audit_page(audit, pictures, corrections)))
    return path


def pictures_folder(page: Path) -> Path:
    """Where the pictures of a large page lie."""
    return page.with_name(f"{page.stem}-pictures")


def _place_pictures(audit: Audit, root: Path, page: Path, most: int) -> dict[str, str]:
    """Small pictures by path: data: URIs, or where these are too large, addresses of files."""
    shown = Counter(
        name
        for _, found in _by_kind(audit)
        for one in found[:_SHOWN]
        for name in (one.path, one.other)
    )
    names = [name for one in audit.findings for name in (one.path, one.other) if name]
    folder, held, size = pictures_folder(page), dict[str, bytes](), 0
    placed: dict[str, str] = {}

    def put(name: str, jpeg: bytes) -> None:
        file = f"{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:24]}.jpg"
        (folder / file).write_bytes(jpeg)
        placed[name] = f"{quote(folder.name)}/{file}"

    colours = audit.features.provenance.colours
    for name, jpeg in iterate_thumbnails(root, dict.fromkeys(names, LARGE), colours):
        held[name] = jpeg
        size += 4 * len(jpeg) // 3 * (1 + shown[name])
        if size > most:
            if not placed:
                check_own_folder(folder, _MARK)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / _MARK).write_text(f"Pictures of {page.name}, written by featx audit.\n")
            for one in held.items():
                put(*one)
            held.clear()
    return placed | {name: embed_jpeg(jpeg) for name, jpeg in held.items()}


def describe_review(audit: Audit, corrections: Corrections | None = None) -> dict[str, Any] | None:
    """What the page's script asks about, as JSON values; None where there is nothing to ask."""
    features = audit.features
    row_of = {path: row for row, path in enumerate(features.paths.tolist())}
    asked = [one for one in audit.findings if one.path in row_of and one.kind not in _UNASKED]
    if not asked:
        return None
    place: dict[str, int] = {}
    # What the page opens with comes first, so that its pictures do.
    for one in sorted(asked, key=lambda one: one.kind != "label"):
        for name in filter(None, (one.path, one.other)):
            place.setdefault(name, len(place))

    def describe(path: str) -> list[str]:
        row = row_of[path]
        label = features.classes[k] if (k := features.targets[row]) >= 0 else ""
        split = str(features.splits[row])
        return [str(features.hashes[row]), path, split, label]

    def ask(one: Finding) -> list[Any]:
        offer = "leave out" if one.kind in _SPARED else "is" if one.suggested else ""
        words = one.detail
        if one.score is not None and one.kind in _PAIRS:
            words = f"cosine {one.score:.3f}; {words}"
        elif one.score is not None and one.suggested:
            words += f", {100 * one.score:.1f} % {one.label}"
        other = place.get(one.other, -1)
        return [one.kind, place[one.path], other, offer, one.suggested, words]

    kinds = {one.kind for one in asked}
    of = hash_json([features.fingerprint, [[one.kind, one.path, one.other] for one in asked]])
    return {
        "key": f"featx-review-{of[:32]}",
        "saves": CORRECTIONS_NAME,
        "columns": list(CORRECTION_COLUMNS),
        "answers": list(ANSWERS),
        "kinds": {kind: what for kind, what in KINDS.items() if kind in kinds},
        "classes": list(features.classes),
        "images": [describe(path) for path in place],
        "together": _TOGETHER,
        "items": [ask(one) for one in asked],
        "earlier": [one.to_row() for one in corrections.rows] if corrections else [],
    }


def render_audit_page(
    audit: Audit, pictures: Mapping[str, str], corrections: Corrections | None = None
) -> str:
    """The page's text; pictures are data: URIs, or addresses of files beside it, by path."""

    def show(one: Finding) -> dict[str, Any]:
        found = dataclasses.asdict(one)
        return {
            **found, "picture": pictures.get(one.path), "other_picture": pictures.get(one.other)
        }  # fmt: skip

    made, corrected = audit.features.provenance, audit.features.corrected
    values = {
        "dataset": audit.features.dataset,
        # What stands first is the page's headline.
        "lead": [
            *(say_leak(audit) or [say_found(audit)]),
            *say_strangers(audit),
            *say_classes(audit),
        ],
        "notes": [*(corrected.notes if corrected else ()), *audit.notes],
        "facts": [
            ("Images", f"{len(audit.features.targets):,}"),
            ("Pictures looked at", f"{audit.looked:,}"),
            ("Labels judged", f"{audit.judged:,}"),
            ("Split", audit.features.split_rule),
            ("Network", f"{made.backbone}, {made.weights}"),
            ("Seconds", format_seconds(audit.seconds)),
        ],
        "kinds": [
            {"kind": kind, "what": what, "found": audit.counts[kind]}
            for kind, what in KINDS.items()
            if kind in audit.counts
        ],
        "sections": [
            {
                "kind": kind,
                "what": KINDS[kind],
                "pairs": kind in _PAIRS,
                "shown": [show(one) for one in found[:_SHOWN]],
                "total": len(found),
            }
            for kind, found in _by_kind(audit)
        ],
        "classes": [
            [name, *(counts[name] for counts in audit.classes.values())]
            for name in audit.features.classes
        ]
        if audit.classes
        else [],
        "splits": [split or "no split" for split in audit.classes],
    }
    review = describe_review(audit, corrections)
    images = review["images"] if review else []
    # Behind the script, which begins before they are there.
    blocks = [
        [pictures.get(path, "") for _, path, *_ in images[some]]
        for some in iterate_slices(len(images), _TOGETHER)
    ]
    script = load_script("review.js")
    beside = any(not source.startswith("data:") for source in pictures.values())
    rules = [
        "default-src 'none'",
        "img-src data:" + " 'self' file:" * beside,
        "style-src 'unsafe-inline'",
        *([] if review is None else [f"script-src {hash_script(script)}"]),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    template = load_environment().get_template("audit.html")
    page = template.render(
        policy="; ".join(rules), font=FONT, review=review, blocks=blocks, script=script,
        saves=CORRECTIONS_NAME, answers=ANSWERS, **clean_values(values),
    )  # fmt: skip
    return f"{PAGE_START}\n{page.lstrip()}"


def _by_kind(audit: Audit) -> list[tuple[str, list[Finding]]]:
    """Kinds that have findings, with them."""
    found = {kind: [one for one in audit.findings if one.kind == kind] for kind in KINDS}
    return [(kind, some) for kind, some in found.items() if some]
