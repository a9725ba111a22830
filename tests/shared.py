"""What tests share and is no fixture: a small network, small photographs, an engine that counts."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models.resnet import Bottleneck, ResNet

from featx.config import Preprocessing
from featx.features.provenance import Provenance

# A 64-pixel crop makes the real ResNet50 some twelve times cheaper.
TINY = Preprocessing(72, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLASSES = ("cat", "dog", "owl")
PER_CLASS = 9


def load_script(path: Path):
    """A program of the repository that no package holds, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def lay(root, *names):
    """Empty files below a folder, by their paths."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


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


def make_network(full_width: bool) -> ResNet:
    """A ResNet50, or one whose bottlenecks are a sixteenth as wide: all names and outputs stay."""
    width = {} if full_width else {"width_per_group": 4}
    return ResNet(Bottleneck, [3, 4, 6, 3], **width)


@functools.cache
def empty_network() -> ResNet:
    """The narrow one without storage, to be copied: making it takes a hundred times as long."""
    with torch.device("meta"):
        return make_network(False)


def copy_modules(network: torch.nn.Module) -> torch.nn.Module:
    """The same modules anew, with the same tensors: loading a state replaces them all."""
    made = type(network).__new__(type(network))
    made.__dict__ = {k: v.copy() if isinstance(v, dict) else v for k, v in vars(network).items()}
    made._modules = {name: copy_modules(module) for name, module in network._modules.items()}
    return made


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


class CountingEngine:
    """Features without a network: means of a few patches, and a count of the images seen."""

    name = "counting 1"
    precision = "fp32"
    device = "cpu"
    batch_size = 4
    width = 12
    layers = "last"
    places = False

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


def reseal(path: Path, kind: str, note: str = "") -> None:
    """Give a file with a user block the seal that would be right for its bytes, as anyone can."""
    data = path.read_bytes()
    line = f"note {note}\n".encode()
    digest = hashlib.sha256(line + data[512:]).hexdigest()
    head = f"featx {kind}\n".encode() + line + f"sha256 {digest}\nbytes {len(data)}\n".encode()
    path.write_bytes(head.ljust(511) + b"\n" + data[512:])
