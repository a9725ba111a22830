"""`--config`: a command's settings from a file, looked at as if they had been typed."""

import json
import os
from pathlib import Path

import pytest


def write(text):
    path = Path("featx.toml")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_run_from_a_file(run, photos, stored):
    config = write(
        f"""
        [extract]
        data = '{photos}'
        split = "first:5,2"
        output = "F.h5"
        batch-size = 4
        no-lock = true
        json = true
        quiet = true
        rehash = false

        [fit]
        features = "F.h5"
        clf = "ridge"
        output = "m.safetensors"
        json = true

        [predict]
        model = "m.safetensors"
        images = ['{photos}/cat', '{photos}/dog/01.png']
        threshold = 0.5
        json = true

        [weights.path]
        name = "imagenet1k-v1"
        """
    )
    done = json.loads(run("extract", "--config", config).stdout)
    assert (done["features"], done["extracted"]) == ("F.h5", 27)
    assert json.loads(run("fit", "--config", config).stdout)["clf"] == "ridge"
    # What is typed wins, lists included.
    other = json.loads(run("fit", "--config", config, "--clf", "knn", "-o", "k").stdout)
    assert other["clf"] == "knn"
    assert len(json.loads(run("predict", "--config", config).stdout)["predictions"]) == 10
    one = run("predict", "m.safetensors", photos / "owl" / "00.jpg", "--config", config)
    assert len(json.loads(one.stdout)["predictions"]) == 1
    assert str(stored) in run("weights", "path", "--config", config).stdout


def test_no_flags_and_repeated_options(app):
    config = write(
        """
        [compare]
        data = "~/photos"
        clf = ["logreg", "svm"]
        baseline = "none"
        learning-curves = false
        prefix-cache = "off"
        no-lock = false
        max-memory = "2GB"
        C = 0.5
        """
    )
    command = app.commands["compare"]
    context = command.make_context("compare", ["--config", str(config)], parent=root(app))
    wanted = {
        "data": str(Path("~/photos").expanduser()), "clf": ("logreg", "svm"),
        "baseline": ("none",), "learning_curves": False, "prefix_cache": False, "lock": True,
        "max_memory": 2 * 10**9, "c": 0.5, "epochs": 15, "as_json": False,
    }  # fmt: skip
    assert {name: context.params[name] for name in wanted} == wanted
    again = command.make_context(
        "compare", ["--config", str(config), "--clf", "knn", "x"], parent=root(app)
    )
    assert (again.params["clf"], again.params["data"]) == (("knn",), "x")
    config.write_text("[compare]\ndata = 'x'\nno-learning-curves = true\nno-lock = true\n")
    third = command.make_context("compare", ["--config", str(config)], parent=root(app))
    assert (third.params["learning_curves"], third.params["lock"]) == (False, False)


def root(app):
    return app.make_context("featx", ["compare"], resilient_parsing=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[fit]\nepoch = 3", "[fit] epoch: featx fit has no such setting; did you mean epochs?"),
        ("[fit]\nconfig = 'x'", "[fit] config: featx fit has no such setting"),
        ("[fit]\nas_json = true", "[fit] as_json: featx fit has no such setting"),
        ("[fit]\nepochs = true", "[fit] epochs: a string or a number, not true"),
        ("[fit]\nepochs = 0", "[fit] epochs: 0 is not in the range x>=1"),
        ("[fit]\nepochs = 1.5", "[fit] epochs: '1.5' is not a valid"),
        ("[fit]\nepochs = [1]", "[fit] epochs: a string or a number, not a list"),
        ("[fit]\nepochs = 2020-01-01", "[fit] epochs: a string or a number, not 2020-01-01"),
        ("[fit]\ncalibrate = 1", "[fit] calibrate: true or false, not 1"),
        ("[fit]\nclf = 'forest'", "[fit] clf: 'forest' is not one of"),
        ("[fit]\nC = -1", "[fit] C: '-1' is neither auto nor a positive number"),
        ("[fit.deep]\nC = 1", "[fit] deep: featx fit has no such setting"),
        ("[fitt]\nC = 1", "[fitt]: featx has no such command; did you mean fit?"),
        ("[extract]\nsplit = 'x'", "has no table [fit]"),
        ("fit = 3", "has no table [fit]"),
        ("[fit", "no TOML: "),
        (b"[fit]\nclf = '\xff'", "no UTF-8"),
        ("a = " + 5000 * "[", "no TOML: "),
    ],
)
def test_what_cannot_be_a_setting(run, text, message):
    done = run("fit", "F.h5", "--config", write(text))
    assert done.exit_code == 2
    assert f"featx.toml: {message}" in done.stderr or f"featx.toml {message}" in done.stderr


def test_a_file_that_is_not_there(run):
    done = run("fit", "F.h5", "--config", "none.toml")
    assert done.exit_code == 2
    assert "'none.toml' does not exist" in done.stderr


def test_a_plans_shard_refuses_what_the_file_settles(run):
    done = run("extract", "--plan", "p", "--config", write("[extract]\ndata = 'x'\nbatch-size = 3"))
    assert done.exit_code == 2
    assert "DATA, --batch-size: the plan has settled that." in done.stderr


def test_a_mark_at_the_beginning_is_no_setting(run, photos, stored):
    config = write(b"\xef\xbb\xbf[extract]\r\nquiet = true\r\n")
    assert run("extract", photos, "-o", "F.h5", "--config", config).stderr == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_nothing_waits_for_a_pipe_that_nobody_writes(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = run("info", "F.h5", "--config", tmp_path / "pipe")
    assert done.exit_code == 1
    assert done.stderr == f"Error: {tmp_path / 'pipe'}: not a regular file\n"
    done = run("extract", tmp_path / "pipe")
    assert done.exit_code == 1
    assert "is neither a folder nor an archive nor a manifest" in done.stderr


def test_a_nul_in_a_setting_is_named(run, tmp_path):
    (tmp_path / "f.toml").write_text('[extract]\ndata = "a\\u0000b"\n')
    done = run("extract", "--config", tmp_path / "f.toml")
    assert done.exit_code == 2
    assert "[extract] data: it has a NUL character in it" in done.stderr
