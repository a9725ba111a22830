"""What a kind of head is, told once."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_features import make_features

import featx.heads
from featx.config import CLASSIFIERS
from featx.errors import ModelError
from featx.heads.fit import fit
from featx.heads.head import load_head
from featx.heads.kind import Size, find_kind


@pytest.mark.parametrize("clf", CLASSIFIERS)
def test_a_row_is_whole(clf):
    kind = find_kind(clf)
    assert kind.name == clf
    size = Size(train=100, val=10, test=10, features=64, classes=3)
    assert kind.memory.whole(size) >= 0
    assert kind.memory.blocks is None or kind.memory.blocks(size) >= 0
    if kind.grid is not None:
        assert len(set(kind.grid.values)) == len(kind.grid.values) > 1
        assert 1 <= kind.grid.thinned < len(kind.grid.values)


def test_every_head_that_is_there_is_in_the_closed_set():
    texts = {p.stem: p.read_text("utf-8") for p in Path(featx.heads.__file__).parent.glob("*.py")}
    assert {name for name, text in texts.items() if "\nKIND = Kind(" in text} == set(CLASSIFIERS)


def test_no_such_head(provenance):
    known = ", ".join(CLASSIFIERS)
    for name in ("forest", "fit", "Ridge", ""):
        with pytest.raises(ModelError, match=f"unknown clf '{name}': say one of {known}"):
            find_kind(name)
    with pytest.raises(ModelError, match="unknown clf 'forest'"):
        fit(make_features(provenance), "forest")


def test_a_head_without_epochs_loads_no_torch():
    code = (
        "import sys\n"
        "from featx.heads.kind import find_kind\n"
        "import featx.heads.recipe, featx.heads.head\n"
        "for clf in ('logreg', 'svm', 'ridge', 'knn', 'centroid'):\n"
        "    find_kind(clf)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("clf", [clf for clf in CLASSIFIERS if clf != "imagenet"])
def test_what_a_file_lacks_is_said(clf, provenance):
    model = fit(make_features(provenance), clf, epochs=1)
    for name in find_kind(clf).load(model.arrays, 1.0, 3).to_arrays():
        kept = {other: array for other, array in model.arrays.items() if other != name}
        with pytest.raises(ModelError, match=f"is damaged: it lacks '{name}'"):
            load_head(type(model)(**{**vars(model), "arrays": kept}))
    with pytest.raises(ModelError, match="is damaged: its coefficients are not for 4 classes"):
        load_head(type(model)(**{**vars(model), "classes": ("a", "b", "c", "d")}))
