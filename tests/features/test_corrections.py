"""Corrected labels: what a CSV may say, and what becomes of features by it."""

from dataclasses import replace

import numpy as np
import pytest
from made_features import make_features, write
from shared import PROVENANCE

from featx.errors import DatasetError
from featx.features.corrections import CORRECTION_COLUMNS, correct_labels, read_corrections
from featx.features.costs import read_full_cost, write_cost
from featx.features.file import write_features
from featx.heads.kind import HeadOptions
from featx.heads.recipe import make_recipe
from featx.report.next import COLUMNS

HEAD = ",".join(CORRECTION_COLUMNS)


def digest(row):
    return f"{row:064x}"


@pytest.fixture
def made():
    """Thirty-six rows, twelve of each of a, b and c: six train, two val, four test."""
    return make_features(PROVENANCE)


@pytest.fixture
def save(tmp_path):
    def save(*lines, head=HEAD, encoding="utf-8"):
        path = tmp_path / "corrections.csv"
        path.write_bytes("\n".join([head, *lines, ""]).encode(encoding))
        return path

    return save


def names(features):
    return [features.classes[k] if k >= 0 else None for k in features.targets]


def test_each_answer_does_what_it_says(made, save):
    path = save(
        f"{digest(0)},0.jpg,a,is,b,label",
        f"{digest(1)},1.jpg,a,right,,label",
        f"{digest(2)},2.jpg,a,unsure,,label",
        f"{digest(3)},3.jpg,a,leave out,,copy",
        f"{digest(10)},10.jpg,a,IS,c,label",
        f"{digest(11)},11.jpg,a,Leave-Out,,copy",
        f"{digest(12)},12.jpg,b,,,",  # still to be filled in
    )
    found = correct_labels(made, path)
    told = names(made)
    told[0], told[10] = "b", "c"
    assert names(found) == [one for row, one in enumerate(told) if row not in (3, 11)]
    assert found.paths.tolist() == [p for p in made.paths.tolist() if p not in ("3.jpg", "11.jpg")]
    np.testing.assert_array_equal(found.X, np.delete(made.X, [3, 11], axis=0))
    done = found.corrected
    assert (done.changed, done.left_out, done.unsure, done.unknown) == (2, 2, 1, 0)
    assert (done.test, done.test_by_model) == (2, 1)  # 10 and 11; the second for being a copy
    assert done.fingerprint == made.fingerprint != found.fingerprint
    assert done.to_dict()["test"] == {"changed": 2, "by_model": 1}
    assert done.notes[0].startswith(
        "Labels corrected by corrections.csv: 2 changed, 2 left out, 1 unsure and as they were"
    )
    assert any("flatters that model" in note for note in done.notes)
    assert made.targets[0] == 0


def test_a_content_is_one_thing_whatever_its_copies_are_called(made, save):
    hashes = made.hashes.copy()
    hashes[13] = hashes[0]  # a and b, the same bytes
    made = replace(made, hashes=hashes)
    path = save(f"{digest(0)},0.jpg,a,is,c,conflict")
    assert [names(correct_labels(made, path))[row] for row in (0, 13)] == ["c", "c"]
    path = save(f"{digest(0)},0.jpg,a,right,,conflict")
    assert [names(correct_labels(made, path))[row] for row in (0, 13)] == ["a", "a"]
    path = save(f"{digest(0)},13.jpg,b,leave out,,conflict")  # one copy alone
    found = correct_labels(made, path)
    assert "13.jpg" not in found.paths
    assert "0.jpg" in found.paths
    path = save(f"{digest(0)},elsewhere.jpg,b,leave out,,conflict")
    assert len(correct_labels(made, path).paths) == 34
    path = save(f"{digest(0)},0.jpg,a,leave out,,copy", f"{digest(0)},13.jpg,b,leave out,,copy")
    assert len(correct_labels(made, path).paths) == 34


def test_classes_come_and_go(made, save, caplog):
    path = save(*(f"{digest(row)},,,is,wolf,label" for row in range(12, 24)))
    found = correct_labels(made, path)
    assert found.classes == ("a", "c", "wolf")
    assert found.corrected.new == ("wolf",)
    assert found.corrected.gone == ("b",)
    assert names(found)[12:24] == ["wolf"] * 12
    assert names(found)[24:] == ["c"] * 12
    assert "wolf is a new class, which no image had before" in caplog.text
    assert "no image is left of b" in caplog.text
    made = replace(made, classes=("dolphin", "kangaroo", "llama"))
    correct_labels(made, save(f"{digest(0)},,,is,dolphn,label"))
    assert "dolphn is a new class, which no image had before; if dolphin was meant" in caplog.text


def test_unlabelled_images_get_the_labels_that_were_filled_in(made, save):
    blank = replace(made, classes=(), targets=np.full(36, -1))
    lines = [f"{row}.jpg,{digest(row)},{'ab'[row % 2]}" for row in range(4)]
    path = save(*lines, f"4.jpg,{digest(4)},", head=",".join(COLUMNS))
    found = correct_labels(blank, path)
    assert names(found)[:5] == ["a", "b", "a", "b", None]
    assert found.classes == ("a", "b")


def test_rows_of_a_file_stay_there_and_its_cost_is_known(made, save, tmp_path):
    held = write(made, tmp_path)
    before = held.path.read_bytes()
    write_cost(held.path, held.fingerprint, {}, {"seconds": 36.0}, 36, "cpu")
    found = correct_labels(held, save(f"{digest(0)},0.jpg,a,leave out,,copy"))
    np.testing.assert_array_equal(found.X[:], made.X[1:])
    np.testing.assert_array_equal(found.X[np.array([3, 1])], made.X[[4, 2]])
    np.testing.assert_array_equal(
        np.asarray(found.split_blocks("train")[0]), made.split("train")[0][1:]
    )
    assert found.X.shape == (35, 40)
    assert read_full_cost(found)["seconds"] == pytest.approx(35.0)
    assert held.path.read_bytes() == before
    write_features(found, tmp_path / "G.h5")


def test_a_recipe_knows_labels_and_not_who_gave_them(made, save):
    path = save(f"{digest(0)},0.jpg,a,is,b,label")
    targets = made.targets.copy()
    targets[0] = 1
    by_hand, other = replace(made, targets=targets), HeadOptions()
    recipe = make_recipe(correct_labels(made, path), "ridge", other)
    assert recipe == make_recipe(by_hand, "ridge", other) != make_recipe(made, "ridge", other)
    said = correct_labels(made, save(f"{digest(0)},0.jpg,a,right,,label"))
    assert make_recipe(said, "ridge", other) == make_recipe(made, "ridge", other)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_make_of_it(made, save, encoding, delimiter):
    head = HEAD.upper().replace(",", delimiter)
    line = f"{digest(0).upper()},0.jpg,a,is,b,label".replace(",", delimiter)
    (row,) = read_corrections(save(line, head=head, encoding=encoding)).rows
    assert row.to_row() == [digest(0), "0.jpg", "a", "is", "b", "label"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["1.2E+60,0.jpg,a,is,b,label"], "line 2: sha256 is '1.2e\\+60'; expected 64 hexadecimal"),
        ([f"{digest(0)},0.jpg,a,perhaps,,"], "line 2: the answer is 'perhaps'; expected right, is"),
        ([f"{digest(0)},0.jpg,a,is,,label"], "line 2: the answer is 'is', and the column label"),
        (
            [f"{digest(1)},,,is,b,", f"{digest(0)},0.jpg,a,is,b,", f"{digest(0)},0.jpg,a,is,c,"],
            "line 4: 0.jpg is 'c' here and 'b' in line 3: keep one of them",
        ),
        (
            [f"{digest(0)},,a,right,,", f"{digest(0)},,a,unsure,,"],
            "'unsure' here and 'a' in line 2",
        ),
        ([f"{digest(0)},,a,right,,", f"{digest(0)},,b,right,,"], "is 'b' here and 'a' in line 2"),
        ([f"{digest(0)},a, b.jpg,a,is,b,label"], "line 2: more cells than .* such as 'label'"),
        ([f"{digest(99)},,,is,b,"], "none of its 1 contents .* was made of other data"),
    ],
)
def test_what_is_refused_says_where(made, save, lines, said):
    with pytest.raises(DatasetError, match=said):
        correct_labels(made, save(*lines))


def test_other_files_are_refused(made, save, tmp_path):
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        read_corrections(tmp_path / "none.csv")
    with pytest.raises(DatasetError, match="must name the columns sha256 and label or answer"):
        read_corrections(save("a.jpg,cat", head="path,label"))
    with pytest.raises(DatasetError, match="two columns are called label: which of them is"):
        read_corrections(save(f"{digest(0)},a,b", head="sha256,label,Label"))
    (tmp_path / "corrections.csv").write_bytes(b"\xff\x00\x01")
    with pytest.raises(DatasetError, match="is not a CSV of corrected labels in UTF-8"):
        read_corrections(tmp_path / "corrections.csv")


def test_some_of_other_data_and_none_at_all(made, save, caplog):
    found = correct_labels(made, save(f"{digest(0)},,,is,b,", f"{digest(99)},,,is,wolf,"))
    assert found.classes == made.classes
    assert found.corrected.unknown == 1
    assert "the contents of 1 answers are not among the images (line 3)" in caplog.text
    nothing = correct_labels(made, save())
    assert nothing.fingerprint == made.fingerprint
    assert nothing.corrected.changed == 0
