import json
import re
from dataclasses import replace

import numpy as np
import pytest
from featx.cli.rendering import render_predictions

from featx.deployment.predict import Prediction
from featx.report.comparison import make_results, render_text, write_report
from featx.report.explain import map_exhibits
from featx.text import format_interval, format_score, format_seconds, printable
from featx.training.metrics import score_labels


def test_every_file_is_written_and_is_what_it_says(comparison, tmp_path):
    report = write_report(comparison)
    values = json.loads(report.results.read_text())
    assert values == json.loads(json.dumps(report.values))
    assert values["report"] == str(tmp_path / "out" / "report.html")
    page = report.page.read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>") or page.startswith("<!doctype html>")
    assert values["verdict"]["sentences"][0] in page
    assert page.count("data:image/jpeg;base64,") >= 9
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!#|data:)', markup)


def test_what_the_json_says_of_the_images(comparison):
    values = make_results(comparison)
    features = comparison.features
    truth = dict(zip(features.paths.tolist(), features.targets.tolist(), strict=True))
    split = dict(zip(features.paths.tolist(), features.splits.tolist(), strict=True))
    shown = values["exhibits"]["examples"] + values["exhibits"]["mistakes"]
    for one in shown + values["map"]["points"]:
        assert split[one["path"]] == "test"
        assert comparison.features.classes[truth[one["path"]]] == one["truth"]
    for one in values["exhibits"]["examples"]:
        assert one["truth"] == one["predicted"]
    mistakes = values["exhibits"]["mistakes"]
    assert all(one["truth"] != one["predicted"] for one in mistakes)
    sure = [one["probability"] for one in mistakes]
    assert sure == sorted(sure, reverse=True)
    assert len(values["map"]["points"]) == 9
    assert len(values["paired"]) == 6
    assert all("test images" in pair["text"] for pair in values["paired"])


def test_command_and_file_repeat_the_run(comparison, run, tmp_path):
    import shlex

    (command,) = make_results(comparison)["command"]
    words = shlex.split(command)
    assert words[:2] == ["featx", "compare"]
    assert words[-2:] == ["--output", str(tmp_path / "out-again")]
    settings = write_report(comparison).settings
    first = json.loads(json.dumps(comparison.to_dict()))
    for asked in (words[1:], ["compare", "--config", settings, "-o", tmp_path / "third"]):
        done = run(*asked, "--json", "-q")
        assert done.exit_code == 0
        again = json.loads(done.stdout)
        assert again["options"] == first["options"]
        for a, b in zip(again["candidates"], first["candidates"], strict=True):
            for key in ("name", "accuracy", "counts", "evaluation", "C"):
                assert a.get(key) == b.get(key)


def test_a_file_that_cannot_be_written_is_none(comparison, caplog):
    first = write_report(comparison)
    assert first.values["config"] == str(first.settings)
    again = write_report(replace(comparison, root=comparison.root / "\udcff"))
    assert again.settings is None
    assert not first.settings.exists()
    root = json.loads(again.results.read_text("utf-8"))["dataset"]["root"]
    assert root == str(comparison.root / "\udcff")
    assert "featx.toml: not written, since a path is no UTF-8" in caplog.text


def test_the_text_has_counts_and_verdict(comparison):
    text = render_text(comparison)
    assert "photos: 3 classes, 12 train, 6 val, 9 test images (split first:4,2)" in text
    decided = comparison.verdict.decided
    assert ("Too few images to tell whether " in text) is not decided
    assert (f"Choose {comparison.verdict.choose}" in text) is decided
    for candidate in comparison.candidates:
        score = candidate.outcome.scores["test"]
        (line,) = [x for x in text.splitlines() if x.startswith(f"{candidate.name} ") and "%" in x
                   and "differ" not in x and "are right" not in x]  # fmt: skip
        assert f"({score.correct}/9)" in line
        assert format_interval(score.interval) in line
        assert f"{candidate.outcome.trainable_parameters:,}" in line
    assert "Extraction paid for itself after" in text
    assert "9 test images are too few to say whether more labels would help" in text


def test_a_name_forges_no_line_of_the_terminal(comparison):
    named = replace(comparison.features, dataset="x\n\nChoose fc: 100 %")
    text = render_text(replace(comparison, features=named, known={"a\nb": "hen"}))
    assert "x\\n\\nChoose fc" in text
    assert "\nChoose fc: 100" not in text
    assert "a\\nb (hen)" in text


def test_a_datasets_name_is_no_markup(comparison):
    name = "<script>alert(1)</script>\n## forged"
    named = replace(comparison, features=replace(comparison.features, dataset=name))
    page = write_report(named).page.read_text("utf-8")
    assert "<script>alert" not in page
    assert "\n## forged" not in page


def test_nothing_is_shown_that_there_is_not(comparison):
    frozen = replace(comparison, candidates=comparison.candidates[:1], paired=(), learning=())
    verdict = replace(
        comparison.verdict, best="logreg", choose="logreg", level=(), worse=(), better=()
    )
    values = make_results(replace(frozen, verdict=verdict))
    assert values["learning"] is None
    assert values["cost"]["sentences"] == []
    assert write_report(replace(frozen, verdict=verdict)).page.stat().st_size > 10_000


def test_numbers_as_people_read_them():
    score = score_labels(np.zeros(283, int), (np.arange(283) >= 276).astype(int))
    assert format_score(score.correct, score.total) == "97.5 % (276/283)"
    assert format_interval(score.interval) == "95.0 to 98.8"
    assert [format_seconds(s) for s in (None, 0.00512, 36.84, 512.3)] == [
        "–",
        "0.00512",
        "36.8",
        "512",
    ]


def test_control_characters_do_not_reach_the_terminal():
    assert printable("Zoë.jpg") == "Zoë.jpg"
    assert printable("\x1b[2Jx\n") == "\\x1b[2Jx\\n"
    odd = Prediction("\x1b]0;x\x07.jpg", "c\nat", 0.5, (("c\nat", 0.5),))
    table = "".join(render_predictions([odd]))
    assert "\x1b" not in table
    assert "c\\nat" in table


def test_the_page_has_maps_of_mistakes_and_of_a_right_image_a_class(comparison, stored):
    report = write_report(comparison)
    shown = report.values["exhibits"]
    drawn = [one for part in ("examples", "mistakes") for one in shown[part] if "map" in one]
    right = [one["truth"] for one in drawn if one["truth"] == one["predicted"]]
    assert sorted(right) == sorted({one["truth"] for one in shown["examples"]})
    assert all("map" in one for one in shown["mistakes"])
    for one in drawn:
        found = one["map"]
        assert np.mean(found["map"]) + found["bias"] == pytest.approx(found["logit"])
        assert np.abs(found["map"]).max() <= found["limit"]
        assert found["shown"] == one["predicted"]
        assert found["against"] == (None if one["truth"] == one["predicted"] else one["truth"])
    page = report.page.read_text("utf-8")
    assert page.count('<img class="drawn"') == len(drawn) > 0
    assert "yellow speaks for the class" in page
    assert "maps = " not in report.settings.read_text("utf-8")
    without = write_report(comparison, maps=False)
    assert '<img class="drawn"' not in without.page.read_text("utf-8")
    assert "maps = false" in without.settings.read_text("utf-8")  # and so it is repeated
    # The network is not here any more, and is not fetched for a page.
    (stored / "imagenet1k-v1.safetensors").unlink()
    again = write_report(comparison)
    assert not any("map" in one for one in again.values["exhibits"]["examples"])
    assert '<img class="drawn"' not in again.page.read_text("utf-8")


def test_every_candidate_that_has_a_map_is_drawn(comparison):
    exhibits = make_results(comparison)["exhibits"]
    paths = {one["path"] for one in exhibits["examples"]}
    for one in comparison.candidates:
        _, pictures, _ = map_exhibits(comparison.root, one.model, exhibits)
        assert pictures.keys() <= paths | {wrong["path"] for wrong in exhibits["mistakes"]}
        assert pictures, one.name
    other = replace(comparison.candidates[0].model, name="knn")
    assert map_exhibits(comparison.root, other, exhibits) == (exhibits, {}, None)
    gone = comparison.root / "gone"
    assert map_exhibits(gone, comparison.candidates[0].model, exhibits) == (exhibits, {}, None)


def test_shortcuts_are_looked_for_in_all_test_images(comparison, caplog, monkeypatch):
    heard = []
    monkeypatch.setattr(
        "featx.report.explain.EvidenceTally.add", lambda tally, one: heard.append(one.prediction)
    )
    report = write_report(comparison, shortcuts=True)
    assert len(heard) >= len(comparison.features.rows("test"))
    assert report.values["evidence"] is None  # of 2 x 2 places all is edge
    assert "finds its evidence cannot be said" in caplog.text
    assert "shortcuts = true" in report.settings.read_text("utf-8")  # and so it is repeated
