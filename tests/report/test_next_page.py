"""What to label next in words, rows and a page."""

from dataclasses import replace

import numpy as np
import pytest
from made_results import HOSTILE, TOLD, make_next

from featx.errors import OutputExistsError
from featx.labelling.forecast import Gain
from featx.labelling.next import Proposal
from featx.report.next import (
    PAGE_START,
    check_unfilled,
    list_rows,
    render_next,
    render_next_page,
    say_forecast,
    write_next_page,
)


@pytest.fixture
def found():
    return make_next()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "From about 240 labels on 50 more bring less than 0.5 points."),
        ({"enough": None}, "Up to 320 labels, 50 more bring 0.5 points or more."),
        (
            {"enough": 100},
            "More labels would probably not pay: 50 bring less than 0.5 points on average.",
        ),
        (
            {"rounds": (Gain(150, 0.002, (0.0, 0.004)),), "enough": 100},
            "More labels would not pay: even a lucky draw brings less than 0.5 points.",
        ),
        (
            {"rounds": (), "enough": None, "more": 300},
            "Nothing is said of 300 more labels: that is more than 320 in all, four times what was "
            "measured.",
        ),
    ],
)
def test_what_more_would_bring_is_a_sentence(found, changes, said):
    told = say_forecast(replace(found, forecast=replace(TOLD, **changes)))
    assert told[0] == "Accuracy of logreg by number of labels, on test: 80.0 % of 20, 90.0 % of 80."
    assert told[-1] == said
    if "rounds" not in changes:
        assert told[1] == (
            "Another 50 would bring +2.0 points (+1.0 to +3.0), as a power law through these has "
            "it; in brackets what 95 % of single draws of 50 would bring."
        )


def test_the_text_names_some_and_says_how_many_more(found):
    text = render_next(found)
    assert text.startswith(
        "made: 100 labels, 36 images without one; to label next: 12, those that "
    )
    assert "… and 2 more: --csv, --report and --json have all." in text
    assert text.endswith("A note.")
    assert say_forecast(replace(found, forecast=None)) == []


def test_labels_that_were_filled_in_are_not_written_over(found, tmp_path):
    path = tmp_path / "next.csv"
    check_unfilled(path)
    rows = [",".join(row) for row in list_rows(found)]
    path.write_text("\n".join(["path,sha256,label", *rows]), "utf-8")
    check_unfilled(path)
    path.write_text("\n".join(["path,sha256,label", rows[0] + "cat", *rows[1:]]), "utf-8")
    with pytest.raises(OutputExistsError, match="1 labels that someone filled in"):
        check_unfilled(path)
    path.write_text("path;sha256;label\n0.jpg;0;cat\n", "utf-8")
    with pytest.raises(OutputExistsError, match="not a file that featx wrote"):
        check_unfilled(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_on_the_page(found, name):
    image = Proposal(name, "0" * 64, name, np.nan)
    page = render_next_page(replace(found, images=(image,)), {name: "data:image/jpeg;base64,AA"})
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert page.startswith(PAGE_START)


def test_the_curve_is_drawn_once_and_named(found):
    page = render_next_page(found, {})
    chart = page[page.index('class="curve"') : page.index("<figcaption>")]
    assert "measured up to 80, and with a band what up to 200 would bring" in chart
    assert chart.count("<svg") == 1
    assert "holds 95 % of single draws" in page
    less = replace(TOLD, rounds=(), enough=None)
    page = render_next_page(replace(found, forecast=less), {})
    assert "<svg" in page
    assert "band" not in page
    assert "<svg" not in render_next_page(replace(found, forecast=None), {})


def test_without_pictures_there_is_a_page_all_the_same(found, tmp_path):
    page = write_next_page(found, tmp_path / "next.html").read_text("utf-8")
    assert "0.jpg" in page
    assert "data:image" not in page
