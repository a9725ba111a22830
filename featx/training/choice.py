"""Choosing a value by the log-loss of rows that were held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from featx.arrays import Labels, Matrix
from featx.config import PATH_MARGIN, PATH_PATIENCE, SAME_LOSS
from featx.training.calibration import fit_temperature, judge_scores


@dataclass(frozen=True)
class Choice:
    """Which value was chosen, and what was said of the rows that chose.

    Attributes
    ----------
    value : float
    by : str
        "given", what chose, or "default", with the reason.
    temperature : float
    loss : float or None
        Mean log-loss of the rows that were judged, in nats; None where none were.
    held : ndarray of shape (n_samples, n_classes) or None
        Scores of each of the trial's rows by a fit that did not see it; zeros of rows that are
        only learned from.
    tried : int
        Values that were judged before the path ended.
    details : mapping
        What else a head says of its choice, as JSON values.
    """

    value: float
    by: str
    temperature: float = 1.0
    loss: float | None = None
    held: Matrix | None = None
    tried: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


class Judge:
    """Looks at one value of a grid after the other and keeps the best.

    Parameters
    ----------
    y : ndarray of shape (n_samples,), int64
        True classes of all rows of a trial.
    places : sequence of (rows, known)
        For each part which rows it judges and which classes it has learned, ascending. A row whose
        class its part could not learn counts neither for nor against a value.
    n_classes : int
    tempered : bool
        The scores are no logits: each value has the temperature that suits it best.
    """

    def __init__(
        self, y: Labels, places: Sequence[tuple[Labels, Labels]], n_classes: int, tempered: bool
    ) -> None:
        self.y, self.places, self.n_classes, self.tempered = y, places, n_classes, tempered
        seen = [rows[np.isin(y[rows], known)] for rows, known in places]
        self.judged = np.sort(np.concatenate(seen))
        self.best: Choice | None = None
        self.tried = 0
        self.astray = 0  # values in a row that were worse than the best by the margin

    @property
    def ended(self) -> bool:
        """Whether the path has led away from the best for so long that it ends."""
        return self.astray >= PATH_PATIENCE

    def look(self, value: float, scores: Sequence[Matrix]) -> None:
        """Judge a value by the scores that each part gives its rows, of the classes it knows."""
        held = np.zeros((len(self.y), self.n_classes), scores[0].dtype)
        for (rows, known), part in zip(self.places, scores, strict=True):
            if len(known) < self.n_classes:  # no class is less likely than one never heard of
                held[rows] = part.min(axis=1, keepdims=True)
            held[np.ix_(rows, known)] = part
        mine, y = held[self.judged], self.y[self.judged]
        temperature = fit_temperature(mine, y) if self.tempered else 1.0
        _, loss = judge_scores(mine, y, temperature)
        self.tried += 1
        if self.best is None or self.best.loss is None or loss < self.best.loss - SAME_LOSS:
            self.best = Choice(float(value), "", temperature, loss, held)
        assert self.best.loss is not None
        self.astray = self.astray + 1 if loss > (1 + PATH_MARGIN) * self.best.loss else 0

    def conclude(self, by: str, calibrate: bool = False) -> Choice:
        """The best, with a temperature where one is asked for."""
        assert self.best is not None
        assert self.best.held is not None
        temperature = self.best.temperature
        if calibrate and not self.tempered:
            temperature = fit_temperature(self.best.held[self.judged], self.y[self.judged])
        return replace(self.best, by=by, temperature=temperature, tried=self.tried)
