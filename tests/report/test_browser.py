"""The report page in a real browser, where there is one."""

import re

import pytest
from browsing import DRAWN
from made_results import HOSTILE, make_least, make_picture, make_results

from featx.report.page import render_page

pytestmark = pytest.mark.slow

SECTIONS = [
    "candidates", "pairs", "epochs", "learning", "examples", "evidence", "classes", "reliability",
    "strangers", "map", "cost", "provenance",
]  # fmt: skip


def test_every_section_and_every_chart_is_there(show, full):
    page = show(full)
    assert page.eval_on_selector_all("main section", "all => all.map((one) => one.id)") == SECTIONS
    charts = page.locator(".chart:visible")
    assert charts.count() == 3 + 3 + 1 + 2 + 4 + 1 + 1 + 1
    for chart in charts.all():
        assert chart.get_attribute("data-state") == "drawn"
        assert chart.get_attribute("role") == "img"
        assert chart.get_attribute("aria-label")
        assert chart.locator("svg .role-mark path, svg .role-mark line").count() > 1
        box = chart.locator("svg").bounding_box()
        assert min(box["width"], box["height"]) > 50
    assert page.locator("#places-1 .mark-symbol.role-mark path").count() == 120
    assert page.locator("h1").inner_text() == "Caltech-256 animals"
    assert page.locator(".gallery img").count() + page.locator(".missing").count() == 16


def test_pointing_at_the_map_shows_the_picture(show, full):
    page = show(full)
    page.locator("#places-1 .layer_1_marks path").nth(3).hover()
    tooltip = page.locator(".vg-tooltip.visible")
    tooltip.wait_for()
    image = tooltip.locator("img")
    assert image.get_attribute("src").startswith("data:image/jpeg;base64,")
    assert image.evaluate("one => one.decode().then(() => one.naturalWidth)") == 96
    for word in ("file", "truth", "predicted", ".jpg"):
        assert word in tooltip.inner_text()
    # A point without a picture has a tooltip without one.
    page.locator("#places-1 .layer_0_marks path").nth(3).hover()
    page.wait_for_function("() => !document.querySelector('.vg-tooltip.visible img')")
    assert ".jpg" in tooltip.inner_text()


@pytest.mark.parametrize("pictured", [True, False])
def test_every_picture_or_none(show, pictured):
    results, _ = make_results()
    paths = [one["path"] for one in results["map"]["points"]]
    page = show(render_page(results, dict.fromkeys(paths, make_picture()) if pictured else {}))
    assert page.locator("#places-1 .mark-symbol.role-mark path").count() == 120
    page.locator("#places-1 .role-mark path").first.hover()
    page.locator(".vg-tooltip.visible").wait_for()
    assert page.locator(".vg-tooltip.visible img").count() == pictured


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_few_epochs_are_counted_once(show, epochs):
    results, _ = make_results(points=0)
    for candidate in results["candidates"]:
        candidate |= {"history": candidate["history"][:epochs], "best_epoch": 1}
    page = show(render_page(results, {}))
    axis = page.locator("#loss-1 .role-axis").filter(has_text="epoch")
    labels = axis.locator(".role-axis-label text").all_text_contents()
    assert labels == ["1", "2", "3"][:epochs]


def test_hostile_names_are_read_and_not_run(show, hostile):
    page = show(hostile)
    text = page.locator("body").inner_text()
    for name in (HOSTILE[0], HOSTILE[1], HOSTILE[2], "$x^2", "{{7*7}}", r"\u202egnp.exe"):
        assert name in text
    assert page.locator("img:not([src^='data:image/'])").count() == 0
    assert "$x^2{{7*7}}" in page.locator("#places-1 svg").text_content()  # the legend
    for layer in ("layer_0_marks", "layer_1_marks"):
        for i in range(8):
            page.locator(f"#places-1 .{layer} path").nth(i).hover(force=True)
            page.locator(".vg-tooltip.visible").wait_for()
            assert page.locator(".vg-tooltip script, .vg-tooltip b").count() == 0
            assert page.locator(".vg-tooltip img:not([src^='data:'])").count() == 0


def test_the_policy_holds(show, full):
    page = show(full)
    ran = page.evaluate(
        "() => { const one = document.createElement('script');"
        " one.textContent = 'window.ran = 1'; document.body.append(one); return window.ran }"
    )
    assert ran is None
    page.wait_for_timeout(100)
    assert any("policy script-src-elem inline" in line for line in show.wrong)
    show.wrong.clear()


def test_another_candidate_by_keyboard(show, full):
    page = show(full)
    assert page.locator(".panel:visible h3").first.inner_text() == "Confusion of logreg"
    page.locator("#pick").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function(DRAWN)
    assert page.locator(".panel:visible").count() == 1
    assert page.locator(".panel:visible h3").first.inner_text() == "Confusion of linear head"
    assert page.locator(".panel:visible .chart[data-state=drawn] svg").count() == 2
    # A window that changes while a panel is hidden leaves no chart without width.
    page.set_viewport_size({"width": 900, "height": 900})
    page.locator("#pick").select_option("1")
    page.wait_for_function(
        "() => document.querySelector('#confusion-1-1 svg').getBoundingClientRect().width > 200"
    )


def test_the_skip_link_comes_first(show, full):
    page = show(full)
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the results"
    assert focused.bounding_box()["x"] >= 0
    assert focused.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_itself_never_scrolls_sideways(show, full, hostile, width):
    for html in (full, hostile):
        page = show(html, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for chart in page.locator(".chart:visible").all():
            assert chart.locator("svg").bounding_box()["width"] <= chart.bounding_box()["width"] + 1


def read_colours(page):
    """Lightness in [0, 1] of paper, ink and of a label in a chart."""
    colours = page.evaluate(
        """() => [
            getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
            getComputedStyle(document.querySelector("#places-1 svg text")).fill]"""
    )
    return [sum(map(int, re.findall(r"\d+", colour)[:3])) / 765 for colour in colours]


def test_light_dark_and_paper(show, full):
    page = show(full, color_scheme="light")
    paper, ink, label = read_colours(page)
    assert paper > 0.9 > 0.3 > max(ink, label)
    page.emulate_media(color_scheme="dark")
    paper, ink, label = read_colours(page)
    assert paper < 0.15 < 0.8 < min(ink, label)
    page.emulate_media(color_scheme="dark", media="print")
    paper, ink, label = read_colours(page)
    assert paper == 1
    assert max(ink, label) < 0.3
    assert page.locator("nav:visible").count() == 0
    assert page.locator(".chart svg:visible").count() == 16


def test_motion_only_where_it_is_welcome(show, full):
    page = show(full)
    read = "getComputedStyle(document.documentElement).scrollBehavior"
    for wish, behaviour in (("reduce", "auto"), ("no-preference", "smooth")):
        page.emulate_media(reduced_motion=wish)
        assert page.evaluate(read) == behaviour


def test_without_scripts_the_numbers_remain(show, full):
    page = show(full, java_script_enabled=False)
    assert page.get_by_text("The charts need JavaScript.").is_visible()
    assert page.locator(".panel:visible").count() == 4
    assert page.locator(".picker:visible").count() == 0
    page.locator("#map summary").click()
    assert page.locator("#map details tbody tr").count() == 120


def test_little_is_drawn_of_little(show):
    page = show(render_page(make_least(), {}))
    assert page.locator(".chart[data-state=drawn]").count() == 1
    assert page.locator("figcaption").count() == 1
    assert "–" in page.locator(".scores").inner_text()
