"""What the tests share: small photographs, a small network, an engine that counts."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import logging
import os
import shutil
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from click.testing import CliRunner, Result
from PIL import Image
from torchvision.models.resnet import Bottleneck, ResNet

from featx.config import CLASSIFIERS, Preprocessing
from featx.data.samples import CALTECH_CLASSES
from featx.extraction.extract import extract
from featx.features.provenance import Provenance
from featx.heads.kind import find_kind
from featx.machine import count_cores
from featx.network.backbone import empty_state
from featx.network.catalogue import KNOWN, KnownWeights
from featx.network.weights import Weights, hash_state, load_weights, save_weights

# Before any test imports it: ONNX Runtime's threads look up hosts otherwise.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# A 64-pixel crop makes the real ResNet50 some twelve times cheaper.
TINY = Preprocessing(72, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLASSES = ("cat", "dog", "owl")
PER_CLASS = 9
# The issue's own numbers, not the module's.
CALTECH_COUNTS = (102, 110, 84, 212, 119, 109, 101, 81, 95, 96)


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


def draw_photo(path: Path, kind: int, seed: int, size=(90, 80)) -> Path:
    """A noisy picture whose hue and stripes tell its class."""
    rng = np.random.default_rng([kind, seed])
    height, width = size[1], size[0]
    stripes = 60 * np.sin(np.arange(width) / (2 + 3 * kind))[None, :, None]
    colour = np.eye(3)[kind % 3] * 120
    pixels = 80 + stripes + colour + rng.normal(0, 15, (height, width, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


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


def make_network(full_width: bool) -> ResNet:
    """A ResNet50, or one whose bottlenecks are a sixteenth as wide: all names and outputs stay."""
    width = {} if full_width else {"width_per_group": 4}
    return ResNet(Bottleneck, [3, 4, 6, 3], **width)


@functools.cache
def empty_network() -> ResNet:
    """The narrow one without storage, which is copied five times as fast as made."""
    with torch.device("meta"):
        return make_network(False)


@functools.cache
def make_state(full_width: bool) -> dict[str, torch.Tensor]:
    """Random parameters, and running statistics that are not the defaults."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make_network(full_width)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.0)
        return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.fixture
def full_width(request, monkeypatch):
    """Whether "resnet50" is what it is, by mark or option, or a narrow one, which is quicker."""
    full = request.config.getoption("--full-width") or "full_width" in request.keywords

    def get_model(name, **options):
        return copy.deepcopy(empty_network()) if name == "resnet50" else real(name, **options)

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

    def copy_file(split):
        def make(folder):
            return extract(drawn_photos, split=split, output=folder / "F.h5").features.parent

        shutil.copytree(kept(("features", full_width, split), make), tmp_path, dirs_exist_ok=True)
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


class CountingEngine:
    """Features without a network: means of a few patches, and a count of the images seen."""

    name = "counting 1"
    precision = "fp32"
    device = "cpu"
    batch_size = 4
    feature_dim = 12

    def __init__(self, broken=False):
        self.images = 0
        self.broken = broken

    def run(self, pixels):
        self.images += len(pixels)
        assert len(pixels) <= self.batch_size
        side = pixels.shape[1] // 2
        patches = [pixels[:, i : i + side, j : j + side] for i in (0, side) for j in (0, side)]
        features = np.concatenate([p.mean(axis=(1, 2)) for p in patches], axis=1) / 255
        return (features * (np.nan if self.broken else 1)).astype(np.float32)


PROVENANCE = Provenance(
    backbone="resnet50",
    weights="tiny",
    weights_sha256="0" * 64,
    preprocessing=TINY.to_dict(),
    decoder="pillow",
    colours="rgb",
    engine="counting 1",
    precision="fp32",
    storage="float32",
)


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


def thin_grids(monkeypatch, some: slice) -> None:
    """Leave every head some of its values alone, so that its fits stay quick."""
    for clf in CLASSIFIERS:
        kind = find_kind(clf)
        if kind.grid is not None:
            grid = dataclasses.replace(kind.grid, values=kind.grid.values[some])
            thinned = dataclasses.replace(kind, grid=grid)
            monkeypatch.setattr(f"featx.heads.{clf}.KIND", thinned)


def reseal(path: Path, kind: str, note: str = "") -> None:
    """Give a file with a user block the seal that would be right for its bytes, as anyone can."""
    data = path.read_bytes()
    line = f"note {note}\n".encode()
    digest = hashlib.sha256(line + data[512:]).hexdigest()
    head = f"featx {kind}\n".encode() + line + f"sha256 {digest}\nbytes {len(data)}\n".encode()
    path.write_bytes(head.ljust(511) + b"\n" + data[512:])


def real_weights_dir() -> Path:
    """Where real weights would be, found before the tests look away from it."""
    return _REAL


def _find_real() -> Path:
    import platformdirs

    given = os.environ.get("FEATX_WEIGHTS")
    default = Path(platformdirs.user_cache_dir("featx", appauthor=False)) / "weights"
    return Path(given) if given else default


_REAL = _find_real()


@pytest.fixture
def keras_weights():
    """Keras' real ImageNet parameters, where they are stored."""
    path = real_weights_dir() / "keras-imagenet.safetensors"
    if not path.exists():
        pytest.skip(f"{path} is not there: featx weights fetch keras-imagenet")
    return load_weights(path, empty_state())
