"""Which candidate to choose: the cheapest of whom the test images say that it loses little."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from featx.comparison.candidates import Candidate, Pair
from featx.config import COST_TIERS, MARGIN, SIGNIFICANT
from featx.training.calibration import as_scores, fit_temperature
from featx.training.metrics import log_loss
from featx.training.pairs import find_detectable

Interval = tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """Which candidate to choose.

    Attributes
    ----------
    best : str
        Lowest log-loss on val: see `rank_on_val`. None of this looks at test.
    choose : str
        Where `decided`, the cheapest that loses no more than the margin; otherwise the best on val
        of the contenders.
    level : tuple of str
        Those that are not distinguishable from the best, without it.
    worse, better : tuple of str
        Those that are distinguishably worse than the best, or better than it.
    decided : bool
        Whether the test images tell whom to choose.
    margin : float
        Points of accuracy that the cheaper may lose.
    tiers : dict of str to str
        Who stands for each tier of cost, the cheapest first.
    contenders : tuple of str
        Of these, among whom the test images leave the choice; where `decided`, the chosen one.
    detectable : (float, float) or None
        The true differences to the best that so many test images show with `POWER`, as fractions:
        the smallest and the largest over the other candidates; the more images two differ on, the
        larger. None where no difference can be seen so often.
    """

    best: str
    choose: str
    level: tuple[str, ...]
    worse: tuple[str, ...]
    better: tuple[str, ...]
    decided: bool = True
    margin: float = MARGIN
    tiers: Mapping[str, str] = field(default_factory=dict)
    contenders: tuple[str, ...] = ()
    detectable: tuple[float, float] | None = None


def find_tier(candidate: Candidate) -> str:
    """What kind of cost a candidate has: one of `COST_TIERS`."""
    if candidate.kind == "frozen":
        return "views" if candidate.views else "frozen"
    return "all" if candidate.model.name == "all" else "part"


def rank_on_val(candidates: Sequence[Candidate], y_val: npt.NDArray[np.int64]) -> list[str]:
    """Names from the best to the worst by val log-loss, each at its best temperature.

    Log-loss says more than accuracy where there are few images; benchmarks/verdict.py measures
    both. Where there is no val nothing can say so: those that were trained come in their order.
    """
    if not len(y_val):
        return [c.name for c in sorted(candidates, key=lambda c: c.model.name == "imagenet")]

    def rank(candidate: Candidate) -> tuple[float, float]:
        # Some have a temperature that was fitted on val; for a fair log-loss all get one.
        scores = as_scores(candidate.outcome.probabilities["val"])
        loss = log_loss(y_val, softmax(scores / fit_temperature(scores, y_val), axis=1))
        return loss, -candidate.outcome.scores["val"].accuracy

    return [candidate.name for candidate in sorted(candidates, key=rank)]


def judge(
    candidates: Sequence[Candidate],
    pairs: Sequence[Pair],
    ranked: Sequence[str],
    margin: float = MARGIN,
) -> Verdict:
    """Say which candidate to choose.

    The best on val of each tier of cost stands for it, and `find_contenders` weighs these. Whether
    another one is level with the best of all is asked of McNemar's own p-value, before Holm's
    correction: that makes it harder to pass as level.

    Parameters
    ----------
    candidates : sequence of Candidate
    pairs : sequence of Pair
        All of `pair_candidates`.
    ranked : sequence of str
        Of `rank_on_val`.
    margin : float
        Points of accuracy.
    """
    best = ranked[0]
    level: list[str] = []
    worse: list[str] = []
    better: list[str] = []
    for pair in pairs:
        if best not in (pair.a, pair.b):
            continue
        other = pair.b if pair.a == best else pair.a
        if pair.p_value_raw >= SIGNIFICANT:
            level.append(other)
        else:
            (worse if pair.seen_from(other)[0] < 0 else better).append(other)
    tier_of = {candidate.name: find_tier(candidate) for candidate in candidates}
    tiers = {
        tier: next(name for name in ranked if tier_of[name] == tier)
        for tier in COST_TIERS
        if tier in tier_of.values()
    }
    found = {frozenset((pair.a, pair.b)): pair for pair in pairs}
    contenders = find_contenders(
        list(tiers.values()), lambda a, b: found[frozenset((a, b))].seen_from(a)[1], margin
    )
    return Verdict(
        best=best,
        choose=min(contenders, key=ranked.index),
        level=tuple(level),
        worse=tuple(worse),
        better=tuple(better),
        decided=len(contenders) == 1,
        margin=margin,
        tiers=tiers,
        contenders=tuple(contenders),
        detectable=_find_power(
            [pair for pair in pairs if best in (pair.a, pair.b)],
            candidates[0].outcome.scores["test"].total,
        ),
    )


def _find_power(pairs: Sequence[Pair], total: int) -> tuple[float, float] | None:
    found = [
        find_detectable(pair.worth or total, (pair.only_a + pair.only_b) / total) for pair in pairs
    ]
    seen = [one for one in found if one is not None]
    return (min(seen), max(seen)) if seen and len(seen) == len(found) else None


def find_contenders(
    names: Sequence[str], measure: Callable[[str, str], Interval], margin: float
) -> list[str]:
    """Among whom the choice remains.

    One is safe where the interval of its difference to each dearer one excludes a loss beyond the
    margin, and out where it is not and the interval to one of them says that it is worse. The
    choice remains among the cheapest that is not out and all dearer ones up to the first that is
    safe: a single one where the images tell.

    Parameters
    ----------
    names : sequence of str
        The cheapest first; at least one.
    measure : callable
        The 95 % interval of the accuracy of one less that of another, as fractions.
    margin : float
        Points of accuracy.
    """
    left: list[str] = []
    for i, name in enumerate(names):
        intervals = [measure(name, dearer) for dearer in names[i + 1 :]]
        if all(100 * low >= -margin for low, _ in intervals):  # the dearest, at the latest
            return [*left, name]
        if all(high >= 0 for _, high in intervals):
            left.append(name)
    return left
