"""A few photographs, what an undisturbed extraction makes of them, and places that are hard."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path

import pytest
from interrupted import BESIDE, IMAGES, extract_once
from shared import CLASSES, draw_photo


@pytest.fixture
def root(tmp_path):
    """Eighteen photographs, one of them twice and one that is none."""
    folder = tmp_path / "photos"
    for kind, name in enumerate(CLASSES):
        for i in range(5):
            draw_photo(folder / name / f"{i}.png", kind, i, size=(40, 40))
    draw_photo(folder / "cat" / "5.png", 0, 0, size=(40, 40))
    draw_photo(folder / "dog" / "5.png", 1, 5, size=(40, 40))
    (folder / "owl" / "5.png").write_text("no image")
    return folder


@pytest.fixture
def clean(root, tmp_path):
    """The bytes that an uninterrupted run writes."""
    folder = tmp_path / "clean"
    done = extract_once(root, folder / "F.h5")
    assert (done.images, done.extracted, len(done.skipped_files)) == (IMAGES - 1, IMAGES - 1, 1)
    assert {path.name for path in folder.iterdir()} == BESIDE
    return done.features.read_bytes()


@pytest.fixture(scope="module")
def processes():
    """Processes that begin with the library loaded and without any threads of the tests'."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["interrupted"])
    with pytest.MonkeyPatch.context() as patch:
        # What a process begins with, and what it finds it by: before Python 3.13 the server does
        # not take over sys.path, and each process would import all of it again.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()
    return context


@pytest.fixture
def memory(tmp_path):
    """A folder in memory, where there is one: a kill is a kill, and nothing waits for a disk."""
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB, where one may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(*words):
        return subprocess.run(["mount", *words, str(folder)], capture_output=True, check=False)

    try:
        done = mount("-t", "tmpfs", "-o", "size=256k", "tmpfs")
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("file systems may not be mounted here")
    yield folder, mount
    subprocess.run(["umount", str(folder)], check=True)
