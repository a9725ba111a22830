"""The review page in Firefox, opened from disk: answers by keys, what is kept, what is saved."""

import csv
import time
from pathlib import Path

import pytest
from made_features import make_features
from made_results import make_picture
from shared import PROVENANCE

from featx.auditing.audit import Audit
from featx.auditing.findings import Finding
from featx.report.audit import render_audit_page

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
STATUS = "document.getElementById('review-status').textContent"
ENTER = "\ue007"  # WebDriver's code of the key


@pytest.fixture
def firefox(monkeypatch, tmp_path):
    pytest.importorskip("websockets", reason="websockets is not installed")
    if not BENCHMARKS.exists():
        pytest.skip("away from the checkout")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from firefox import PROGRAM, start_firefox

    if not PROGRAM.exists():
        pytest.skip(f"no {PROGRAM}")
    with start_firefox(tmp_path) as running:
        yield running
    assert running.said == []


@pytest.fixture
def page(tmp_path):
    """Forty suspected labels, whose pictures are in two blocks, the last one without."""
    made = make_features(PROVENANCE, n_per=20)
    found = tuple(
        Finding("label", f"{row}.jpg", "train", "a", 0.01, suggested="b", detail="98 % b")
        for row in range(40)
    )
    audit = Audit(
        features=made, root=None, looked=0, judged=60, layers="last", findings=found, leak=None,
        classes={}, rare=(), notes=(), seconds=1.0,
    )  # fmt: skip
    pictures = {f"{row}.jpg": make_picture() for row in range(39)}
    path = tmp_path / "audit.html"
    path.write_text(render_audit_page(audit, pictures), encoding="utf-8")
    return path


def wait_for_file(path):
    for _ in range(600):
        if path.exists() and path.stat().st_size:
            return path
        time.sleep(0.05)
    raise AssertionError(f"{path.name} was not saved")


def test_a_review_by_keys_is_remembered_and_saved(firefox, page):
    firefox.open(page)
    assert "1 of 40: 0.jpg, label a, suggestion: is b" in firefox.evaluate(STATUS)
    shown = "document.querySelector('#review-first img')"
    assert firefox.evaluate(f"{shown}.decode().then(() => {shown}.naturalWidth)") == 96
    firefox.press("s", "r", "x", "z", "c")
    firefox.press(*"wolf", ENTER)
    assert "2.jpg is wolf, a new class. 4 of 40" in firefox.evaluate(STATUS)
    firefox.open(page)  # again
    assert "4 of 40: 3.jpg" in firefox.evaluate(STATUS)
    for _ in range(36):
        firefox.evaluate("document.getElementById('review-next').click()")
    assert "40 of 40: 39.jpg" in firefox.evaluate(STATUS)
    assert firefox.evaluate(f"{shown}.hidden")
    firefox.evaluate("document.getElementById('review-save').click()")
    saved = wait_for_file(firefox.downloads / "corrections.csv").read_text("utf-8")
    rows = {row["path"]: row for row in csv.DictReader(saved.splitlines())}
    assert {name: (row["answer"], row["label"]) for name, row in rows.items()} == {
        "0.jpg": ("is", "b"), "1.jpg": ("right", ""), "2.jpg": ("is", "wolf")
    }  # fmt: skip


@pytest.mark.parametrize("width", [320, 2560])
def test_nothing_is_cut_off(firefox, page, width):
    firefox.resize(width)
    firefox.open(page)
    assert firefox.evaluate("document.documentElement.scrollWidth") <= width
