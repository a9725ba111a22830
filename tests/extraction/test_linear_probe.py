"""A rougher precision is judged by what it costs a linear classifier of the user's own images."""

import logging
import shutil

import numpy as np
import pytest
from shared import TINY, CountingEngine, draw_photo

from featx.config import SPLITS
from featx.data.feeding import Decoding
from featx.data.inventory import Inventory
from featx.errors import ImageError
from featx.extraction import extract as extracting
from featx.extraction import linear_probe
from featx.extraction.extract import extract
from featx.extraction.linear_probe import LinearProbe, choose_probed, count_right
from featx.features.file import read_features
from featx.network import engine_choice, openvino_engine
from featx.scale.plan import make_plan


def make_inventory(tmp_path, rows, classes=("a", "b", "c"), groups=None):
    """Rows of (name, class, split, what its bytes say), all read."""
    found = Inventory(tmp_path, "by hand")
    found.classes = classes
    codes = {name: k for k, name in enumerate((*SPLITS, ""))}
    found.put(
        (
            (name.encode(), codes[split], target, None if text is None else text.encode(), 1)
            for name, target, split, text in rows
        ),
        groups,
    )
    return found


def list_names(inventory):
    return [(path.name, target) for path, target in choose_probed(inventory)]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(linear_probe, "INT8_FOLDER", 10)
    monkeypatch.setattr(linear_probe, "ROWS", 12)
    monkeypatch.setattr(linear_probe, "CLASSES", 2)


def test_the_largest_classes_lowest_hashes_are_probed(small, tmp_path):
    rows = [(f"a{i}", 0, "train", f"{9 - i}") for i in range(8)]  # the later, the lower
    rows += [(f"b{i}", 1, "train", f"b{i}") for i in range(4)]  # too few for five folds
    rows += [("b4", 1, "test", "b4"), ("b5", 1, "train", "b3"), ("b6", 1, "train", None)]
    rows += [(f"c{i}", 2, "train", f"c{i}") for i in range(9)]
    rows += [("none", -1, "train", "0"), ("d0", 2, "", "00")]
    expected = [(f"a{i}", 0) for i in range(2, 8)] + [(f"c{i}", 2) for i in range(6)]
    assert sorted(list_names(make_inventory(tmp_path, rows))) == expected
    # Other names in another order are the same images.
    again = make_inventory(tmp_path, [(f"x{name}", *rest) for name, *rest in rows[::-1]])
    assert sorted(list_names(again)) == [(f"x{name}", target) for name, target in expected]


def test_of_a_group_one_image_is_probed(small, tmp_path):
    rows = [(f"{c}{i}", k, "train", f"{c}{i}") for k, c in enumerate("ab") for i in range(12)]
    groups = [f"{i % 6}{c}" for c in "ab" for i in range(12)]
    found = list_names(make_inventory(tmp_path, rows, groups=groups))
    # The lower hash of two, as text: 10 is below 4, and 11 below 5.
    expected = [(f"{c}{i}", k) for k, c in enumerate("ab") for i in (0, 1, 10, 11, 2, 3)]
    assert sorted(found) == expected
    few = make_inventory(tmp_path, rows, groups=[f"{i % 4}{c}" for c in "ab" for i in range(12)])
    assert choose_probed(few) == []


@pytest.mark.parametrize(
    "rows",
    [
        [(f"a{i}", 0, "train", f"a{i}") for i in range(50)],  # of one class
        [(f"u{i}", -1, "train", f"u{i}") for i in range(50)],  # without labels
        [(f"a{i}", i % 2, "test", f"a{i}") for i in range(50)],  # nothing to learn from
        [(f"a{i}", i % 2, "train", f"a{i}") for i in range(9)],  # a small folder
    ],
)
def test_too_little_to_judge_by(small, tmp_path, rows):
    inventory = make_inventory(tmp_path, rows)
    assert choose_probed(inventory) == []
    assert choose_probed(inventory) == []  # nothing is left in the way of the second time


def test_the_probe_counts_what_it_did_not_learn_from():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    X = rng.normal(size=(120, 30)).astype(np.float32)
    chance = count_right(X, y)
    assert 20 <= chance <= 60  # 40 expected, of which six deviations are 31
    # As large as the features' own noise is small: learned by anything linear.
    X[:, :3] += 8 * np.eye(3, dtype=np.float32)[y]
    assert count_right(X, y) == 120


class Told(CountingEngine):
    """An engine that gives each image a row of its own making, by the image's first pixel."""

    width = 8

    def __init__(self, make):
        super().__init__()
        self.make = make

    def run(self, pixels):
        return np.stack([self.make(int(one[0, 0, 0])) for one in pixels])


def make_rows(wrong):
    """Rows that tell two classes apart, but for as many that say the other."""

    def make(number):
        label = (number % 2) ^ (number < wrong)
        row = np.zeros(8, np.float32)
        row[0], row[7] = 100, 1e6 * (number % 2)  # the last one is no feature
        row[1 + label] = 1 + number / 1000
        return row

    return Told(make)


@pytest.fixture
def numbered(monkeypatch):
    """Images 0 to 99, whose pixels say their number; number 40 cannot be decoded."""

    def load(path, preprocessing, digest, decode, reading):
        number = int(path)
        if number == 40:
            raise ImageError("40", "nothing", "damaged")
        return np.full((8, 8, 3), number, np.uint8)

    monkeypatch.setattr("featx.data.feeding.load_image", load)
    return [(str(i), i % 2) for i in range(100)]


@pytest.mark.parametrize(
    ("before", "after", "good"), [(0, 0, True), (3, 3, True), (0, 9, False), (9, 0, True)]
)
def test_an_engine_that_loses_more_than_a_hundredth_is_refused(numbered, before, after, good):
    probe = LinearProbe(numbered, Decoding(TINY), 7)
    found, told = probe(make_rows(before), make_rows(after))
    assert found == good
    assert f"{99 - after} of 99 images right, with fp32 {99 - before}" in told


def test_an_engine_far_from_the_exact_one_is_refused(numbered):
    exact, rough = make_rows(0), make_rows(0)
    rough.make = lambda number: exact.make(number) * (1 if number != 7 else [0.02] + [3] * 7)
    good, told = LinearProbe(numbered, Decoding(TINY), 7)(exact, rough)
    assert not good
    assert told.startswith("of 99 images' features one has a cosine of 0.56")


def test_images_that_cannot_be_decoded_judge_nothing(numbered):
    good, told = LinearProbe([("40", k % 2) for k in range(20)], Decoding(TINY), 7)(
        make_rows(0), make_rows(0)
    )
    assert (good, told) == (False, "too few of the images to judge it by could be decoded")


@pytest.fixture
def int8(monkeypatch, stored):
    """A processor that has int8 and no bf16, on which the former is always faster."""
    pytest.importorskip("openvino")
    for module in (engine_choice, openvino_engine):
        monkeypatch.setattr(module, "has_openvino", lambda: True)
    monkeypatch.setattr(openvino_engine, "_has_precision", lambda core, name: name == "int8")
    monkeypatch.setattr(engine_choice, "GAIN", 0.0)
    monkeypatch.setattr(engine_choice, "INT8_COSINE", 0.5)  # a drawn network is no trained one
    monkeypatch.setattr(linear_probe, "INT8_FOLDER", 20)
    return {"batch_size": 4, "num_workers": 2, "split": "first:6,1"}


def test_auto_takes_int8_that_the_users_images_bear(int8, photos, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    done = extract(photos, precision="auto", output=tmp_path / "F.h5", **int8)
    assert (done.precision, done.engine.split()[0]) == ("int8", "openvino")
    assert "precision: bf16 refused, because it does not run here" in caplog.text
    assert "a linear probe has 18 of 18 images right, with fp32 18" in caplog.text
    asked = extract(
        photos, precision="int8", output=tmp_path / "I.h5", cache_dir=tmp_path / "own", **int8
    )
    assert asked.extracted == 27
    assert np.array_equal(read_features(asked.features).X[:], read_features(done.features).X[:])
    plan = make_plan(photos, tmp_path / "plan", precision="auto", split="first:6,1")
    assert plan.provenance.precision == "int8"
    # A larger folder is asked for than this, and what is judged so is not tried.
    monkeypatch.setattr(linear_probe, "INT8_FOLDER", 28)
    options = {"cache_dir": tmp_path / "third", "precision": "auto", **int8}
    assert extract(photos, **options).precision == "fp32"
    assert "int8 not tried, since it is judged by labelled train images" in caplog.text


def test_int8_that_costs_accuracy_is_not_taken(int8, photos, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    right = iter((18, 17))
    monkeypatch.setattr(linear_probe, "count_right", lambda X, y: next(right))
    done = extract(photos, precision="auto", output=tmp_path / "F.h5", **int8)
    assert done.precision == "fp32"
    assert (
        "int8 refused, because a linear probe has 17 of 18 images right, with fp32 18"
        in caplog.text
    )


@pytest.mark.parametrize("named", [True, False])
def test_what_an_interrupted_run_took_is_not_probed_again(
    int8, photos, tmp_path, monkeypatch, named
):
    """Rows of one file are of one precision, whatever a busy machine says the second time."""
    options = {"precision": "auto", "cache_dir": tmp_path / "cache", **int8}
    options |= {"output": tmp_path / "F.h5"} if named else {}
    monkeypatch.setattr("featx.extraction.parts.PART_IMAGES", 4)
    real, kept = extracting.part_features, []

    def interrupted(part, *rest):
        if len(kept) == 3:
            raise KeyboardInterrupt
        kept.append(part)
        return real(part, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(extracting, "part_features", interrupted)
        with pytest.raises(KeyboardInterrupt):
            extract(photos, **options)
    monkeypatch.setattr(linear_probe, "count_right", lambda X, y: pytest.fail("probed again"))
    done = extract(photos, **options)
    assert (done.precision, done.extracted) == ("int8", 27 - 12)


def test_views_are_of_the_files_precision(int8, photos, tmp_path, run, monkeypatch):
    path = tmp_path / "F.h5"
    words = ["extract", photos, "--precision", "auto", "--split", "first:6,1", "-o", path]
    assert run(*words, "--views", 1, "--batch-size", 4).exit_code == 0
    monkeypatch.setattr(linear_probe, "INT8_FOLDER", 10**6)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    draw_photo(photos / "cat" / "later.png", 0, 77)
    found = run(*words, "--views", 1, "--batch-size", 4, "--overwrite")
    assert found.exit_code == 0, found.output
    views = sorted(path.parent.glob("F*view*.h5"))
    assert [read_features(one).provenance.precision for one in [path, *views]] == ["int8"] * 2
