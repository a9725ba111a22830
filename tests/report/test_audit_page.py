"""An audit in words, rows and a page: counts, sentences, and names that are text alone."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_features import make_features
from made_results import HOSTILE
from shared import PROVENANCE

from featx.auditing.audit import Audit, Leak
from featx.auditing.findings import COLUMNS, Finding
from featx.report.audit import (
    PAGE_START,
    list_rows,
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
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert page.startswith(PAGE_START)


def test_without_pictures_there_is_a_page_all_the_same(audit, tmp_path):
    path = write_audit_page(audit, tmp_path / "audit.html")
    page = path.read_text("utf-8")
    assert "t/1.jpg" in page
    assert "data:image" not in page
    assert Path(path).stat().st_size > 1000
