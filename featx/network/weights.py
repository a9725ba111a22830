"""Weights: tensors, name, hash and preprocessing in one object, checked and kept in one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from featx.config import BACKBONE, BACKBONES, TORCH_SUFFIXES, TORCHVISION_V1, Preprocessing
from featx.errors import WeightsError
from featx.network.catalogue import FROM_FILE, WEIGHTS_MARK
from featx.network.state_dict import find_network, read_pth
from featx.storage.files import write_whole

_COUNTER = "num_batches_tracked"  # of a batch norm, which nothing here asks
_OTHER_FLOATS = (torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Weights:
    """A set of parameters with everything that makes them mean something.

    Attributes
    ----------
    name : str
        A key of `KNOWN`, or "file:" and a local file's stem.
    preprocessing : Preprocessing
        What these parameters were trained to see.
    stride_in_1x1 : bool
        The original ResNet's place of stride (Keras), not torchvision's.
    source : str
        Where they came from.
    sha256 : str
        Of the tensors: names, dtypes, shapes and bytes, in the order of names. Two containers
        with the same tensors have the same hash.
    state : dict of str to Tensor
        A checked state dict of the backbone; ``fc.*`` may be absent.
    path : Path or None
        The file they were read from.
    backbone : str
        The network that they are of, a key of `BACKBONES`.
    """

    name: str
    preprocessing: Preprocessing
    stride_in_1x1: bool
    source: str
    sha256: str
    state: dict[str, torch.Tensor] = field(repr=False, compare=False)
    path: Path | None = None
    backbone: str = BACKBONE

    @property
    def feature_dim(self) -> int:
        """Numbers that the network without its last layer gives for an image."""
        return BACKBONES[self.backbone]


def hash_state(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256, in hex, of tensors by name: independent of the file format that carries them."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_state(
    state: Mapping[str, Any],
    expected: Mapping[str, torch.Tensor],
    source: str,
    backbone: str = BACKBONE,
) -> dict[str, torch.Tensor]:
    """Check names, shapes and dtypes against the network's own.

    Parameters
    ----------
    state : mapping
        What a file held.
    expected : mapping of str to Tensor
        `empty_state` of that backbone.
    source, backbone : str
        Named in the error.

    Returns
    -------
    dict of str to Tensor
        With counters that old files lack, or that became fractions (``num_batches_tracked``),
        filled in, and numbers of 16 bits, as torchvision keeps Wide ResNet's first weights, or of
        64 made float32; contiguous.

    Raises
    ------
    WeightsError
        Listing the first names that are missing, unexpected or of another shape or dtype.
    """
    wrong: list[str] = []
    state = {
        name: tensor.float() if getattr(tensor, "dtype", None) in _OTHER_FLOATS else tensor
        for name, tensor in state.items()
        if not (name.endswith(_COUNTER) and getattr(tensor, "dtype", None) != torch.int64)
    }
    optional = {n for n in expected if n.startswith("fc.") or n.endswith(_COUNTER)}
    wrong += [f"missing {name}" for name in expected if name not in state and name not in optional]
    wrong += [f"unexpected {name}" for name in state if name not in expected]
    for name in sorted(expected.keys() & state.keys()):
        have, want = state[name], expected[name]
        if not isinstance(have, torch.Tensor):
            wrong.append(f"{name} is a {type(have).__name__}, not a tensor")
        elif have.shape != want.shape:
            wrong.append(f"{name} has shape {tuple(have.shape)}, expected {tuple(want.shape)}")
        elif have.dtype != want.dtype:
            wrong.append(f"{name} is {have.dtype}, expected {want.dtype}")
        elif have.layout != torch.strided or have.is_meta:
            wrong.append(f"{name} is sparse, or without values")
        elif have.is_floating_point() and not bool(torch.isfinite(have).all()):
            wrong.append(f"{name} has values that are NaN or infinite")
    if wrong:
        shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise WeightsError(f"{source} is not a {backbone} of torchvision: {shown}")
    checked = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    for name in expected:
        if name.endswith(_COUNTER):
            checked.setdefault(name, torch.zeros((), dtype=torch.int64))
    return checked


def save_weights(weights: Weights, path: Path) -> None:
    """Store weights as one safetensors file, facts in its metadata, whole or not at all."""
    facts = {
        "name": weights.name,
        "backbone": weights.backbone,
        "preprocessing": weights.preprocessing.to_dict(),
        "stride_in_1x1": weights.stride_in_1x1,
        "source": weights.source,
        "sha256": weights.sha256,
    }
    with write_whole(path) as temporary:
        # Written by ourselves, so that a full disk is an OSError.
        temporary.write_bytes(
            save(weights.state, metadata={WEIGHTS_MARK: json.dumps(facts, sort_keys=True)})
        )


def load_weights(
    path: Path, expected: Mapping[str, torch.Tensor], backbone: str = BACKBONE
) -> Weights:
    """Read weights from a .safetensors file or one of torch's (`TORCH_SUFFIXES`).

    A file that featx stored brings its own preprocessing and hash, and is checked against the
    hash. Any other is taken to be trained like torchvision's first weights, and may hold the
    network as training programs save it; see `find_network`.

    Parameters
    ----------
    path : Path
    expected : mapping of str to Tensor
        `empty_state` of that backbone.
    backbone : str
        A key of `BACKBONES`.

    Returns
    -------
    Weights

    Raises
    ------
    WeightsError
        No such file, not a file of tensors alone, of another network, other names, shapes or
        dtypes, damaged.
    """
    if not path.is_file():
        raise WeightsError(f"no such weights file: {path}")
    facts: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        state, facts = _read_safetensors(path)
    elif path.suffix in TORCH_SUFFIXES:
        state = read_pth(path)
    else:
        raise WeightsError(
            f"{path} is neither .safetensors nor .pth ({', '.join(TORCH_SUFFIXES)}): featx reads "
            "no other weights"
        )
    held = facts.get("backbone", BACKBONE) if facts else backbone
    if held != backbone:
        raise WeightsError(f"{path} holds a {held}, not a {backbone}: say --backbone {held}")
    if not facts:
        state = find_network(state, expected, str(path))
    checked = check_state(state, expected, str(path), backbone)
    sha256 = hash_state(checked)
    if facts and facts.get("sha256") != sha256:
        raise WeightsError(
            f"{path} is damaged: its tensors hash to {sha256[:12]}, and were stored as "
            f"{facts.get('sha256')!s:.12}; delete it and fetch it again"
        )
    try:
        return Weights(
            name=str(facts.get("name", f"{FROM_FILE}{path.stem.removesuffix('.pth')}")),
            preprocessing=Preprocessing.from_dict(facts["preprocessing"])
            if facts
            else TORCHVISION_V1,
            stride_in_1x1=bool(facts.get("stride_in_1x1", False)),
            source=str(facts.get("source", path.name)),
            sha256=sha256,
            state=checked,
            path=path,
            backbone=backbone,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} has facts that featx cannot read: {error!r}") from error


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(metadata.get(WEIGHTS_MARK, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is not a safetensors file, or a damaged one: {error}"
        ) from error
    return state, facts if isinstance(facts, dict) else {}
