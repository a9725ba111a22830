"""A CSV that was filled in, of a file's images, of the pool's, or of both."""

from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features

from featx.errors import DatasetError
from featx.labelling.answers import apply_answers
from featx.labelling.next import find_next


@pytest.fixture
def held(provenance):
    """Sixty labelled images of the classes a, b and c."""
    return make_features(provenance, 20, splits=(15, 5))


@pytest.fixture
def pool(provenance):
    """Twelve images that nothing is known of."""
    made = make_features(provenance, 4, seed=1)
    return replace(
        made, targets=np.full(12, -1), classes=(), splits=np.full(12, ""), dataset="pool",
        hashes=np.array([f"{i:064x}" for i in range(1000, 1012)]),
        paths=np.array([f"new/{i}.jpg" for i in range(12)]),
    )  # fmt: skip


def write_answers(path, **labels):
    rows = [f"{int(name[1:]):064x},{label}" for name, label in labels.items()]
    path.write_text("\n".join(["sha256,label", *rows]))
    return path


def test_what_of_the_pool_got_a_label_joins_train(held, pool, tmp_path):
    path = write_answers(tmp_path / "C.csv", h1000="b", h1003="aardvark", h1004="", h0="c")
    both, rest = apply_answers(held, pool, path)
    assert both.classes == ("a", "aardvark", "b", "c")
    assert [both.classes[k] for k in both.targets[-2:]] == ["b", "aardvark"]
    assert both.splits[-2:].tolist() == ["train", "train"]
    assert both.paths[-2:].tolist() == ["new/0.jpg", "new/3.jpg"]
    assert np.array_equal(np.asarray(both.X[[60, 0, 61]]), [pool.X[0], held.X[0], pool.X[3]])
    assert both.classes[both.targets[0]] == "c"
    before = [held.classes[k] for k in held.targets[1:]]
    assert [both.classes[k] for k in both.targets[1:60]] == before
    assert np.flatnonzero(rest.targets >= 0).tolist() == [0, 3]
    assert both.corrected.changed == 1


def test_groups_of_both_stay_apart(held, pool, tmp_path):
    path = write_answers(tmp_path / "C.csv", h1000="b", h1001="b")
    both, _ = apply_answers(replace(held, groups=np.repeat(["x", "y"], 30)), pool, path)
    assert len(np.unique(both.clusters)) == 4
    grouped = replace(pool, groups=np.full(12, "y"))
    both, _ = apply_answers(replace(held, groups=np.repeat(["x", "y"], 30)), grouped, path)
    assert len(np.unique(both.clusters)) == 2


def test_a_round_goes_on_with_the_pool(held, pool, tmp_path):
    first = find_next(held, pool, n=4)
    path = tmp_path / "C.csv"
    rows = [f"{one.sha256},{one.path},a" for one in first.images]
    path.write_text("\n".join(["sha256,path,label", *rows]))
    found = find_next(held, pool, n=4, labels=path)
    assert (found.labelled, found.unlabelled) == (64, 8)
    assert not {one.path for one in found.images} & {one.path for one in first.images}
    assert found.to_dict()["labels"]["changed"] == 4
    assert found.to_dict()["labels"]["new_classes"] == []
    assert all(one.guess in "abc" for one in found.images)


def test_answers_of_other_data_are_refused(held, pool, tmp_path):
    path = write_answers(tmp_path / "C.csv", h5000="b")
    with pytest.raises(DatasetError, match=r"none of its 1 contents .* images of pool"):
        find_next(held, pool, labels=path)
    empty = write_answers(tmp_path / "D.csv", h1000="")
    assert apply_answers(held, pool, empty)[1] is pool
