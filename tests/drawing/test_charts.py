"""Charts as specifications: their numbers, their colours, and the table beside each."""

import pytest

from featx.drawing.charts import (
    COLOURS,
    map_names,
    plot_epochs,
    plot_learning,
    plot_reliability,
    plot_seconds,
    say_number,
)


def values(chart):
    return chart.spec["datasets"]["values"]


def make_history(n=2):
    return [
        {
            "epoch": k + 1,
            "loss": {"train": 1.0 / (k + 1), "val": 0.5, "test": None},
            "accuracy": {"train": 0.5 + 0.1 * k, "val": 0.9, "test": None},
        }
        for k in range(n)
    ]


def test_one_scale_for_all_curves_and_no_curve_for_what_is_not_there():
    found = plot_epochs(
        [
            {"name": "a", "history": make_history(), "best_epoch": 2},
            {"name": "b", "history": make_history(4), "best_epoch": None},
            {"name": "c", "history": []},
        ],
        "loss",
    )
    assert [chart.title for chart in found] == ["a", "b"]
    assert {value["split"] for value in values(found[0])} == {"train", "val"}
    assert found[0].head == ("epoch", "train", "val")
    assert found[0].rows == [("1", "1.0000", "0.5000"), ("2", "0.5000", "0.5000")]
    assert found[0].label == "a: loss (nats) of train, val over 2 epochs; epoch 2 was kept"
    assert "kept" not in found[1].label
    scales = [
        layer["encoding"]["y"]["scale"]["domain"]
        for chart in found for layer in chart.spec["layer"] if layer["mark"]["type"] == "line"
    ]  # fmt: skip
    assert scales == [[0, 1.0], [0, 1.0]]


def test_accuracy_is_in_per_cent():
    (chart,) = plot_epochs([{"name": "a", "history": make_history(1)}], "accuracy")
    assert [value["value"] for value in values(chart)] == [50.0, 90.0]
    assert chart.rows == [("1", "50.0", "90.0")]


def test_learning_curves_say_which_point_is_all():
    point = {"name": "logreg", "per_class": 5, "images": 1500, "mean": 0.5, "low": 0.4, "high": 0.6}
    chart = plot_learning([point, {**point, "per_class": 20, "all": True}])
    assert [row[:3] for row in chart.rows] == [
        ("logreg", "5", "1,500"), ("logreg", "20 (all)", "1,500")
    ]  # fmt: skip
    assert values(chart)[0]["mean"] == pytest.approx(50)


def test_without_bins_there_is_no_reliability():
    assert plot_reliability({"name": "a"}) is None
    assert plot_reliability({"name": "a", "evaluation": {"val": None}}) is None


def test_seconds_that_are_not_known_have_no_bar():
    assert plot_seconds([{"name": "a", "seconds": {"extract": None, "fit": None}}]) is None
    chart = plot_seconds(
        [
            {"name": "a", "seconds": {"extract": 10.0, "decode": 2.0, "network": 7.0, "fit": 0.5}},
            {"name": "b", "seconds": {"extract": None, "fit": 3.0}},
        ]
    )
    assert chart.head == ("candidate", "decode", "network", "rest", "fit")
    assert chart.rows == [("a", "2.00", "7.00", "1.00", "0.50"), ("b", "–", "–", "–", "3.00")]


def test_colours_go_with_names_or_in_turn():
    assert map_names(["test", "val"], COLOURS).range == [COLOURS["test"], COLOURS["val"]]
    assert map_names(["x", "y", "z"], ["red", "blue"]).range == ["red", "blue", "red"]


def test_a_chart_asks_for_nothing_from_elsewhere():
    (chart,) = plot_epochs([{"name": "a", "history": make_history()}], "loss")
    assert "$schema" not in chart.spec
    assert chart.spec["width"] == "container"
    assert chart.spec["description"] == chart.label


def test_a_missing_number_is_a_dash():
    assert (say_number(None, 2), say_number(1.005, 1), say_number(2.0, 0)) == ("–", "1.0", "2")
