from dataclasses import replace

import numpy as np
import pytest
from made_features import add_layers, make_features
from sklearn.metrics import roc_auc_score

from featx.errors import ModelError
from featx.features.outputs import take_rows
from featx.heads.fit import fit, learn_strangers
from featx.heads.head import load_head, read_layers
from featx.heads.memory import plan_reading
from featx.novelty import learning
from featx.novelty.detector import load_detector
from featx.novelty.learning import learn_evidence, learn_novelty
from featx.novelty.scores import SCORES
from featx.novelty.sets import load_calibration
from featx.novelty.taxonomy import Taxonomy
from featx.training.model import read_model, write_model
from featx.training.trials import know_nothing, plan_folds


class Centres:
    """A head whose logits are minus the squared distances from class means."""

    layer = None

    def __init__(self, X, y):
        self.X, self.y = X, y
        self.means = np.stack([X[y == k].mean(axis=0) for k in range(int(y.max()) + 1)])

    def decide(self, X):
        return X, -np.square(X[:, None] - self.means).sum(axis=2)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 15)
    return (6 * np.eye(4, 8)[y] + rng.normal(0, 1, (60, 8))).astype(np.float32), y


def test_what_is_held_was_not_seen(rows):
    X, y = rows
    made = []

    def refit(X_, y_):
        made.append(Centres(X_, y_))
        return made[-1]

    found = learn_novelty(X, y, know_nothing(60), Centres(X, y), refit)
    folds = plan_folds(y, know_nothing(60), 0, 15)  # as many as a class has images
    assert len(made) == 4 + len(folds)
    scores, far, errors, said = (np.empty(60) for _ in range(4))
    for (_, outside), head in zip(folds, made[4:], strict=True):
        assert not (head.X[:, None] == X[outside]).all(axis=2).any()
        logits = head.decide(X[outside])[1]
        score = SCORES[found.details["score"]].fit(learning.Known(head.X, None))
        scores[outside] = score.measure(X[outside], logits)
        said[outside] = logits.argmax(axis=1)
        lengths = np.linalg.norm(X[outside], axis=1) * np.linalg.norm(head.means, axis=1)[:, None]
        far[outside] = 1 - (head.means @ X[outside].T / lengths).max(axis=0)
        own = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
        errors[outside] = 1 - own[np.arange(len(outside)), y[outside]]
    order = np.concatenate([outside for _, outside in folds])
    assert found.detector.held == pytest.approx(np.sort(scores))
    assert found.detector.labels.tolist() == said[np.argsort(scores)].tolist()
    assert found.centre.held == pytest.approx(np.sort(far), abs=2e-3)  # means are float16
    assert found.sets.scores == pytest.approx(errors[order])
    assert found.sets.labels.tolist() == y[order].tolist()


def test_ranks_go_by_fits_that_saw_no_row_that_they_judge(rows):
    X, y = rows
    made = []

    def refit(X_, y_):
        made.append(Centres(X_, y_))
        return made[-1]

    tree = Taxonomy(("class", "kind"), tuple((str(k), str(k // 2 + 4)) for k in range(4)))
    found = learn_evidence(X, y, know_nothing(60), refit, tree)
    folds = plan_folds(y, know_nothing(60), 0, 15)
    assert len(made) == len(folds)
    rest = found
    for (_, outside), head in zip(folds, made, strict=True):
        assert not (head.X[:, None] == X[outside]).all(axis=2).any()
        logits = head.decide(X[outside])[1]
        p = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
        kinds = p.reshape(-1, 2, 2).sum(axis=2)
        n = len(outside)
        assert rest.scores[:n] == pytest.approx(np.stack([p.max(axis=1), kinds.max(axis=1)], 1))
        assert rest.right[:n, 0].tolist() == (p.argmax(axis=1) == y[outside]).tolist()
        assert rest.right[:n, 1].tolist() == (kinds.argmax(axis=1) == y[outside] // 2).tolist()
        rest = replace(rest, scores=rest.scores[n:], right=rest.right[n:])
    assert not len(rest.scores)


def test_the_area_is_of_a_class_against_a_fold_that_no_fit_saw(rows):
    X, y = rows
    found = learn_novelty(X, y, know_nothing(60), Centres(X, y), Centres)
    areas = []
    for stranger, (inside, outside) in enumerate(plan_folds(y, know_nothing(60), 0)[:4]):
        inside, outside = inside[y[inside] != stranger], outside[y[outside] != stranger]
        head = Centres(X[inside], np.unique(y[inside], return_inverse=True)[1])
        asked = np.concatenate([outside, np.flatnonzero(y == stranger)])
        energy = -np.logaddexp.reduce(head.decide(X[asked])[1], axis=1)
        areas.append(roc_auc_score(y[asked] == stranger, energy))
    assert found.details["auroc"]["energy"] == pytest.approx(np.mean(areas))
    assert "vim" not in found.details["auroc"]  # the head is not linear
    assert found.details["classes"] == 4
    assert (found.details["images"], found.details["by"]) == (60, "classes left out")


def test_the_best_is_taken_and_of_equals_the_simpler():
    areas = {"probability": [0.9, 0.901], "energy": [0.9, 0.902], "knn": [0.8, 0.8]}
    assert learning._choose(areas) == ("probability", "classes left out")
    assert learning._choose({**areas, "vim": [0.91, 0.92]})[0] == "vim"


def test_of_many_classes_some_are_left_out(rows, monkeypatch):
    monkeypatch.setattr(learning, "STRANGER_CLASSES", 2)
    X, y = rows
    details = learn_novelty(X, y, know_nothing(60), Centres(X, y), Centres).details
    assert details["classes"] == 2
    low, high = details["auroc_ci95"]
    assert low <= details["auroc"][details["score"]] <= high


def test_two_classes_leave_none_to_leave_out(rows):
    X, y = rows[0][:30], rows[1][:30]
    details = learn_novelty(X, y, know_nothing(30), Centres(X, y), Centres).details
    assert (details["score"], details["auroc"], details["auroc_ci95"]) == ("probability", {}, None)
    assert details["by"] == "default: no class could be left out"


def test_a_class_of_one_image_is_said(rows):
    X, y = rows[0][:16], rows[1][:16]
    with pytest.raises(ModelError, match="a class has one image"):
        learn_novelty(X, y, know_nothing(16), Centres(X, y), Centres)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classes_of_one_group_each_are_said(rows, n_classes):
    X, y = rows[0][: 15 * n_classes], rows[1][: 15 * n_classes]
    kin = replace(know_nothing(len(y)), group=y)
    with pytest.raises(ModelError, match="each class is one group"):
        learn_novelty(X, y, kin, Centres(X, y), Centres)


@pytest.mark.parametrize("clf", ["logreg", "linear", "svm", "ridge", "knn", "centroid"])
def test_a_head_keeps_them_in_its_file_and_is_the_same_head(clf, provenance, tmp_path):
    features = make_features(provenance, dim=12)
    plain = fit(features, clf, epochs=2, scale="standard")
    model = fit(features, clf, epochs=2, scale="standard", strangers=True)
    assert model.recipe == plain.recipe
    assert all(np.array_equal(model.arrays[name], plain.arrays[name]) for name in plain.arrays)
    back = read_model(write_model(model, tmp_path / "m.safetensors").path)
    told = back.outcome.details["strangers"]
    assert told["score"] in told["auroc"]
    assert ("vim" in told["auroc"]) == (clf != "knn")
    assert "scale" not in told["auroc"]  # of standardised features
    detector, sets = load_detector(back), load_calibration(back)
    n = 18 if clf == "linear" else 24  # train, or train and val
    assert (len(detector.held), len(sets.scores), told["images"]) == (n, n, n)
    rows, logits = load_head(back).decide(features.split("test")[0])
    _, p = detector.measure(rows, logits)
    assert ((p > 0) & (p <= 1)).all()


def test_views_are_learned_from_and_never_judged(provenance):
    features = make_features(provenance, dim=12)
    view = replace(features, X=features.X + np.float32(0.1))
    model = fit(features, "centroid", views=[view])
    found = learn_strangers(model, features, views=[view])
    assert found.outcome.details["strangers"]["images"] == 24
    plain = learn_strangers(fit(features, "centroid"), features)
    assert (load_detector(found).held != load_detector(plain).held).all()


@pytest.mark.parametrize("layers", ["layer2:max", "auto"])
def test_they_are_learned_of_the_layers_that_a_head_reads(layers, provenance):
    features = add_layers(make_features(provenance, dim=512), [("layer2", "max")])
    model = fit(features, "centroid", layers=layers)
    assert read_layers(model) != "last"
    # Columns of layers are standardised: the same as features that are.
    X = take_rows(features, [{"layers": read_layers(model)}])[:]
    alone = replace(make_features(provenance), X=X)
    told = [
        learn_strangers(model, features),
        learn_strangers(fit(alone, "centroid", scale="standard"), alone),
    ]
    held, own = (load_detector(one).held for one in told)
    areas, expected = (one.outcome.details["strangers"]["auroc"] for one in told)
    assert areas == pytest.approx(expected, abs=1e-3)
    assert held == pytest.approx(own, rel=1e-3)


def test_an_older_model_says_how_to_get_them(provenance):
    model = fit(make_features(provenance, dim=12), "centroid")
    with pytest.raises(ModelError, match=r"featx fit F.h5 --clf centroid --strangers"):
        load_detector(model)
    network = replace(model, kind="network")
    with pytest.raises(ModelError, match=r"before sets were kept: .* --train centroid --overwrite"):
        load_calibration(network)
    without = replace(network, outcome=replace(network.outcome, probabilities={}))
    for load in (load_detector, load_calibration):
        with pytest.raises(ModelError, match="without val, which its strangers and sets are cal"):
            load(without)
    model.outcome.details["strangers"] = {"score": "knn"}
    with pytest.raises(ModelError, match=r"damaged: it lacks 'rows'"):
        load_detector(model)


def test_rows_in_blocks_have_none(provenance, monkeypatch):
    def plan(*args, **options):
        return replace(plan_reading(*args, **options), in_blocks=True)

    monkeypatch.setattr("featx.heads.fit.plan_reading", plan)
    with pytest.raises(ModelError, match="strangers are learned from rows in memory"):
        fit(make_features(provenance), "centroid", strangers=True)
