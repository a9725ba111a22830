"""An audit in words, rows and a page: counts, sentences, and names that are text alone."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_features import make_features
from made_results import HOSTILE
from shared import PROVENANCE, draw_photo

from featx.auditing.audit import Audit, Leak
from featx.auditing.findings import COLUMNS, Finding
from featx.errors import OutputExistsError
from featx.features.corrections import read_corrections
from featx.report.audit import (
    PAGE_START,
    describe_review,
    list_rows,
    pictures_folder,
    render_audit,
    render_audit_page,
    say_classes,
    say_leak,
    write_audit_page,
)
from featx.training.metrics import score_labels


def score(correct, total):
    y = np.zeros(total, int)
    return score_labels(y, (np.arange(total) >= correct).astype(int))


@pytest.fixture
def audit():
    findings = (
        Finding("leak", "t/1.jpg", "test", "a", 0.99, "r/1.jpg", "train", "a", detail="near"),
        *(Finding("label", f"{k}.jpg", "train", "a", 0.01, suggested="b") for k in range(12)),
        Finding("outlier", "far.jpg", "", "", None),
    )
    return Audit(
        features=make_features(PROVENANCE, classes=("a", "b")), root=None, looked=0, judged=36,
        layers="last",
        findings=findings,
        leak=Leak("logreg", 1, score(8, 10), score(7, 9)),
        classes={"train": {"a": 9, "b": 2}}, rare=("b",), notes=("A note.",), seconds=1.5,
    )  # fmt: skip


def test_a_page_without_test_images_begins_with_what_was_found(audit):
    bare, n = replace(audit, leak=None), len(audit.features.targets)
    text = render_audit_page(bare, {})
    assert f'<p class="lead">Found in {n} images: leak 1, label 12, outlier 1.</p>' in text
    text = render_audit_page(replace(bare, findings=()), {})
    assert f'<p class="lead">Nothing was found in {n} images.</p>' in text
    assert '<p class="lead">1 test image has a copy' in render_audit_page(audit, {})


def test_the_leak_is_told_with_both_accuracies(audit):
    (said,) = say_leak(audit)
    assert said.startswith("1 test image has a copy in train or val. Accuracy of logreg on all: ")
    assert "80.0 % (8/10)" in said
    assert said.count("%") == 3
    assert "without them: 77.8 % (7/9)" in said
    none = replace(audit, leak=replace(audit.leak, leaked=0))
    assert say_leak(none)[0].startswith("No test image has a copy in train or val. ")
    nothing = replace(audit, leak=replace(audit.leak, leaked=10, without=None))
    assert say_leak(nothing)[0].endswith("without them no test image is left.")
    assert say_leak(replace(audit, leak=None)) == []


def test_unequal_classes_are_told(audit):
    assert say_classes(audit) == ["A class of train has 2 images (b) to 9 (a); rare: b."]
    equal = replace(audit, classes={"train": {"a": 9, "b": 9}}, rare=())
    assert say_classes(equal) == ["Every class of train has 9 images."]
    assert say_classes(replace(audit, classes={})) == []


def test_the_text_shows_some_of_each_kind_and_says_how_many_more(audit):
    text = render_audit(audit)
    assert re.search(r"^label +12  a label that is probably wrong$", text, re.MULTILINE)
    assert "… and 2 more: --csv and --json have all." in text
    assert text.index("leak: a copy") < text.index("label: a label") < text.index("outlier: ")


def test_rows_have_all_of_it(audit):
    rows = list(list_rows(audit))
    assert len(rows) == 14
    assert dict(zip(COLUMNS, rows[0], strict=True))["other"] == "r/1.jpg"
    assert rows[-1][COLUMNS.index("score")] == ""


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_on_the_page(audit, name):
    found = replace(audit.findings[0], path=name, label=name, other=name, detail=name)
    page = render_audit_page(replace(audit, findings=(found,)), {name: "data:image/jpeg;base64,AA"})
    assert page.count("<script") in (0, 3)  # its own
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert page.startswith(PAGE_START)


def test_without_pictures_there_is_a_page_all_the_same(audit, tmp_path):
    path = write_audit_page(audit, tmp_path / "audit.html")
    page = path.read_text("utf-8")
    assert "t/1.jpg" in page
    assert "data:image" not in page
    assert Path(path).stat().st_size > 1000


@pytest.fixture
def pictured(audit, tmp_path):
    """A suspected label, a copy and an outlier, with pictures of their rows."""
    made = audit.features
    found = (
        Finding("label", "0.jpg", "train", "a", 0.01, suggested="b", detail="98 % b"),
        Finding("copy", "1.jpg", "train", "a", 0.99, "2.jpg", "train", "a", detail="near"),
        Finding("outlier", "13.jpg", "train", "b", 0.4),
        Finding("skipped", "gone.jpg", detail="damaged"),
    )
    for name in ("0.jpg", "1.jpg", "2.jpg", "13.jpg"):
        draw_photo(tmp_path / "made" / name, 0, 0)
    hashes = made.hashes.copy()
    hashes[2] = hashes[1]
    return replace(
        audit, features=replace(made, hashes=hashes), root=tmp_path / "made", findings=found
    )


def test_the_review_asks_what_can_be_looked_at(pictured):
    asked = describe_review(pictured)
    assert asked["kinds"].keys() == {"label", "copy", "outlier"}
    assert [image[1:4] for image in asked["images"]] == [
        ["0.jpg", "train", "a"], ["1.jpg", "train", "a"], ["2.jpg", "train", "a"],
        ["13.jpg", "train", "b"],
    ]  # fmt: skip
    assert [
        one[0] == f"{row:064x}" for one, row in zip(asked["images"], (0, 1, 1, 13), strict=True)
    ]
    assert asked["items"] == [
        ["label", 0, -1, "is", "b", "98 % b, 1.0 % a"],
        ["copy", 1, 2, "leave out", "", "cosine 0.990; near"],
        ["outlier", 3, -1, "", "", ""],
    ]
    assert asked["key"] != describe_review(replace(pictured, findings=pictured.findings[1:]))["key"]
    assert describe_review(replace(pictured, findings=pictured.findings[3:])) is None


def test_pictures_are_in_blocks_behind_the_script(pictured, monkeypatch):
    monkeypatch.setattr("featx.report.audit._TOGETHER", 3)
    audit = replace(pictured, findings=pictured.findings[::-1])
    asked = describe_review(audit)
    # Those of the kind that the page opens with come first.
    assert [image[1] for image in asked["images"]] == ["0.jpg", "13.jpg", "1.jpg", "2.jpg"]
    assert [item[:3] for item in asked["items"]] == [
        ["outlier", 1, -1], ["copy", 2, 3], ["label", 0, -1]
    ]  # fmt: skip
    page = render_audit_page(audit, {"0.jpg": "data:,0", "2.jpg": "data:,2"})
    blocks = re.findall(
        'review-pictures-([0-9]+)">(.*?)</script>', page[page.index("JSON.parse") :]
    )
    assert [name for name, _ in blocks] == ["0", "1"]
    assert [json.loads(text) for _, text in blocks] == [["data:,0", "", ""], ["data:,2"]]
    assert asked["together"] == 3


def test_earlier_answers_are_on_the_page(pictured, tmp_path):
    (tmp_path / "C.csv").write_text(f"sha256,was,answer,label\n{7:064x},a,is,b\n")
    asked = describe_review(pictured, read_corrections(tmp_path / "C.csv"))
    assert asked["earlier"] == [[f"{7:064x}", "", "a", "is", "b", ""]]


def test_a_large_page_has_its_pictures_beside_it(pictured, tmp_path):
    page = tmp_path / "pages" / "large page.html"
    page.parent.mkdir()
    write_audit_page(pictured, page, most=3000)
    text = page.read_text("utf-8")
    folder = pictures_folder(page)
    assert len(list(folder.glob("*.jpg"))) == 4
    assert "data:image" not in text
    assert 'src="large%20page-pictures/' in text
    assert "img-src data: 'self' file:" in html.unescape(text)
    write_audit_page(pictured, page)  # now in the page
    assert "data:image/jpeg" in page.read_text("utf-8")
    other = tmp_path / "other.html"
    pictures_folder(other).mkdir()
    (pictures_folder(other) / "mine.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="a folder with other files"):
        write_audit_page(pictured, other, most=3000)
