"""Boxes in pictures: their names, their hashes, and that they are what is cut out and saved."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from featx.config import DECODES, Preprocessing
from featx.data.images import load_image, open_rgb
from featx.decoding import crops
from featx.decoding.crops import (
    Box,
    find_picture,
    hash_box,
    hash_image,
    measure_picture,
    name_box,
    split_name,
    split_path,
)
from featx.decoding.pixel_format import Reading, Seen
from featx.errors import ImageError

SMALL = Preprocessing(40, 32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
SIZE = (150, 90)  # of the pictures as they are stored


def draw(mode="RGB", size=SIZE):
    """A smooth picture with grain, so that a pixel beside another is another one."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[1], : size[0]]
    planes = [x + y, 2 * x, 255 - y, 128 + 100 * np.sin(x / 9)][: {"L": 1, "RGB": 3}.get(mode, 4)]
    values = np.stack(planes, axis=2) % 256 + rng.integers(0, 20, (*size[::-1], len(planes)))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8).squeeze(), mode)


def lay_on_white(image):
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def save_pictures(folder):
    """Files of several kinds, each with what Pillow itself makes of it: upright RGB of 8 bits."""
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = np.asarray(draw("L")).astype(np.uint16) << 8 | 77
    kinds = {
        "usual.jpg": (draw(), {"quality": 90}),
        "grey.jpg": (draw("L"), {"quality": 90, "progressive": True}),
        "turned.jpg": (draw(), {"quality": 95, "exif": turned}),
        "turned.tif": (draw(), {"exif": turned}),
        "alpha.png": (draw("RGBA"), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "picture.webp": (draw(), {"lossless": True, "exif": turned}),
    }
    for name, (image, options) in kinds.items():
        image.save(folder / name, **options)
        with Image.open(folder / name) as opened:
            upright = ImageOps.exif_transpose(opened)
            if name == "deep.png":
                upright = Image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
            upright = lay_on_white(upright) if upright.mode == "RGBA" else upright
            yield folder / name, upright.convert("RGB")


BOXES = [Box(7, 11, 60, 44), Box(0, 0, 1, 1), Box(3, 2, 71, 8), Box(80, 20, 10, 70)]


def test_a_box_has_one_name():
    name = name_box("a/b.jpg", Box(120, 40, 300, 200))
    assert name == "a/b.jpg/[120,40,300,200]"
    assert split_name(name) == ("a/b.jpg", Box(120, 40, 300, 200))
    assert split_path(Path("r") / name) == (Path("r/a/b.jpg"), Box(120, 40, 300, 200))
    assert find_picture(Path(name)) == Path("a/b.jpg")


@pytest.mark.parametrize(
    "name",
    ["b.jpg", "b.jpg/[1,2,3]", "b.jpg/[01,2,3,4]", "b.jpg/[1,2,0,4]", "b.jpg/[1, 2,3,4]",
     "[1,2,3,4]", "b.jpg/[-1,2,3,4]", "b.jpg/[1,2,3,4].png", "b.jpg[1,2,3,4]"],
)  # fmt: skip
def test_what_is_no_box_is_a_file(name):
    assert split_name(name) == (name, None)
    assert find_picture(Path(name)) == Path(name)


def test_the_hash_is_of_the_file_and_the_rectangle(tmp_path):
    path = tmp_path / "a.png"
    draw().save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    said = hashlib.sha256(f"featx box [1,2,3,4] of {digest}\n".encode()).hexdigest()
    assert hash_image(path) == digest
    assert hash_image(path / "[1,2,3,4]") == said == hash_box(digest, Box(1, 2, 3, 4))
    with pytest.raises(FileNotFoundError):
        hash_image(tmp_path / "gone.png" / "[1,2,3,4]")


@pytest.mark.parametrize("decode", DECODES)
def test_a_box_is_what_is_cut_out_and_saved(tmp_path, decode):
    for path, whole in save_pictures(tmp_path):
        assert measure_picture(path) == whole.size
        for box in BOXES:
            if box.left + box.width > whole.width or box.top + box.height > whole.height:
                continue
            edges = (box.left, box.top, box.left + box.width, box.top + box.height)
            whole.crop(edges).save(tmp_path / "cut.png")
            place = path / str(box)
            assert np.array_equal(np.asarray(open_rgb(place)), np.asarray(whole.crop(edges)))
            found = load_image(place, SMALL, hash_image(place), decode)
            assert np.array_equal(found, load_image(tmp_path / "cut.png", SMALL, decode=decode)), (
                path.name,
                box,
            )


def test_a_large_photograph_is_not_reduced_for_a_small_box(tmp_path):
    draw(size=(1600, 1200)).save(tmp_path / "a.jpg", quality=90)
    box = Box(500, 300, 50, 60)
    with Image.open(tmp_path / "a.jpg") as opened:
        opened.crop((500, 300, 550, 360)).save(tmp_path / "cut.png")
    found = load_image(tmp_path / "a.jpg" / str(box), SMALL, decode="fast")
    assert np.array_equal(found, load_image(tmp_path / "cut.png", SMALL, decode="fast"))


def test_a_view_of_a_box_is_its_own(tmp_path):
    draw().save(tmp_path / "a.png")
    places = [tmp_path / "a.png" / str(box) for box in (BOXES[0], Box(8, 11, 60, 44))]
    view = SMALL.frame(view=1)
    once, again, other = (load_image(one, view) for one in (places[0], places[0], places[1]))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_what_is_wrong_is_the_boxs(tmp_path):
    draw().save(tmp_path / "a.png")
    place = tmp_path / "a.png" / "[100,80,51,5]"
    with pytest.raises(ImageError, match=r"reaches out of the picture, 150 x 90 pixels") as caught:
        open_rgb(place)
    assert (caught.value.path, caught.value.kind) == (str(place), "bad-box")
    with pytest.raises(ImageError, match="changed while it was being read"):
        open_rgb(tmp_path / "a.png" / "[1,2,3,4]", hash_image(tmp_path / "a.png" / "[1,2,3,5]"))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    for whole, kind in (("b.png", "damaged"), ("gone.png", "unreadable")):
        with pytest.raises(ImageError) as caught:
            open_rgb(tmp_path / whole / "[1,2,3,4]")
        assert caught.value.kind == kind
        assert caught.value.path.endswith("/[1,2,3,4]")
    with pytest.raises(ImageError, match="is a directory"):
        open_rgb(tmp_path / "[1,2,3,4]")
    with pytest.raises(ImageError, match="no such file"):
        measure_picture(tmp_path / "gone.png")


def test_changed_bytes_are_decoded_anew(tmp_path):
    draw().save(tmp_path / "a.png")
    before = np.asarray(open_rgb(tmp_path / "a.png/[0,0,9,9]"))
    ImageOps.invert(draw()).save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(open_rgb(tmp_path / "a.png/[0,0,9,9]")), 255 - before)


def test_who_asks_anew_is_told_of_the_samples_anew(tmp_path):
    Image.fromarray(np.full((20, 20), 1000, np.uint16)).save(tmp_path / "a.png")
    for _ in range(2):
        seen = Seen()
        open_rgb(tmp_path / "a.png/[0,0,9,9]", reading=Reading(seen=seen))
        assert (seen.deep, seen.highest) == (1, 1000)


def count_decodes(monkeypatch):
    """Names of the pictures that were decoded for boxes, as they come."""
    decoded, real = [], crops.decode_sooner

    def decode(name, *rest):
        decoded.append(Path(name).name)
        return real(name, *rest)

    monkeypatch.setattr(crops, "decode_sooner", decode)
    return decoded


def test_a_picture_is_decoded_once_by_threads_that_wait_for_each_other(tmp_path, monkeypatch):
    for i in range(4):
        draw().save(tmp_path / f"{i}.jpg", quality=80 + i)
    decoded = count_decodes(monkeypatch)
    monkeypatch.setattr(crops, "_in_hand", crops._InHand())
    together = threading.Barrier(3)

    def load(place):
        together.wait(10)  # three boxes at a time, all at once
        return load_image(place, SMALL)

    places = [tmp_path / f"{i}.jpg" / f"[{k},0,50,50]" for i in range(4) for k in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(load, places))
    assert sorted(decoded) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert len({one.tobytes() for one in found}) == 12


def test_few_pictures_are_kept(tmp_path, monkeypatch):
    for i in range(3):
        draw().save(tmp_path / f"{i}.jpg", quality=80 + i)
    decoded = count_decodes(monkeypatch)
    hand = crops._InHand()
    monkeypatch.setattr(crops, "_in_hand", hand)
    monkeypatch.setattr(crops, "_KEPT_BYTES", 2 * 3 * SIZE[0] * SIZE[1])
    for i in (0, 1, 2, 1, 0, 0):
        load_image(tmp_path / f"{i}.jpg" / "[0,0,50,50]", SMALL)
    assert decoded == ["0.jpg", "1.jpg", "2.jpg", "0.jpg"]
    assert len(hand._pictures) == 2


def test_a_picture_that_failed_is_tried_again(tmp_path):
    whole = draw()
    whole.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:-2000])
    for _ in range(2):
        with pytest.raises(ImageError):
            open_rgb(tmp_path / "a.png/[0,0,9,9]")
    (tmp_path / "a.png").write_bytes(data)
    assert open_rgb(tmp_path / "a.png/[0,0,9,9]").size == (9, 9)
