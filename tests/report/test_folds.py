from featx.comparison.fold_scores import CrossValidation, FoldPair, FoldScore, FoldScores
from featx.report.folds import describe_folds, render_folds, say_few, say_fold_pair, say_folds
from featx.training.resampling import Estimate, Resampling


def make(name, *accuracies, kind="frozen"):
    folds = (FoldScore(accuracy, 0.25, 0.1 + i, 2.0) for i, accuracy in enumerate(accuracies))
    return FoldScores(name, kind, tuple(folds))


FOUND = CrossValidation(
    Resampling(2, 2), 40, 38,
    (make("knn", 0.8, 0.9, 0.85, 0.85), make("fc", 0.9, 0.9, 0.9, 0.9, kind="finetuned")),
)  # fmt: skip


def test_what_answers_what_is_said():
    said = " ".join(say_folds(FOUND, 12, ["all"]))
    for part in (
        "Cross-validation 2x2: all 40 labelled images were dealt into 2 folds, 2 times over.",
        "copies or groups, were in one fold: 38 in all.",
        "good training such a candidate is on data like this, with about 20 images to learn from",
        "The test split answers how good these very models are on these 12 test images.",
        "3 degrees of freedom",
        "The same accuracy on every fold: fc.",
        "Not cross-validated: all.",
    ):
        assert part in said
    alone = CrossValidation(Resampling(1, 5), 40, 40, (make("knn", 0.8, 0.9, 0.8, 0.9, 0.8),))
    said = " ".join(say_folds(alone))
    assert "dealt into 5 folds. Each" in said
    for part in ("test split", "belong together", "Not cross-validated", "The same accuracy"):
        assert part not in said


def test_the_table_has_both_intervals():
    # By hand: s² = 0.005 / 3, t = 3.1824 with 3 degrees of freedom; 1/4 + 1 and 1/4.
    first, second = render_folds(FOUND).splitlines()[2:4]
    assert first.split("  ")[0] == "knn"
    assert "85.0 %" in first
    assert "70.5 to 99.5" in first
    assert "78.5 to 91.5" in first
    assert "0.1 to 3.1" in first
    assert second.startswith("fc (fine-tuned)")
    assert describe_folds(FOUND)["best"] == "fc"


def test_a_pair_is_said_from_the_better_one():
    estimate = Estimate(-0.02, (-0.05, 0.01), (-0.03, -0.01))
    assert say_fold_pair(FoldPair("knn", "fc", estimate, -1.5, 0.1, 0.2)) == (
        "fc is 2.0 points above knn (-1.0 to 5.0); corrected t = 1.50, p = 0.2: not "
        "distinguishable."
    )
    flat = Estimate(0.0, (0.0, 0.0), (0.0, 0.0))
    assert say_fold_pair(FoldPair("a", "b", flat, 0.0, 1.0, 1.0)) == (
        "a and b are equally good on every fold."
    )


def test_few_images_are_told_of_cross_validation():
    assert say_few(300) == []
    (said,) = say_few(299)
    assert said.startswith("299 labelled images are few for one split")
    assert "--cv 5x5" in said
