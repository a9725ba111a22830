"""Maps as pictures and as a page: one scale for all, colours for every reader, names as text."""

import re

import numpy as np
import pytest
from made_results import HOSTILE
from PIL import Image

from featx.data.dataset import Skipped
from featx.deployment.predict import Prediction
from featx.drawing.overlay import COLOURS, colour_values, draw_overlay, enlarge_map
from featx.errors import OutputExistsError
from featx.explaining.explain import Explanation
from featx.explaining.shortcuts import EvidenceTally
from featx.report.explain import check_map_folder, name_picture, record_explanations


def explanation(path, values, label="a"):
    maps = np.stack([np.array(values, dtype=float), np.zeros((2, 2))])
    return Explanation(
        Prediction(path, label, 0.75, ((label, 0.75),)), (label, "b"), label, None, maps,
        np.array([0.5, 0.0]), np.full((64, 64, 3), 90, np.uint8),
    )  # fmt: skip


def lightness(colours):
    """CIE L*, from linear light of sRGB."""
    share = np.asarray(colours) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ (0.2126, 0.7152, 0.0722)) - 16


def test_the_scale_is_read_in_grey():
    steps = np.diff(lightness(COLOURS))
    assert steps.min() > 8
    assert steps.max() < 12.5
    assert np.ptp(np.array(COLOURS)[:, :2] @ (1, -1)) <= 60  # red and green go together


def test_colours_are_of_numbers():
    found = colour_values(np.array([-3.0, -2.0, 0.0, 1.0, 2.0]), 2.0)
    assert found.tolist() == [list(COLOURS[i]) for i in (0, 0, 4, 6, 8)]
    assert colour_values(np.zeros(1), 0.0).tolist() == [list(COLOURS[4])]
    large = enlarge_map(np.array([[0.0, 1.0], [0.0, -1.0]]), 64)
    assert (large.min(), large.max()) == (-1.0, 1.0)
    assert large[0, 63] == 1.0
    assert large[63, 63] == -1.0
    assert np.allclose(large[:, 0], 0)


def test_a_pictures_parts_are_the_square_the_map_and_the_scale():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    drawn = np.asarray(draw_overlay(pixels, np.array([[4.0, 0], [0, -4.0]]), 4.0))
    assert np.array_equal(drawn[:, :64], pixels)
    over = drawn[:, 72:136]
    assert lightness(over[:16, :16]).mean() > lightness(over[-16:, -16:]).mean() + 20
    assert drawn[0, 144].tolist() == list(COLOURS[8])
    assert drawn[63, 144].tolist() == list(COLOURS[0])


def test_one_scale_is_for_all_and_all_is_there_at_the_end(tmp_path):
    found = [
        explanation("x/a b.jpg", [[1, 0], [0, 0]]),
        Skipped("bad.jpg", "", "empty", "empty file"),
        explanation("x/é.jpg", [[0, 0], [0, -8.25]]),
    ]
    folder = tmp_path / "maps"
    passing = record_explanations(found, folder, "m", EvidenceTally())
    assert next(passing) is found[0]
    assert not list(folder.glob("*.*"))
    assert list(passing) == found[1:]
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["00001-a_b.png", "00002-_.png", "index.html"]
    first, second = (np.asarray(Image.open(folder / name)) for name in names[:2])
    grey = second[0, 72]  # a map of 0 there
    assert np.abs(first[0, 72].astype(int) - grey).max() < 40  # 1 of 8.25 is near 0
    page = (folder / "index.html").read_text("utf-8")
    assert "-8.25, against" in page
    assert "for, +8.25" in page
    assert "logit 0.75" in page
    assert "bad.jpg: empty file" in page
    assert page.count("data:image/jpeg;base64,") == 2


def test_names_are_text_and_nothing_is_loaded_from_elsewhere(tmp_path):
    name = " ".join(HOSTILE)
    list(
        record_explanations(
            [explanation(name, np.eye(2), name)], tmp_path / "m", name, EvidenceTally()
        )
    )
    page = (tmp_path / "m" / "index.html").read_text("utf-8")
    assert "<script" not in page
    assert "default-src &#39;none&#39;; img-src data:" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    (picture,) = (tmp_path / "m").glob("*.png")
    assert re.fullmatch(r"00001-[\w-]*\.png", picture.name, re.ASCII)
    assert len(name_picture(0, "a" * 300)) < 80


def test_an_error_leaves_no_folder(tmp_path):
    def fail():
        yield explanation("a.jpg", np.eye(2))
        raise ValueError("no more")

    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "new", tmp_path / "mine"):
        with pytest.raises(ValueError, match="no more"):
            list(record_explanations(fail(), folder, "m", EvidenceTally()))
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputExistsError, match="a folder with files"):
        check_map_folder(tmp_path)
    with pytest.raises(OutputExistsError, match="no folder"):
        check_map_folder(tmp_path / "mine.txt", overwrite=True)
    check_map_folder(tmp_path, overwrite=True)
    check_map_folder(tmp_path / "new")


def test_pictures_of_the_page_before_go_with_it(tmp_path):
    folder = tmp_path / "m"
    two = [explanation("x/a.jpg", np.eye(2)), explanation("x/b.jpg", np.eye(2))]
    list(record_explanations(two, folder, "m", EvidenceTally()))
    for mine in ("00009-mine.jpg", "mine-00001.png"):
        (folder / mine).touch()
    list(record_explanations(two[1:], folder, "m", EvidenceTally()))
    left = {"00001-b.png", "00009-mine.jpg", "index.html", "mine-00001.png"}
    assert {path.name for path in folder.iterdir()} == left
    (folder / "index.html").write_text("another page")
    list(record_explanations(two[:1], folder, "m", EvidenceTally()))
    assert (folder / "00001-b.png").exists()  # whose it is nobody can tell
