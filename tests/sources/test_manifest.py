"""A manifest as people's programs write it."""

import unicodedata

import pytest

from featx.errors import DatasetError
from featx.sources.reading import read_dataset

PATHS = ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
TEXT = "path,label,split\n" + "".join(
    f"{path},{path[0]},{split}\n" for path, split in zip(PATHS, ("train", "val") * 2, strict=True)
)


@pytest.fixture
def lain(tmp_path):
    for path in PATHS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


def read(root, text, encoding="utf-8"):
    (root / "m.csv").write_bytes(text.encode(encoding))
    return read_dataset(root / "m.csv")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: "sep=;\n" + text.replace(",", ";"),
        lambda text: text.replace("/", "\\"),
        lambda text: text.replace("path,label,split", "Path, LABEL ,Split"),
        lambda text: text.replace("val", "Validation").replace("train", "TRAINING"),
    ],
    ids=["plain", "crlf", "semicolons", "tabs", "sep", "backslashes", "headings", "spellings"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_and_windows_write_is_read(lain, change, encoding):
    found = read(lain, change(TEXT), encoding)
    assert dict(zip(found.paths, found.splits.tolist(), strict=True)) == {
        "a/1.jpg": "train", "a/2.jpg": "val", "b/1.jpg": "train", "b/2.jpg": "val",
    }  # fmt: skip
    assert found.classes == ("a", "b")


def test_a_backslash_may_be_in_a_name(lain):
    (lain / "a" / "x\\1.jpg").touch()
    assert "a/x\\1.jpg" in read(lain, "path,label\na/x\\1.jpg,a\nb/1.jpg,b\n").paths


@pytest.mark.parametrize("path", ["C:\\photos\\a.jpg", "d:/photos/a.jpg"])
def test_a_drive_is_none_of_ours(lain, path):
    with pytest.raises(DatasetError, match=r"line 2: .* is a path on a drive of Windows"):
        read(lain, f"path,label\n{path},a\n")


def test_backslashes_lead_out_no_more_than_slashes_do(lain):
    with pytest.raises(DatasetError, match="leads out of the manifest's root"):
        read(lain, "path,label\n..\\x.jpg,a\n")


@pytest.mark.parametrize("there", ["NFC", "NFD"])
@pytest.mark.parametrize("said", ["NFC", "NFD"])
def test_paths_are_found_in_either_form_of_unicode(lain, there, said):
    path = lain / unicodedata.normalize(there, "Émeu/é ü.jpg")
    path.parent.mkdir()
    path.touch()
    found = read(lain, unicodedata.normalize(said, "path,label\nÉmeu/é ü.jpg,Émeu\nb/1.jpg,b\n"))
    assert found.paths[1] == path.relative_to(lain).as_posix()
    assert found.classes == ("b", unicodedata.normalize("NFC", "Émeu"))


def test_one_file_under_two_forms_stands_there_twice(lain):
    (lain / "é.jpg").touch()
    composed, apart = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    with pytest.raises(DatasetError, match=r"line 3: .* stands in line 2 already"):
        read(lain, f"path,label\n{composed},a\n{apart},a\n")


def test_unlabelled_lines_are_counted(lain):
    found = read(lain, "path,label\na/1.jpg,a\nb/1.jpg,b\nb/2.jpg,\na/2.jpg\n")
    (note,) = found.notes
    assert note.startswith("images without a label: 2 (such as a/2.jpg)")


def test_text_of_an_old_spreadsheet_says_what_to_do(lain):
    with pytest.raises(DatasetError, match=r"not a CSV manifest in UTF-8.*save one as CSV UTF-8"):
        read(lain, "path,label\né.jpg,a\n", "cp1252")


def test_recursive_is_about_folders(lain):
    (lain / "m.csv").write_text(TEXT)
    with pytest.raises(DatasetError, match="--recursive goes with a folder"):
        read_dataset(lain / "m.csv", recursive=True)


@pytest.mark.parametrize("change", [lambda text: text, lambda text: "sep=,\n" + text])
@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        # The second of two columns would be taken, and half of a name.
        ("path,label,Label\na/1.jpg,a,red\n", 1, "two columns are called label: which"),
        ("path,label,path\na/1.jpg,a,b/1.jpg\n", 1, "two columns are called path: which"),
        ("path,label,site,site\na/1.jpg,a,1,2\n", 1, "two columns are called site: which"),
        ("path,label\na/1.jpg,a\nb/1.jpg,b, wild\n", 3, "more cells than .* such as ' wild'"),
        ("path,label\na/1.jpg,a\nb/,1.jpg,b\n", 3, "more cells than .* such as 'b'"),
    ],
)
def test_columns_that_could_be_meant_otherwise_are_refused(lain, change, text, line, said):
    text = change(text)
    line += text.startswith("sep")
    (lain / "m.csv").write_text(text)
    with pytest.raises(DatasetError, match=rf"m.csv, line {line}: {said}"):
        read_dataset(lain / "m.csv", group="site" if "site" in text else None)


def test_other_columns_may_be_called_alike_and_lines_end_in_blanks(lain):
    text = "path,label,note,note,,\na/1.jpg,a,1,2,,,,\nb/1.jpg,b,,,,\n"
    assert read(lain, text).paths == ("a/1.jpg", "b/1.jpg")
