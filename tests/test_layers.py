"""The house: who may import whom, and that nothing heavy loads before it is needed."""

import ast
import configparser
import graphlib
import subprocess
import sys
from pathlib import Path

import featx.cli
import pytest

import featx
from featx.config import CLASSIFIERS
from featx.extraction.extract import extract

LIBRARY = Path(featx.__file__).parent
COMMANDS = Path(featx.cli.__file__).parent
SETTINGS = Path(__file__).parents[1] / "setup.cfg"
# As docs/architecture.md has it. What lies in a room (a package, or a single module) imports from
# rooms on floors below alone, and inside its own room in no circle.
FLOORS = [
    {"arrays", "config", "errors", "machine", "text"},
    {"storage", "timing"},
    {"decoding"},
    {"data", "network", "training"},
    {"sources"},
    {"features", "novelty"},
    {"doctor", "extraction", "finetuning", "heads"},
    {"multilabel"},
    {"auditing", "comparison", "deployment", "scale"},
    {"drawing", "explaining", "labelling"},
    {"report"},
]
FLOOR_OF = {room: i for i, floor in enumerate(FLOORS) for room in floor}
MODULES = {
    ".".join(("featx", *path.relative_to(LIBRARY).with_suffix("").parts)): path
    for path in sorted(LIBRARY.rglob("*.py"))
    if path.stem != "__init__"
}
PACKAGES = sorted({path.parent for path in MODULES.values()} - {LIBRARY})
HEAVY = {"torch", "torchvision", "sklearn", "h5py", "scipy", "altair", "vl_convert", "pyarrow"}


def imported(path):
    """Absolute names of all that a file imports, anywhere in it: modules, and names in them."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def find_room(name):
    """The room that a dotted name of ours lies in."""
    return name.split(".")[1]


def find_module(name):
    """The module of ours that an imported name is, or is in; None where it is none of ours."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def test_every_room_has_a_floor():
    assert {find_room(name) for name in MODULES} == set(FLOOR_OF)


def check_imports(module, path):
    for name in imported(path):
        assert not name.startswith("."), "the library imports absolutely"
        assert name.partition(".")[0] not in ("click", "cli"), "the library knows no command line"
        if name.startswith("featx."):
            mine, theirs = find_room(module), find_room(name)
            assert theirs in FLOOR_OF, f"{module} imports {name}: the face, or nothing of ours"
            assert mine == theirs or FLOOR_OF[theirs] < FLOOR_OF[mine], f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    check_imports(module, MODULES[module])


@pytest.mark.parametrize(
    "line",
    [
        "from featx import report",
        "import featx.report.page",
        "from featx.report.page import render_page",
        "from featx import __version__",
        "def f():\n    from featx.data import images",
        "from . import files",
        "import click",
    ],
)
def test_what_points_up_is_found(line, tmp_path):
    path = tmp_path / "files.py"
    path.write_text(f"import os\nfrom featx.errors import FeatxError\n{line}\n")
    with pytest.raises(AssertionError):
        check_imports("featx.storage.files", path)


def find_circle(modules):
    """Modules that import each other in a circle, of those given; None where none do."""
    graph = {
        module: {found for name in imported(path) if (found := find_module(name)) in modules}
        for module, path in modules.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def test_no_circle():
    assert find_circle(MODULES) is None


def test_a_circle_is_found(tmp_path, monkeypatch):
    texts = {"a": "from featx.room import b", "b": "import featx.room.c", "c": "", "d": ""}
    modules = {f"featx.room.{name}": tmp_path / f"{name}.py" for name in texts}
    monkeypatch.setattr("test_layers.MODULES", modules)
    for path, text in zip(modules.values(), texts.values(), strict=True):
        path.write_text(text)
    assert find_circle(modules) is None
    (tmp_path / "c.py").write_text("def f():\n    from featx.room.a import thing")
    assert set(find_circle(modules)) == {"featx.room.a", "featx.room.b", "featx.room.c"}


def test_a_package_says_what_it_is_and_nothing_else():
    for package in PACKAGES:
        body = ast.parse((package / "__init__.py").read_text("utf-8")).body
        assert len(body) == 1, package
        assert ast.get_docstring(ast.Module(body, [])), package


@pytest.mark.skipif(not SETTINGS.exists(), reason="away from the checkout")
def test_every_package_is_installed():
    settings = configparser.ConfigParser()
    settings.read(SETTINGS, "utf-8")
    listed = settings["options"]["packages"].split()
    ours = [".".join(("featx", *one.relative_to(LIBRARY).parts)) for one in PACKAGES]
    assert sorted(listed) == sorted({"featx", "featx.cli", *ours})


def test_commands_import_each_other_relatively():
    for path in COMMANDS.glob("*.py"):
        names = list(imported(path))
        assert not any(name.startswith("featx.cli") for name in names), path.name
        body = ast.parse(path.read_text("utf-8")).body
        top = {n.module or "" for n in body if isinstance(n, ast.ImportFrom)}
        top |= {a.name for n in body if isinstance(n, ast.Import) for a in n.names}
        assert not {name.partition(".")[0] for name in top} & HEAVY, path.name


@pytest.mark.slow
def test_every_module_imports_alone():
    # Other people's libraries stay, once they are there; none of ours is, whenever one is imported.
    code = f"""
import importlib, sys
for module in {list(MODULES)!r}:
    for name in [name for name in sys.modules if name.partition(".")[0] == "featx"]:
        del sys.modules[name]
    importlib.import_module(module)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from featx.cli.main import main\n"
        "try: main(['extract', '--help'], prog_name='featx')\n"
        f"except SystemExit: print('LOADED', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.rstrip().endswith("LOADED []")


def test_a_finished_extraction_loads_no_torch(photos, stored, tmp_path):
    out = tmp_path / "F.h5"
    extract(photos, output=out, engine="torch")
    code = (
        "import sys; from featx.cli.main import main\n"
        f"try: main(['extract', {str(photos)!r}, '-o', {str(out)!r}], prog_name='featx')\n"
        f"except SystemExit: print('LOADED', sorted({HEAVY - {'h5py'}!r} & set(sys.modules)))"
    )
    # The small network goes by a name whose recipe this test has changed and the child has not.
    code = (
        "from featx.network.catalogue import KNOWN, KnownWeights\n"
        "from featx.features.file import read_features\n"
        "from featx.config import Preprocessing\n"
        f"made = read_features(__import__('pathlib').Path({str(out)!r})).provenance\n"
        "KNOWN['imagenet1k-v1'] = KnownWeights("
        "Preprocessing.from_dict(made.preprocessing), False, 'small')\n"
    ) + code
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "27 images, 0 extracted" in done.stdout
    assert done.stdout.rstrip().endswith("LOADED []")


def test_no_file_has_outgrown_itself():
    for path in [*LIBRARY.rglob("*.py"), *COMMANDS.glob("*.py")]:
        assert len(path.read_text("utf-8").splitlines()) <= 400, f"{path.name} asks to be two"


def test_no_room_is_overcrowded():
    assert len([one for one in LIBRARY.iterdir() if one.is_file()]) <= 9
    for package in PACKAGES:
        modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
        # Kinds of heads are rows of a table: one more crowds nobody.
        rows = set(CLASSIFIERS) if package.name == "heads" else set()
        assert len(modules - rows) + min(len(rows), 7) <= 14, f"{package.name} asks to be two"


# Where two modules of a name would have two test files of one.
TESTS_OF = {
    "auditing.audit": "test_audit",
    "deployment.export": "test_model_export",
    "explaining.explain": "test_explain",
    "features.export": "test_feature_export",
    "heads.recipe": "test_head_recipe",
    "multilabel.compare": "test_multilabel_compare",
    "multilabel.fit": "test_multilabel_fit",
    "multilabel.metrics": "test_multilabel_metrics",
    "report.audit": "test_audit_page",
    "report.explain": "test_explain_page",
    "report.multilabel": "test_multilabel_page",
    "report.next": "test_next_page",
    "report.verdict": "test_verdict_sentences",
}


def test_every_module_of_weight_has_tests_of_its_name():
    files = {path.stem: path for path in Path(__file__).parent.rglob("test_*.py")}
    for module, path in MODULES.items():
        if len(path.read_text("utf-8").splitlines()) > 160:
            name = module.removeprefix("featx.")
            *room, stem = name.split(".")
            found = files.get(TESTS_OF.get(name, f"test_{stem}"))
            assert found is not None, f"{module} has grown: give it tests of its name"
            assert found.parent.name == (*room, "tests")[0], f"{found} is about {module}"


def test_every_test_file_has_a_name_of_its_own():
    """Files of tests lie in no packages, so that pytest knows them by their names alone."""
    files = Path(__file__).parent.rglob("*.py")
    found = [path.name for path in files if path.name != "conftest.py"]
    assert {name for name in found if found.count(name) > 1} == set()


def test_few_things_are_handed_over_one_by_one():
    """What is public names all that it takes; inside, what belongs together travels together."""
    public = {there for _, there in featx._HOMES.values()}
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text("utf-8"))
        classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name in public]
        makers = {id(node) for one in classes for node in one.body}  # of what a public class takes
        for node in ast.walk(tree):
            inside = isinstance(node, ast.FunctionDef) and node.name not in public
            if inside and not (node.name == "__init__" and id(node) in makers):
                told = node.args
                every = [*told.posonlyargs, *told.args, *told.kwonlyargs, told.vararg, told.kwarg]
                taken = [one for one in every if one is not None]
                assert len(taken) <= 10, f"{module}.{node.name} takes {len(taken)} arguments"
