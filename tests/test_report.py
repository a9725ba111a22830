import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import CLASSES
from PIL import Image

from featx.comparison import Pair, compare
from featx.metrics import score_labels
from featx.prediction import Prediction
from featx.rendering import (
    format_interval,
    format_score,
    format_seconds,
    render_predictions,
)
from featx.report import draw_examples, render_pair, render_text, write_report
from featx.text import printable


@pytest.fixture
def comparison(stored, photos, tmp_path):
    return compare(
        photos, split="first:4,2", epochs=2, cache_dir=tmp_path / "cache", output=tmp_path / "out"
    )


def test_every_file_is_written_and_is_what_it_says(comparison, tmp_path):
    report = write_report(comparison)
    values = json.loads(report.results.read_text())
    assert values == {**json.loads(json.dumps(comparison.to_dict())), "report": str(report.page)}
    page = report.page.read_text()
    assert "![Loss and accuracy over the epochs](curves.png)" in page
    assert f"featx compare {tmp_path / 'out' / 'split.csv'} --root {comparison.root}" in page
    for picture in (report.curves, report.examples):
        with Image.open(picture) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert min(pixels.shape[:2]) > 200
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50  # something is drawn


def test_the_table_has_the_counts(comparison):
    text = render_text(comparison)
    assert "photos: 3 classes, 12 train, 6 val, 9 test images (split first:4,2)" in text
    for candidate in comparison.candidates:
        score = candidate.outcome.scores["test"]
        (line,) = [x for x in text.splitlines() if x.startswith(f"{candidate.name} ") and "%" in x]
        assert f"({score.correct}/9)" in line
        assert format_interval(score) in line
        assert f"{candidate.outcome.trainable_parameters:,}" in line


def test_a_datasets_name_is_no_markup(comparison):
    name = "<script>alert(1)</script>\n## forged"
    page = write_report(
        replace(comparison, features=replace(comparison.features, dataset=name))
    ).page
    text = page.read_text()
    assert "<script>" not in text
    assert "\n## forged" not in text
    assert "# &lt;script&gt;alert(1)&lt;/script&gt;\\n## forged\n" in text


def test_no_curves_without_epochs(comparison):
    frozen = replace(comparison, candidates=comparison.candidates[:1], best="logreg")
    assert write_report(frozen).curves is None


def test_class_names_are_text(comparison, tmp_path):
    strange = ("$x^2", "<script>", "a\\b_{")
    features = replace(comparison.features, classes=strange)
    assert draw_examples(replace(comparison, features=features), tmp_path / "x.png").exists()
    assert len(strange) == len(CLASSES)


def test_numbers_as_people_read_them():
    score = score_labels(np.zeros(283, int), (np.arange(283) >= 276).astype(int))
    assert format_score(score) == "97.5 % (276/283)"
    assert format_interval(score) == "95.0 to 98.8"
    assert [format_seconds(s) for s in (None, 0.00512, 36.84, 512.3)] == [
        "–",
        "0.00512",
        "36.8",
        "512",
    ]


def test_pairs_in_words():
    assert render_pair(Pair("a", "b", 7, 4, 0.5, 1.0), 283) == (
        "a and b: 11 of 283 test images are right with one of them alone (7 with a, 4 with b), "
        "p = 1: not distinguishable."
    )
    assert render_pair(Pair("a", "b", 9, 0, 0.004, 0.004), 283).endswith(
        "p = 0.004: distinguishable."
    )
    assert "are right and wrong on the same 9" in render_pair(Pair("a", "b", 0, 0, 1, 1), 9)


def test_control_characters_do_not_reach_the_terminal():
    assert printable("Zoë.jpg") == "Zoë.jpg"
    assert printable("\x1b[2Jx\n") == "\\x1b[2Jx\\n"
    table = render_predictions([Prediction("\x1b]0;x\x07.jpg", "c\nat", 0.5, (("c\nat", 0.5),))])
    assert "\x1b" not in table
    assert "c\\nat" in table
