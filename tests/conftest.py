"""Every test's surroundings, and what is made for many of them: photographs, weights, features."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path

import platformdirs
import pytest
import torchvision
from click.testing import CliRunner, Result
from made_features import thin_grids
from shared import (
    CLASSES,
    PER_CLASS,
    PROVENANCE,
    TINY,
    CountingEngine,
    copy_modules,
    draw_photo,
    empty_network,
    make_state,
)

from featx.extraction.extract import extract
from featx.machine import count_cores
from featx.network.backbone import empty_state
from featx.network.catalogue import KNOWN, KnownWeights
from featx.network.weights import Weights, hash_state, load_weights, save_weights
from featx.sources.samples import CALTECH_CLASSES

# Before any test imports them: ONNX Runtime's threads look up hosts otherwise, and OpenVINO forks.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)

# Where real weights would be, found before the tests look away from it.
REAL_WEIGHTS = Path(
    os.environ.get("FEATX_WEIGHTS")
    or platformdirs.user_cache_path("featx", appauthor=False) / "weights"
)
# The issue's own numbers, not the module's.
CALTECH_COUNTS = (102, 110, 84, 212, 119, 109, 101, 81, 95, 96)


def pytest_make_parametrize_id(config, val, argname):
    """A file's bytes make no name: it would be long, and another in each worker where they vary."""
    return argname if isinstance(val, bytes) and len(val) > 40 else None


def pytest_addoption(parser):
    parser.addoption(
        "--full-width",
        action="store_true",
        help="ResNet50 itself in every test",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """`-n auto` is a worker for every core that we may use."""
    return count_cores()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs):
    """Workers, and the processes that they start, share the cores instead of fighting for them."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, count_cores() // len(specs))))


@pytest.fixture(autouse=True)
def empty_home(tmp_path, monkeypatch):
    """Run from an empty folder, with no weights and no cache of the user's in sight."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("FEATX_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("FEATX_CACHE", raising=False)
    yield here
    # A command turns the library's notes on for its whole process; the next test is another one.
    log = logging.getLogger("featx")
    log.setLevel(logging.NOTSET)
    log.handlers.clear()


@pytest.fixture(autouse=True)
def torch_alone(monkeypatch):
    """Leave OpenVINO to its own tests: compiling the network takes seconds each time."""
    monkeypatch.setattr("featx.network.engine_choice.has_openvino", lambda: False)
    monkeypatch.setattr("featx.doctor.has_openvino", lambda: False)


@pytest.fixture(autouse=True)
def short_grids(monkeypatch):
    """Have heads choose among few values of C: each is a fit a fold. Their own tests have all."""
    thin_grids(monkeypatch, slice(None, None, 9), ["logreg"])
    thin_grids(monkeypatch, slice(None, None, 3), ["svm"])


@pytest.fixture(scope="session")
def drawn_photos(tmp_path_factory):
    """The originals, which no test may touch."""
    root = tmp_path_factory.mktemp("drawn") / "photos"
    for kind, name in enumerate(CLASSES):
        for i in range(PER_CLASS):
            draw_photo(root / name / f"{i:02d}.{'png' if i % 2 else 'jpg'}", kind, i)
    return root


@pytest.fixture
def photos(drawn_photos, tmp_path):
    """DIR/<class>/*: three classes of nine pictures, JPEG and PNG."""
    return shutil.copytree(drawn_photos, tmp_path / "photos", copy_function=shutil.copyfile)


@pytest.fixture
def caltech(tmp_path):
    """Caltech-256's names and counts, with its strays, in empty files."""
    root = tmp_path / "256_ObjectCategories"
    for name, n in zip(CALTECH_CLASSES, CALTECH_COUNTS, strict=True):
        (root / name).mkdir(parents=True)
        for i in range(1, n + 1):
            (root / name / f"{name[:3]}_{i:04d}.jpg").touch()
    (root / "056.dog" / "greg" / "vision309").mkdir(parents=True)
    (root / "198.spider").mkdir()
    (root / "198.spider" / "RENAME2").touch()
    (root / "009.bear" / "RENAME2").touch()
    (root / "257.clutter").mkdir()
    return root


@pytest.fixture
def full_width(request, monkeypatch):
    """Whether "resnet50" is what it is, by mark or option, or a narrow one, which is quicker."""
    full = request.config.getoption("--full-width") or "full_width" in request.keywords

    def get_model(name, **options):
        return copy_modules(empty_network()) if name == "resnet50" else real(name, **options)

    real = torchvision.models.get_model
    if not full:
        monkeypatch.setattr(torchvision.models, "get_model", get_model)
    return full


@pytest.fixture
def random_state(full_width):
    """A ResNet50's parameters, random: see `make_state`."""
    return make_state(full_width)


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory):
    """Those parameters as stored weights files that crop to 64 pixels, by `full_width`."""

    @functools.cache
    def make(full_width):
        path = tmp_path_factory.mktemp("weights") / "imagenet1k-v1.safetensors"
        state = make_state(full_width)
        weights = Weights("imagenet1k-v1", TINY, False, "random", hash_state(state), state)
        save_weights(weights, path)
        return path

    return make


@pytest.fixture
def tiny_file(tiny_files, full_width):
    """The one that fits this test's network."""
    return tiny_files(full_width)


@pytest.fixture
def tiny_weights(tiny_file):
    """The same, loaded."""
    return load_weights(tiny_file, empty_state())


@pytest.fixture
def stored(tiny_file, tmp_path, monkeypatch):
    """Make the small network the stored "imagenet1k-v1"."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / tiny_file.name).symlink_to(tiny_file)
    monkeypatch.setitem(KNOWN, "imagenet1k-v1", KnownWeights(TINY, False, "small and random"))
    return folder


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """What takes long to make and is only read: `kept(key, make)` is what `make(folder)` gave."""
    made = {}

    def get(key, make):
        if key not in made:
            made[key] = make(tmp_path_factory.mktemp("kept"))
        return made[key]

    return get


@pytest.fixture
def feature_file(kept, stored, full_width, drawn_photos, tmp_path):
    """`feature_file(split)`: this test's own copy of the photographs' features."""

    def copy_file(split, layers="last"):
        def make(folder):
            out = folder / "F.h5"
            return extract(drawn_photos, split=split, layers=layers, output=out).features.parent

        made = kept(("features", full_width, split, layers), make)
        shutil.copytree(made, tmp_path, dirs_exist_ok=True)
        return tmp_path / "F.h5"

    return copy_file


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when it is told to."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def pass_(seconds):
        now[0] += seconds

    return pass_


@pytest.fixture
def counting():
    return CountingEngine()


@pytest.fixture
def provenance():
    return PROVENANCE


@pytest.fixture(scope="session")
def app():
    """The command as the installed entry point has it."""
    (found,) = entry_points(group="console_scripts", name="featx")
    return found.load()


@pytest.fixture
def run(app):
    """Run a command line; returns click's Result with exit_code, stdout and stderr."""

    def call(*words: object) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words], prog_name="featx")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def keras_weights():
    """Keras' real ImageNet parameters, where they are stored."""
    path = REAL_WEIGHTS / "keras-imagenet.safetensors"
    if not path.exists():
        pytest.skip(f"{path} is not there: featx weights fetch keras-imagenet")
    return load_weights(path, empty_state())
