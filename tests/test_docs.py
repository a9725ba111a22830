"""What README and docs point at is there, and nothing in them waits to be filled in."""

import importlib.util
import re
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
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


def test_every_environment_variable_is_documented():
    read = set()
    for path in [*(ROOT / "featx").glob("*.py"), *(ROOT / "cli").glob("*.py")]:
        text = path.read_text("utf-8")
        read |= set(re.findall(r"environ(?:\.\w+)?[(\[]\s*\"(\w+)\"", text))
        assert "getenv" not in text, path
        assert "\x1b" not in text, "docs/environment.md says that there are no colours"
    assert {"FEATX_CACHE", "FEATX_WEIGHTS", "FEATX_MAX_PIXELS", "RAY_ADDRESS"} <= read
    told = (ROOT / "docs" / "environment.md").read_text("utf-8")
    assert [name for name in sorted(read) if f"`{name}" not in told] == []


def walk_commands(command, words="featx"):
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk_commands(below, f"{words} {name}")


def load_hook():
    spec = importlib.util.spec_from_file_location("help_pages", SITE / "help_pages.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return hook


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
    menu = re.findall(r": ([\w-]+\.md)$", (SITE / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    pages = [page.name for page in PAGES if page.parent.name == "docs"]
    assert sorted(menu) == sorted([*pages, *GENERATED])
