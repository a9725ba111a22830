"""What repeats a comparison says the same on the command line and in the file."""

import shlex
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from featx.report.rerun import format_settings, say_command, say_training
from featx.training.model import read_model

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


@pytest.mark.parametrize(
    ("extracting", "fitting"),
    [
        ("", "--clf logreg -C 0.5 --scale standard --seed 3 --class-weight balanced"),
        ("--storage float16", "--clf linear --epochs 2 --learning-rate 0.001 --strangers"),
        ("--layers avg", "--clf ridge --layers avg --choose-on val --no-refit --calibrate"),
        ("--protocol linear-eval --profiles ignore", "--clf centroid"),
        ("", "--clf centroid --taxonomy taxonomy.csv --precision-at-least 0.6"),
    ],
)
def test_what_a_model_says_trains_it_again(
    extracting, fitting, photos, stored, run, tmp_path, monkeypatch
):
    place = {"DATA": photos, "F.h5": tmp_path / "G.h5", "MODEL": tmp_path / "again.safetensors"}
    out = tmp_path / "F.h5"
    run("extract", photos, "--split", "first:4,2", "-q", "-o", out, *extracting.split())
    monkeypatch.chdir(tmp_path)
    Path("taxonomy.csv").write_text("class,kind\ncat,pet\ndog,pet\nowl,bird\n")
    run("fit", out, "-q", "-o", tmp_path / "m.safetensors", *fitting.split())
    model = read_model(tmp_path / "m.safetensors")
    for line in say_training(model):
        command, *words = shlex.split(line)
        assert command == "featx"
        assert run(*(place.get(word, word) for word in words), "-q").exit_code == 0
    again = read_model(place["MODEL"])
    assert again.recipe == model.recipe
    assert again.outcome.details.get("ranks") == model.outcome.details.get("ranks")


def test_and_so_does_a_network(photos, stored, run, tmp_path):
    words = [
        "--train",
        "fc",
        "--epochs",
        "1",
        "--seed",
        "2",
        "--learning-rate",
        "0.01",
        "--split",
        "first:4,2",
    ]
    run("finetune", photos, "-q", "-o", tmp_path / "run", *words)
    model = read_model(tmp_path / "run")
    (line,) = say_training(model)
    assert line == (
        "featx finetune DATA --split first:4,2 --weights imagenet1k-v1 --train fc --epochs 1 "
        "--seed 2 --learning-rate 0.01 --output RUN"
    )
    said = replace(model, recipe={**model.recipe, "learning_rate": [1e-3, 3e-3]})
    assert "--learning-rate" not in say_training(said)[0]
