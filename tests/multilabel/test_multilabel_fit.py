"""One classifier a label: planted labels, what chooses, what cannot be learned, the model file."""

from dataclasses import replace

import numpy as np
import pytest
from made_sets import plant_features
from sklearn.linear_model import LogisticRegression

from featx.config import MULTILABEL_CLASSIFIERS
from featx.errors import BudgetError, FeatureFileError, FeatxError, ModelError, OutputExistsError
from featx.heads.head import load_head
from featx.multilabel.fit import fit_multilabel
from featx.multilabel.head import load_labels_head
from featx.training.model import read_model


@pytest.fixture
def planted(provenance):
    return plant_features(provenance)


@pytest.mark.parametrize("clf", MULTILABEL_CLASSIFIERS)
@pytest.mark.parametrize("scale", ["none", "standard"])
def test_planted_labels_are_found(planted, clf, scale):
    model = fit_multilabel(planted, clf, scale=scale, learning_rate=3e-2, epochs=200)
    told = model.outcome.details["evaluation"]["test"]
    assert told["mAP"] > 0.99
    assert told["macro_f1"] > 0.95
    assert told["hamming_loss"] < 0.05
    score = model.outcome.scores["test"]
    assert score.accuracy == told["subset_accuracy"]
    assert score.mean_per_class == pytest.approx(1 - told["hamming_loss"])
    assert model.outcome.probabilities["val"].shape == (15, 2)


def test_a_label_is_scikit_learns_logistic_regression(planted):
    model = fit_multilabel(planted, "logreg", C=0.7)
    rows = planted.splits != "test"
    for k in range(2):
        ours = LogisticRegression(C=0.7, tol=1e-8, max_iter=5000)
        ours.fit(planted.X[rows].astype(float), planted.label_sets[rows, k])
        assert model.arrays["coef"][k] == pytest.approx(ours.coef_[0], abs=1e-4)
        assert model.arrays["intercept"][k] == pytest.approx(ours.intercept_[0], abs=1e-4)


def test_more_columns_than_rows_are_the_same_classifier(provenance):
    wide = plant_features(provenance, n=60, dim=200)
    model = fit_multilabel(wide, "logreg", C=0.7)
    rows = wide.splits != "test"
    ours = LogisticRegression(C=0.7, tol=1e-8, max_iter=5000)
    ours.fit(wide.X[rows].astype(float), wide.label_sets[rows, 0])
    assert model.arrays["coef"][0] == pytest.approx(ours.coef_[0], abs=1e-4)


def test_labels_are_learned_each_by_itself(planted):
    """Another label beside one changes nothing but the folds; with C given, no coefficient."""
    one = replace(planted, classes=("beach",), label_sets=planted.label_sets[:, :1])
    both, alone = (fit_multilabel(each, "logreg", C=0.7) for each in (planted, one))
    assert alone.arrays["coef"] == pytest.approx(both.arrays["coef"][:1], abs=1e-6)


def test_thresholds_are_chosen_by_rows_that_were_not_learned_from(provenance):
    """Labels that nothing tells: by heart 300 columns tell all 40, out of fold nothing."""
    blind = plant_features(provenance, n=60, dim=300)
    sets = np.random.default_rng(1).random((60, 2)) < 0.4
    blind = replace(blind, label_sets=sets, X=np.random.default_rng(2).normal(size=(60, 300)))
    blind = replace(blind, X=blind.X.astype(np.float32))
    model = fit_multilabel(blind, "logreg", C=1e3)
    told = model.outcome.details
    assert told["evaluation"]["val"]["mAP"] < 0.8
    by_heart = model.arrays["coef"] @ blind.X.T.astype(float)
    train = blind.splits != "test"
    sure = 1 / (1 + np.exp(-by_heart.T[train] - model.arrays["intercept"]))
    assert ((sure > 0.5) == sets[train]).all()
    # F1 of a coin is highest where everything is said: half of that share, or less.
    assert all(one["threshold"] < 0.45 for one in told["labels"])


def test_a_file_gives_it_back(planted, tmp_path):
    made = fit_multilabel(planted, "ridge", scale="l2", output=tmp_path / "m.safetensors")
    read = read_model(tmp_path / "m.safetensors")
    assert read.kind == "multilabel"
    head = load_labels_head(read)
    test = planted.splits == "test"
    p = head.predict_proba(planted.X[test])
    assert p == pytest.approx(made.outcome.probabilities["test"])
    said = head.predict(planted.X[test])
    assert (said == (p >= made.arrays["thresholds"])).all()
    assert made.to_dict()["clf"] == "ridge"
    assert fit_multilabel(planted, "ridge", scale="l2", output=tmp_path / "m.safetensors")
    with pytest.raises(OutputExistsError):
        fit_multilabel(planted, "svm", output=tmp_path / "m.safetensors")
    with pytest.raises(ModelError, match="several labels an image"):
        load_head(read)
    broken = replace(read, arrays={**read.arrays, "thresholds": np.zeros(3)})
    with pytest.raises(ModelError, match="damaged"):
        load_labels_head(broken)


def test_copies_and_groups_are_on_one_side_of_a_fold(planted):
    """Every image four times over: a fold that parted them would find each by heart."""
    rng = np.random.default_rng(3)
    rows = np.repeat(np.arange(45), 4)
    noise = replace(
        planted,
        X=np.repeat(rng.normal(size=(45, 400)), 4, axis=0).astype(np.float32),
        label_sets=np.repeat(rng.random((45, 2)) < 0.5, 4, axis=0),
        splits=np.full(180, "train"),
        paths=np.array([f"{i}.jpg" for i in range(180)]),
        targets=np.full(180, -1),
        hashes=np.array([f"{i:064x}" for i in rows]),
    )
    apart = replace(noise, hashes=np.array([f"{i:064x}" for i in range(180)]))
    grouped = replace(apart, groups=np.array([f"g{i}" for i in rows]))

    def judge(features):
        held = replace(features, splits=np.where(np.arange(180) < 90, "train", "val"))
        held = replace(held, splits=np.append(held.splits[:-4], ["test"] * 4))
        return fit_multilabel(held, "ridge").outcome.details["evaluation"]["val"]["mAP"]

    assert judge(apart) > 0.95
    assert judge(noise) < 0.8
    assert judge(grouped) < 0.8


def test_val_is_test_where_there_is_none(planted):
    splits = np.where(planted.splits == "test", "train", planted.splits)
    model = fit_multilabel(replace(planted, splits=splits), "ridge")
    assert model.outcome.details["val_is_test"]
    assert set(model.outcome.scores) == {"train", "test"}


def test_a_rare_label_is_said(planted):
    sets = np.column_stack([planted.label_sets, np.arange(90) < 1, np.arange(90) < 3])
    model = fit_multilabel(
        replace(planted, classes=(*planted.classes, "one", "three"), label_sets=sets), "logreg"
    )
    few, unjudged = model.outcome.details["notes"]
    assert "labels one, three" in few
    assert unjudged.endswith("no fold could judge the labels one")
    assert set(model.outcome.probabilities) == {"test"}
    assert model.outcome.details["out_of_fold"]["mAP"] < 1
    one = model.outcome.details["labels"][2]
    assert one["threshold"] == 0.5
    assert one["chosen"]["by"].startswith("default")


@pytest.mark.parametrize("clf", MULTILABEL_CLASSIFIERS)
@pytest.mark.parametrize("case", ["two images", "one group", "copies", "one label"])
def test_the_least_there_can_be(planted, clf, case):
    few = replace(planted, splits=np.where(np.arange(90) < 2, "train", "test"))
    held = {
        "two images": replace(few, label_sets=np.arange(180).reshape(90, 2) % 3 > 0),
        "one group": replace(planted, groups=np.full(90, "g")),
        "copies": replace(planted, hashes=np.full(90, "0" * 64)),
        "one label": replace(planted, classes=("x",), label_sets=planted.label_sets[:, :1]),
    }[case]
    model = fit_multilabel(held, clf, calibrate=True)
    p = model.outcome.probabilities["test"]
    assert ((p >= 0) & (p <= 1)).all()
    if case != "one label":
        assert "val" not in model.outcome.probabilities
        assert set(model.arrays["thresholds"].tolist()) == {0.5}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label_sets": np.zeros((90, 2), bool)}, "no image of train and val has the labels beach"),
        ({"label_sets": np.ones((90, 2), bool)}, "every image of train and val has the labels"),
        ({"splits": np.full(90, "test")}, "no train images"),
        ({"label_sets": None}, "each image has one label"),
    ],
)
def test_what_cannot_be_learned_is_said(planted, change, said):
    with pytest.raises(FeatureFileError, match=said):
        fit_multilabel(replace(planted, **change), "ridge")


@pytest.mark.parametrize(
    ("clf", "options", "said"),
    [
        ("centroid", {}, "centroid has no meaning with several labels"),
        ("logreg", {"C": -1}, "it must be a positive number"),
        ("logreg", {"scale": "auto"}, "scale auto is not for several labels"),
        ("linear", {"class_weight": "balanced"}, "linear knows no class weights"),
        ("logreg", {"max_memory": 1000}, "give more by --max-memory"),
    ],
)
def test_what_has_no_meaning_is_said(planted, clf, options, said):
    with pytest.raises((ModelError, BudgetError), match=said) as raised:
        fit_multilabel(planted, clf, **options)
    assert isinstance(raised.value, FeatxError)
