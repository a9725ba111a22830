"""CSV files as people's programs write them."""

import os

import pytest

from featx.comparison.shares import read_prevalence
from featx.errors import DatasetError
from featx.novelty.taxonomy import read_taxonomy
from featx.sources.tables import Table


def test_lines_count_from_the_files_first(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('sep=;\nName; Name ;n\n"a\nb";2;3\nc;4\n')
    with path.open(newline="") as file:
        table = Table(file, path)
        assert (table.delimiter, table.columns) == (";", ["Name", " Name ", "n"])
        table.check_single("n", "other")
        with pytest.raises(DatasetError, match=r"t.csv, line 2: two columns are called name"):
            table.check_single("name")
        assert [line for line, _ in table] == [4, 5]


@pytest.mark.parametrize("read", [read_taxonomy, lambda path: read_prevalence(path, ("a", "b"))])
def test_nobody_waits_for_a_pipe(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    handle = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(handle, b"\xff\xff")  # who does not look reads these, and sees that it is no text
    try:
        with pytest.raises(DatasetError, match="pipe cannot be read: not a regular file"):
            read(tmp_path / "pipe")
    finally:
        os.close(handle)
