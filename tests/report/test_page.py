"""The report page, in a real browser where there is one."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from made_results import make_least, make_picture, make_results

from featx.report.charts import plot_epochs, plot_seconds
from featx.report.class_charts import list_confused, plot_confusion
from featx.report.page import hash_script, load_library, render_page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
SECTIONS = [
    "candidates", "pairs", "epochs", "learning", "examples", "classes", "reliability", "map",
    "cost", "provenance",
]  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "$x^2",
    "{{7*7}}",
    "\u202egnp.exe",
    "a\n<b>b</b>\u2028",
    "'; alert(3); '",
]
DRAWN = """() => [...document.querySelectorAll(".chart")].every(
    (box) => box.closest("[hidden]") || ["drawn", "failed"].includes(box.dataset.state))"""


class Elements(HTMLParser):
    """Every element with its attributes, and the text of the scripts."""

    def __init__(self, page):
        super().__init__()
        self.found, self.scripts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.found and self.found[-1][0] == "script":
            self.scripts[-1] += data

    def handle_endtag(self, tag):
        self.found.append((f"/{tag}", {}))

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def full():
    return render_page(*make_results())


@pytest.fixture(scope="module")
def hostile():
    results, pictures = make_results(HOSTILE, HOSTILE[1], prefix=HOSTILE[0])
    for i, candidate in enumerate(results["candidates"]):
        candidate["name"] = HOSTILE[i]
    results |= {"best": HOSTILE[0], "notes": HOSTILE, "command": HOSTILE}
    results["verdict"] = {"choose": HOSTILE[1], "sentences": HOSTILE}
    results["exhibits"]["candidate"] = HOSTILE[2]
    results["paired"][0]["text"] = HOSTILE[0]
    for point in results["learning"]["points"]:
        point["name"] = HOSTILE[2]
    return render_page(results, pictures)


def test_nothing_is_fetched_and_only_its_own_scripts_may_run(full):
    assert full.startswith("<!DOCTYPE html>")
    elements = Elements(full)
    for tag, attributes in elements.found:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
        assert not any(name.startswith("on") for name in attributes)
    (policy,) = [a["content"] for a in elements.all("meta") if "http-equiv" in a]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    pairs = zip(elements.all("script"), elements.scripts, strict=True)
    run = [text for attributes, text in pairs if "type" not in attributes]
    assert rules["script-src"].split() == [hash_script(text) for text in run]
    assert load_library() in run
    assert "unsafe-eval" not in policy


def test_a_hash_is_as_browsers_want_it():
    digest = hashlib.sha256(b"alert(1)").digest()
    assert hash_script("alert(1)") == f"'sha256-{base64.b64encode(digest).decode()}'"


def test_hostile_names_reach_the_page_as_text_alone(hostile, full):
    elements, harmless = Elements(hostile), Elements(full)
    for tag in ("script", "b"):
        assert len(elements.all(tag)) == len(harmless.all(tag))
    assert all(a["src"].startswith("data:image/jpeg;base64,") for a in elements.all("img"))
    assert "{{7*7}}" in hostile
    assert not re.search("[\u202e\u2028]", hostile)

    def walk(value):
        if isinstance(value, dict):
            value = [*value, *value.values()]
        if isinstance(value, list):
            for one in value:
                yield from walk(one)
        elif isinstance(value, str):
            yield value

    for attributes, text in zip(elements.all("script"), elements.scripts, strict=True):
        if attributes.get("type") == "application/json":
            assert not set("<>&\u2028\u202e") & set(text)
            assert all(one.isprintable() for one in walk(json.loads(text)))


def test_a_picture_is_an_image_and_nothing_else():
    results, _ = make_results()
    for bad in (
        "https://example.org/a.jpg",
        'data:image/jpeg;base64,"onerror=',
        "data:text/html,x",
    ):
        with pytest.raises(ValueError, match="no data: URI of an image"):
            render_page(results, {"a.jpg": bad})


def test_structure_for_people_who_do_not_see_it(full):
    elements = Elements(full)
    assert elements.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    ids = [a["id"] for _, a in elements.found if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in elements.found:
        for name in ("aria-labelledby", "for"):
            assert attributes.get(name, ids[0]) in ids
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids
        if attributes.get("role") in ("region", "img"):
            assert attributes["aria-label"].strip()
        if "scroll" in attributes.get("class", "").split():
            assert attributes["tabindex"] == "0"
    assert all(a.get("scope") for a in elements.all("th"))
    assert all(a.get("alt") for a in elements.all("img"))
    tags = [tag for tag, _ in elements.found]
    assert tags.count("figure") == tags.count("figcaption") > 10
    for start in [i for i, tag in enumerate(tags) if tag == "figure"]:
        inner = tags[start : tags.index("/figure", start)]
        assert inner.index("details") < inner.index("table")


def test_the_numbers_are_in_the_text(full):
    text = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", full))
    for said in (
        "97.5 % (276/283)",
        "95.0 to 98.7",
        "96.8 ± 0.4 %, 5 seeds",
        "23,528,522",
        "94 MB",
    ):
        assert said in text
    assert "logreg C = 0.0178 chosen" in text
    assert "linear head level with the best" in text
    assert "last stage fine-tuned best on val" in text
    assert "480 train, 80 val, 283 test; 2 skipped" in text
    assert "results.json holds every number." in text
    assert "featx compare '/data/animals'" in text.replace("&#39;", "'")


def test_infinite_and_missing_numbers_leave_gaps():
    results, _ = make_results()
    candidate = results["candidates"][1]
    candidate["history"][3]["loss"]["train"] = float("nan")
    candidate["evaluation"]["test"]["log_loss"] = float("inf")
    candidate["evaluation"]["test"]["per_class"][0] = {"correct": 0, "total": 0, "ci95": None}
    page = render_page(results, {})
    elements = Elements(page)
    for attributes, text in zip(elements.all("script"), elements.scripts, strict=True):
        if "type" in attributes:
            json.loads(text, parse_constant=pytest.fail)


def test_scales_and_tables_of_the_charts():
    results, _ = make_results()
    loss = plot_epochs(results["candidates"], "loss")
    assert [chart.title for chart in loss] == ["linear head", "last layer", "last stage"]
    assert loss[0].head == ("epoch", "train", "val", "test")
    assert len(loss[0].rows) == 15
    assert "epoch 11 was kept" in loss[0].label
    assert plot_seconds([{"name": "a", "seconds": {"fit": None}}]) is None
    seconds = plot_seconds(results["candidates"])
    assert seconds.head == ("candidate", "decode", "network", "rest", "fit")
    assert seconds.rows[0] == ("logreg", "6.20", "32.40", "1.40", "0.41")
    assert seconds.rows[2] == ("last layer", "21.20", "186.56", "4.24", "–")


def test_bars_of_seconds_add_up_to_what_a_candidate_cost():
    results, _ = make_results()
    candidates = results["candidates"]
    before = {**candidates[3], "name": "before"}  # from a time when a fit was not split
    before["seconds"] |= {"decode": None, "network": None}
    total = {}
    for value in plot_seconds([*candidates[:3], before]).spec["datasets"]["values"]:
        total[value["name"]] = total.get(value["name"], 0.0) + value["seconds"]
    assert total == pytest.approx(
        {"logreg": 40.41, "linear head": 42.13, "last layer": 212.0, "before": 618.0}
    )
    only = plot_seconds([before])
    assert (only.head, only.rows) == (("candidate", "fit"), [("before", "618.00")])


def test_seconds_of_each_epoch():
    results, _ = make_results()
    page = render_page(results, {})
    shown = page[page.index("<summary>Seconds of each epoch") : page.index('id="provenance"')]
    assert shown.count("<caption>") == 2
    assert "<caption>last stage: seconds of each epoch</caption>" in shown
    row = '<th scope="row">15</th><td>4.12</td><td>36.26</td><td>0.82</td><td>41.20</td>'
    assert row in shown
    for candidate in results["candidates"]:
        for epoch in candidate["history"]:
            del epoch["decode"], epoch["network"]
    assert "Seconds of each epoch" not in render_page(results, {})


def test_confusion_by_number_of_classes():
    def count(n):
        names = [f"c{i}" for i in range(n)]
        counts = [[2 * (i == j) + (j == i + 1) for j in range(n)] for i in range(n)]
        return counts, names

    few = plot_confusion("x", *count(3))
    assert [layer["mark"]["type"] for layer in few.spec["layer"]] == ["rect", "text"]
    assert few.rows == [("c0", "2", "1", "0"), ("c1", "0", "2", "1"), ("c2", "0", "0", "2")]
    many = plot_confusion("x", *count(31))
    assert [layer["mark"]["type"] for layer in many.spec["layer"]] == ["rect"]
    assert many.rows[0] == ("c0", "c1", "1")
    assert list_confused([[3, 1, 5], [0, 3, 0], [2, 0, 3]], "abc")[1] == [
        ("a", "c", "5"),
        ("c", "a", "2"),
        ("a", "b", "1"),
    ]
    results, _ = make_results([f"class {i}" for i in range(61)], points=0)
    page = render_page(results, {})
    assert 'id="confusion-1-1"' not in page
    assert "confuses most often" in page
    assert "the 40 lowest of 61 classes" in page


def test_a_comparison_with_little_in_it_has_no_empty_sections():
    page = render_page(make_least(), {})
    sections = [a["id"] for a in Elements(page).all("section")]
    assert sections == ["candidates", "cost", "provenance"]
    for absent in (">val<", "top-5", "macro F1", "<li></li>", "<ul></ul>", "<dd></dd>", "None"):
        assert absent not in page.replace(load_library(), "")


def test_pairs_with_the_best_come_first():
    def read(results):
        page = render_page(results, {})
        section = page[page.index('id="pairs"') : page.index('id="epochs"')]
        shown, _, hidden = section.partition("<details>")
        return [part.count("p = 1: not distinguishable.") for part in (shown, hidden)], shown

    results, _ = make_results()
    counts, shown = read(results)
    assert counts == [3, 3]
    assert shown.count("last stage:") == 3
    assert read(results | {"best": None})[0] == [5, 1]


# From here on in Chromium.


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def show(chromium, tmp_path):
    """Open a page from disk; at the end nothing may have been said, asked or fetched."""
    wrong, contexts = [], []

    def open_page(html, width=1280, **options):
        path = tmp_path / "report.html"
        path.write_text(html, encoding="utf-8")
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        context.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " (e) => console.error('policy', e.violatedDirective, e.blockedURI));"
        )
        page = context.new_page()
        page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                wrong.append(request.url)
                if request.url != path.as_uri() and not request.url.startswith("data:")
                else None
            ),
        )
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_function(DRAWN)
        return page

    open_page.wrong = wrong
    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def test_every_section_and_every_chart_is_there(show, full):
    page = show(full)
    assert page.eval_on_selector_all("main section", "all => all.map((one) => one.id)") == SECTIONS
    charts = page.locator(".chart:visible")
    assert charts.count() == 3 + 3 + 1 + 2 + 4 + 1 + 1
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
    assert page.locator(".chart svg:visible").count() == 15


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
