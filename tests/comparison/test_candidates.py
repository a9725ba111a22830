import numpy as np
import pytest
from made_candidates import Y, make

from featx.comparison.candidates import ExtractionCost, pair_candidates
from featx.training.model import Epoch
from featx.training.pairs import holm, mcnemar_exact, mcnemar_mid_p, tango_interval


def test_pairs_are_mcnemar_with_holm_and_a_difference():
    candidates = [make("a", ()), make("b", range(8)), make("c", range(3))]
    pairs = pair_candidates(candidates, Y)
    counts = [(8, 0), (3, 0), (0, 5)]
    assert [(p.only_a, p.only_b) for p in pairs] == counts
    raw = [mcnemar_mid_p(*both) for both in counts]
    assert [p.p_value_raw for p in pairs] == raw
    assert [p.p_value for p in pairs] == holm(raw)
    assert [p.p_value_exact for p in pairs] == [mcnemar_exact(*both) for both in counts]
    assert [p.difference for p in pairs] == [0.2, 0.075, -0.125]
    assert [p.ci95 for p in pairs] == [tango_interval(*both, 40) for both in counts]
    # 5 images of one side alone are told apart; 3 are not, but for a wide margin.
    assert [p.judgement for p in pairs] == ["better", "unknown", "worse"]
    assert [p.judgement for p in pair_candidates(candidates, Y, 20.0)][1] == "equal"
    low, high = pairs[2].ci95
    assert pairs[2].seen_from("b") == (-0.125, (low, high))
    assert pairs[2].seen_from("c") == (0.125, (-high, -low))
    assert pairs[2].to_dict()["ci95"] == [low, high]


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
