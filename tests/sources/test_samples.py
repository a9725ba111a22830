import csv

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from featx.errors import DatasetError
from featx.sources.reading import read_dataset
from featx.sources.samples import DIGITS_SPLIT, write_caltech256_animals, write_digits


def test_the_papers_split(caltech):
    path, made = write_caltech256_animals(caltech)
    assert made.counts() == {"train": 600, "val": 100, "test": 409}
    assert path == caltech.parent / "caltech256-animals.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1109
    assert rows[59] == {
        "path": f"{caltech.name}/009.bear/009_0060.jpg",
        "label": "bear",
        "split": "train",
    }
    assert rows[60]["split"] == rows[69]["split"] == "val"
    assert rows[70]["split"] == rows[101]["split"] == "test"
    assert rows[102]["path"] == f"{caltech.name}/038.chimp/038_0001.jpg"
    again = read_dataset(path)
    assert again.counts() == made.counts()
    assert again.classes == (
        "bear", "chimp", "giraffe", "gorilla", "llama", "ostrich", "porcupine", "skunk",
        "triceratops", "zebra",
    )  # fmt: skip


def test_what_is_not_caltech256(caltech, tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        write_caltech256_animals(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"lacks 009.bear, .*250.zebra"):
        write_caltech256_animals(tmp_path)
    (caltech / "250.zebra" / "250_0096.jpg").unlink()
    with pytest.raises(DatasetError, match=r"250.zebra has 95 images, Caltech-256 has 96"):
        write_caltech256_animals(caltech)


def test_digits_have_the_papers_counts(tmp_path):
    found = read_dataset(write_digits(tmp_path / "digits"), DIGITS_SPLIT)
    assert found.counts() == {"train": 600, "val": 100, "test": 409}
    assert found.classes == tuple("0123456789")
    # The first image of scikit-learn's set is a 0: dark ink where its grey level is high.
    bunch = load_digits()
    assert bunch.target[0] == 0
    pixels = np.asarray(Image.open(tmp_path / "digits" / "0" / "0_0000.png")).astype(float)
    assert pixels.shape == (80, 80)
    means = pixels[8:72, 8:72].reshape(8, 8, 8, 8).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), bunch.images[0].ravel())[0, 1] < -0.95


def test_digits_are_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr("featx.sources.samples.DIGITS_IMAGES", 60)
    write_digits(tmp_path)
    path = tmp_path / "3" / "3_0005.png"
    before = path.stat().st_mtime_ns
    write_digits(tmp_path)
    assert path.stat().st_mtime_ns == before
