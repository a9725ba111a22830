import contextlib
import logging
import threading

import pytest

from featx.config import PROGRESS_SECONDS
from featx.extraction.result import describe_stages
from featx.timing import Meter, Stages, add_seconds


def test_stages_add_up(clock):
    stages = Stages()

    def slow():
        for i in range(3):
            clock(2)
            yield i
        clock(1)

    for _ in stages.wait("wait", slow()):
        with stages.time("network"):
            clock(10)
    with contextlib.suppress(KeyError), stages.time("keep"):
        clock(0.5)
        raise KeyError
    assert stages.seconds == {"wait": 7.0, "network": 30.0, "keep": 0.5}
    assert stages.total == 37.5


def test_a_second_belongs_to_the_innermost_stage(clock):
    stages = Stages()

    def load():
        for _ in range(2):
            clock(3)
            with stages.time("network"):
                clock(20)
                with contextlib.suppress(KeyError), stages.time("keep"):
                    clock(1)
                    raise KeyError
            yield 0

    for _ in stages.wait("wait", load()):
        clock(100)
    assert stages.seconds == {"keep": 2.0, "network": 40.0, "wait": 6.0}
    assert stages.take() == {"keep": 2.0, "network": 40.0, "wait": 6.0}
    with stages.time("wait"):
        clock(1)
    assert stages.take() == {"wait": 1.0}
    assert stages.seconds == {}


def test_a_sum_with_an_unknown_part_is_unknown():
    assert add_seconds([1.0, 2.5]) == 3.5
    assert add_seconds([0.0]) == 0.0
    assert add_seconds([1.0, None]) is None
    assert add_seconds([]) is None


def test_threads_lose_no_second_of_each_other(clock):
    stages = Stages()

    def work():
        for _ in range(200):
            with stages.time_beside("decode"):
                clock(0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stages.beside == {"decode": 0.0}
    assert stages.total == 0.0


@pytest.mark.parametrize(
    ("network", "wait", "said"),
    [(9.0, 1.0, "the network bounds this run: it computed 90 %"), (1.0, 3.0, "waited 75 %")],
)
def test_what_bounds_a_run_is_said(network, wait, said):
    stages = Stages()
    stages.seconds = {"find": 0.5, "network": network, "wait": wait}
    stages.beside = {"decode": 2.0}
    text, bound = describe_stages(stages, "2 threads")
    assert said in bound
    assert text.startswith("seconds: find 0.50, network")
    assert "decode 2.00 in 2 threads beside them" in text


def test_a_long_run_says_how_far_it_is(clock, caplog, capsys):
    caplog.set_level(logging.INFO)
    with Meter("extract", 12_000, False) as meter:
        for _ in range(9):  # ten images a second, and a line after 30 s and after 60
            clock(10)
            meter.update(100)
    assert caplog.messages == [
        "extract: 300 of 12,000 images, 10 images/s, about 20 min left",
        "extract: 600 of 12,000 images, 10 images/s, about 19 min left",
        "extract: 900 of 12,000 images, 10 images/s, about 18 min left",
    ]
    caplog.clear()
    meter = Meter("predict", None, False)
    clock(PROGRESS_SECONDS)
    meter.update(0)
    assert caplog.messages == ["predict: 0 images, 0 images/s"]
    meter.total = 90
    clock(PROGRESS_SECONDS)
    meter.update(60)
    assert caplog.messages[1:] == ["predict: 60 of 90 images, 1 images/s, about 30 s left"]
    clock(PROGRESS_SECONDS)
    meter.update(30)
    assert caplog.messages[2:] == ["predict: 90 of 90 images, 1 images/s"]
    caplog.clear()
    meter = Meter("weights", 90_000_000, False, unit="byte")
    clock(PROGRESS_SECONDS)
    meter.update(30_000_000)
    assert caplog.messages == ["weights: 30 MB of 90 MB, 1 MB/s, about 60 s left"]
    assert capsys.readouterr().err == ""


def test_a_bar_says_it_instead(clock, caplog, capsys):
    caplog.set_level(logging.INFO)
    meter = Meter("pictures", 3, True)
    assert list(meter.watch("abc")) == ["a", "b", "c"]
    clock(PROGRESS_SECONDS)
    meter.note("done")
    assert "pictures: 100%" in capsys.readouterr().err
    assert (meter.done, caplog.messages) == (3, [])
