import numpy as np
import pytest

from featx.comparison.shares import order_shares, read_prevalence, write_prevalence
from featx.errors import DatasetError

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def give(tmp_path):
    def write(text):
        path = tmp_path / "field.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_read_in_the_order_of_the_classes(give, caplog):
    path = give("\ufeffshare,class\n0.1,owl\n0.7, cat \n0.2,dog\n")
    assert list(read_prevalence(path, CLASSES).items()) == [
        ("cat", 0.7),
        ("dog", 0.2),
        ("owl", 0.1),
    ]
    assert not caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_spreadsheets_write_is_read(give, encoding):
    path = give("Class;Share\ncat;0,5\ndog;0,25\nowl;0,25\n".encode(encoding))
    assert read_prevalence(path, CLASSES) == {"cat": 0.5, "dog": 0.25, "owl": 0.25}


def test_per_cent_and_counts_are_divided_by_their_sum_and_it_is_said(give, caplog):
    path = give("class,share\ncat,70\ndog,20\nowl,10\n")
    assert read_prevalence(path, CLASSES) == pytest.approx({"cat": 0.7, "dog": 0.2, "owl": 0.1})
    assert "field.csv: the shares sum to 100 and were divided by it" in caplog.text
    assert read_prevalence({"cat": 3, "dog": 1, "owl": 0}, CLASSES)["cat"] == 0.75


@pytest.mark.parametrize(("text", "words"), [
    ("class,share\ncat,1\nfox,0\n", r"field.csv, line 3: the dataset has no class 'fox'; its"),
    ("class,share\ncat,1\ndog,0\n", r"field.csv: no share for 'owl'; every class needs one"),
    ("class,share\ncat,-1\n", r"line 2: the share of 'cat' is '-1'; expected a number from 0"),
    ("class,share\ncat,nan\n", r"the share of 'cat' is 'nan'"),
    ("class,share\ncat,inf\n", r"the share of 'cat' is 'inf'"),
    ("class,share\ncat\n", r"the share of 'cat' is ''"),
    ("class,share\ncat,0,7\n", r"field.csv, line 2: more cells than .* such as '7'"),
    ("class,share,share\ncat,1,2\n", r"field.csv, line 1: two columns are called share"),
    ("class,share\ncat,1\ncat,1\n", r"line 3: the class 'cat' has a share already"),
    ("class,share\ncat,0\ndog,0\nowl,0\n", r"all shares are 0"),
    ("cat,1\n", r"its first line must name the columns class,share; it reads 'cat,1'"),
    ("", r"it reads ''"),
    (b"class,share\n\xff,1\n", r"is not a CSV in UTF-8"),
])  # fmt: skip
def test_what_cannot_be_meant(give, text, words):
    with pytest.raises(DatasetError, match=words):
        read_prevalence(give(text), CLASSES)


def test_no_file(tmp_path):
    with pytest.raises(DatasetError, match=r"none.csv cannot be read: No such file"):
        read_prevalence(tmp_path / "none.csv", CLASSES)


def test_a_mapping_is_checked_too():
    with pytest.raises(DatasetError, match="prevalence: no share for 'dog', 'owl'"):
        read_prevalence({"cat": 1.0}, CLASSES)


def test_what_is_kept_is_read_again(tmp_path, caplog):
    found = read_prevalence({"cat": 1, "dog": 1, "owl": 1}, CLASSES)
    caplog.clear()
    write_prevalence(found, tmp_path / "kept.csv")
    assert read_prevalence(tmp_path / "kept.csv", CLASSES) == found
    assert not caplog.text


def test_a_class_that_is_expected_and_not_tested():
    shares = {"cat": 0.5, "dog": 0.5, "owl": 0.0}
    assert order_shares(shares, CLASSES, np.array([0, 1, 1, -1])).tolist() == [0.5, 0.5, 0.0]
    with pytest.raises(DatasetError, match="test has no images of 'dog', and the prevalence"):
        order_shares(shares, CLASSES, np.array([0, 2]))
