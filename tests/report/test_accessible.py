"""The pages but for the review's: axe-core has nothing against them, and nothing is cut off."""

import pytest
from browsing import AXE, find_violations
from made_results import make_next, make_picture, make_results

from featx.report.explain import render_maps_page
from featx.report.next import render_next_page
from featx.report.page import render_page

pytestmark = pytest.mark.slow


def render_next():
    return render_next_page(make_next(), {"0.jpg": make_picture()})


def render_maps():
    shown = {
        "picture": make_picture(), "path": "x/a.jpg", "file": "00001-a.png", "shown": "a",
        "against": "b", "logit": 0.5, "label": "a", "probability": 0.75,
    }  # fmt: skip
    skipped = [{"path": "bad.jpg", "reason": "empty file"}]
    return render_maps_page(
        {"title": "m", "total": 3, "shown": [shown], "limit": 2.0, "n_skipped": 1,
         "skipped": skipped, "evidence": None}
    )  # fmt: skip


PAGES = {
    "compare": lambda: render_page(*make_results()), "next": render_next, "explain": render_maps
}  # fmt: skip


@pytest.fixture(params=PAGES, scope="module")
def html(request):
    return PAGES[request.param]()


@pytest.mark.parametrize("width", [320, 2560])
def test_nothing_is_cut_off(show, html, width):
    page = show(html, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.skipif(not AXE, reason="FEATX_AXE names no axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280, 2560])
def test_axe_finds_nothing(show, html, width, scheme):
    assert find_violations(show(html, width, color_scheme=scheme, bypass_csp=True)) == []
