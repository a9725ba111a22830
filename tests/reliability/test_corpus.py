"""Every image has a fate: the table of odd_images.py, against one real run."""

import json
import os

import numpy as np
import pytest
from odd_images import CORPUS, PNG, write_corpus
from PIL import Image, ImageFile
from shared import TINY, CountingEngine

from featx.config import DECODES, MAX_PIXELS
from featx.data.hashing import hash_images
from featx.data.images import load_image, open_rgb
from featx.decoding.picture import pixel_limit
from featx.errors import DatasetError, ImageError
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.features.file import read_features
from featx.sources.reading import read_inventory

# Pillow warns of EXIF that it cannot read, without a name, and decodes the picture.
pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("odd") / "images")


def test_the_table_is_long_enough():
    bad = [name for name, (_, fate) in CORPUS.items() if isinstance(fate, str)]
    assert len(bad) >= 30
    assert len(CORPUS) - len(bad) >= 40


@pytest.mark.parametrize("name", CORPUS)
def test_each_is_decoded_as_documented_or_refused_with_its_kind(corpus, name):
    _, fate = CORPUS[name]
    if isinstance(fate, str):
        with pytest.raises(ImageError) as caught:
            open_rgb(corpus / name)
        assert caught.value.kind == fate
        assert caught.value.reason.isprintable()
        assert len(caught.value.reason) < 250
    else:
        image = open_rgb(corpus / name)
        assert image.mode == "RGB"
        assert np.abs(np.array(image.getpixel((0, 0))) - fate).max() <= 2
    assert Image.MAX_IMAGE_PIXELS == 89_478_485  # Pillow's own limit is as it was


@pytest.mark.parametrize("name", CORPUS)
def test_each_has_the_same_fate_by_every_decoder(corpus, name):
    fates = []
    for decode in DECODES:
        try:
            fates.append(load_image(corpus / name, TINY, decode=decode).astype(int))
        except ImageError as error:
            fates.append((error.kind, error.reason))
    for one in fates[1:]:
        assert type(one) is type(fates[0])
        assert one == fates[0] if isinstance(one, tuple) else np.abs(one - fates[0]).max() <= 1


def test_one_run_over_all_of_them(corpus, provenance, tmp_path):
    inventory = hash_images(read_inventory(corpus), "skip")
    engine = CountingEngine()
    options = {"output": tmp_path / "F.h5", "cache_dir": tmp_path, "num_workers": 2}
    done = extract_inventory(inventory, engine, provenance, Request(data=corpus, **options))
    found = read_features(tmp_path / "F.h5")
    listed = {one.path: one.kind for one in done.skipped_files}
    assert listed == {n: fate for n, (_, fate) in CORPUS.items() if isinstance(fate, str)}
    assert set(found.paths) == set(CORPUS) - set(listed)
    assert engine.images == len(set(found.hashes))
    assert found.skipped == done.skipped_files


def test_names_reach_no_terminal_unescaped(corpus, run, stored, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for name in CORPUS:
        if len(name) < 200 and not name.startswith("-"):
            (folder / name).write_bytes(PNG if len(name) % 2 else name.encode())
    done = run("extract", folder, "--cache-dir", tmp_path / "c", "-v")
    assert done.exit_code == 3
    shown = run("info", next((tmp_path / "c").glob("*.h5")))
    for text in (done.stdout, done.stderr, shown.stdout, shown.stderr):
        assert all(line.isprintable() for line in text.split("\n"))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "\x1b[31mred.png").write_text("x")
    (tmp_path / "one" / "good.png").write_bytes(PNG)
    one = run("extract", tmp_path / "one", "--cache-dir", tmp_path / "c", "-q")
    assert one.stderr.startswith("skipped \\x1b[31mred.png: not an image\n")
    as_json = run("extract", folder, "--cache-dir", tmp_path / "c", "--json")
    assert as_json.stdout.rstrip("\n").isprintable()
    assert json.loads(as_json.stdout)["skipped"] > 10


def test_an_image_without_permission_is_listed(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)  # root may read everything
    try:
        with pytest.raises(ImageError, match="permission denied") as caught:
            open_rgb(path)
    finally:
        os.seteuid(user)
    assert caught.value.kind == "unreadable"


def test_truncated_files_fail_whatever_the_program_has_set(corpus, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageError) as caught:
        open_rgb(corpus / "cut.jpg")
    assert caught.value.kind == "damaged"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


@pytest.mark.parametrize("words", ["out of memory", "decoder libtiff not available"])
def test_what_the_machine_lacks_is_no_fault_of_the_file(corpus, monkeypatch, words):
    def fail(_):
        raise OSError(words)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(ImageError, match=words) as caught:
        open_rgb(corpus / "plain.tif")
    assert caught.value.kind == "unreadable"


def test_the_limit_of_pixels_can_be_moved(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(PNG)  # 40 x 30
    assert pixel_limit() == MAX_PIXELS
    monkeypatch.setenv("FEATX_MAX_PIXELS", "1200")
    open_rgb(tmp_path / "x.png")
    monkeypatch.setenv("FEATX_MAX_PIXELS", "1199")
    with pytest.raises(ImageError, match=r"40 x 30 pixels, more than 1199 \(FEATX_MAX_PIXELS rais"):
        open_rgb(tmp_path / "x.png")
    (tmp_path / "x.png").write_bytes(PNG + bytes(10_000))
    with pytest.raises(ImageError, match=r"10.1 kB, more than a picture of 1199 pixels") as caught:
        open_rgb(tmp_path / "x.png")
    assert caught.value.kind == "too-large"
    for bad in ("many", "", "0", " 5", "-1", "9" * 5000, "²"):
        monkeypatch.setenv("FEATX_MAX_PIXELS", bad)
        with pytest.raises(DatasetError, match=r"FEATX_MAX_PIXELS is '.*'; expected a whole num"):
            open_rgb(tmp_path / "x.png")
