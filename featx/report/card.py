"""A model's card: a README.md, as the Hugging Face Hub has them, of what is known of a model.

Its head is YAML by the Hub's specification of model cards (huggingface/hub-docs, modelcard.md).
What is not known is said to be not known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment

from featx.config import BACKBONE, BACKBONES, FEW_IMAGES, LAST_LAYER, SPLITS
from featx.errors import ModelError, OutputExistsError
from featx.network.catalogue import KNOWN
from featx.report.page import clean_values, load_environment
from featx.report.ranks import say_kept
from featx.report.rerun import say_training
from featx.report.strangers import say_learned
from featx.storage.files import hash_file, take_path, write_text
from featx.text import format_bytes, format_interval, format_seconds, list_some
from featx.training.model import Model, read_model

CARD = "README.md"
RESULTS = "results.json"
# The card's second line, a comment of its YAML: what may be written over.
_MARK = "# Written by featx, which replaces this file while this line is in it."
# What Markdown, GitHub's additions and formulas give a meaning where it stands.
_SPECIAL = re.compile(
    r"[\\`*\[\]<>#|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|:(?=//)|(?<=\w)@(?=\w)|(?<=www)\.|^[-+]",
    re.IGNORECASE,
)
_FEW = 20  # train images of a class, below which its figure leans on each of them


def render_card(model: str | Path | Model) -> str:
    """What is known of a model as Markdown, to be its README.md on the Hugging Face Hub.

    Parameters
    ----------
    model : path or Model
        Of a model file the card has what the file keeps and, where it is one of a comparison's
        models, what the comparison found. A comparison's folder stands for the candidate that the
        comparison chooses.

    Returns
    -------
    str
        YAML between two lines of "---", then Markdown. Names are escaped.

    Raises
    ------
    ModelError
        No such model, or damaged; no comparison that names a model that is there.

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> model = featx.fit(featx.load_features("F.h5"), "centroid", output="model.safetensors")
    >>> print(featx.render_card("model.safetensors").splitlines()[2])
    license: unknown
    """
    trained = model if isinstance(model, Model) else _read_model(take_path(model, "model"))
    # A network has a folder of its own in its comparison's.
    for home in trained.path.resolve().parents[:2] if trained.path else ():
        results = _read_results(home / RESULTS)
        if results is not None and find_candidate(trained, results) is not None:
            return make_card(trained, results)
    return make_card(trained)


def make_card(model: Model, results: Mapping[str, Any] | None = None) -> str:
    """The same of a model and, where there are any, results.json's values of its comparison."""
    model.need_one_label("featx card")
    values = clean_values(_describe(model, results))
    text = _load_environment().get_template("card.md").render(mark=_MARK, **values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def write_card(path: Path, text: str, overwrite: bool = False) -> None:
    """Write a card where it replaces nothing but a card.

    Raises
    ------
    OutputExistsError
        `path` is something else, and `overwrite` is False.
    """
    if path.exists() and not overwrite and not _is_card(path):
        raise OutputExistsError(path, ("not a card that featx wrote",))
    write_text(path, text)


def _is_card(path: Path) -> bool:
    """Whether a file has our mark."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return [file.readline(len(_MARK) + 2).strip() for _ in "12"][1] == _MARK.encode()


def find_candidate(model: Model, results: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a comparison says of a model: its names hold the hash of its recipe."""
    if model.path is None:
        return None
    for one in results["candidates"]:
        if _name(PurePath(one["model"])) == _name(model.path):
            found: Mapping[str, Any] = one
            return found
    return None


def _name(path: PurePath) -> tuple[str, ...]:
    """What is a model's own in its path: a network's file is named by its folder."""
    return path.parts[-2:] if path.name == "model.safetensors" else path.parts[-1:]


def _read_model(path: Path) -> Model:
    """A model; of a comparison's folder the one that it chooses."""
    results = _read_results(path / RESULTS)
    if results is None:
        if (path / RESULTS).is_file() and not (path / "model.safetensors").is_file():
            raise ModelError(
                f"{path / RESULTS} is damaged, or chooses none of its candidates: compare again, "
                f"or name one of the model files in {path}"
            )
        return read_model(path)
    name = results["verdict"]["choose"]
    chosen = next(one for one in results["candidates"] if one["name"] == name)
    place = path.joinpath(*_name(PurePath(chosen["model"])))
    if not place.is_file():
        raise ModelError(f"{path} chooses {name}, and {place} is not there: compare again")
    return read_model(place)


def _read_results(path: Path) -> dict[str, Any] | None:
    """A comparison's results; None where there are none."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return found if found["verdict"]["choose"] and found["candidates"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _describe(model: Model, results: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the template says, as JSON values."""
    found = find_candidate(model, results) if results else None
    entry, told = found or model.to_dict(), results if results and found else {}
    data = told.get("dataset") or entry.get("data") or {}
    name = entry.get("name") or model.title
    network = {"backbone": BACKBONE, **model.provenance}
    test = (entry.get("evaluation") or {}).get("test") or {}
    scores = _list_scores(entry)
    score = next((one for one in reversed(scores) if one["split"] != "train"), None)
    return {
        "title": f"{name} on {data['name']}" if data.get("name") else name,
        "network": network,
        "data": data,
        "classes": list(model.classes),
        "splits": [s for s in (*SPLITS, "") if s in (data.get("per_class") or {})],
        "score": score,
        "scores": scores,
        "measures": _list_measures(test) if score and score["split"] == "test" else [],
        "lead": _say_kind(model, network),
        "verdict": (told.get("verdict") or {}).get("sentences") or [],
        "facts": _list_facts(model, network, told),
        "use": [f"featx predict {model.path.name if model.path else 'MODEL'} photo.jpg"],
        "about_data": _say_data(model, entry, data, told),
        "about_scores": _say_measures(entry, test),
        "per_class": _sort_classes(model.classes, test.get("per_class") or []),
        "limits": _list_limits(model, entry, data, told),
        "licences": _list_licences(network),
        "again": say_training(model),  # of a comparison's own command paths would be given away
        "about_again": _say_again(model, told),
    }


def _say_kind(model: Model, network: Mapping[str, Any]) -> str:
    n, backbone = len(model.classes), network["backbone"]
    made = f"{model.name}, a classifier on what a frozen {backbone} sees in a picture"
    if model.kind != "head":
        made = f"{backbone}, fine-tuned ({model.name})"
    return f"{made}: it says which of {n} classes a picture shows."


def _list_facts(
    model: Model, network: Mapping[str, Any], told: Mapping[str, Any]
) -> list[tuple[str, str]]:
    seen, details = network["preprocessing"], model.outcome.details
    chosen = details.get("chosen") or {}
    rows = [
        ("network", f"{network['backbone']}, {BACKBONES[network['backbone']]:,} features"),
        ("its weights", f"{network['weights']}, SHA-256 {network['weights_sha256']}"),
        (
            "what it sees",
            f"the centre square of {seen['crop']} pixels of a picture whose short side has "
            f"{seen['resize']} ({seen['interpolation']})",
        ),
        ("computed by", f"{network['engine']}, {network['precision']}")
        if "engine" in network
        else ("trained", f"{model.name} of the network"),
    ]
    if details.get("layers", LAST_LAYER) != LAST_LAYER:
        rows.append(("reads", f"{details['layers']}, beside the last layer's averages"))
    if chosen.get("name"):
        by = "as given" if chosen["by"] == "given" else f"chosen by {chosen['by']}"
        rows.append((chosen["name"], f"{chosen['value']:g}, {by}"))
    rows.append(("what training decided", f"{model.outcome.trainable_parameters:,} numbers"))
    if details.get("temperature", 1.0) != 1.0:
        rows.append(("temperature", f"{details['temperature']:.3g}"))
    seconds = format_seconds(model.outcome.seconds)
    rows.append(("fitted in", f"{seconds} s on {model.outcome.machine}"))
    versions = told.get("versions") or {}
    if versions:
        rows.append(("versions", ", ".join(f"{key} {one}" for key, one in versions.items())))
    rows.append(("recipe", model.recipe_key))
    if model.path is not None and model.path.is_file():
        size = format_bytes(model.path.stat().st_size)
        rows.append(("file", f"{model.path.name}, {size}, SHA-256 {hash_file(model.path)}"))
    return rows


def _list_scores(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "split": split,
            "accuracy": accuracy,
            **entry["counts"][split],
            "ci95": entry["ci95"][split],
            "method": (entry.get("ci95_method") or {}).get(split, "wilson"),
            "mean_per_class": entry["mean_per_class"][split],
        }
        for split in SPLITS
        if (accuracy := entry["accuracy"].get(split)) is not None
    ]


def _list_measures(test: Mapping[str, Any]) -> list[tuple[dict[str, str], float]]:
    """What the Hub is told beside accuracy, by the names of its metrics."""
    told = (
        ("macro_f1", "f1", "F1, mean of the classes"),
        ("log_loss", "log_loss", "Log-loss, nats"),
    )
    return [
        ({"type": kind, "text": text}, test[key])
        for key, kind, text in told
        if test.get(key) is not None
    ]


def _say_measures(entry: Mapping[str, Any], test: Mapping[str, Any]) -> list[str]:
    """What test says beside accuracy, and what the figures of val are."""
    said = []
    if test:
        parts = [f"log-loss {test['log_loss']:.3f}", f"macro-F1 {test['macro_f1']:.3f}"]
        if test.get("top5") is not None:
            parts.append(f"among the five most probable {100 * test['top5']:.1f} %")
        if test.get("ece_debiased") is not None:
            within = format_interval(test["ece_ci95"])
            parts.append(f"debiased ECE {100 * test['ece_debiased']:.1f} % ({within})")
        said.append(f"On test: {', '.join(parts)}.")
    if "test" not in entry["accuracy"]:
        said.append(
            "There was no test: how good it is on images that decided nothing is not known."
        )
    elif entry.get("val_is_test"):
        said.append("What the data call val is the test.")
    if entry.get("val"):
        said.append(f"The figure of val: {entry['val']}.")
    return said


def _say_data(
    model: Model, entry: Mapping[str, Any], data: Mapping[str, Any], told: Mapping[str, Any]
) -> list[str]:
    if not data:
        return [
            "What images these were is not known beyond the fingerprint of their list (paths, "
            f"contents, classes and splits), {model.recipe['fingerprint']}."
        ]
    said = [
        f"The data are called {data['name']}; splits: {data['split']}. The fingerprint of their "
        f"list (paths, contents, classes and splits): {data['fingerprint']}."
    ]
    if data.get("skipped"):
        said.append(f"{data['skipped']} files could not be read and are no part of this.")
    if labels := entry.get("labels"):
        name = PurePath(labels["file"]).name
        said.append(
            f"Labels were corrected by {name} (SHA-256 {labels['sha256']}): "
            f"{labels['changed']} changed, {labels['left_out']} images left out."
        )
    if groups := told.get("groups"):
        counts = ", ".join(f"{n} {split}" for split, n in groups["counts"].items() if n)
        said.append(f"Images come in groups ({counts}), and intervals count groups.")
    return said


def _sort_classes(
    classes: Sequence[str], per_class: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Classes with their figures on test, the lowest first, those without images last."""
    rows = [{"name": name, **one} for name, one in zip(classes, per_class, strict=False)]
    return sorted(rows, key=lambda one: one["correct"] / one["total"] if one["total"] else 2.0)


def _list_limits(
    model: Model, entry: Mapping[str, Any], data: Mapping[str, Any], told: Mapping[str, Any]
) -> list[str]:
    """What a user must know, from the general to what is this model's."""
    crop = model.provenance["preprocessing"]["crop"]
    said = [
        "The figures are of images taken as those of test were: of other cameras, places and "
        "seasons they say nothing.",
        f"It sees {crop} x {crop} pixels of the middle of a picture: what lies outside is not "
        "seen, and what is small or thin may be lost.",
    ]
    if model.kind == "head" and not model.recipe.get("layers"):
        said.append(
            "Its features were learned for ImageNet's classes: where exactly a thing is in the "
            "picture and whether it is mirrored is mostly not in them."
        )
    said += _say_strangers(model, entry, told.get("strangers") or {})
    if entry.get("ranks"):
        said += [f"{model.title}, {sentence}." for sentence in say_kept(entry["ranks"])]
    counts = (data.get("per_class") or {}).get("train") or []
    total = sum(sum(one) for one in (data.get("per_class") or {}).values())
    if 0 < total < FEW_IMAGES:
        said.append(f"{total} labelled images are few: another split could say something else.")
    few = [name for name, n in zip(model.classes, counts, strict=False) if n < _FEW]
    if few:
        said.append(f"Classes with fewer than {_FEW} train images: {list_some(few)}.")
    if entry.get("alike"):
        said.append("All its images have the same features: it can have learned nothing.")
    decided = (told.get("evidence") or {}).get("shortcuts") or []
    return [*said, *(one["text"] for one in decided), *(told.get("notes") or [])]


def _say_strangers(model: Model, entry: Mapping[str, Any], judged: Mapping[str, Any]) -> list[str]:
    """What it knows of strangers; `judged` is what a comparison found of its chosen candidate."""
    learned = entry.get("strangers")
    if not learned and not (model.kind != "head" and "val" in model.outcome.probabilities):
        return [
            "It gives every picture one of its classes, a wall as well: it was fitted without "
            "what tells strangers (featx fit --strangers)."
        ]
    asked = (
        "It gives every picture one of its classes, a wall as well, but where it is asked to "
        "refuse strangers (--unknown)."
    )
    if judged and judged.get("candidate") == entry.get("name"):
        return [asked, *judged["sentences"]]
    return [asked, f"{model.title}, {say_learned(learned)}."] if learned else [asked]


def _list_licences(network: Mapping[str, Any]) -> list[str]:
    known = KNOWN.get(str(network["weights"]))
    weights = known.licence if known is not None else None
    return [
        f"Of the network's weights ({network['weights']}): {weights or 'not known.'}",
        "Of the images that it learned from: not known.",
        "Of the model itself: not known; license, at the top of this file, is for who gives it "
        "away to fill in.",
        "featx is under the MIT licence.",
    ]


def _say_again(model: Model, told: Mapping[str, Any]) -> list[str]:
    held = ", F.h5 holds their features" if model.kind == "head" else ""
    said = [f"DATA is the folder or manifest of the images above{held}."]
    if told:
        said.append("featx compare --config featx.toml, in its folder, repeats the comparison.")
    return said


@cache
def _load_environment() -> Environment:
    """The pages' environment for Markdown, where names are escaped by `md`."""
    environment = load_environment().overlay(autoescape=False)
    environment.filters = environment.filters | {
        "md": lambda text: _SPECIAL.sub(r"\\\g<0>", str(text)),
        # JSON of what is printable is YAML, too.
        "quoted": lambda text: json.dumps(str(text), ensure_ascii=False),
        "block": _fence,
    }
    return environment


def _fence(lines: Sequence[str]) -> str:
    """Lines as a block of code, whatever they hold."""
    longest = max((len(run) for run in re.findall("`+", "\n".join(lines))), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *lines, fence])
