"""What repeats a comparison says the same on the command line and in the file."""

import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from featx.report.rerun import format_settings, say_command

OPTIONS = {
    "clf": ["logreg", "svm"], "baseline": [], "C": 0.5, "scale": "none",
    "class_weight": "balanced", "calibrate": True, "refit": True, "prefix_cache": False,
    "learning_curves": False, "views": 0, "seed": 3, "weights": "my weights.pth",
}  # fmt: skip


def compared(folder="/out", root="/photos"):
    return SimpleNamespace(folder=Path(folder), root=Path(root), options=OPTIONS)


def test_as_a_command():
    assert say_command(compared(root="/my photos")) == (
        "featx compare /out/split.csv --root '/my photos' --clf logreg --clf svm --baseline none "
        "-C 0.5 --class-weight balanced --calibrate --prefix-cache off --no-learning-curves "
        "--seed 3 --weights 'my weights.pth' --output /out-again"
    )


def test_as_a_file():
    text = format_settings(compared(folder='/o"ut\\'))
    assert text.startswith("# Repeats this comparison")
    assert tomllib.loads(text) == {
        "compare": {
            "data": '/o"ut\\/split.csv', "root": "/photos", "clf": ["logreg", "svm"],
            "baseline": ["none"], "C": 0.5, "class-weight": "balanced", "calibrate": True,
            "prefix-cache": "off", "learning-curves": False, "seed": 3,
            "weights": "my weights.pth", "output": '/o"ut\\-again',
        }
    }  # fmt: skip


def test_a_path_that_is_no_utf_8_has_no_file():
    with pytest.raises(UnicodeEncodeError):
        format_settings(compared(root="/photos\udcff"))
