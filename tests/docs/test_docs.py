"""What README and docs point at is there, and nothing in them waits to be filled in."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from shared import load_script

import featx

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SITE = ROOT / "docs" / "site"
# Made when the site is built.
GENERATED = {"cli.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page):
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target and target not in GENERATED:
            assert (page.parent / target).exists(), target
    assert not re.findall(r"^[A-Z]{4,}$", text, re.MULTILINE)


def test_every_test_that_a_page_names_is_there():
    files = {path.name: path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py")}
    names = set(re.findall(r"^def (test_\w+)", "\n".join(files.values()), re.MULTILINE))
    for page in PAGES:
        text = page.read_text("utf-8")
        for path in re.findall(r"`tests/([a-z0-9_/]+\.py)", text):
            assert (ROOT / "tests" / path).exists(), (page.name, path)
        for name, more in re.findall(r"`(test_\w+(?:\.py)?)(…?)", text):
            there = any(one.startswith(name) if more else one == name for one in names)
            assert there or name in files, (page.name, name)


def test_every_environment_variable_is_documented():
    read = set()
    for path in [*(ROOT / "featx").rglob("*.py"), *(ROOT / "cli").glob("*.py")]:
        text = path.read_text("utf-8")
        read |= set(re.findall(r"environ(?:\.\w+)?[(\[]\s*\"(\w+)\"", text))
        assert "getenv" not in text, path
        assert "\x1b" not in text, "docs/commands.md says that there are no colours"
    assert {"FEATX_CACHE", "FEATX_WEIGHTS", "FEATX_MAX_PIXELS", "RAY_ADDRESS"} <= read
    told = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert [name for name in sorted(read) if f"`{name}" not in told] == []


def walk_commands(command, words="featx"):
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk_commands(below, f"{words} {name}")


def load_hook():
    return load_script(SITE / "help_pages.py")


def test_every_command_is_on_the_help_page_with_every_option(app):
    page = load_hook().render_help(app)
    sections = dict(re.findall(r"^## (featx.*)\n((?:(?!## ).*\n?)*)", page, re.MULTILINE))
    assert "-h, --help" in sections["featx fit"]
    contexts = list(walk_commands(app))
    assert set(sections) == {words for words, _ in contexts}
    for words, command in contexts:
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[0] in sections[words], (words, parameter.opts)


def test_a_new_command_is_on_the_help_page_by_itself():
    group = click.Group("featx", commands=[click.Command("mend", help="Mends.")])
    page = load_hook().render_help(group)
    assert "## featx mend\n\n    Usage: featx mend [OPTIONS]\n" in page


def test_every_page_is_in_the_menu_once():
    menu = re.findall(
        r"^ +- (?:.*: )?([\w-]+\.md)$", (SITE / "mkdocs.yml").read_text("utf-8"), re.MULTILINE
    )
    pages = [page.name for page in PAGES if page.parent.name == "docs"]
    assert sorted(menu) == sorted([*pages, *GENERATED])


def test_every_public_name_and_error_is_in_the_reference():
    from featx import errors

    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    shown = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    assert {f"featx.{name}" for name in featx._HOMES if name != "FeatxError"} <= set(shown)
    assert "`featx.__version__`" in page
    # The errors come as a module; with a docstring none of them is left out.
    assert "featx.errors" in shown
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, featx.FeatxError):
            assert value.__doc__, name
    for path in shown:
        module, _, name = path.rpartition(".")
        assert path == "featx.errors" or getattr(load_module(module), name).__doc__, path


def load_module(name):
    __import__(name)
    return sys.modules[name]


def test_the_rooms_are_those_of_the_picture_and_the_table():
    drawn = load_script(SITE / "draw_floors.py")
    floors = drawn.load_floors()
    picture = drawn.PICTURE.read_text("utf-8")
    assert picture == drawn.draw_floors(floors), "python docs/site/draw_floors.py draws it anew"
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (\w+) \| \S", text, re.MULTILINE)
    packages = {p.parent.name for p in (ROOT / "featx").glob("*/__init__.py")}
    assert len(rows) == len(packages)
    assert {room: int(number) for number, room in rows} == {
        room: i for i, floor in enumerate(floors) for room in floor & packages
    }
    for room in set().union(*floors) - packages:
        assert f"`{room}`" in text, "files are named below the table"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, where the extra featx[docs] is installed."""
    pytest.importorskip("mkdocs", reason="featx[docs] is not installed")
    pytest.importorskip("mkdocstrings", reason="featx[docs] is not installed")
    folder = tmp_path_factory.mktemp("site")
    words = ["mkdocs", "build", "--strict", "--quiet", "--config-file", SITE / "mkdocs.yml"]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(
        [sys.executable, "-P", "-m", *words, "--site-dir", folder], check=True, env=quiet
    )
    return folder


def test_the_site_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text("utf-8")
        for tag in re.findall(r"<(?:script|link|img|iframe|source|object)\b[^>]*>", text):
            assert not re.search(r"""(?:src|href|data)=["']?(?:https?:)?//""", tag), (page, tag)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//", sheet.read_text("utf-8"))


def test_the_site_searches_from_files(site):
    assert (site / "search" / "search_index.js").read_text("utf-8").startswith("var __index = ")
    assert 'src="assets/iframe-worker.js"' in (site / "index.html").read_text("utf-8")


def test_the_reference_has_every_anchor(site):
    text = (site / "reference.html").read_text("utf-8")
    for name in featx._HOMES:
        path = f"featx.{name}" if name != "FeatxError" else "featx.errors.FeatxError"
        assert f'id="{path}"' in text, path
