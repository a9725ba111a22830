"""What `import featx` gives."""

import ast
import doctest
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import featx

DOCS = Path(__file__).parents[1] / "docs" / "api.md"


def test_importing_is_light_and_names_are_lazy():
    code = (
        "import sys, featx\n"
        "heavy = {'torch', 'sklearn', 'h5py', 'scipy', 'numpy', 'click'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert {'extract', 'load_features', 'ResNet50Features'} <= set(dir(featx))\n"
        "assert featx.extract.__module__ == 'featx.extraction.extract'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_is_there_and_typed():
    tree = ast.parse(Path(featx.__file__).read_text("utf-8"))
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    told = {
        alias.asname: (line.module.removeprefix("featx."), alias.name)
        for line in typed.body
        for alias in line.names
    }
    assert told == featx._HOMES
    assert set(featx.__all__) == {"__version__", *featx._HOMES}
    for name in featx._HOMES:
        assert getattr(featx, name).__doc__, name
    with pytest.raises(AttributeError, match="module 'featx' has no attribute 'nonsense'"):
        _ = featx.nonsense


def test_no_module_hides_a_name():
    folder = Path(featx.__file__).parent
    modules = {path.stem for path in folder.iterdir()} - {"__init__"}
    assert not modules & featx._HOMES.keys()


def test_pickles_know_public_names_alone():
    for name in ("ResNet50Features", "Provenance"):
        assert f"cfeatx\n{name}\n".encode() in pickle.dumps(getattr(featx, name), protocol=0)


def test_docstrings_and_docs_name_public_names_alone():
    folder = Path(featx.__file__).parent
    pages = [*folder.rglob("*.py"), *DOCS.parent.glob("*.md"), DOCS.parents[1] / "README.md"]
    for page in filter(Path.exists, pages):
        named = re.findall(r"`{1,2}featx\.([\w.]*\w)", page.read_text("utf-8"))
        known = {*featx.__all__, "errors", "cli", "toml"}
        assert {name.partition(".")[0] for name in named} <= known, page


def test_the_examples_of_the_docstrings(photos, stored, monkeypatch):
    """Each by itself, in a folder that holds the photographs."""
    monkeypatch.chdir(photos.parent)
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    tried = set()
    for name in featx._HOMES:
        thing = getattr(featx, name)
        for test in finder.find(thing, name, module=inspect.getmodule(thing), globs={}):
            if test.examples:
                tried.add(name)
                runner.run(test)
    assert runner.summarize().failed == 0
    assert tried >= {"ResNet50Features", "extract", "load_features", "fit", "predict", "read_model"}


@pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not here")
def test_the_examples_of_the_documentation(photos, stored, monkeypatch):
    """Its Python blocks one after the other, as a reader would type them."""
    text = DOCS.read_text("utf-8")
    blocks = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) >= 4
    monkeypatch.chdir(photos.parent)
    names = {}
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), names)
    assert names["search"].best_score_ > 0.5
    assert names["X"].shape[1] == 2048


def test_paths_may_be_text(photos, stored):
    features = str(featx.extract(str(photos), split="first:5,2", output="F.h5").features)
    done = featx.export_features(features, npy="F.npy")
    assert [one.path.name for one in done.written] == ["F.npy", "F.csv", "F.json"]
    featx.fit(featx.load_features(features), "centroid", output="m.safetensors")
    pytest.importorskip("onnxruntime")
    assert Path("m.onnx") == featx.export_model("m.safetensors", onnx="m.onnx").written[0].path
    (entry,) = featx.list_cache(".")
    assert (entry.path.name, entry.images) == ("F.h5", 27)
    featx.remove_entry(entry)
    assert featx.list_cache(".") == []


@pytest.mark.parametrize("value", [None, 3, b"x", ["x"], 0.5])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("data", lambda x: featx.extract(x)),
        ("data", lambda x: featx.read_dataset(x)),
        ("data", lambda x: featx.compare(x)),
        ("data", lambda x: featx.finetune(x)),
        ("features", lambda x: featx.load_features(x)),
        ("features", lambda x: featx.fit(x)),
        ("features", lambda x: featx.audit(x)),
        ("model", lambda x: featx.read_model(x)),
        ("model", lambda x: featx.predict(x, ["a.jpg"])),
        ("model", lambda x: featx.export_model(x, onnx="m.onnx")),
        ("folder", lambda x: featx.merge(x)),
    ],
)
def test_what_is_no_path_is_named(name, call, value):
    with pytest.raises(featx.FeatxError, match=f"^{name} is a {type(value).__name__}"):
        call(value)
