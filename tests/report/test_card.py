"""Model cards: what YAML and Markdown readers make of them, and where each figure is from."""

import json
from dataclasses import replace

import pytest
import yaml
from made_results import HOSTILE
from markdown_it import MarkdownIt
from shared import CLASSES

from featx.errors import ModelError, OutputExistsError
from featx.features.file import read_features
from featx.heads.fit import fit
from featx.report.card import make_card, render_card, write_card
from featx.report.comparison import write_report
from featx.storage.files import hash_file
from featx.text import format_interval, printable
from featx.training.model import write_model


def read_head(card):
    """The YAML at the top."""
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def read_tables(card):
    """Every table of the Markdown, as rows of the text that a reader sees."""
    tokens = MarkdownIt("commonmark").enable("table").parse(card.split("---\n", 2)[2])
    tables = []
    for token in tokens:
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline" and tables and token.level > 2:
            tables[-1][-1].append("".join(one.content for one in token.children))
    return tables


@pytest.fixture
def model(feature_file, tmp_path):
    features = read_features(feature_file("first:4,2"))
    return fit(features, "logreg", C=1.0, output=tmp_path / "m.safetensors")


def test_the_figures_are_those_of_results_json(comparison):
    report = write_report(comparison)
    values = json.loads(report.results.read_text("utf-8"))
    card = report.card.read_text("utf-8")
    assert values["card"] == str(report.card) == str(comparison.folder / "README.md")
    chosen = next(c for c in values["candidates"] if c["name"] == values["verdict"]["choose"])
    head = read_head(card)
    assert head["license"] == "unknown"
    assert (head["library_name"], head["pipeline_tag"]) == ("featx", "image-classification")
    assert head["tags"] == ["image-classification", "featx", "resnet50"]
    (index,) = head["model-index"]
    assert index["name"] == f"{chosen['name']} on photos"
    (result,) = index["results"]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "imagefolder", "name": "photos", "split": "test"}
    accuracy, f1, loss = result["metrics"]
    assert accuracy["value"] == chosen["accuracy"]["test"]
    assert format_interval(chosen["ci95"]["test"]) in accuracy["name"]
    test = chosen["evaluation"]["test"]
    assert (f1["value"], loss["value"]) == (test["macro_f1"], test["log_loss"])
    _, images, scores, per_class = read_tables(card)
    assert images[0] == ["class", "train", "val", "test"]
    assert images[1:] == [*([name, "4", "2", "3"] for name in CLASSES), ["all", "12", "6", "9"]]
    assert [row[0] for row in scores[1:]] == list(chosen["accuracy"])
    assert scores[-1][1] == f"{chosen['counts']['test']['correct']} of 9"
    told = {row[0]: row[1:] for row in per_class[1:]}
    for name, one in zip(values["classes"], test["per_class"], strict=True):
        assert told[name][0] == f"{one['correct']} of {one['total']}"
        assert told[name][2] == format_interval(one["ci95"])
    shares = [float(row[2].removesuffix(" %")) for row in per_class[1:]]
    assert shares == sorted(shares)
    for said in (values["dataset"]["fingerprint"], values["features"]["weights_sha256"]):
        assert said in card
    assert f"featx fit F.h5 --clf {chosen['name']}" in card
    assert "featx compare --config featx.toml" in card
    assert str(comparison.root) not in card  # nobody's folders are given away


def test_a_folder_stands_for_what_it_chooses_and_a_model_for_itself(comparison):
    report = write_report(comparison)
    assert render_card(comparison.folder) == report.card.read_text("utf-8")
    other = next(c for c in comparison.candidates if c.name != comparison.verdict.choose)
    place = comparison.folder / other.model.path.name
    card = render_card(place)
    assert card.startswith("---\n# Written by featx")
    value = read_head(card)["model-index"][0]["results"][0]["metrics"][0]["value"]
    assert value == other.outcome.scores["test"].accuracy
    assert "featx compare --config featx.toml" in card
    place.unlink()
    chosen = next(c for c in comparison.candidates if c.name == comparison.verdict.choose)
    (comparison.folder / chosen.model.path.name).unlink()
    with pytest.raises(ModelError, match=f"chooses {chosen.name}, and .* is not there"):
        render_card(comparison.folder)
    (comparison.folder / "results.json").write_text("{")
    with pytest.raises(ModelError, match=r"results\.json is damaged, or chooses none of its"):
        render_card(comparison.folder)


def test_a_model_alone_says_what_its_file_keeps(model):
    card = render_card(model.path)
    (result,) = read_head(card)["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == model.outcome.scores["test"].accuracy
    facts, images, _, per_class = read_tables(card)
    assert images[-1] == ["all", "12", "6", "9"]
    assert dict(facts[1:])["file"].endswith(f"SHA-256 {hash_file(model.path)}")
    assert sum(int(row[1].split()[0]) for row in per_class[1:]) == round(
        9 * model.outcome.scores["test"].accuracy
    )
    assert "fitted without what tells strangers" in card
    assert "27 labelled images are few" in card
    assert "Classes with fewer than 20 train images: cat, dog, owl." in card
    assert "featx extract DATA --split first:4,2" in card
    assert "Of the images that it learned from: not known." in card


def test_what_an_older_model_does_not_know_is_said(model, tmp_path):
    details = {k: v for k, v in model.outcome.details.items() if k not in ("data", "evaluation")}
    scores = {"train": model.outcome.scores["train"]}
    old = replace(model, outcome=replace(model.outcome, details=details, scores=scores))
    old = replace(old, provenance={**model.provenance, "weights": "file:mine.pth"})
    card = render_card(write_model(old, tmp_path / "old.safetensors").path)
    head = read_head(card)
    assert "model-index" not in head  # train tells nobody how good it is
    assert "How many images of each class there were is not known. The classes: cat, dog" in card
    assert f"contents, classes and splits), {model.recipe['fingerprint']}." in card
    assert "How good it is class by class is not known." in card
    assert "There was no test" in card
    assert "Of the network's weights (file:mine.pth): not known." in card
    assert "--weights FILE" in card


def test_names_are_text_for_yaml_and_markdown(model):
    names = [*HOSTILE, "- x", "a|b", "\\", "`` ` ``", "*b* _i_", "[l](http://x.y)", "&lt;",
             "ж 猫 🐱", "key: 'v' # no", "www.x.org", "null"]  # fmt: skip
    count = [1] * len(names)
    data = {"name": names[0], "split": "\n# forged", "per_class": {"train": count, "test": count},
            "fingerprint": "f" * 64}  # fmt: skip
    each = [{"correct": 1, "total": 1, "ci95": [0.2, 1.0]} for _ in names]
    test = {**model.outcome.details["evaluation"]["test"], "per_class": each}
    details = {**model.outcome.details, "data": data, "evaluation": {"test": test}}
    odd = replace(model, classes=tuple(names), outcome=replace(model.outcome, details=details))
    card = make_card(odd)
    head = read_head(card)
    assert head["model-index"][0]["name"] == f"logreg on {names[0]}"
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == names[0]
    _, images, _, per_class = read_tables(card)
    shown = [" ".join(printable(name).split()) for name in names]
    assert [" ".join(row[0].split()) for row in images[1:-1]] == shown
    assert [" ".join(row[0].split()) for row in per_class[1:]] == shown
    page = MarkdownIt("commonmark").enable("table").render(card.split("---\n", 2)[2])
    for markup in ("<script", "<img", "<a ", "<em", "forged</h1>"):
        assert markup not in page
    assert "http://" not in card  # nor does GitHub make a link of it


def test_strangers_are_told_of(model):
    told = {"score": "knn", "auroc": {"knn": 0.913, "energy": 0.9}, "auroc_ci95": [0.88, 0.94],
            "classes": 3, "images": 18}  # fmt: skip
    details = {**model.outcome.details, "strangers": told}
    card = make_card(replace(model, outcome=replace(model.outcome, details=details)))
    assert "strangers: knn tells a class that was left out with an AUROC of 91.3 %" in card
    assert "calibrated on 18 out-of-fold images." in card


def test_ranks_are_told_of(model):
    kept = [{"rank": "genus", "threshold": 0.9, "left": 21, "answered": 20, "right": 20}]
    told = {"precision": 0.95, "images": 21, "kept": kept}
    details = {**model.outcome.details, "ranks": told}
    card = make_card(replace(model, outcome=replace(model.outcome, details=details)))
    assert "genus answers 20 of 21 (20 right), from a probability of 0.900 on" in card


def test_corrected_labels_are_told_of(model):
    labels = {"file": "/home/me/mine.csv", "sha256": "ab" * 32, "changed": 3, "left_out": 1}
    details = {**model.outcome.details, "labels": labels}
    card = make_card(replace(model, outcome=replace(model.outcome, details=details)))
    assert f"corrected by mine.csv (SHA-256 {'ab' * 32}): 3 changed, 1 images left out." in card
    assert "--labels mine.csv" in card


def test_a_readme_of_somebody_is_left_alone(comparison, caplog):
    path = comparison.folder / "README.md"
    path.write_text("# My notes\n")
    report = write_report(comparison)
    assert report.card is None
    assert report.values["card"] is None
    assert path.read_text() == "# My notes\n"
    assert "README.md: not written, since another file of this name is there" in caplog.text
    with pytest.raises(OutputExistsError, match="not a card that featx wrote"):
        write_card(path, "x")
    write_card(path, "x", overwrite=True)
    assert path.read_text() == "x"
