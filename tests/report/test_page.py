"""The report page, as its source says it: what it fetches, runs, shows, and to whom."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from made_results import make_least, make_results

from featx.drawing.charts import plot_epochs, plot_reliability, plot_seconds
from featx.drawing.class_charts import list_confused, plot_classes, plot_confusion
from featx.report.page import hash_script, load_library, render_page


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


def test_nearest_images_are_beside_their_mistake(full):
    results, pictures = make_results()
    first, second = results["exhibits"]["examples"][:2]
    results["exhibits"]["mistakes"][1]["nearest"] = [
        {"path": first["path"], "class": "<b>otter", "cosine": 0.876},
        {"path": "gone.jpg", "class": second["truth"], "cosine": 0.5},
    ]
    (found,) = re.findall(r'<ul class="nearest">(.*?)</ul>', render_page(results, pictures), re.S)
    assert f'src="{pictures[first["path"]]}"' in found
    assert "<bdi>&lt;b&gt;otter</bdi>" in found
    assert ("0.88" in found, "gone.jpg</span>" in found) == (True, True)
    assert 'class="nearest"' not in full


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


def test_reliability_has_error_bars_where_bins_have_intervals():
    results, _ = make_results()
    candidate = results["candidates"][0]
    older = plot_reliability(candidate)
    for split in ("val", "test"):
        for one in candidate["evaluation"][split]["bins"]:
            one["ci95"] = [one["accuracy"] - 0.05, one["accuracy"]]
    chart = plot_reliability(candidate)
    assert len(chart.spec["layer"]) == len(older.spec["layer"]) + 1
    (bar,) = [one for one in chart.spec["layer"] if "y2" in one["encoding"]]
    assert (bar["encoding"]["y"]["field"], bar["encoding"]["y2"]["field"]) == ("low", "high")
    for value in chart.spec["datasets"]["values"]:
        assert value["high"] - value["low"] == pytest.approx(5)
    assert chart.rows[0][-2:] != ("–", "–") == older.rows[0][-2:]


def test_a_class_without_test_images_is_named():
    counts = (
        {"correct": 1, "total": 2, "ci95": [0.1, 0.9]},
        {"correct": 0, "total": 0, "ci95": None},
    )
    chart = plot_classes("logreg", counts, ["cat", "dog"])
    assert chart.label.endswith("; no test images of dog")
    assert chart.rows[-1] == ("dog", "0/0", "–", "–", "–")


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
