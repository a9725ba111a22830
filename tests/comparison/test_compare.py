import json
import shutil

import numpy as np
import pytest
from PIL import Image
from shared import draw_photo
from sklearn.linear_model import LogisticRegression

from featx.comparison.compare import compare
from featx.data import feeding
from featx.errors import BudgetError, DatasetError, ModelError, OutputExistsError, WeightsError
from featx.features.file import cost_path, read_features, read_provenance
from featx.report.comparison import make_results
from featx.report.rerun import list_settings
from featx.report.sentences import list_notes, say_costs
from featx.sources.reading import read_dataset
from featx.text import format_seconds
from featx.training.model import read_model


@pytest.fixture
def do(stored, photos, tmp_path):
    def call(data=photos, **options):
        defaults = {
            "split": "first:4,2", "epochs": 2, "cache_dir": tmp_path / "cache",
            "output": tmp_path / "out", "batch_size": 16, "clf": ("logreg", "linear"),
            "learning_curves": False, "strangers": False,
        }  # fmt: skip
        return compare(data, **(defaults | options))

    return call


def test_all_candidates_on_the_same_images(do, photos, tmp_path):
    found = do(clf=("logreg", "linear"), baseline=("fc", "last3"))
    assert [(c.name, c.kind) for c in found.candidates] == [
        ("logreg", "frozen"), ("linear", "frozen"), ("fc", "finetuned"), ("last3", "finetuned"),
    ]  # fmt: skip
    values = json.loads(json.dumps(found.to_dict()))
    y = found.features.split("test")[1]
    for candidate, entry in zip(found.candidates, values["candidates"], strict=True):
        assert entry["counts"]["test"]["total"] == len(y) == 9
        assert entry["counts"]["val"]["total"] == 6
        right = (candidate.outcome.probabilities["test"].argmax(1) == y).sum()
        assert entry["counts"]["test"]["correct"] == right
        assert set(entry["seconds"]) == {"extract", "decode", "network", "fit"}
        assert np.array(entry["evaluation"]["test"]["confusion"]).trace() == right
        for key in (
            "accuracy",
            "ci95",
            "mean_per_class",
            "seconds_per_epoch",
            "trainable_parameters",
        ):
            assert key in entry
    assert values["candidates"][0]["seconds"]["extract"] > 0
    seconds = values["candidates"][0]["seconds"]
    assert 0 < seconds["decode"] + seconds["network"] <= seconds["extract"]
    for entry in values["candidates"][2:]:
        seconds = entry["seconds"]
        assert seconds["extract"] is None
        assert 0 < seconds["decode"] + seconds["network"] <= seconds["fit"]
        for part in ("decode", "network"):
            assert seconds[part] == pytest.approx(sum(e[part] for e in entry["history"]))
    assert values["candidates"][0]["seconds_per_epoch"] is None
    assert values["candidates"][1]["trainable_parameters"] == 2049 * 3
    assert values["best"] in {c.name for c in found.candidates}
    assert len(values["paired"]) == 6
    split = read_dataset(tmp_path / "out" / "split.csv", root=photos)
    assert sorted(zip(split.paths, split.splits, strict=True)) == sorted(
        zip(found.features.paths.tolist(), found.features.splits.tolist(), strict=True)
    )


def test_processes_decode_for_all_that_is_computed_and_change_nothing(do, tmp_path, monkeypatch):
    start, started = feeding.Decoders, []
    monkeypatch.setattr(feeding, "Decoders", lambda *told: started.append(told[2]) or start(*told))

    def run(processes):
        folder = tmp_path / str(processes)
        return do(
            clf=("logreg",), baseline=("fc",), views=1, cv="1x2", cv_baselines=True, epochs=1,
            decode="pillow", decode_processes=processes, cache_dir=folder, output=folder / "out",
        )  # fmt: skip

    by_threads = run(0)
    assert started == []
    by_processes = run(1)
    assert started == [1] * 5  # features, a view, the baseline and two folds of it
    assert [c.name for c in by_processes.candidates] == ["logreg", "logreg+1view", "fc"]
    for one, other in zip(by_threads.candidates, by_processes.candidates, strict=True):
        assert one.model.recipe == other.model.recipe
        for split, found in one.outcome.probabilities.items():
            assert np.array_equal(found, other.outcome.probabilities[split])
    folds = [[fold.log_loss for c in each.cv.candidates for fold in c.folds]
             for each in (by_threads, by_processes)]  # fmt: skip
    assert folds[0] == folds[1]


def test_nine_copies_of_each_image_cost_no_more_than_one(do, photos, tmp_path):
    for path in list(photos.rglob("*.*")):
        for i in range(8):
            shutil.copyfile(path, path.with_stem(f"{path.stem}_{i}"))
    found = do(split="first:36,18", clf=("centroid",), baseline=("fc",), epochs=1)
    assert len(found.features.paths) == 9 * 27
    cost = json.loads(cost_path(found.extraction.features).read_text())
    assert cost["images"] == 27
    values = json.loads(json.dumps(found.to_dict()))
    seconds = values["candidates"][0]["seconds"]
    assert [seconds[part] for part in ("extract", "decode", "network")] == [
        cost[part] for part in ("seconds", "decode", "network")
    ]
    assert cost["seconds"] <= found.extraction.seconds
    said = f"({format_seconds(cost['seconds'])} s against"
    assert [line for line in say_costs(found.candidates) if said in line]
    # Another split finds the same rows, and what they cost.
    again = do(split="first:45,18", clf=("centroid",), baseline=(), output=tmp_path / "other")
    assert again.extraction.extracted == 0
    assert again.candidates[0].extraction.seconds == pytest.approx(cost["seconds"])


def test_heads_are_shown_before_the_baselines(do, monkeypatch, tmp_path):
    first = do(baseline=())
    cost = json.loads(cost_path(first.extraction.features).read_text())
    cost_path(first.extraction.features).write_text(json.dumps(cost | {"network": 100.0}))
    shown = []

    def show(heads, seconds):
        assert not list((tmp_path / "out").glob("*/model.safetensors"))
        assert heads[0].evaluations["test"].log_loss > 0
        shown.append(([head.name for head in heads], seconds))

    options = {"baseline": ("fc", "last3"), "seeds": 2, "epochs": 3, "clf": ("logreg",)}
    # Two runs of each: three epochs of 1.4 passes, and one of 1.6 with two of a tenth; four more
    # of a tenth for two learning rates that lose, after the second epoch.
    do(**options, on_heads=show)
    assert shown == [(["logreg"], pytest.approx(2 * 100 * (3 * 1.4 + 1.6 + (2 + 4) * 0.1)))]
    do(**options, on_heads=show)
    assert len(shown) == 1  # nothing is left to wait for
    cost_path(first.extraction.features).unlink()
    shutil.rmtree(next((tmp_path / "out").glob("fc-*")))
    do(**(options | {"baseline": ("fc",)}), on_heads=lambda _, seconds: shown.append(seconds))
    assert shown[1:] == [None]


def test_what_is_there_is_reused(do, monkeypatch):
    first = do(learning_curves=True, strangers=True)

    def never(*_, **__):
        raise AssertionError("done again")

    for name in (
        "featx.comparison.trainers.fit",
        "featx.comparison.trainers.learn_strangers",
        "featx.comparison.curves.draw_curves",
        "featx.comparison.trainers.finetune_rows",
        "featx.network.engine_choice.make_engine",
    ):
        monkeypatch.setattr(name, never)
    again = do(learning_curves=True, strangers=True)
    assert again.to_dict() == first.to_dict()
    assert again.extraction.extracted == 0
    with pytest.raises(AssertionError, match="done again"):
        do(epochs=3)


def test_the_chosen_head_knows_strangers(do):
    plain = do(clf=("ridge", "centroid"), baseline=())
    assert plain.to_dict()["strangers"] is None
    assert list_settings(plain)["strangers"] is False
    found = do(clf=("ridge", "centroid"), baseline=(), strangers=True)
    assert "strangers" not in list_settings(found)
    assert (found.verdict, found.paired) == (plain.verdict, plain.paired)
    chosen = next(c for c in found.candidates if c.name == found.verdict.choose)
    told = make_results(found)["strangers"]
    assert (told["candidate"], told["images"], told["classes"]) == (chosen.name, 18, 3)
    assert told["auroc"].keys() >= {"probability", "energy", "knn"}
    curve = told["coverage"][0]
    assert curve["by"] == told["score"]
    test = chosen.outcome.scores["test"]
    assert curve["points"][-1] == {"coverage": 1.0, "accuracy": test.accuracy}
    assert [one["coverage"] for one in told["sets"]] == [0.8, 0.9]  # 0.95 needs 19 images
    assert told["refused"] == []
    assert "--unknown 0.05 needs 19 or more images" in told["sentences"][1]
    for before, after in zip(plain.candidates, found.candidates, strict=True):
        assert after.kept_bytes == before.kept_bytes
        kept = read_model(after.model.path).outcome.details
        assert ("strangers" in kept) == (after.name == chosen.name)


def test_frozen_split_repeats_the_run(do, photos, tmp_path):
    first = do(baseline=())
    again = do(
        tmp_path / "out" / "split.csv",
        split=None,
        root=photos,
        output=tmp_path / "again",
        baseline=(),
    )
    for a, b in zip(first.candidates, again.candidates, strict=True):
        assert a.outcome.scores == b.outcome.scores
        assert np.array_equal(a.outcome.probabilities["test"], b.outcome.probabilities["test"])


def test_skipped_images_are_out_for_everyone(do, photos):
    (photos / "cat" / "00.jpg").write_bytes(b"x")
    found = do()
    assert {c.outcome.scores["train"].total for c in found.candidates} == {11}
    assert found.to_dict()["dataset"]["skipped"] == 1


def test_another_datasets_folder_is_refused(do, tmp_path):
    from featx.report.comparison import write_report

    write_report(do(baseline=()))
    with pytest.raises(OutputExistsError, match=r"something else \(split: first:4,2 → first:5,2\)"):
        do(baseline=(), split="first:5,2")
    do(baseline=(), split="first:5,2", overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputExistsError, match="a file, not a folder"):
        do(output=tmp_path / "file")


def test_data_that_cannot_be_compared_on(do, photos):
    with pytest.raises(DatasetError, match="has no test images to compare on: give --split"):
        do(split=None)
    with pytest.raises(DatasetError, match="its images have no labels"):
        do(photos / "cat", split=None)
    with pytest.raises(ModelError, match="nothing to compare"):
        do(clf=(), baseline=())
    with pytest.raises(ModelError, match="unknown baseline 'vgg'"):
        do(baseline=("vgg",))


def test_other_peoples_files_stay(do, photos, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "results.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="a folder with other files"):
        do(output=tmp_path / "thesis")
    do(baseline=())
    manifest = tmp_path / "out" / "split.csv"
    with pytest.raises(OutputExistsError, match="the manifest that is compared on"):
        do(manifest, split=None, root=photos, baseline=())
    manifest.write_text("my,own,list\n")
    with pytest.raises(OutputExistsError, match="not a file that featx wrote"):
        do(baseline=())
    do(baseline=(), overwrite=True)  # what the message offers
    assert manifest.read_text().startswith("path,label,split\n")


def test_a_damaged_model_is_trained_again(do, tmp_path, caplog):
    first = do(baseline=())
    for path in (tmp_path / "out").glob("*.safetensors"):
        path.write_bytes(b"damaged")
    again = do(baseline=())
    assert sum(m.startswith("trained again: ") for m in caplog.messages) == 2
    assert again.candidates[0].outcome.scores == first.candidates[0].outcome.scores


def test_a_folder_that_has_grown_is_compared_again(do, photos):
    from featx.report.comparison import write_report

    write_report(do(baseline=()))
    draw_photo(photos / "cat" / "new.png", 0, 77)
    grown = do(baseline=())
    assert grown.candidates[0].outcome.scores["test"].total == 10
    assert grown.extraction.extracted == 1


def test_train_is_scored_by_the_kept_model_for_all(do):
    # The linear head and the fc baseline are one computation: so is their score on train.
    found = {c.name: c.outcome.scores["train"] for c in do().candidates}
    assert found["fc"] == found["linear"]


def test_every_head_in_one_run(do):
    found = do(clf=None, baseline=(), learning_curves=True)
    names = [c.name for c in found.candidates]
    assert names == ["imagenet", "logreg", "linear", "svm", "ridge", "knn", "centroid"]
    assert found.known == {}
    assert {point.name for point in found.learning} == set(names)
    assert {point.per_class for point in found.learning if not point.all} == {1, 2}
    # The last point is the candidate itself: heads that were refitted learned from val, too.
    assert {point.name: point.per_class for point in found.learning if point.all} == dict.fromkeys(
        names, 6
    ) | {"imagenet": 4, "linear": 4}
    values = json.loads(json.dumps(found.to_dict()))
    assert values["verdict"]["choose"] in names
    assert len(values["paired"]) == 21
    for entry in values["candidates"]:
        assert entry["evaluation"]["val"]["top5"] is None  # three classes
        assert 0 <= entry["evaluation"]["test"]["ece"] <= 1


def test_the_published_protocol(do):
    found = do(clf=None, baseline=None, protocol="linear-eval", learning_curves=False)
    (only,) = found.candidates
    made = found.features.provenance.preprocessing
    assert (made["resize"], made["crop"], made["interpolation"]) == (64, 64, "bicubic")
    assert only.outcome.details["chosen_by"] == "val, then refitted"
    # Refitted on train and val together: scikit-learn finds the same.
    X, y = (
        np.concatenate(parts)
        for parts in zip(*(found.features.split(s) for s in ("train", "val")), strict=True)
    )
    same = LogisticRegression(C=only.outcome.details["C"], tol=1e-8, max_iter=9999)
    expected = same.fit(X.astype(float), y).predict_proba(found.features.split("test")[0])
    assert np.abs(only.outcome.probabilities["test"] - expected).max() < 1e-3
    for wish in ({"augment": True}, {"views": 1}):
        with pytest.raises(ModelError, match="has no augmentation"):
            do(protocol="linear-eval", **wish)
    with_fc = do(baseline=("fc",), protocol="linear-eval", clf=("logreg",))
    assert with_fc.candidates[1].model.provenance["preprocessing"] == made


def test_views_are_candidates_of_their_own(do):
    found = do(clf=("ridge", "imagenet"), baseline=(), views=2)
    assert [c.name for c in found.candidates] == ["ridge", "ridge+2views", "imagenet"]
    plain, seen, _ = found.candidates
    assert seen.extraction.seconds > plain.extraction.seconds
    assert seen.outcome.scores["train"].total == plain.outcome.scores["train"].total == 12


def test_seeds_repeat_what_is_random(do):
    found = do(clf=("logreg", "linear"), baseline=("fc",), seeds=3, epochs=1)
    logreg, linear, fc = found.candidates
    # The folds that choose are drawn, too.
    assert len(logreg.others) == len(linear.others) == len(fc.others) == 2
    # The linear head and the fc baseline are one computation, from every seed.
    for a, b in zip(linear.others, fc.others, strict=True):
        assert a.scores == b.scores
    assert linear.spread["test"].min <= linear.spread["test"].mean <= linear.spread["test"].max
    alone = do(clf=("linear",), baseline=(), seed=1, epochs=1)
    assert alone.candidates[0].outcome.scores == linear.others[0].scores


def test_weights_and_temperature_reach_everyone(do):
    found = do(class_weight="balanced", calibrate=True)
    for candidate in found.candidates:
        details = candidate.outcome.details
        assert (details["class_weight"], details["calibrated"]) == ("balanced", True)
        assert details["temperature"] != 1.0
    linear, fc = found.candidates[1:]
    assert fc.outcome.details["temperature"] == pytest.approx(
        linear.outcome.details["temperature"], rel=1e-2
    )


def test_without_val_folds_calibrate_what_they_can(do, caplog):
    def ask(**options):
        return do(split="0.6,0,0.4@1", calibrate=True, output=None, **options)

    found = ask(clf=("logreg", "linear"))
    logreg, linear, fc = (c.outcome.details for c in found.candidates)
    assert (logreg["calibrated"], linear["calibrated"], fc["calibrated"]) == (True, False, False)
    assert logreg["temperature"] != 1.0 == linear["temperature"]
    assert "no val images to calibrate linear, fc by, which stay as they are; folds" in caplog.text
    assert found.options["calibrate"] is True  # as it was asked for
    with pytest.raises(DatasetError, match="no val images beside those of test, and calibrate nee"):
        ask(clf=("linear",))


def test_views_are_made_as_the_features_are(do, tmp_path, monkeypatch):
    found = do(clf=("ridge",), baseline=(), views=1)
    recipes = [c.model.recipe["views"] for c in found.candidates]
    made = read_features(extract_views_path(found))
    assert recipes == [[], [[made.provenance.key(), made.fingerprint]]]
    monkeypatch.setattr(
        "featx.comparison.compare.extract_each_view", None
    )  # not for heads without any
    do(clf=("imagenet",), baseline=(), views=3)


def extract_views_path(found):
    (path,) = [
        p for p in found.features.path.parent.glob("*.h5")
        if "view" in read_provenance(p).preprocessing
    ]  # fmt: skip
    return path


def test_imagenet_is_left_out_where_its_layer_cannot_be_had(do, stored, monkeypatch):
    do(clf=("ridge",), baseline=())
    for path in stored.iterdir():
        path.unlink()

    def offline(*_, **__):
        raise WeightsError("no internet")

    monkeypatch.setattr("featx.heads.imagenet.resolve_weights", offline)
    found = do(clf=None, baseline=())
    assert "imagenet" not in [c.name for c in found.candidates]
    with pytest.raises(WeightsError, match="no internet"):
        do(clf=("imagenet",), baseline=())


def test_images_in_train_and_test_are_said(do, photos):
    (photos / "cat" / "08.jpg").write_bytes((photos / "cat" / "00.jpg").read_bytes())
    found = do(baseline=())
    assert found.to_dict()["dataset"]["in_train"] == {"val": 0, "test": 1}
    assert any("1 test images are in train as well" in note for note in list_notes(found))


def test_blank_pictures_are_the_verdict_and_what_was_left_out_is_a_note(do, photos, caplog):
    for i, path in enumerate(photos.rglob("*.png")):
        Image.new("L", (40 + i, 40), 255).save(path)
    for path in photos.rglob("*.jpg"):
        path.rename(path.with_suffix(".xyz"))
    found = do(split="first:2,1", clf=("logreg", "knn"), baseline=(), scale="standard")
    assert caplog.text.count("all 12 images have the same features") == 1
    values = make_results(found)
    assert values["dataset"]["alike"]
    first, second = values["verdict"]["sentences"]
    assert first.startswith("All 12 images have the same features, so that nothing can be learned")
    assert second.endswith("there is nothing to choose.")
    assert "left out: images without an image's suffix: 15 (cat/00.xyz" in " ".join(values["notes"])


def test_heads_that_need_more_memory_are_left_out_or_refused(do, caplog):
    with pytest.raises(BudgetError, match=r"ridge needs .* for these features, in blocks still"):
        do(clf=("ridge",), baseline=(), max_memory=100_000)
    with pytest.raises(ModelError, match="nothing is left to compare"):
        do(clf=None, baseline=(), max_memory=100_000)
    assert "left out: svm needs" in caplog.text


def test_groups_are_what_is_counted(do, photos, tmp_path):
    lines = [f"{one.relative_to(photos).as_posix()},{one.parent.name},{int(one.stem) // 2}"
             for one in sorted(photos.rglob("*.*g"))]  # fmt: skip
    table = photos / "all.csv"
    table.write_text("\n".join(["path,label,animal", *lines]) + "\n")
    out = tmp_path / "out"
    found = do(table, group="animal", split="0.4,0.2,0.4", baseline=(), clf=("logreg", "ridge"),
               output=out)  # fmt: skip
    values = found.to_dict()
    assert values["dataset"]["split"] == "0.4,0.2,0.4 --group animal"
    groups = values["groups"]
    assert groups["counts"] == {"train": 2, "val": 1, "test": 2}
    assert groups["whole"]
    assert (groups["interval_method"], groups["pair_method"]) == (
        "cluster-bootstrap", "sign-flip-permutation"
    )  # fmt: skip
    assert [one["name"] for one in groups["random_splits"]] == ["logreg", "ridge"]
    said = " ".join(list_notes(found))
    assert "Images come in groups (2 train, 1 val, 2 test), and one observation is a group" in said
    assert "logreg: random split " in said
    assert values["candidates"][0]["ci95_method"]["test"] in {
        "cluster-bootstrap",
        "wilson-of-groups",
    }
    # What repeats it knows the groups, too.
    settings = list_settings(found)
    assert settings["group"] == "group"
    again = do(settings["data"], root=settings["root"], split=None, group="group", baseline=(),
               clf=("logreg", "ridge"), output=tmp_path / "again")  # fmt: skip
    assert again.to_dict()["groups"] == groups


def test_the_papers_protocol(do):
    found = do(clf=None, baseline=None, protocol="paper", epochs=15, learning_curves=False)
    assert [c.name for c in found.candidates] == ["linear", "logreg", "fc"]
    linear, logreg, fc = (c.outcome for c in found.candidates)
    for one in (linear, fc):
        assert [rate["learning_rate"] for rate in one.details["rates"]] == [1e-3]
        assert len(one.history) == 15
    assert linear.scores["test"] == fc.scores["test"]
    assert logreg.details["chosen_by"] == "val"
    assert found.features.provenance.preprocessing["interpolation"] == "bilinear"
    assert found.options["learning_rate"] == 1e-3


def test_layers_are_candidates_of_their_own(do, tmp_path):
    found = do(
        clf=("logreg", "imagenet", "centroid"), baseline=(), layers="max", C=0.01, cv="1x2",
        learning_curves=True, views=1,
    )  # fmt: skip
    names = ["logreg", "logreg+layers", "imagenet", "centroid", "centroid+layers"]
    # Views are of the last layer: a third candidate, which is neither in curves nor in folds.
    seen = [c for c in found.candidates if c.views]
    assert [c.name for c in seen] == ["logreg+1view", "centroid+1view"]
    assert {c.outcome.details["layers"] for c in seen} == {"last"}
    assert [c.name for c in found.candidates if not c.views] == names
    assert ("logreg", "logreg+layers") in {(pair.a, pair.b) for pair in found.paired}
    assert found.features.provenance.layers == "max"
    last, _, wide = found.candidates[:3]
    assert last.outcome.details["layers"] == "last"
    assert wide.outcome.details["layers"] == "max"
    assert wide.outcome.trainable_parameters == 3 * (3840 + 1)
    assert last.extraction == wide.extraction  # one pass
    assert {one.name for one in found.learning} == set(names)
    assert [one.name for one in found.cv.candidates] == names
    notes = " ".join(list_notes(found))
    assert "logreg+layers reads max, 3,840 columns: on test " in notes
    assert list_settings(found)["layers"] == "max"
    alone = do(clf=("logreg",), baseline=(), C=0.01)
    assert last.model.recipe["scale"] == alone.candidates[0].model.recipe["scale"]
    assert [c.name for c in alone.candidates] == ["logreg"]
