"""Candidates are trained once: what lies in the folder by its recipe's name is taken."""

import json
from dataclasses import replace

import pytest
from made_features import add_layers, allow, make_features, write
from shared import PROVENANCE

from featx.comparison.trainers import (
    HeadTrainer,
    NetworkTrainer,
    judge_ranks,
    judge_strangers,
    measure_cost,
)
from featx.config import EPOCH_PASSES
from featx.data.hashing import hash_images
from featx.errors import BudgetError
from featx.features.file import cost_path, read_features
from featx.finetuning.recipe import TuneOptions
from featx.heads.kind import HeadOptions
from featx.novelty.ranks import Evidence, load_ranking
from featx.novelty.sets import Calibration
from featx.novelty.taxonomy import Taxonomy, read_taxonomy
from featx.sources.reading import read_inventory
from featx.training.model import read_model


@pytest.fixture
def trainer(tmp_path):
    features = write(make_features(PROVENANCE), tmp_path)
    (tmp_path / "C").mkdir()
    return HeadTrainer(tmp_path / "C", features, 1, "auto")


def test_a_head_is_trained_once_for_a_recipe(trainer, monkeypatch):
    first = trainer.make("centroid", HeadOptions())
    (path,) = trainer.folder.glob("centroid-*.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr("featx.comparison.trainers.fit", None)
        again = trainer.make("centroid", HeadOptions())
    assert again.model.path == first.model.path == path
    trainer.make("centroid", HeadOptions(scale="standard"))
    assert len(list(trainer.folder.glob("centroid-*.safetensors"))) == 2


def test_layers_that_need_more_memory_are_left_out(tmp_path, caplog):
    features = write(add_layers(make_features(PROVENANCE, dim=512)), tmp_path)
    options = HeadOptions(C=1.0, choose_on="val", refit=False, layers="all")
    most = allow(features, "svm", **vars(replace(options, layers="last"))) + 1
    trainer = HeadTrainer(tmp_path, features, 1, "auto", most)
    (found,) = trainer.make_each(["svm"], options, optional=True)
    assert found.name == "svm"
    assert "left out: svm+layers: svm needs" in caplog.text
    with pytest.raises(BudgetError):
        trainer.make_each(["svm"], options)


@pytest.mark.parametrize("layers", ["layer4:avg", "last,layer4:avg", "auto"])
def test_the_last_layer_by_another_name_is_no_second_candidate(trainer, layers):
    (found,) = trainer.make_each(["centroid"], HeadOptions(layers=layers))
    assert found.name == "centroid"


def test_what_knows_no_strangers_says_why(trainer):
    one = trainer.make("centroid", HeadOptions())
    known, told = judge_strangers(trainer, one)
    assert (told.candidate, told.lacking) == ("centroid", "")
    assert read_model(one.model.path).outcome.details == known.outcome.details
    narrow = replace(trainer, max_memory=allow(trainer.features, "ridge"))
    same, told = judge_strangers(narrow, trainer.make("ridge", HeadOptions()))
    assert "ridge with strangers or ranks needs" in told.lacking
    assert "strangers" not in same.outcome.details
    # A fine-tuned network has what val says.
    network = replace(one, model=replace(one.model, kind="network"))
    assert "was fine-tuned before sets were kept" in judge_strangers(trainer, network)[1].lacking
    y, p = trainer.features.split("val")[1], one.outcome.probabilities["val"]
    arrays = {**one.model.arrays, **Calibration.judge(p, y).to_arrays()}
    plain = replace(one.outcome, details={})
    network = replace(one, model=replace(network.model, arrays=arrays, outcome=plain))
    _, told = judge_strangers(trainer, network)
    assert told.details == {"score": "probability", "images": 6}
    assert [curve.by for curve in told.curves] == ["probability"]
    assert [one.coverage for one in told.sets] == [0.8]


def test_ranks_are_learned_once_for_a_taxonomy(trainer, monkeypatch):
    tree = Taxonomy(("class", "kind"), (("a", "x"), ("b", "x"), ("c", "y")))
    one = trainer.make("centroid", HeadOptions())
    ranked, told = judge_ranks(trainer, [one], 0, (tree, 0.6))
    assert (told.candidate, told.lacking, told.names) == ("centroid", "", (3, 2))
    assert told.every[0].accuracies[0] == one.outcome.scores["test"]
    assert read_taxonomy(trainer.folder / "taxonomy.csv") == tree
    assert load_ranking(read_model(one.model.path)).precision == 0.6
    with monkeypatch.context() as patch:
        patch.setattr("featx.comparison.trainers.learn_ranks", None)
        same, again = judge_ranks(trainer, [ranked], 0, (tree, 0.6))
        other, _ = judge_ranks(trainer, [ranked], 0, (tree, 0.9))
    assert (same, again) == (ranked, told)
    assert load_ranking(read_model(other.model.path)).precision == 0.9
    wider = Taxonomy(("class", "kind"), (("a", "x"), ("b", "y"), ("c", "y")))
    third, _ = judge_ranks(trainer, [other], 0, (wider, 0.9))
    assert load_ranking(third.model).taxonomy == wider


def test_ranks_of_a_network_go_by_val(trainer):
    tree = Taxonomy(("class", "kind"), (("a", "x"), ("b", "x"), ("c", "y")))
    one = trainer.make("centroid", HeadOptions())
    network = replace(one, model=replace(one.model, kind="network"))
    ranked, told = judge_ranks(trainer, [network], 0, (tree, 0.6))
    p, y = one.outcome.probabilities["val"], trainer.features.split("val")[1]
    expected = Evidence.judge(tree, p, y)
    assert load_ranking(ranked.model).evidence.scores.tolist() == expected.scores.tolist()
    assert (told.lacking, len(told.answers)) == ("", 2)
    test = {"test": one.outcome.probabilities["test"]}
    bare = replace(network.model, outcome=replace(one.outcome, probabilities=test))
    _, told = judge_ranks(trainer, [replace(network, model=bare)], 0, (tree, 0.6))
    assert told.lacking == "it was fine-tuned without val, which its ranks are calibrated on"
    assert told.every[0].candidate == "centroid"


def test_what_is_damaged_is_trained_again(trainer, caplog):
    path = trainer.make("centroid", HeadOptions()).model.path
    path.write_bytes(path.read_bytes()[:50])
    trainer.make("centroid", HeadOptions())
    assert "trained again: " in caplog.text
    assert read_model(path).name == "centroid"


def test_a_model_of_another_recipe_is_not_taken(trainer):
    one = trainer.make("centroid", HeadOptions()).model.path
    other = trainer.make("centroid", HeadOptions(scale="l2")).model.path
    one.write_bytes(other.read_bytes())
    again = trainer.make("centroid", HeadOptions()).model
    assert again.recipe["scale"] == "none"


def test_what_is_drawn_is_drawn_again_for_each_seed(trainer):
    few = replace(trainer, seeds=3)
    assert len(few.make("linear", HeadOptions(epochs=1, learning_rate=1e-3)).others) == 2


def test_costs_of_features_add_up_and_one_unknown_makes_all_unknown(trainer, tmp_path):
    features = trainer.features
    assert measure_cost([features]) is None
    cost = {
        "seconds": 10.0, "decode": 2.0, "network": 7.0, "images": 36, "device": "cpu",
        "machine": "here", "fingerprint": features.fingerprint,
    }  # fmt: skip
    cost_path(features.path).write_text(json.dumps(cost))
    known = read_features(features.path)
    one, two = measure_cost([known]), measure_cost([known, known])
    assert (one.seconds, two.seconds, two.network) == (10.0, 20.0, 14.0)
    assert one.machine == "here, cpu"
    other = replace(known, path=tmp_path / "gone.h5")
    assert measure_cost([known, other]) is None


def test_what_baselines_will_take_is_told_by_passes(photos, tiny_weights, tmp_path):
    rows = hash_images(read_inventory(photos, "first:4,2"), "skip").load_read()
    tuner = NetworkTrainer(tmp_path, rows, tiny_weights, 2, "cpu", 1, None, False)
    options = TuneOptions(epochs=5, prefix_cache=False)
    first, _ = EPOCH_PASSES["fc"]
    assert tuner.estimate(["fc"], options, 3.0) == pytest.approx(2 * 3.0 * 5 * first)
    assert tuner.estimate([], options, 3.0) == 0
