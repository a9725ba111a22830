"""How often the verdict errs, simulated: the rule of featx beside the ones it could have had.

    python benchmarks/verdict.py [RUNS]

Candidates are drawn, not trained. Each gives the true class of an image a score; scores are normal
and correlated, since an image that is hard for one is hard for others. Seven heads differ by up to
two points; one fine-tuned network is truly better than the best of them by so many points. Each run
draws a val set and a test set. Prints one JSON object: shares of the runs by sizes, truth and rule.

The second world is one where log-loss misleads: the network's scores have long tails (Student's t
with 4 degrees of freedom), so that at the same accuracy its log-loss is the worse.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import log_expit

from featx.comparison.verdict import find_contenders
from featx.config import MARGIN, SIGNIFICANT
from featx.training.pairs import mcnemar_exact, tango_interval

SIZES = ((50, 100), (100, 409), (500, 2000))  # images of val and test
POINTS = (-3, 0, 2, 3, 5)  # by which the network is truly better than the best head
BEST_HEAD = 0.93
HEADS = (0.0, 0.0, 0.5, 0.5, 1.0, 1.5, 2.0)  # points below the best
SHARED = 0.8  # correlation of two candidates' scores: they differ on some 8 % of the images
LOST = 2  # points, from which a choice is an error
RUNS = 400

tango = cache(tango_interval)
exact = cache(mcnemar_exact)


def draw_scores(
    rng: np.random.Generator, images: int, accuracies: npt.NDArray[np.float64], long_tails: bool
) -> npt.NDArray[np.float64]:
    """Scores of the true class, shape (n_candidates, images): above 0 is right."""
    common = rng.normal(size=images) * SHARED**0.5
    own = rng.normal(size=(len(accuracies), images)) * (1 - SHARED) ** 0.5
    scores = common + own
    shift = stats.norm.ppf(accuracies)
    if long_tails:  # of the network, which is the last
        scores[-1] = stats.t.ppf(stats.norm.cdf(scores[-1]), 4)
        shift[-1] = stats.t.ppf(accuracies[-1], 4)
    return np.asarray(scores + shift[:, None])


def lose(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each candidate's log-loss at the temperature that suits it best, of a few hundred."""
    temperatures = np.geomspace(0.05, 5, 60)
    tried = [-log_expit(scores / t).mean(axis=1) for t in temperatures]
    return np.asarray(np.min(tried, axis=0))


class Run:
    """One val set and one test set."""

    def __init__(
        self, rng: np.random.Generator, sizes: tuple[int, int], points: float, long_tails: bool
    ) -> None:
        heads = BEST_HEAD - np.array(HEADS) / 100
        self.true = np.append(heads, BEST_HEAD + points / 100)
        val = draw_scores(rng, sizes[0], self.true, long_tails)
        self.right = draw_scores(rng, sizes[1], self.true, long_tails) > 0
        self.accuracy, self.loss = (val > 0).mean(axis=1), lose(val)
        self.network = len(HEADS)

    def rank(self, by: str) -> list[int]:
        """All candidates, the best on val first."""
        keys = (-self.loss, self.accuracy) if by == "log-loss" else (self.accuracy, -self.loss)
        return sorted(range(len(self.true)), key=lambda k: tuple(key[k] for key in keys))[::-1]

    def count(self, a: int, b: int) -> tuple[int, int]:
        """Test images that only one of two has right."""
        only_a = int((self.right[a] & ~self.right[b]).sum())
        return only_a, int((self.right[b] & ~self.right[a]).sum())

    def choose_old(self) -> tuple[int, bool]:
        """The cheapest that McNemar's exact test does not find worse than the best on val."""
        ranked = self.rank("accuracy")
        best = ranked[0]
        worse = {
            k
            for k in range(len(self.true))
            if exact(*self.count(k, best)) < SIGNIFICANT
            and self.right[k].sum() < self.right[best].sum()
        }
        heads = [k for k in ranked if k != self.network and k not in worse]
        return (heads[0] if heads else self.network), True

    def choose_best(self, by: str) -> tuple[int, bool]:
        """The best on val."""
        return self.rank(by)[0], True

    def choose(self, by: str) -> tuple[int, bool]:
        """The rule of featx; and whether it calls the choice decided."""
        ranked = self.rank(by)
        head = next(k for k in ranked if k != self.network)

        def measure(a: str, b: str) -> tuple[float, float]:
            return tango(*self.count(int(a), int(b)), self.right.shape[1])

        left = find_contenders([str(head), str(self.network)], measure, MARGIN)
        return min(map(int, left), key=ranked.index), len(left) == 1


RULES: dict[str, Any] = {
    "before: not significantly worse": lambda run: run.choose_old(),
    "best on val by accuracy": lambda run: run.choose_best("accuracy"),
    "best on val by log-loss": lambda run: run.choose_best("log-loss"),
    "tiers and interval, by accuracy": lambda run: run.choose("accuracy"),
    "tiers and interval, by log-loss": lambda run: run.choose("log-loss"),
}


def simulate(runs: int, sizes: tuple[int, int], points: float, long_tails: bool) -> dict[str, Any]:
    """For each rule, the shares of runs in which it errs, says nothing, and takes the network."""
    rng = np.random.default_rng([abs(int(points)), int(points > 0), *sizes, long_tails])
    counts = {name: Counter[str]() for name in RULES}
    for _ in range(runs):
        run = Run(rng, sizes, points, long_tails)
        for name, rule in RULES.items():
            chosen, decided = rule(run)
            loses = 100 * (run.true.max() - run.true[chosen]) > LOST - 1e-9
            counts[name] += Counter({
                "errs": decided and loses,
                "names the worse": loses,
                "undecided": not decided,
                "network": decided and chosen == run.network,
            })  # fmt: skip
    return {
        name: {what: n / runs for what, n in counted.items()} for name, counted in counts.items()
    }


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    found = [
        {
            "val": sizes[0], "test": sizes[1], "network better by": points,
            "long tails": long_tails, "rules": simulate(runs, sizes, points, long_tails),
        }
        for long_tails in (False, True)
        for sizes in SIZES
        for points in POINTS
    ]  # fmt: skip
    print(json.dumps({"runs": runs, "margin": MARGIN, "simulated": found}))  # noqa: T201


if __name__ == "__main__":
    main()
