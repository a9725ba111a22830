"""Candidates of a comparison that never happened, by the test images that each gets wrong."""

from pathlib import Path

import numpy as np

from featx.comparison.candidates import Candidate, ExtractionCost
from featx.training.metrics import score_labels
from featx.training.model import Model, Outcome

Y = np.arange(40) % 2


def make(name, wrong, seconds=1.0, extract=10.0, confidence=0.9, others=(), val_wrong=()):
    """A candidate that gets these of 40 test images wrong, and those of ten val images."""

    def predict(y, wrong):
        said = y.copy()
        said[list(wrong)] = 1 - said[list(wrong)]
        return np.where(np.eye(2)[said] > 0, confidence, 1 - confidence)

    outcomes = []
    for places in (wrong, *others):
        p = {"val": predict(Y[:10], val_wrong), "test": predict(Y, places)}
        scores = {s: score_labels(y, p[s].argmax(1)) for s, y in (("val", Y[:10]), ("test", Y))}
        outcomes.append(Outcome(scores, p, seconds, 5, "here"))
    kind = "head" if extract else "network"
    model = Model(kind, name, ("a", "b"), {}, {}, outcomes[0], {"w": np.zeros(6)}, Path("m"))
    cost = ExtractionCost(extract, 2.0, 7.0) if extract else None
    return Candidate(model, cost, others=tuple(outcomes[1:]))
