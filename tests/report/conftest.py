"""A real browser, where there is one, pages opened in it from disk, and a comparison to report."""

import shutil
from dataclasses import replace

import pytest
from browsing import CHROMIUM, DRAWN, FLAGS
from made_results import make_hostile, make_results

from featx.comparison.compare import compare
from featx.report.page import render_page


@pytest.fixture(scope="session")
def full():
    """A page with all that a page may have."""
    return render_page(*make_results())


@pytest.fixture(scope="session")
def hostile():
    """One whose names are markup."""
    return render_page(*make_hostile())


@pytest.fixture(scope="session")
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


@pytest.fixture
def comparison(kept, stored, full_width, drawn_photos, tmp_path):
    """One that is made once, with a folder of this test's own."""

    def make(folder):
        return compare(
            drawn_photos, split="first:4,2", epochs=2, cache_dir=folder / "cache", batch_size=16,
            output=folder / "out", clf=("logreg", "linear", "centroid"),
        )  # fmt: skip

    made = kept(("a comparison", full_width), make)
    return replace(made, folder=shutil.copytree(made.folder, tmp_path / "out"))
