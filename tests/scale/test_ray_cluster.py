"""The same file from a real Ray cluster on this machine, whatever dies meanwhile."""

import json
import os
import shutil
import signal
import threading
import time

import pytest
import torch
from shared import draw_photo

from featx.errors import RunnerError
from featx.extraction.extract import extract
from featx.scale.distribute import extract_distributed

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # 127.0.0.1 alone; read on import
ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.ray,
    pytest.mark.full_width,
    # Ray's own: sockets and subprocesses that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def options(tiny_file, photos, tmp_path):
    """Thirty photographs, one of them none, and a small network in a file of its own."""
    for kind, name in enumerate(("cat", "dog")):
        draw_photo(photos / name / "more.png", kind, 40)
    (photos / "owl" / "none.png").write_text("no image")
    shutil.copy(tiny_file, tmp_path / "mine.safetensors")
    return {
        "data": photos,
        "split": "first:4,2",
        "weights": str(tmp_path / "mine.safetensors"),
        "engine": "torch",
        "batch_size": 4,
    }


class Killer(threading.Thread):
    """Kills the first process that is seen at work on a shard."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.killed = folder, None

    def run(self):
        until = time.monotonic() + 120
        while self.killed is None and time.monotonic() < until:
            for lock in self.folder.glob("features/*.h5.parts/lock"):
                try:
                    self.killed = json.loads(lock.read_text())["pid"]
                except (OSError, ValueError):
                    continue
                os.kill(self.killed, signal.SIGKILL)
                return
            time.sleep(0.001)


@pytest.fixture
def one_thread(monkeypatch):
    """Two actors share two cores; with shapes as small as these, threads tell in the last bits."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    yield
    torch.set_num_threads(threads)


def test_two_actors_one_of_them_killed(options, tmp_path, one_thread, capfd):
    alone = extract(output=tmp_path / "alone.h5", **options)
    killer = Killer(tmp_path / "F.h5.plan")
    killer.start()
    done = extract_distributed(
        output=tmp_path / "F.h5", workers=2, shard_size=7, num_workers=1, **options
    )
    killer.join()
    assert killer.killed not in (None, os.getpid())
    said = capfd.readouterr()
    assert said.out == ""
    assert "127.0.0.1" in said.err or "Worker IP" not in said.err
    assert done.features.read_bytes() == alone.features.read_bytes()
    assert (done.images, done.fingerprint) == (29, alone.fingerprint)
    assert [one.path for one in done.skipped_files] == ["owl/none.png"]
    assert not (tmp_path / "F.h5.plan").exists()
    assert not ray.is_initialized()
    # Nothing is left to do: no cluster is asked for.
    again = extract(output=tmp_path / "F.h5", **options)
    assert (again.extracted, again.images) == (0, 29)


def test_a_shard_that_cannot_be_computed_is_said(options, tmp_path, photos):
    (photos / "cat" / "zz.png").write_bytes(b"")
    with pytest.raises(RunnerError, match=r"^shard 0: .*cat/zz.png: empty file"):
        extract_distributed(
            output=tmp_path / "F.h5", workers=1, shard_size=15, on_error="fail", **options
        )
    assert not (tmp_path / "F.h5").exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", r"no Ray cluster answers at 127.0.0.1:9 \(.*refused\); ray start --head"),
        ("ray://127.0.0.1:9", "no Ray cluster answers at ray://127.0.0.1:9"),
        ("nonsense", "'nonsense' is no address of a Ray cluster: say host:port"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
        ("auto", "no Ray cluster at auto"),
    ],
)
def test_an_address_that_does_not_answer(options, tmp_path, address, said):
    with pytest.raises(RunnerError, match=said):
        extract_distributed(output=tmp_path / "F.h5", address=address, **options)
