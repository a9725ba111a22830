"""The house: who may import whom, and that nothing heavy loads before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import featx.cli
import pytest

import featx
from featx.extraction import extract

LIBRARY = Path(featx.__file__).parent
COMMANDS = Path(featx.cli.__file__).parent
# As docs/architecture.md draws it. A module imports from floors below its own alone.
FLOORS = [
    {"errors", "config", "machine", "stages", "text"},
    {"catalogue", "files", "splits", "loading", "charts"},
    {"dataset", "images", "keras", "weights", "backbone", "rows", "locks", "metrics"}
    | {"classcharts", "whereabouts"},
    {"inventory", "fetch", "engine", "openvino_engine", "layout", "provenance", "training"}
    | {"evaluation", "blocks", "mapping", "page", "looks", "pictures"},
    {"sources", "selection", "container", "features", "engines", "network", "prefix", "models"}
    | {"search", "scaling", "descent", "sums", "linear", "imagenet", "copies", "rowcache"},
    {"store", "contents", "ledger", "candidates", "logreg", "margins", "neighbours", "budget"},
    {"suspects"}
    | {"cache", "costs", "checkpoints", "shards", "plans", "recipes", "results", "export"},
    {"assembly", "finetuning", "heads", "findings", "housekeeping"},
    {"lookup", "planning", "auditing", "classifier", "doctor", "graphs", "transformer"},
    {"extraction", "deployment"},
    {"sharding", "merging", "views", "learning", "prediction", "trainers"},
    {"comparison", "samples", "ray_runner"},
    {"distribution", "exhibits", "rendering", "repetition"},
    {"wording", "auditpage"},
    {"report"},
]
FLOOR_OF = {name: i for i, floor in enumerate(FLOORS) for name in floor}
MODULES = sorted(p.stem for p in LIBRARY.glob("*.py") if p.stem != "__init__")
HEAVY = {"torch", "torchvision", "sklearn", "h5py", "scipy", "altair", "vl_convert", "pyarrow"}


def imported(path):
    """Absolute names of all that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_module_has_a_floor():
    assert set(MODULES) == set(FLOOR_OF)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    for name in imported(LIBRARY / f"{module}.py"):
        assert not name.startswith("."), "the library imports absolutely"
        assert name.partition(".")[0] not in ("click", "cli"), "the library knows no command line"
        first, _, rest = name.partition(".")
        if first == "featx" and rest:
            assert FLOOR_OF[rest] < FLOOR_OF[module], f"{module} imports {rest}"


def test_commands_import_each_other_relatively():
    for path in COMMANDS.glob("*.py"):
        names = list(imported(path))
        assert not any(name.startswith("featx.cli") for name in names), path.name
        body = ast.parse(path.read_text("utf-8")).body
        top = {n.module or "" for n in body if isinstance(n, ast.ImportFrom)}
        top |= {a.name for n in body if isinstance(n, ast.Import) for a in n.names}
        assert not {name.partition(".")[0] for name in top} & HEAVY, path.name


def test_every_module_imports_alone():
    # Third-party libraries first, once; then each module of ours in a fork that has none of ours.
    code = f"""
import os, sys
import {", ".join(sorted(HEAVY))}, sklearn.linear_model, torchvision.models, tqdm, tabulate, joblib
for module in {MODULES!r}:
    child = os.fork()
    if not child:
        __import__("featx." + module)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, module
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
        "from featx.catalogue import RECIPES, Recipe\n"
        "from featx.store import read_features\n"
        "from featx.config import Preprocessing\n"
        f"made = read_features(__import__('pathlib').Path({str(out)!r})).provenance\n"
        "RECIPES['imagenet1k-v1'] = Recipe("
        "Preprocessing.from_dict(made.preprocessing), False, 'small')\n"
    ) + code
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "27 images, 0 extracted" in done.stdout
    assert done.stdout.rstrip().endswith("LOADED []")


def test_no_file_has_outgrown_itself():
    for path in [*LIBRARY.glob("*.py"), *COMMANDS.glob("*.py")]:
        assert len(path.read_text("utf-8").splitlines()) <= 400, f"{path.name} asks to be two"
