"""Charts of test images: cells, the worst classes first, coverage, and the map."""

import pytest

from featx.drawing.class_charts import plot_classes, plot_confusion, plot_coverage, plot_map


def values(chart):
    return chart.spec["datasets"]["values"]


def test_a_cell_is_its_share_of_its_row():
    chart = plot_confusion("logreg", [[3, 1], [0, 0]], ["a", "b"])
    assert values(chart) == [
        {"truth": "a", "said": "a", "count": 3, "share": 0.75, "right": True},
        {"truth": "a", "said": "b", "count": 1, "share": 0.25, "right": False},
    ]
    assert chart.rows == [("a", "3", "1"), ("b", "0", "0")]


def make_class(correct, total):
    return {"correct": correct, "total": total, "ci95": [0.1, 0.9] if total else None}


def test_the_worst_class_comes_first_and_one_without_images_has_no_bar():
    chart = plot_classes("x", [make_class(9, 10), make_class(0, 0), make_class(1, 2)], "abc")
    assert [value["name"] for value in values(chart)] == ["c", "a"]
    assert chart.rows[0] == ("c", "1/2", "50.0", "10.0", "90.0")
    assert chart.title == ""


def test_of_many_classes_the_lowest_are_drawn_and_all_are_listed():
    made = [make_class(k, 50) for k in range(50)]
    chart = plot_classes("x", made, [f"c{k}" for k in range(50)])
    assert len(values(chart)) == 40
    assert len(chart.rows) == 50
    assert chart.title == "the 40 lowest of 50 classes"


def test_coverage_has_a_line_for_each_score():
    curves = [
        {"by": by, "points": [{"coverage": 0.5, "accuracy": a}, {"coverage": 1.0, "accuracy": 0.9}]}
        for by, a in (("vim", 1.0), ("probability", 0.95))
    ]
    chart = plot_coverage(curves)
    assert chart.spec["encoding"]["color"]["scale"]["domain"] == ["vim", "probability"]
    assert chart.rows[:2] == [("vim", "50.0", "100.0"), ("vim", "100.0", "90.0")]
    assert values(chart)[2] == {"by": "probability", "coverage": 50.0, "accuracy": 95.0}
    assert "the strangest by vim and by probability left out first" in chart.label


def make_point(k, said="a", **more):
    return {"x": k, "y": -k, "path": f"{k}.jpg", "truth": "a", "predicted": said, **more}


@pytest.mark.parametrize(("pictured", "layers"), [(0, 1), (1, 2), (2, 1)])
def test_a_map_has_a_layer_for_points_with_pictures_and_one_for_those_without(pictured, layers):
    points = [make_point(k, **({"picture": "data:,"} if k < pictured else {})) for k in range(2)]
    assert len(plot_map(points, ["a", "b"]).spec["layer"]) == layers


def test_a_map_counts_what_is_wrong():
    chart = plot_map([make_point(0), make_point(1, said="b")], ["a", "b"])
    assert chart.label == "Map of the features of 2 test images, 1 of them predicted wrongly"
    assert [value["answer"] for value in values(chart)] == ["right", "wrong"]
    assert chart.rows[1] == ("1.jpg", "a", "b", "1", "-1")


def test_with_many_classes_colour_says_right_or_wrong():
    few = plot_map([make_point(0)], ["a", "b"])
    many = plot_map([make_point(0)], [f"c{k}" for k in range(11)])
    colour = [chart.spec["layer"][0]["encoding"]["color"]["field"] for chart in (few, many)]
    assert colour == ["truth", "answer"]
