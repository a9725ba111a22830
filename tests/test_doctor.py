"""What the doctor sees: rows that move, threads that matter, folders that cannot be used."""

import numpy as np
import pytest

from featx import doctor
from featx.doctor import depends_on_threads, probe_rows
from featx.network.engine import TorchEngine


@pytest.mark.full_width
def test_doctor_tries_openvino(tiny_weights, monkeypatch):
    monkeypatch.setattr(doctor, "has_openvino", lambda: True)
    pytest.importorskip("openvino")
    exact = TorchEngine(tiny_weights, "cpu", 4)
    found, engine = doctor._examine_openvino(tiny_weights, exact, 64)
    assert found.good
    assert engine.name.startswith("openvino")
    assert "the same bits wherever it stands in a batch, and alone; within " in found.text


def test_the_probe_sees_what_moves_a_row(counting):
    assert probe_rows(counting, 8) == ()
    real = counting.run

    def by_place(pixels):
        return real(pixels) + [[i * 1e-7] for i in range(len(pixels))]

    counting.run = by_place
    assert probe_rows(counting, 8) == ("the place in the batch",)
    counting.run = lambda pixels: real(pixels) + real(pixels).mean() * 1e-6
    assert probe_rows(counting, 8) == ("the other images of the batch",)


def test_every_run_may_differ(counting):
    real, runs = counting.run, []

    def drift(pixels):
        runs.append(1)
        return real(pixels) + len(runs) * 1e-7

    counting.run = drift
    assert probe_rows(counting, 8)[0] == "every run"


def test_threads_that_change_bits_are_seen_and_put_back(counting, monkeypatch):
    threads = [4]
    monkeypatch.setattr("torch.get_num_threads", lambda: threads[-1])
    monkeypatch.setattr("torch.set_num_threads", threads.append)
    assert not depends_on_threads(counting, 8)
    real = counting.run
    counting.run = lambda pixels: real(pixels) + np.float32(threads[-1]) * 1e-6
    assert depends_on_threads(counting, 8)
    assert threads == [4, 1, 4, 1, 4]


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    assert doctor._examine_folder(tmp_path / "c" / "d").good
    assert not (tmp_path / "c").exists()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    check = doctor._examine_folder(tmp_path)
    assert (check.good, check.text) == (False, f"{tmp_path}: permission denied")
