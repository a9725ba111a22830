"""The review page in a real browser: answers by hand, what is kept of them, and what is saved."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from browsing import AXE, find_violations
from made_features import make_features
from made_results import HOSTILE, make_picture
from shared import PROVENANCE

from featx.auditing.audit import Audit
from featx.auditing.findings import Finding
from featx.features.corrections import correct_labels, read_corrections
from featx.report.audit import render_audit_page

pytestmark = pytest.mark.slow


@pytest.fixture
def audit():
    """Three classes: four suspected labels, of which two are one content, a copy, an outlier."""
    made = make_features(PROVENANCE)
    hashes = made.hashes.copy()
    hashes[3] = hashes[2]
    findings = (
        *(
            Finding("label", f"{row}.jpg", "train", "a", 0.01, suggested="b", detail="98 % b")
            for row in range(4)
        ),
        Finding("copy", "5.jpg", "train", "a", 0.99, "4.jpg", "train", "a", detail="near"),
        Finding("outlier", "13.jpg", "val", "b", 0.4, detail="far"),
    )
    return Audit(
        features=replace(made, hashes=hashes), root=None, looked=0, judged=36, layers="last",
        findings=findings, leak=None, classes={}, rare=(), notes=(), seconds=1.0,
    )  # fmt: skip


@pytest.fixture
def html(audit):
    picture = make_picture()
    return render_audit_page(audit, {f"{row}.jpg": picture for row in range(4)})


def save(page):
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save corrections.csv").click()
    return Path(waiting.value.path())


def read(page):
    return {row["path"]: row for row in csv.DictReader(save(page).read_text("utf-8").splitlines())}


def status(page):
    return page.get_by_role("status").inner_text()


def test_answers_by_keys_become_corrected_labels(show, html, audit):
    page = show(html)
    assert page.locator("#review-kind").input_value() == "label"
    assert "1 of 4: 0.jpg, label a, suggestion: is b" in status(page)
    image = page.locator("#review-first img")
    assert image.evaluate("one => one.decode().then(() => one.naturalWidth)") == 96
    page.keyboard.press("s")
    assert status(page).startswith("0.jpg is b. 2 of 4: 1.jpg")
    page.keyboard.press("r")
    page.keyboard.press("3")  # both copies of one content
    assert "4 of 4: 3.jpg, label a, suggestion: is b, answered: is c." in status(page)
    page.locator("#review-kind").select_option("copy")
    assert page.locator("#review-other").is_visible()
    page.locator("h2", has_text="Review").click()
    page.keyboard.press("x")
    page.locator("#review-kind").select_option("outlier")
    page.locator("h2", has_text="Review").click()
    page.keyboard.press("c")
    page.keyboard.type("wolf")
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="13.jpg is wolf, a new class.").wait_for()
    path = save(page)
    rows = {one.path: one for one in read_corrections(path).rows}
    assert {
        name: (one.answer, one.label, one.was, one.suspicion) for name, one in rows.items()
    } == {
        "0.jpg": ("is", "b", "a", "label"),
        "1.jpg": ("right", "", "a", "label"),
        "2.jpg": ("is", "c", "a", "label"),
        "3.jpg": ("is", "c", "a", "label"),
        "5.jpg": ("leave out", "", "a", "copy"),
        "13.jpg": ("is", "wolf", "b", "outlier"),
    }
    found = correct_labels(audit.features, path)
    assert found.corrected.changed == 4
    assert "5.jpg" not in found.paths


def test_undo_filter_and_progress(show, html):
    page = show(html)
    for key in "sux":
        page.keyboard.press(key)
    assert page.locator("#review-progress").get_attribute("value") == "3"  # one copy is left out
    page.keyboard.press("z")
    assert status(page).startswith("Undone. 3 of 4: 2.jpg")
    page.keyboard.press("z")
    page.locator("#review-state").select_option("open")
    assert page.locator("#review-count").inner_text() == "0 of 3 answered here; 1 answer in all."
    page.locator("#review-state").select_option("done")
    assert "1 of 1: 0.jpg" in status(page)
    page.get_by_role("button", name="undo").click()
    page.get_by_role("button", name="undo").click()
    assert status(page) == "There is nothing to undo."
    page.locator("#review-label").select_option("=b")
    assert page.locator("#review-none").is_visible()
    page.locator("#review-state").select_option("")
    page.locator("#review-kind").select_option("")
    assert "1 of 1: 13.jpg, label b" in status(page)


def test_the_browser_remembers(show, html):
    page = show(html)
    page.keyboard.press("s")
    page.keyboard.press("u")
    page.reload()
    assert "3 of 4: 2.jpg" in status(page)
    assert page.locator("#review-count").inner_text() == "2 of 4 answered here; 2 answers in all."
    assert read(page).keys() == {"0.jpg", "1.jpg"}


def test_without_a_memory_nothing_is_lost_until_it_is_closed(show, html):
    page = show("<!DOCTYPE html><title>empty</title>")
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', "
        "{ get() { throw new DOMException('no', 'SecurityError') } })"
    )
    Path(page.url.removeprefix("file://")).write_text(html, encoding="utf-8")
    page.reload()
    assert "keeps nothing of this page" in page.locator("#review-kept").inner_text()
    page.keyboard.press("s")
    assert read(page).keys() == {"0.jpg"}


def test_earlier_answers_are_gone_on_with(show, audit, tmp_path):
    lines = [f"{0:064x},0.jpg,c,is,a,label", f"{99:064x},left.jpg,a,leave out,,copy"]
    (tmp_path / "C.csv").write_text("\n".join(["sha256,path,was,answer,label,suspicion", *lines]))
    page = show(render_audit_page(audit, {}, read_corrections(tmp_path / "C.csv")))
    assert "answered: is a" in status(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    rows = read(page)
    assert (rows["0.jpg"]["was"], rows["0.jpg"]["label"]) == ("c", "a")
    assert rows["left.jpg"]["answer"] == "leave out"
    assert rows["1.jpg"]["label"] == "b"


def test_keys_can_be_turned_off_and_everything_has_a_name(show, html):
    page = show(html)
    page.get_by_label("single keys answer").uncheck()
    page.keyboard.press("s")
    assert read(page) == {}
    for name in ("take the suggestion", "the label is right", "unsure", "leave this picture out"):
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
    assert len(read(page)) == 4
    for label in ("Suspicion", "Label", "Answer", "it is"):
        assert page.get_by_label(label, exact=False).first.is_visible()


def test_names_are_shown_and_saved_as_they_are(show, audit):
    made = audit.features
    name = HOSTILE[0] + '", \u202egnp'
    paths = made.paths.astype("<U200")
    paths[0] = name
    found = (Finding("label", name, "train", "a", 0.1, suggested="b", detail=HOSTILE[1]),)
    page = show(
        render_audit_page(replace(audit, features=replace(made, paths=paths), findings=found), {})
    )
    assert r"\u202e" in page.locator("#review-first .file").inner_text()
    page.keyboard.press("s")
    assert read(page).keys() == {name}


@pytest.mark.parametrize("width", [320, 768, 2560])
def test_nothing_is_cut_off(show, html, width):
    page = show(html, width)
    page.locator("#review-kind").select_option("copy")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.skipif(not AXE, reason="FEATX_AXE names no axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280, 2560])
def test_axe_finds_nothing(show, html, width, scheme):
    page = show(html, width, color_scheme=scheme, bypass_csp=True)
    for kind in ("label", "copy", "outlier"):
        page.locator("#review-kind").select_option(kind)
        assert find_violations(page) == []


def test_without_scripts_the_findings_are_there(show, html):
    page = show(html, java_script_enabled=False)
    assert page.locator("#review").is_hidden()
    assert page.get_by_text("needs JavaScript").is_visible()
    assert page.get_by_text("98 % b").first.is_visible()
