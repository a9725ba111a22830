import logging

import numpy as np
import pytest

from featx.errors import DatasetError
from featx.novelty.taxonomy import MISSING, Taxonomy, read_taxonomy, write_taxonomy

CATS = """species,genus,family
lion,Panthera,Felidae
tiger,Panthera,
cat,Felis,Felidae
wolf,Canis,Canidae
axolotl,,Ambystomatidae
"""


@pytest.fixture
def read(tmp_path):
    def read(text, encoding="utf-8"):
        path = tmp_path / "T.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_taxonomy(path)

    return read


def test_a_tree_is_read_and_written_again(read, tmp_path):
    tree = read(CATS)
    assert tree.ranks == ("species", "genus", "family")
    # What another line says of Panthera stands in for the tiger's family.
    assert tree.lines[1] == ("tiger", "Panthera", "Felidae")
    assert tree.lines[4] == ("axolotl", "", "Ambystomatidae")
    assert tree.names[1] == ("Canis", "Felis", "Panthera")
    assert tree.codes[:, 1].tolist() == [2, 2, 1, 0, MISSING]
    write_taxonomy(tree, tmp_path / "again.csv")
    assert read_taxonomy(tmp_path / "again.csv") == tree == Taxonomy.from_dict(tree.to_dict())


def test_sums_by_hand(read):
    tree = read(CATS)
    probabilities = np.array([[0.25, 0.25, 0.125, 0.0625, 0.3125], [0, 0, 0.25, 0.75, 0]])
    leaves, genera, families = tree.sum_ranks(probabilities)
    assert leaves is probabilities
    assert genera.tolist() == [[0.0625, 0.125, 0.5], [0.75, 0.25, 0]]
    assert families.tolist() == [[0.3125, 0.0625, 0.625], [0, 0.75, 0.25]]  # A, C, F
    best, scores = tree.find_best(probabilities)
    assert best.tolist() == [[4, 2, 2], [3, 0, 1]]
    assert scores.tolist() == [[0.3125, 0.5, 0.625], [0.75, 0.75, 0.75]]


def test_where_two_classes_meet(read):
    tree = read(CATS)
    lion, tiger, cat, wolf = range(4)
    met = tree.find_meeting(np.array([lion] * 4), np.array([lion, tiger, cat, wolf]))
    assert met.tolist() == [0, 1, 2, MISSING]
    # Two classes without a genus do not share one.
    other = Taxonomy(("a", "b", "c"), (("x", "", "z"), ("y", "", "z")))
    assert other.find_meeting(np.array([0]), np.array([1])).tolist() == [2]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_what_spreadsheets_write(read, encoding, delimiter):
    text = "Art,Gattung,,\nLöwe, Panthera ,,\n,,,\nWolf,Canis,,\n".replace(",", delimiter)
    tree = read(text.replace("\n", "\r\n"), encoding)
    assert tree.ranks == ("Art", "Gattung")
    assert tree.lines == (("Löwe", "Panthera"), ("Wolf", "Canis"))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a,G,F\nb,G,E", r"line 3: G \(genus\) is of E \(family\), and in line 2 of F"),
        (
            "a,F,G\nb,G,F",
            r"line 3: G is of the rank genus, .* 2 of family: .* a circle of the tree",
        ),
        ("a,G,G", "line 2: G is of the rank family, and in line 2 of genus"),
        ("a,b,F\nb,G,F", "line 3: b is of the rank species, and in line 2 of genus"),
        ("a,G,F\nb,G,F\na,G,F", "line 4: the class a stands in line 2 already"),
        ("a,G,F\n,G,F", "line 3: the class is empty"),
        ("a,G,F,x", "line 2: it has 4 cells, and the first line names 3 columns"),
        # A line without a family has that of its genus, which is of another order there.
        ("a,G,E\nb,G,\nG2,H,E\nc,H,F", r"line 5: H \(genus\) is of F \(family\), and in line 4"),
        ("", "T.csv names no classes"),
        ('a,"G', "T.csv is not a CSV in UTF-8"),
    ],
)
def test_what_is_no_tree_is_said_with_its_line(read, lines, said):
    with pytest.raises(DatasetError, match=said):
        read(f"species,genus,family\n{lines}\n")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("species", "names 1 column; expected the class and one or more ranks"),
        ("", "names no columns"),
        ("species,,family", "a column without a name"),
        ("class,genus,class", "names the column class twice"),
    ],
)
def test_a_first_line_that_names_no_ranks(read, header, said):
    with pytest.raises(DatasetError, match=f"T.csv, line 1: .*{said}"):
        read(f"{header}\na,b,c\n")


def test_what_cannot_be_read(read, tmp_path):
    with pytest.raises(DatasetError, match="is not a CSV in UTF-8"):
        read(b"species,genus\n\xff\xfe\xfd,a\n")
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DatasetError, match=r"cannot be read: (no such file|is a directory)"):
            read_taxonomy(path)


def test_the_classes_of_a_model(read, caplog):
    caplog.set_level(logging.INFO)
    tree = read(CATS).take(["wolf", "cat"], "T.csv")
    assert tree.lines == (("wolf", "Canis", "Canidae"), ("cat", "Felis", "Felidae"))
    assert "T.csv: lines of classes that are not here were left out: axolotl, lion" in caplog.text
    alone = read(CATS).take(["axolotl"], "T.csv")
    assert alone.ranks == ("species", "family")
    assert "ranks without a name here were left out: genus" in caplog.text
    with pytest.raises(DatasetError, match=r"has no line for Wolf, puma \(it has one in another"):
        read(CATS).take(["cat", "Wolf", "puma"], "T.csv")
    with pytest.raises(DatasetError, match="gives none of the classes a rank"):
        read("species,genus\na,\nb,\n").take(["a", "b"], "T.csv")


def test_damage_of_what_a_model_keeps(read):
    told = read(CATS).to_dict()
    for damaged in ({}, {**told, "classes": [["lion"]]}, {**told, "classes": []}, {"ranks": 3}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Taxonomy.from_dict(damaged)


def test_against_a_sum_by_hand_over_a_large_tree():
    rng = np.random.default_rng(0)
    names = [(f"c{k}", f"g{k // 3}" if k % 7 else "", f"f{k // 20}") for k in range(100)]
    tree, p = Taxonomy(("c", "g", "f"), tuple(names)), rng.dirichlet(np.ones(100), 5)
    for r, sums in enumerate(tree.sum_ranks(p)):
        for name, column in zip(tree.names[r], sums.T, strict=True):
            expected = sum(p[:, k] for k in range(100) if names[k][r] == name)
            assert column == pytest.approx(expected)
