"""Names and manifests nobody meant, by Hypothesis: a clear error or the right result."""

import contextlib
import csv
import io
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from featx.data.dataset import Dataset, fingerprint_rows
from featx.errors import DatasetError, FeatureFileError
from featx.sources.manifest import write_manifest
from featx.sources.reading import read_dataset
from featx.storage.hdf5 import check_seal, open_sealed, write_sealed
from featx.storage.rows import encode_text
from featx.text import printable

settings.register_profile(
    "featx", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("featx")

NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30
).filter(lambda name: name not in (".", "..") and name.strip() == name)


@given(st.text())
@example("\x1b[2J\x9b31m\u202e\u2066\ud800\r\n")
def test_nothing_printed_commands_a_terminal(text):
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert printable(text, keep="\n").replace("\n", "").isprintable()
    if text.isprintable():
        assert shown == text


@given(st.binary(max_size=300))
@example(b"path,label\n../x.png,a\n")
@example(b'path,label\n"x\0.png",a\n')
@example(b"path,label,split\nx.png,a\n")
@example(b"path,label\nx.png\n")
@example(b"\xef\xbb\xbfpath,label\nx.png,a\n")
def test_any_bytes_as_a_manifest(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.csv"
        path.write_bytes(data)
        (path.parent / "x.png").touch()
        with contextlib.suppress(DatasetError):
            found = read_dataset(path)
            assert all((path.parent / name).resolve().is_relative_to(path.parent.resolve())
                       for name in found.paths)  # fmt: skip


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=10)), min_size=1, max_size=5))
@example([("/etc/passwd", "a")])
@example([("a/../../x.png", "a")])
@example([("x.png", "a"), ("./x.png", "b")])
@example([("a\0.png", "a")])
def test_a_manifest_names_nothing_outside_its_root(rows):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        (root / "x.png").touch()
        text = io.StringIO()
        csv.writer(text).writerows([("path", "label"), ("x.png", "one"), *rows])
        data = text.getvalue().encode("utf-8", "surrogatepass")
        (root / "m.csv").write_bytes(data)
        try:
            found = read_dataset(root / "m.csv")
        except DatasetError:
            return
        for name in found.paths:
            assert ".." not in name.split("/")
            assert not name.startswith("/")


@given(st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=8, unique_by=lambda row: row[0]))
def test_a_manifest_comes_back_as_it_was(rows):
    classes = tuple(sorted({label for _, label in rows}))
    if len(classes) < 2:
        return
    ordered = sorted(rows, key=lambda row: (row[1], row[0]))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "m.csv").touch()
        dataset = Dataset(
            root, "m", classes, tuple(name for name, _ in ordered),
            np.array([classes.index(label) for _, label in ordered]),
            np.full(len(rows), "train"), "manifest",
        )  # fmt: skip
        write_manifest(dataset, root / "m.csv", overwrite=True)
        # As if all of them were there: a backslash is a separator only where no file has it.
        with (
            mock.patch("featx.sources.manifest.is_place", return_value=True),
            mock.patch("os.path.lexists", return_value=True),
        ):
            back = read_dataset(root / "m.csv", root=root)
        assert back.paths == dataset.paths
        assert back.classes == classes
        assert back.targets.tolist() == dataset.targets.tolist()


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=6)
)
def test_text_comes_back_from_a_file_as_it_was(words):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        write_sealed(
            path, "test file", {"words": words}, {"words": encode_text(np.array(words, dtype=str))}
        )
        with open_sealed(path) as sealed:
            assert sealed.read_text("words").tolist() == words
            assert sealed.attributes["words"] == words


@given(st.binary(max_size=2000))
def test_rubbish_is_no_feature_file(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        path.write_bytes(data)
        with pytest.raises(FeatureFileError):
            check_seal(path, "feature file")
        with pytest.raises(FeatureFileError), open_sealed(path):
            pass


@given(st.lists(st.tuples(NAMES, st.integers(-1, 3)), max_size=5), st.lists(NAMES, max_size=3))
def test_different_rows_have_different_fingerprints(rows, classes):
    def fingerprint(classes, rows):
        n = len(rows)
        return fingerprint_rows(
            classes, [name for name, _ in rows], np.full(n, "0" * 64),
            np.array([k for _, k in rows], dtype=int), np.full(n, "train"),
        )  # fmt: skip

    one = fingerprint(classes, rows)
    assert one != fingerprint([*classes, "x"], rows)
    assert one != fingerprint(classes, [*rows, ("x", 0)])
    if rows and classes:
        assert one != fingerprint(classes[:-1], [(classes[-1], 0), *rows])
