import pytest

from featx.storage.members import FOLDER, OUTSIDE, REPLACED, Entry, Extent, Members, tidy_name


@pytest.fixture
def members():
    made = Members()
    made.fill(0, [Entry("a/b/1.png", extent=Extent(1, 2, 3, 4, 5)), Entry("a/e/", FOLDER)])
    made.fill(1, [Entry("2.png"), Entry("../3.png"), Entry("2.png", extent=Extent(9, 1))])
    return made


def test_archives_are_apart(members):
    assert members.find(0, "a/b/1.png") == (0, Extent(1, 2, 3, 4, 5))
    assert members.find(1, "a/b/1.png") is None
    assert list(members.iterate(1)) == [(2, "2.png")]
    members.drop(0)
    assert members.find(0, "a/b/1.png") is None
    assert members.find(1, "2.png") == (2, Extent(9, 1))


def test_folders_are_there_once_something_is_in_them(members):
    assert list(members.list_folder(0, "")) == [("a", True)]
    assert list(members.list_folder(0, "a")) == [("b", True), ("e", True)]
    assert list(members.list_folder(0, "a/b")) == [("1.png", False)]
    assert [members.has_folder(0, name) for name in ("", "a", "a/b", "b")] == [True] * 3 + [False]


def test_what_does_not_count_is_kept_by_kind(members):
    assert list(members.iterate_strays(0)) == []
    assert list(members.iterate_strays(1)) == [(REPLACED, "2.png"), (OUTSIDE, "../3.png")]


def test_more_than_a_block(monkeypatch):
    monkeypatch.setattr("featx.storage.members._BLOCK", 7)
    made, names = Members(), [f"{k:02d}" for k in range(30)]
    made.fill(3, map(Entry, reversed(names)))
    assert [name for _, name in made.iterate(3)] == names[::-1]
    assert [name for name, _ in made.list_folder(3, "")] == names


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a/1.png", "a/1.png"),
        ("./a//./1.png", "a/1.png"),
        ("a/", "a"),
        ("", None),
        (".", None),
        ("/a/1.png", None),
        ("a/../1.png", None),
        ("a\0b", None),
        ("..a/1..png", "..a/1..png"),
    ],
)
def test_names(given, name):
    assert tidy_name(given) == name
