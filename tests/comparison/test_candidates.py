import numpy as np
import pytest
from made_candidates import Y, make

from featx.comparison.candidates import (
    ExtractionCost,
    Pair,
    choose_best,
    judge,
    pair_candidates,
)
from featx.training.metrics import holm, mcnemar
from featx.training.model import Epoch


def decide(*candidates):
    pairs = pair_candidates(candidates, Y)
    return judge(candidates, pairs, choose_best(candidates, Y[:10]))


def test_pairs_are_mcnemar_with_holm():
    candidates = [make("a", ()), make("b", range(8)), make("c", range(3))]
    pairs = pair_candidates(candidates, Y)
    said = [c.outcome.probabilities["test"].argmax(1) for c in candidates]
    raw = [mcnemar(Y, said[i], said[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert [(p.only_a, p.only_b, p.p_value_raw) for p in pairs] == raw
    assert [p.p_value for p in pairs] == holm([p for *_, p in raw])
    assert (pairs[0].only_a, pairs[0].only_b) == (8, 0)


def test_best_is_by_val_and_then_by_its_log_loss():
    better, worse = make("better", range(30), confidence=0.7), make("worse", ())
    worse.outcome.probabilities["val"][0] = [0.55, 0.45]  # right, but much less sure of one
    # Test has no say; nor has being surer of everything, which a temperature does.
    assert choose_best([worse, better], Y[:10]) == "better"
    assert choose_best([worse, better, make("c", (), val_wrong=(3,))], Y[:10]) == "better"


def test_the_cheapest_that_is_not_worse_is_chosen():
    best = make("layer4", (), seconds=500.0, extract=None, confidence=0.95)
    level = make("logreg", range(3), val_wrong=(0,))
    worse = make("knn", range(9), seconds=0.1, extract=5.0, val_wrong=(0,))
    found = decide(best, level, worse)
    assert (found.best, found.choose) == ("layer4", "logreg")
    assert (found.level, found.worse, found.better) == (("logreg",), ("knn",), ())


def test_uncorrected_p_decides_what_is_level():
    # Six images: p = 0.031, and after Holm for three pairs 0.094.
    best, other = make("a", (), 500.0, confidence=0.95), make("b", range(6))
    third = make("c", (), 400.0, confidence=0.9)
    pairs = pair_candidates([best, other, third], Y)
    pair = next(p for p in pairs if {p.a, p.b} == {"a", "b"})
    assert pair.p_value_raw < 0.05 < pair.p_value
    assert judge([best, other, third], pairs, "a").worse == ("b",)


def test_like_costs_are_the_same_and_val_decides():
    # 11.0 and 11.05 seconds.
    found = decide(make("a", range(2), 1.0, val_wrong=(0,)), make("b", range(2), 1.05))
    assert (found.best, found.choose) == ("b", "b")


def test_what_test_finds_better_is_said():
    best, other = make("a", range(9)), make("b", (), seconds=1.01)
    candidates = [best, other]
    found = judge(candidates, pair_candidates(candidates, Y), "a")
    assert found.better == ("b",)


def test_unmeasured_extraction_is_not_free():
    from dataclasses import replace

    head, network = make("logreg", ()), make("fc", (), seconds=0.5, extract=None)
    unknown = replace(head, extraction=None)
    assert unknown.seconds is None
    views = replace(make("logreg", (), seconds=0.1), extraction=None, views=2)
    candidates = [network, views, unknown]
    pairs = pair_candidates(candidates, Y)
    assert judge(candidates, pairs, "fc").choose == "logreg"


def test_without_val_the_first_that_was_trained_stands_for_the_best():
    candidates = [make("imagenet", ()), make("ridge", ()), make("knn", ())]
    assert choose_best(candidates, Y[:0]) == "ridge"


def test_spread_over_seeds_by_hand():
    one = make("linear", range(2), others=(range(4), range(6)))
    spread = one.spread["test"]
    values = [38 / 40, 36 / 40, 34 / 40]
    assert spread.mean == pytest.approx(np.mean(values))
    assert spread.sd == pytest.approx(np.std(values, ddof=1))
    assert (spread.min, spread.max) == (34 / 40, 38 / 40)
    entry = one.to_dict()
    assert entry["seeds"]["n"] == 3
    assert entry["seeds"]["accuracy"]["val"]["sd"] == 0
    assert make("linear", ()).to_dict()["seeds"] is None


def test_costs():
    head, network = make("logreg", ()).to_dict(), make("fc", (), extract=None).to_dict()
    assert head["seconds"] == {"extract": 10.0, "decode": 2.0, "network": 7.0, "fit": 1.0}
    assert network["seconds"] == {"extract": None, "decode": None, "network": None, "fit": 1.0}
    assert head["kept_bytes"] == 48
    tuned = make("fc", (), seconds=20.0, extract=None)
    epochs = (Epoch(1, 12.0, {}, {}, 4.0, 7.0), Epoch(2, 8.0, {}, {}, 1.0, 6.5))
    object.__setattr__(tuned.outcome, "history", epochs)
    parts = {"extract": None, "decode": 5.0, "network": 13.5, "fit": 20.0}
    assert tuned.to_dict()["seconds"] == parts
    both = ExtractionCost(10.0, 2.0, 7.0) + ExtractionCost(5.0, None, 4.0)
    assert both == ExtractionCost(15.0, None, 11.0)
    assert Pair("a", "b", 1, 2, 0.5, 1.0).to_dict()["only_b"] == 2
