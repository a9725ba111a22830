"""Images that are unlike all classes, whatever label they bear."""

from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features
from shared import PROVENANCE

import featx
from featx.novelty.scores import Neighbour
from featx.report.audit import render_audit, render_audit_page

CLASSES = tuple("abcd")
PLANTED = [3, 17, 33]


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Four classes that have half of their length in common, and three rows that lack that.

    A class that is left out is at a cosine of 1/2 from the others, and those rows of 0.
    """
    monkeypatch.chdir(tmp_path)  # where no pictures are
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 12)
    X = rng.normal(0, 0.3, (48, 32)).astype(np.float32)
    X[np.arange(48), y] += 12
    X[:, 20] += 12
    X[PLANTED, y[PLANTED]] -= 12
    X[PLANTED, 20] -= 12
    X[PLANTED, [9, 10, 11]] += 12
    plain = make_features(PROVENANCE, n_per=16)
    return replace(plain, X=X, targets=y, classes=CLASSES)


def test_what_is_unlike_all_classes_is_found_and_said(made, monkeypatch):
    monkeypatch.setattr("featx.novelty.learning.SCORES", {"knn": Neighbour})
    found = featx.audit(made, strangers=True, num_workers=0)
    assert {one.path for one in found.findings if one.kind == "stranger"} == {
        f"{row}.jpg" for row in PLANTED
    }
    told = found.to_dict()["strangers"]
    assert (told["score"], told["classes"]) == ("knn", 4)
    assert told["median"] < 0.1 < told["bound"] == pytest.approx(0.5, abs=0.1)
    assert found.counts["stranger"] == 3
    text = render_audit(found)
    assert "Strangers by knn, chosen by classes left out (AUROC: knn " in text
    assert "stranger: unlike all classes" in text
    page = render_audit_page(found, {})
    assert 'id="stranger"' in page
    assert '"stranger":"unlike all classes"' in page  # what the review asks about


def test_they_are_not_looked_for_unasked(made):
    found = featx.audit(made, num_workers=0)
    assert "stranger" not in found.counts
    assert found.to_dict()["strangers"] is None
    assert 'id="stranger"' not in render_audit_page(found, {})


def test_where_no_class_can_be_left_out_a_note_says_so(made):
    two = replace(made, targets=np.repeat([0, 1], 24))
    found = featx.audit(two, strangers=True, num_workers=0)
    assert found.strangers is None
    assert any("no class can be left out" in note for note in found.notes)


def test_features_that_memory_does_not_hold_are_said(made):
    found = featx.audit(made, strangers=True, num_workers=0, max_memory=1)
    assert any("larger than memory may hold" in note for note in found.notes)
