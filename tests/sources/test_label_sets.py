"""Several labels an image: what manifests say, and splits that keep each label's share."""

import numpy as np
import pytest

from featx.config import MAX_LABELS, SPLITS
from featx.errors import DatasetError
from featx.sources.label_sets import deal_sets
from featx.sources.manifest import write_manifest
from featx.sources.reading import read_dataset

WORDS = """path,label,split
a/1.jpg,dog|cat,train
a/2.jpg,,train
b/1.jpg, owl ; dog ,train
b/2.jpg,cat|cat|,test
"""
MATRIX = """path,split,owl,cat,dog
a/1.jpg,train,0,1,1
a/2.jpg,train,0,0,0
b/1.jpg,train,1.0,0,True
b/2.jpg,test,0,1,0
"""
SETS = {"a/1.jpg": "cat dog", "a/2.jpg": "", "b/1.jpg": "dog owl", "b/2.jpg": "cat"}


@pytest.fixture
def lain(tmp_path):
    for path in SETS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


def read(root, text, split=None, **options):
    (root / "m.csv").write_text(text)
    return read_dataset(root / "m.csv", split, multi_label=True, **options)


def tell(found):
    names = np.array(found.classes)
    sets = [" ".join(names[own]) for own in found.label_sets]
    return dict(zip(found.paths, sets, strict=True))


@pytest.mark.parametrize("text", [WORDS, MATRIX], ids=["words", "matrix"])
def test_a_column_of_words_and_a_matrix_say_the_same(lain, text):
    found = read(lain, text)
    assert found.classes == ("cat", "dog", "owl")
    assert tell(found) == SETS
    assert found.targets.tolist() == [-1] * 4
    assert dict(zip(found.paths, found.splits.tolist(), strict=True))["b/2.jpg"] == "test"


def test_what_one_should_know_is_noted(lain):
    assert read(lain, WORDS).notes == (
        "lines that name a label more than once: 1",
        "no test image has the labels dog, owl: none is measured there",
        "images with none of the labels: 1 (such as a/2.jpg); they count as that",
    )


def test_a_comma_in_a_label_parts_nothing_and_is_noted(lain):
    text = 'path,label,split\na/1.jpg,"cat, dog",train\nb/1.jpg,owl,train\n'
    found = read(lain, text)
    assert found.classes == ("cat, dog", "owl")
    assert found.notes == (
        "labels with a comma in their names, since | or ; parts labels: cat, dog",
    )


def test_a_label_that_train_lacks_is_noted(lain):
    text = "path,split,x,y\na/1.jpg,train,1,0\nb/1.jpg,test,1,1\n"
    (note,) = read(lain, text).notes
    assert note == "no train image has the labels y: nothing could learn them"


def test_a_manifest_that_featx_writes_says_the_same(lain):
    found = read(lain, MATRIX)
    write_manifest(found, lain / "split.csv")
    again = read_dataset(lain / "split.csv", multi_label=True)
    assert tell(again) == SETS
    assert again.splits.tolist() == found.splits.tolist()


def test_some_rows_keep_their_sets(lain):
    found = read(lain, WORDS)
    assert tell(found.select(found.splits == "test")) == {"b/2.jpg": "cat"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,cat,dog\na/1.jpg,1,2\n", r"m.csv, line 2: dog is '2'; expected 0 or 1"),
        ("path,cat,dog\na/1.jpg,1,\n", r"line 2: dog is ''; expected 0 or 1"),
        ("path,cat,dog\na/1.jpg,1\n", r"line 2: dog is ''; expected 0 or 1"),
        ("path,cat,a|b\na/1.jpg,1,1\n", r"label 'a\|b' has \| or ; in its name"),
        ("path,cat,cat \na/1.jpg,1,1\n", "two columns are the label 'cat'"),
        ("path,owl,cat,cat\na/1.jpg,1,1,0\n", "two columns are the label 'cat'"),
        ("path,split\na/1.jpg,train\n", "needs a column label, or a column of 0 and 1"),
        ("path,label,dog\na/1.jpg,cat,1\nb/1.jpg,dog,0\n", "column label and columns of 0 and 1"),
        ("path,label\na/1.jpg,\nb/1.jpg, | \n", "no image has any label"),
        ("path;label\na/1.jpg;cat;dog\nb/1.jpg;dog\n", "line 2: more cells than .* such as 'dog'"),
        (
            "path,label\na/1.jpg," + "|".join(map(str, range(MAX_LABELS + 1))) + "\n",
            f"{MAX_LABELS + 1} labels, and {MAX_LABELS} are the most",
        ),
        ("path,label,split\na/1.jpg,cat,test\n", "no train images"),
        ("path,label\na/1.jpg,cat\na/1.jpg,dog\n", "a/1.jpg stands in line 2 already"),
    ],
)
def test_what_cannot_be_read_is_said(lain, text, said):
    with pytest.raises(DatasetError, match=said):
        read(lain, text)


def test_semicolons_part_labels_in_quotes_and_columns_outside(lain):
    found = read(lain, 'path;label\na/1.jpg;"cat;dog"\nb/1.jpg;dog;\n')
    assert tell(found) == {"a/1.jpg": "cat dog", "b/1.jpg": "dog"}


def test_other_columns_beside_words_are_left_alone(lain):
    assert read(lain, "path,label,where\na/1.jpg,cat,1\nb/1.jpg,dog,north\n").classes == (
        "cat", "dog",
    )  # fmt: skip


def test_folders_have_one_label_an_image(lain):
    with pytest.raises(DatasetError, match="--multi-label goes with a manifest"):
        read_dataset(lain, multi_label=True)


def test_images_of_a_class_cannot_be_counted(lain):
    with pytest.raises(DatasetError, match="counts images of each class"):
        read(lain, "path,label\na/1.jpg,cat\nb/1.jpg,dog\n", split="first:1,0")


def draw_sets(n=400, seed=3):
    rng = np.random.default_rng(seed)
    return rng.random((n, 6)) < [0.5, 0.3, 0.1, 0.05, 0.03, 0.02]


def test_each_side_has_its_share_of_each_label():
    sets, shares = draw_sets(), (0.6, 0.15, 0.25)
    sides = deal_sets(sets, shares, seed=1)
    for side, share in enumerate(shares):
        own = sets[sides == side]
        assert abs(len(own) - share * len(sets)) <= 3
        assert np.abs(own.sum(axis=0) - share * sets.sum(axis=0)).max() <= 2.5
    assert (deal_sets(sets, shares, seed=1) == sides).all()
    assert (deal_sets(sets, shares, seed=2) != sides).any()


def test_it_is_nearer_than_chance():
    """The labels' distribution, the paper's own measure, against that of random splits."""
    sets = draw_sets(200)

    def measure(sides):
        odds = sets.sum(axis=0) / (~sets).sum(axis=0)
        own = [sets[sides == side] for side in range(5)]
        each = [one.sum(axis=0) / (~one).sum(axis=0) for one in own]
        return np.mean(np.abs(np.array(each) - odds))

    rng = np.random.default_rng(0)
    random = [measure(rng.permutation(np.arange(200) % 5)) for _ in range(20)]
    assert measure(deal_sets(sets, [0.2] * 5)) < 0.5 * min(random)


def test_train_has_each_label_and_an_empty_share_none():
    sets = np.eye(12, dtype=bool)  # one image of each
    sides = deal_sets(sets, (0.1, 0.0, 0.9), fill=True)
    assert (sides == 0).all()
    assert set(deal_sets(draw_sets(), (0.5, 0.0, 0.5)).tolist()) == {0, 2}


def make_many(root, n=60):
    sets = draw_sets(n, 5)
    lines = ["path,group,u,v,w,x,y,z"]
    for i, own in enumerate(sets):
        (root / f"{i:02}.jpg").touch()
        lines.append(f"{i:02}.jpg,g{i // 3}," + ",".join(map(str, own.astype(int))))
    return "\n".join(lines) + "\n"


def test_a_split_by_rule_reaches_every_image(tmp_path):
    found = read(tmp_path, make_many(tmp_path), split="0.6,0.2,0.2@4")
    assert found.counts() == {"train": 36, "val": 12, "test": 12}
    assert found.split_rule == "0.6,0.2,0.2@4"


def test_groups_stay_whole(tmp_path):
    found = read(tmp_path, make_many(tmp_path), split="0.6,0.2,0.2@4", group="group")
    assert set(found.counts()) == set(SPLITS)
    sides = {(g, s) for g, s in zip(found.groups.tolist(), found.splits.tolist(), strict=True)}
    assert len(sides) == 20
    n_test = found.label_sets[found.splits == "test"].sum() / found.label_sets.sum()
    assert 0.12 < n_test < 0.28
