import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score, top_k_accuracy_score

from featx.training.evaluation import bootstrap_per_class, evaluate, measure, top_k
from featx.training.metrics import wilson_interval


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 7, 300)
    probabilities = rng.dirichlet(np.ones(8), 300)  # class 7 has no images here
    probabilities[np.arange(300), y] += 0.3
    probabilities /= probabilities.sum(1, keepdims=True)
    predicted = probabilities.argmax(1)
    found = evaluate(y, probabilities)
    assert found.top5 == top_k_accuracy_score(y, probabilities, k=5, labels=range(8))
    assert found.macro_f1 == pytest.approx(
        f1_score(y, predicted, labels=range(7), average="macro", zero_division=0)
    )
    low, high = found.mean_per_class_ci95
    assert low < recall_score(y, predicted, labels=range(7), average="macro") < high
    assert np.sum(found.confusion) == 300
    assert found.per_class[7].total == 0
    assert found.per_class[7].ci95 is None
    assert sum(one.correct for one in found.per_class) == (predicted == y).sum()
    assert top_k(np.array([0]), np.full((1, 8), 1 / 8), 5) == 0.0  # a tie proves nothing


def test_bootstrap_is_that_of_images_drawn_again():
    rng = np.random.default_rng(3)
    groups = [rng.random(n) < p for n, p in ((40, 0.9), (25, 0.7), (60, 0.8))]
    ours = bootstrap_per_class(
        np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
    )
    drawn = np.mean([rng.choice(g, (20_000, len(g))).mean(axis=1) for g in groups], axis=0)
    assert ours == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.012)
    assert bootstrap_per_class(np.array([3, 0]), np.array([3, 0])) == (1.0, 1.0)


def list_intervals(found):
    """What is shown of an evaluation with an interval, and the names of their methods."""
    parts = [*found.per_class, *found.bins, found.prevalence]
    shown = [found.mean_per_class_ci95, found.ece_ci95, *(one.ci95 for one in parts)]
    methods = {found.mean_per_class_ci95_method, found.ece_ci95_method}
    return np.array(shown), methods | {one.ci95_method for one in parts}


def test_every_interval_counts_groups_where_images_come_in_them():
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 60)
    confidence = rng.uniform(0.6, 0.99, 60)
    said = np.where(rng.random(60) < 0.75, y, 1 - y)
    p = np.where(np.eye(2)[said] > 0, confidence[:, None], 1 - confidence[:, None])
    # Nine pictures of each of 60 animals, right or wrong together.
    animal, shares = np.repeat(np.arange(60), 9), np.array([0.7, 0.3])
    plain, _ = list_intervals(evaluate(y[animal], p[animal], shares))
    grouped, methods = list_intervals(evaluate(y[animal], p[animal], shares, animal))
    assert methods == {"cluster-bootstrap", "wilson-of-groups"}  # a bin's four may all be right
    wider = np.diff(grouped) / np.diff(plain)
    assert wider.min() > 1.4
    assert np.median(wider) > 2
    # One picture of each says as much as nine that are alike.
    one, _ = list_intervals(evaluate(y, p, shares))
    alike = [0, 2, 3, -1]  # mean per class, both classes, field; bins are others
    assert grouped[alike] == pytest.approx(one[alike], abs=0.06)


def test_groups_that_do_not_tell_count_as_an_image_each():
    y, animal = np.repeat([0, 1], 20), np.arange(40) // 5
    found = evaluate(y, np.eye(2)[y] * 0.8 + 0.1, clusters=animal)
    assert found.mean_per_class_ci95 == wilson_interval(8, 8)
    assert [one.ci95 for one in found.per_class] == [wilson_interval(4, 4)] * 2
    assert found.per_class[0].ci95_method == "wilson-of-groups"
    alone = evaluate(y, np.eye(2)[y] * 0.8 + 0.1, clusters=np.zeros(40, int))
    assert alone.ece_ci95 == (0.0, 1.0)
    assert alone.mean_per_class_ci95 == wilson_interval(1, 1)


def test_what_a_model_keeps_is_part_of_an_evaluation():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 7, 60), rng.dirichlet(np.ones(8), 60)  # one class has no image
    told = json.loads(json.dumps(evaluate(y, p).to_dict()))
    kept = measure(y, p).to_dict()
    assert kept == {name: told[name] for name in kept}
    assert kept["per_class"][7] == {
        "correct": 0, "total": 0, "ci95": None, "ci95_method": "wilson"
    }  # fmt: skip
    assert sum(one["total"] for one in kept["per_class"]) == 60
