from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps
from shared import TINY

from featx.config import KERAS, Preprocessing
from featx.data.images import load_image
from featx.errors import ModelError
from featx.extraction.extract import extract
from featx.extraction.views import extract_views, read_views, view_path
from featx.features.file import read_features
from featx.features.selection import stack_views
from featx.heads.fit import fit


def test_a_view_is_a_square_of_the_picture_and_of_its_content(tmp_path):
    # Red rises to the right, green downwards: a square's place can be read off its corners.
    x, y = np.meshgrid(np.arange(240), np.arange(160))
    Image.fromarray(np.stack([x, y, 0 * x], axis=2).astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    sides, mirrored = [], 0
    for view in range(1, 41):
        pixels = load_image(tmp_path / "a.png", replace(TINY, view=view)).astype(float)
        assert pixels.shape == (64, 64, 3)
        assert np.array_equal(pixels, load_image(tmp_path / "b.png", replace(TINY, view=view)))
        width = pixels[32, -1, 0] - pixels[32, 0, 0]
        height = pixels[-1, 32, 1] - pixels[0, 32, 1]
        assert abs(width) == pytest.approx(height, abs=4)  # a square
        sides.append(height)
        mirrored += width < 0
    assert 0.58 * 160 < min(sides) < max(sides) <= 161
    assert 8 < mirrored < 32
    assert len(set(sides)) > 20
    picture = ImageOps.mirror(Image.open(tmp_path / "a.png"))
    picture.save(tmp_path / "c.png")
    other = load_image(tmp_path / "c.png", replace(TINY, view=1))
    assert not np.array_equal(other, load_image(tmp_path / "a.png", replace(TINY, view=1)))


def test_only_a_view_is_in_what_made_it():
    assert "view" not in KERAS.to_dict()
    seen = KERAS.frame(view=3)
    assert Preprocessing.from_dict(seen.to_dict()) == seen
    assert Preprocessing.from_dict(KERAS.to_dict()) == KERAS
    published = KERAS.frame("linear-eval")
    assert (published.resize, published.crop, published.interpolation) == (224, 224, "bicubic")
    assert published.mean == KERAS.mean


@pytest.fixture
def made(stored, photos, tmp_path):
    out = tmp_path / "F.h5"
    done = extract(photos, split="first:4,2", output=out, batch_size=16)
    extract_views(photos, 2, split="first:4,2", output=out, batch_size=16)
    return read_features(done.features)


def test_views_are_of_train_alone_and_more_rows_for_a_head(made, photos, tmp_path):
    views = read_views(made, 2)
    train = made.hashes[made.splits == "train"]
    for number, view in enumerate(views, 1):
        assert set(view.hashes.tolist()) == set(train.tolist())
        assert view.provenance.preprocessing["view"] == number
    assert not np.allclose(views[0].X, views[1].X)
    X, origin = stack_views(made, views)
    assert X.shape == (24, 2048)
    assert np.array_equal(np.bincount(origin), np.full(12, 2))
    again = extract_views(photos, 2, split="first:4,2", output=tmp_path / "F.h5", batch_size=16)
    assert again == [view_path(tmp_path / "F.h5", k) for k in (1, 2)]
    plain, seen = fit(made, "ridge"), fit(made, "ridge", views=views)
    assert plain.recipe != seen.recipe
    assert not np.allclose(plain.arrays["coef"], seen.arrays["coef"])
    assert seen.outcome.scores["train"].total == 12  # evaluation never sees them
    assert seen.outcome.details["views"] == 2


def test_views_that_are_not_there_or_not_ours(made, stored, photos, tmp_path):
    with pytest.raises(ModelError, match=r"F\.view3\.h5 is not there: featx extract --views 3"):
        read_views(made, 3)
    view_path(tmp_path / "F.h5", 2).unlink()
    view_path(tmp_path / "F.h5", 1).rename(view_path(tmp_path / "F.h5", 2))
    extract(
        photos, split="first:4,2", output=view_path(tmp_path / "F.h5", 1), batch_size=16,
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"view1\.h5 is no view 1 of .*: another preprocessing"):
        read_views(made, 1)


def test_views_in_the_cache_are_found_by_what_made_them(stored, photos, tmp_path, caplog):
    options = {"split": "first:4,2", "batch_size": 16, "cache_dir": tmp_path / "cache"}
    held = read_features(extract(photos, **options).features)
    (path,) = extract_views(photos, 1, **options)
    assert [one.path for one in read_views(held, 1)] == [path]
    grown = read_features(extract(photos, **options | {"split": "first:6,1"}).features)
    assert len(read_views(grown, 1)) == 1
    assert "lacks 6 of 18 train images" in caplog.text
