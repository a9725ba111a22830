"""Files of boxes: what each kind says, and what is wrong with it, by its place."""

import json
import math

import pytest

from featx.config import DETECTION_CONFIDENCE
from featx.errors import DatasetError
from featx.sources import box_files
from featx.sources.box_files import BoxReader, Entry


def read(path, min_confidence=None, category=None):
    reader = BoxReader(path, min_confidence, category)
    return list(reader), dict(reader.passed_over)


def write(tmp_path, content):
    path = tmp_path / "boxes"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "shares", "numbers"),
    [
        ("path,x,y,w,h,label\na.jpg,1,2.5,3,4,cat\n", False, (1, 2.5, 3, 4)),
        ("\ufeffPath;X;Y;W;H;Label\r\na.jpg;1;2,5;3;4;cat\r\n", False, (1, 2.5, 3, 4)),
        ("sep=;\nlabel;h;w;y;x;path\ncat;4;3;2,5;1;a.jpg\n", False, (1, 2.5, 3, 4)),
        ("path\tx\ty\tw\th\tlabel\na.jpg\t1\t2.5\t3\t4\tcat\n", False, (1, 2.5, 3, 4)),
        ("path,rel_x,rel_y,rel_w,rel_h,label\na.jpg,.1,.2,.5,1,cat\n", True, (0.1, 0.2, 0.5, 1)),
    ],
)
def test_csv(tmp_path, text, shares, numbers):
    (one,), _ = read(write(tmp_path, text))
    line = 3 if text.startswith("sep") else 2
    assert one == Entry("a.jpg", numbers, shares, "cat", f"line {line}")


def test_what_a_kind_of_file_does_not_know_is_refused(tmp_path):
    table = write(tmp_path, "path,x,y,w,h\na.jpg,1,2,3,4\n")
    with pytest.raises(DatasetError, match="leave --min-confidence and --category out"):
        read(table, 0.5, "animal")
    with pytest.raises(DatasetError, match=r"COCO's, .*: leave --min-confidence out"):
        read(write(tmp_path, {"images": [], "annotations": []}), 0.5)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (",1,2,3,4", "no picture is named"),
        ("a.jpg,1,2,3", "expected four numbers, found 1, 2, 3, "),
        ("a.jpg,1,2,3,nan", "expected four numbers, found 1, 2, 3, nan"),
        ("a.jpg,1,2,inf,4", "expected four numbers, found 1, 2, inf, 4"),
        ("a.jpg,one,2,3,4", "expected four numbers, found one, 2, 3, 4"),
        ("a.jpg,1,2,-3,4", "a side is negative: 1, 2, -3, 4"),
        ("a.jpg,1,2,3,0", "of no area: 1, 2, 3, 0"),
        ("a.jpg,1,2,3,1e300", "larger than any picture: 1, 2, 3, 1e300"),
        # Decimal commas where commas part columns.
        (
            "a.jpg,1,5,2,5,3,5,4,5",
            "more cells than the first line names columns, such as '3': a cell that has what parts "
            "columns in it stands in quotes",
        ),
    ],
)
def test_a_line_that_is_none_is_named_and_the_rest_goes_on(tmp_path, row, fault):
    path = write(tmp_path, f"path,x,y,w,h\n{row}\nb.jpg,5,6,7,8\n")
    (bad, good), _ = read(path)
    assert (bad.place, bad.fault) == ("line 2", fault)
    assert good == Entry("b.jpg", (5, 6, 7, 8), False, "", "line 3")


def test_a_megadetectors_batch(tmp_path):
    told = {
        "info": {"detector_metadata": {"typical_detection_threshold": 0.5}},
        "detection_categories": {"1": "animal", "2": "person"},
        "images": [
            {"file": "a.jpg", "detections": [
                {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]},
                {"category": "2", "conf": 0.9, "bbox": [0, 0, 1, 1]},
                {"category": "1", "conf": 0.4, "bbox": [0, 0, 1, 1]},
            ]},
            {"file": "b.jpg", "detections": None, "failure": "Failure image access"},
            {"file": "c.jpg", "detections": []},
        ],
    }  # fmt: skip
    path = write(tmp_path, told)
    (one,), passed = read(path)
    assert one == Entry("a.jpg", (0.1, 0.2, 0.3, 0.4), True, "", "images[0].detections[0]")
    assert passed == {
        "detections of other categories (--category)": 1,
        "detections of less than 0.5 confidence (--min-confidence)": 1,
    }
    for category in ("person", "Person", "2"):
        (one,), _ = read(path, category=category)
        assert one.place == "images[0].detections[1]"
    assert len(read(path, 0.4, "all")[0]) == 3
    assert len(read(path, 0.0)[0]) == 2
    known = r"no category 'deer'.*animal \(1\), person \(2\), or all"
    with pytest.raises(DatasetError, match=known):
        read(path, category="deer")
    del told["info"], told["detection_categories"]
    told["images"][0]["detections"][2]["conf"] = DETECTION_CONFIDENCE
    assert len(read(write(tmp_path, told))[0]) == 2


def test_a_megadetectors_list_has_corners_in_pixels(tmp_path):
    told = [{"file": "a.jpg", "detections": [
        {"category": "animal", "confidence": 0.93, "bbox": [102.4, 88.0, 540.4, 470.5]},
        {"category": "person", "confidence": 0.93, "bbox": [1, 2, 3, 4]},
    ]}]  # fmt: skip
    (one,), _ = read(write(tmp_path, told))
    assert one.numbers == pytest.approx((102.4, 88.0, 438.0, 382.5))
    assert not one.shares


def test_coco(tmp_path):
    told = {
        "images": [{"id": 7, "file_name": "d/a.jpg", "width": 9, "height": 9}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3.5, 4]},
            {"image_id": 7, "category_id": 4, "bbox": [5, 6, 7, 8]},
            {"image_id": 7, "category_id": 4, "bbox": [5, 6, 7, 8], "iscrowd": 1},
            {"image_id": 7, "category_id": 4},
            {"image_id": 8, "category_id": 4, "bbox": [5, 6, 7, 8]},
        ],
    }
    path = write(tmp_path, told)
    found, passed = read(path)
    assert [(one.path, one.label, one.numbers) for one in found[:2]] == [
        ("d/a.jpg", "cat", (1, 2, 3.5, 4)),
        ("d/a.jpg", "dog", (5, 6, 7, 8)),
    ]
    assert (found[2].place, found[2].fault) == ("annotations[4]", "no picture is named")
    assert passed == {"annotations of crowds": 1, "annotations without a box": 1}
    assert [one.label for one in read(path, category="cat")[0]] == ["cat"]


@pytest.mark.parametrize(
    "bad", [None, 3, "x", [], {"bbox": 3}, {"bbox": [1, 2]}, {"bbox": [1, 2, True, 4]},
            {"bbox": ["a", {}, [], 4]}, {"bbox": [1, 2, 3, math.nan]}],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["batch", "list", "coco"])
def test_damage_inside_is_passed_over_or_named(tmp_path, bad, kind):
    good = {"category": "1", "category_id": 1, "conf": 1, "image_id": 1, "bbox": [0, 0, 1, 1]}
    bad = {**good, **bad} if isinstance(bad, dict) else bad
    found = [bad, good]
    told = {
        "batch": {"images": [None, {"file": "a.jpg", "detections": found}, 3]},
        "list": [None, {"file": "a.jpg", "detections": found}, 3],
        "coco": {"images": [{"id": 1, "file_name": "a.jpg"}, 5], "annotations": found},
    }[kind]
    entries, _ = read(write(tmp_path, told))
    assert [one.fault for one in entries].count("") == 1
    assert all(one.fault for one in entries[:-1])
    assert len(entries) == (2 if isinstance(bad, dict) else 1)


@pytest.mark.parametrize("said", [None, "high", math.nan, [], True])
def test_a_detection_of_no_confidence_is_named(tmp_path, said):
    found = [{"category": "1", "conf": conf, "bbox": [0, 0, 1, 1]} for conf in (said, 0.9, 0.1)]
    found[0] = {name: one for name, one in found[0].items() if one is not None}
    path = write(tmp_path, {"images": [{"file": "a.jpg", "detections": found}]})
    for least in (None, 0.0):
        entries, passed = read(path, least)
        assert [bool(one.fault) for one in entries] == [True, False, False][: 2 + (least == 0)]
        assert entries[0].fault.startswith("expected a confidence, found ")
        assert sum(passed.values()) == (least is None)


@pytest.mark.parametrize("typical", ["abc", math.nan, 2, [0.5]])
def test_a_threshold_that_is_none_asks_for_one(tmp_path, typical):
    told = {
        "info": {"detector_metadata": {"typical_detection_threshold": typical}},
        "images": [{"file": "a.jpg", "detections": [{"conf": 1, "category": "1"}]}],
    }
    path = write(tmp_path, told)
    with pytest.raises(DatasetError, match=r"typical_detection_threshold is .*--min-confidence"):
        read(path)
    assert len(read(path, 0.5)[0]) == 1


def test_a_category_of_coco_without_a_name_makes_no_class(tmp_path):
    told = {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": None}, {"id": 2}, {"id": 3, "name": 9}],
        "annotations": [
            {"image_id": 7.0, "bbox": [1, 2, 3, 4]} | ({} if one is None else {"category_id": one})
            for one in (1, 2, 3, 3.0, 4, None)
        ],
    }
    entries, _ = read(write(tmp_path, told))
    assert [one.label for one in entries] == ["", "", "9", "9", "", ""]
    assert [one.fault for one in entries] == [
        "its category 1 has no name", "its category 2 has no name", "", "",
        "its category 4 has no name", "",
    ]  # fmt: skip
    assert entries[0].place == "annotations[0]"
    # Where no category is named, a box has the class of its picture.
    del told["categories"]
    assert not any(one.fault for one in read(write(tmp_path, told))[0])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marked_encodings_are_read(tmp_path, encoding):
    path = tmp_path / "boxes.json"
    one = {"category": "animal", "confidence": 0.9, "bbox": [1, 2, 3, 4]}
    told = json.dumps([{"file": "é.jpg", "detections": [one]}], ensure_ascii=False)
    path.write_text(told, encoding)
    assert [(one.path, one.fault) for one in read(path)[0]] == [("é.jpg", "")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9}], "a list of COCO's results"),
        ("path,label\na.jpg,cat\n", "must name the columns path,x,y,w,h"),
        ("", "must name the columns path,x,y,w,h"),
        ('path,x,y,w,h\n"a.jpg,1,2,3,4\n', "is not a CSV file in UTF-8"),
        ("{", "is not JSON in UTF-8"),
        ("[" * 100_000, "is not JSON in UTF-8"),
        ({"boxes": []}, "holds no boxes: expected"),
        ({"images": 3}, "holds no boxes: expected"),
    ],
)
def test_what_is_no_file_of_boxes(tmp_path, content, said):
    with pytest.raises(DatasetError, match=said):
        read(write(tmp_path, content))


def test_a_file_that_is_not_there_or_too_large(tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match=r"gone.csv cannot be read: no such file"):
        read(tmp_path / "gone.csv")
    with pytest.raises(DatasetError, match="cannot be read"):
        read(tmp_path)
    monkeypatch.setattr(box_files, "BOX_FILE_BYTES", 10)
    with pytest.raises(DatasetError, match=r"18 bytes of JSON.*a CSV file .* is read line by line"):
        read(write(tmp_path, '{"images": [1,  2]}'[:18]))
    rows = "".join(f"{i}.jpg,1,2,3,4\n" for i in range(20))
    assert len(read(write(tmp_path, "path,x,y,w,h\n" + rows))[0]) == 20


@pytest.mark.parametrize("kind", ["images", "categories"])
def test_an_id_of_two_things_is_refused(tmp_path, kind):
    told = {
        "images": [{"id": 7, "file_name": "a.jpg"}],
        "categories": [{"id": 7, "name": "a"}],
        "annotations": [{"image_id": 7, "category_id": 7, "bbox": [1, 2, 3, 4]}],
    }
    told[kind] *= 2
    assert read(write(tmp_path, told))[0][0].label == "a"
    told[kind][1] = {"id": "7", "file_name": "b.jpg", "name": "b"}
    with pytest.raises(DatasetError, match=f"two of its {kind} have the id 7, and nothing tells"):
        read(write(tmp_path, told))
