"""featx on this machine's GPU: is it right, how fast, and what bounds it. Without a network.

    python benchmarks/gpu.py --output gpu
    python benchmarks/gpu.py --device cpu --quick
    python benchmarks/gpu.py --device cpu --images 2000 --only decoding

Six minutes at most where there is a GPU. Photographs are drawn (500 x 375, JPEG quality 90), and
parameters are random unless --weights names some: they change no time, and what is compared is
compared with the CPU.
Says every figure when it is found, and at the end all of them as a table, with what was asked of
this pipeline beside what was found; writes gpu.json to --output after every figure, so that what
ends early is kept. A section that fails is named, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from tabulate import tabulate

from featx.config import TORCHVISION_V1
from featx.data.feeding import run_batches
from featx.data.images import load_image
from featx.data.loading import SHARED_BATCHES, Batch, load_shared
from featx.decoding.pixel_format import Seen
from featx.decoding.processes import Decoders
from featx.errors import DeviceError
from featx.features.file import read_features
from featx.machine import count_cores, describe_machine
from featx.network.engine import choose_device
from featx.network.engine_choice import compare_rows, make_engine
from featx.network.fetch import resolve_weights
from featx.timing import Stages

SECONDS = 330.0  # sections that would begin later are left out
# A CPU without bf16 takes seconds for an image in it.
QUICK, QUICK_BATCH = 24, 8
MOST_SECONDS = 240.0  # of one command: what hangs does not take all time
SIZE, LARGE = (500, 375), (4000, 3000)
LOAD = partial(load_image, preprocessing=TORCHVISION_V1)  # as an extraction decodes
# Whole commands of 16,000 images, before: one H200, 16 cores (docs/gpu.md).
BEFORE = 468
ROUGH = {"cuda": ("tf32", "bf16", "fp16"), "cpu": ("bf16",)}


@dataclass
class Bench:
    """What is measured with, and what was found: groups of names with their figures."""

    device: str
    quick: bool
    work: Path
    weights: str
    output: Path
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    wholes: dict[str, float] = field(default_factory=dict)
    begun: float = field(default_factory=time.perf_counter)

    @property
    def speeds(self) -> dict[str, Any]:
        """Images a second, by what was timed."""
        return self.found.get("images/s", {})

    @property
    def photos(self) -> list[Path]:
        """All, of both classes in turn."""
        return sorted((self.work / "photos").glob("*/*.jpg"), key=lambda path: path.name)

    def note(self, group: str, name: str, value: Any) -> None:
        """Say a figure, and keep it."""
        passed = time.perf_counter() - self.begun
        print(f"{passed:5.0f} s  {group}: {name}: {value}", flush=True)  # noqa: T201
        self.found.setdefault(group, {})[name] = value
        (self.output / "gpu.json").write_text(json.dumps(self.found, indent=1) + "\n", "utf-8")

    def note_bar(self, name: str, least: float, found: float) -> None:
        """Keep what was asked for beside what was found."""
        met = "yes" if found >= least else "no"
        self.note("asked for", name, f"at least {least}: {found:.2f}, {met}")

    def extract(self, name: str, data: Path, *words: object) -> tuple[dict[str, Any], float]:
        """Run the command anew; what it says, and the seconds of the whole process."""
        begun = time.perf_counter()
        return run(self.say_extract(name, data, *words)), time.perf_counter() - begun

    def say_extract(self, name: str, data: Path, *words: object) -> list[str]:
        """The command's words; each name has a cache folder of its own."""
        told = [
            "extract", data, "--split", "0.7,0.1,0.2", "-o", self.work / name / "F.h5",
            "--cache-dir", self.work / name, "--weights", self.weights, "--device", self.device,
            "--engine", "torch", "--json", "-q", *words,
        ]  # fmt: skip
        return [sys.executable, "-m", "featx.cli", *map(str, told)]


def run(words: list[str]) -> dict[str, Any]:
    """What a command says as JSON."""
    done = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, text=True, timeout=MOST_SECONDS
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="few images: does it run at all")
    parser.add_argument("--images", type=int, default=16_000, help="without --quick")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be repeated")
    parser.add_argument("--weights", help="NAME|FILE, as featx extract has it  [default: random]")
    parser.add_argument("--output", type=Path, default=Path("gpu"))
    words = parser.parse_args()
    try:
        choose_device(words.device)
    except DeviceError as error:
        parser.error(str(error))
    words.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=words.output) as folder:
        work = Path(folder)
        weights = words.weights or str(save_random(work / "random.pth"))
        bench = Bench(words.device, words.quick, work, weights, words.output)
        # Before CUDA begins, which does not outlive a fork.
        draw_photos(work / "photos", QUICK if bench.quick else words.images, SIZE)
        if "decoding" in (words.only or SECTIONS):
            draw_photos(work / "large", 2 if bench.quick else max(12, 4 * count_cores()), LARGE)
        bench.note("machine", "cpu", describe_machine())
        if bench.device == "cuda":
            bench.note("machine", "gpu", torch.cuda.get_device_name())
        for name in ("featx", "torch", "torchvision", "pillow"):
            bench.note("machine", name, version(name))
        for name in words.only or SECTIONS:
            if not bench.quick and time.perf_counter() - bench.begun > SECONDS:
                bench.note("left out", name, "for want of time")
                continue
            try:
                SECTIONS[name](bench)
            except Exception as error:  # what others find is worth as much
                traceback.print_exc()
                bench.note("failed", name, f"{type(error).__name__}: {error}".split("\n")[0])
        judge(bench)
    rows = [[g, name, value] for g, group in bench.found.items() for name, value in group.items()]
    print(tabulate(rows, ["", "what", "found"], tablefmt="github"))  # noqa: T201


def check_features(bench: Bench) -> None:
    """fp32 against the CPU, the same bits again and elsewhere in a batch, other precisions."""
    weights = resolve_weights(bench.weights)
    few = np.stack(
        [
            load_image(path, weights.preprocessing)
            for path in bench.photos[: 8 if bench.quick else 24]
        ]
    )

    def build(device: str, precision: str) -> Any:
        return make_engine(
            weights, lambda most: few[:most], engine="torch", device=device, precision=precision,
            batch_size=len(few),
        )  # fmt: skip

    exact = build("cpu", "fp32").run(few)
    engine = build(bench.device, "fp32")
    rows = engine.run(few)
    error, cosine = compare_rows(rows, exact)
    bench.note("right", "fp32 against the CPU, relative error", f"{error:.1e}")
    bench.note("right", "the same bits again", bool((engine.run(few) == rows).all()))
    turned = engine.run(few[::-1].copy())[::-1]
    bench.note("right", "the same bits in another place", bool((turned == rows).all()))
    for precision in ROUGH.get(bench.device, ()):
        _, cosine = compare_rows(build(bench.device, precision).run(few), exact)
        bench.note("right", f"{precision} against the CPU, least cosine", f"{cosine:.6f}")


def check_kill(bench: Bench) -> None:
    """Decoded in threads and in processes, killed and gone on with: the same features."""
    some = pick_some(bench, 24 if bench.quick else 1200)
    how = ("--decode-processes", 2)
    bench.extract("whole", some, *how)
    if not bench.quick:
        bench.extract("threads", some, "--decode-processes", 0)
    parts = bench.work / "killed" / "F.h5.parts"
    process = subprocess.Popen(bench.say_extract("killed", some, *how), stdout=subprocess.DEVNULL)
    ends = time.perf_counter() + MOST_SECONDS
    while process.poll() is None and not list(parts.glob("0*")) and time.perf_counter() < ends:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done, _ = bench.extract("killed", some, *how)
    whole = read_features(bench.work / "whole" / "F.h5").X[:]
    bench.note("right", "images computed after kill -9", f"{done['extracted']} of {len(whole)}")
    for name, words in (("killed", "after kill -9"), ("threads", "decoded in threads")):
        if (path := bench.work / name / "F.h5").exists():
            same = bool((read_features(path).X[:] == whole).all())
            bench.note("right", f"the same bits {words}", same)


def check_tuning(bench: Bench) -> None:
    """Two epochs of the last layer, and of the last stage: the losses that the CPU has."""
    some = pick_some(bench, 24 if bench.quick else 240)
    for train in ("fc",) if bench.quick else ("fc", "layer4"):
        losses = {}
        for device in ("cpu", bench.device):
            words = [
                "finetune", some, "--split", "0.7,0.1,0.2", "--train", train, "--epochs", 2,
                "--learning-rate", 1e-3, "--weights", bench.weights, "--device", device,
                "--decode-processes", 2, "-o", bench.work / f"{train}-{device}", "--json", "-q",
            ]  # fmt: skip
            said = run([sys.executable, "-m", "featx.cli", *map(str, words)])
            losses[device] = [epoch["loss"]["train"] for epoch in said["history"]]
        expected, found = np.array(losses["cpu"]), np.array(losses[bench.device])
        error = float(np.abs(found / expected - 1).max())
        bench.note("right", f"tuning {train}, loss against the CPU's, relative", f"{error:.1e}")


def time_network(bench: Bench) -> None:
    """The engine, of pixels that lie where processes would have decoded them to."""
    for precision, engine in build_engines(bench, QUICK_BATCH if bench.quick else None):
        pixels = draw_pixels(engine.batch_size)
        batch = Batch(np.arange(len(pixels)), pixels, ())
        with pin(engine, pixels):
            engine.run(pixels)
            begun, n = time.perf_counter(), 0
            for _, rows in run_batches(engine, repeat(batch), Stages()):
                n += len(rows)
                if time.perf_counter() - begun > (0.5 if bench.quick else 3.0):
                    break
            pace = n / (time.perf_counter() - begun)
            engine.run(pixels)  # what is still under way is done before its memory goes
        bench.note("images/s", f"network alone, {precision}", round(pace, 1))


def time_decoding(bench: Bench) -> None:
    """Decoding alone, in threads and in processes; and with the network, which reads their memory.

    Processes have started by then, which a command waits for once.
    """
    cores, large = count_cores(), sorted((bench.work / "large").glob("*/*.jpg"))
    photos = bench.photos[:8000]
    for name, some in (("", photos[:500]), (", 12 MP", large[:12])):
        for decode in ("pillow", "exact", "fast"):
            load = partial(LOAD, decode=decode)
            pace = clock(len(some), lambda: list(map(load, some)))  # noqa: B023
            bench.note("images/s", f"decoding{name}, one core, {decode}", round(pace, 1))
    for n in sorted({max(1, cores // 2), cores}):
        some = photos[: min(len(photos), 500 * n)]
        with ThreadPoolExecutor(n) as pool:
            pace = clock(len(some), lambda: list(pool.map(LOAD, some)))  # noqa: B023
            bench.note("images/s", f"decoding, {n} threads", round(pace, 1))
            pace = clock(len(large), lambda: list(pool.map(LOAD, large)))
            bench.note("images/s", f"decoding, 12 MP, {n} threads", round(pace, 1))
    batch = QUICK_BATCH if bench.quick else 128
    shape = (SHARED_BATCHES * batch, TORCHVISION_V1.crop, TORCHVISION_V1.crop, 3)
    seconds: list[float] = []
    with Decoders(LOAD, shape, cores, Seen(), seconds.append) as decoders:
        for _ in load_shared(decoders, list_jobs(photos[: 16 * batch]), batch):
            pass  # they have imported what they need
        for name, some in (("", photos), (", 12 MP", large)):
            jobs = list_jobs(some)
            pace = clock(len(jobs), lambda: list(load_shared(decoders, jobs, batch)))  # noqa: B023
            bench.note("images/s", f"decoding{name}, {cores} processes", round(pace, 1))
        for precision, engine in build_engines(bench, batch):
            with pin(engine, decoders.places):
                batches = load_shared(decoders, list_jobs(photos), batch)
                pace = clock(len(photos), lambda: list(run_batches(engine, batches, Stages())))  # noqa: B023
            bench.note("images/s", f"loop of both, {precision}", round(pace, 1))
        memory = sum(measure_private(process.pid) for process in decoders.processes)
    bench.note("memory, MB", f"of a process that decodes (of {cores})", round(memory / cores))
    bench.note("memory, MB", "that they share", round(np.prod(shape) / 1e6))


def time_commands(bench: Bench) -> None:
    """`featx extract` from nothing to its file: the loop, and the whole process."""
    n = len(bench.photos)
    ways = [
        ("fp32", "auto", "exact"), ("bf16", "auto", "exact"), ("auto", "auto", "exact"),
        ("fp32", "0", "pillow"),
    ]  # fmt: skip
    for precision, processes, decode in [("fp32", "2", "exact")] if bench.quick else ways:
        name = f"{precision}, {decode}, --decode-processes {processes}"
        done, seconds = bench.extract(
            name, bench.work / "photos", "--precision", precision,
            "--decode-processes", processes, "--decode", decode,
        )  # fmt: skip
        if precision == "auto":
            bench.note("right", "--precision auto takes", done["precision"])
        loop = done["images_per_second"]
        bench.note(
            "images/s",
            f"featx extract, {name}: its loop, start of processes and all",
            round(loop, 1),
        )
        bench.note("images/s", f"featx extract, {name}: whole", round(n / seconds, 1))
        stages = {stage: round(spent, 2) for stage, spent in done["stages"].items()}
        bench.note("seconds", f"featx extract, {name}", json.dumps(stages))
        if decode == "exact":
            bench.wholes[done["precision"]] = n / seconds


def time_tutorial(bench: Bench) -> None:
    """What PyTorch's tutorials teach, with autocast and without: ImageFolder, DataLoader."""
    network = torchvision.models.resnet50().eval()
    network.fc = torch.nn.Identity()
    network = network.to(bench.device)
    transform = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    dataset = torchvision.datasets.ImageFolder(str(bench.work / "photos"), transform)
    usual, last = torch.contiguous_format, torch.channels_last
    for name, autocast, layout in (("fp32", False, usual), ("autocast bf16", True, last)):
        network = network.to(memory_format=layout)
        batches = torch.utils.data.DataLoader(
            dataset, batch_size=QUICK_BATCH if bench.quick else 128, num_workers=count_cores(),
            pin_memory=bench.device == "cuda", multiprocessing_context="spawn",
        )  # fmt: skip
        # Workers that have just started, each with a batch of its own, are not its pace.
        ahead, n, begun = min(count_cores(), len(batches) // 2), 0, time.perf_counter()
        casting = torch.autocast(bench.device, torch.bfloat16, enabled=autocast)
        with torch.inference_mode(), casting:
            for number, (pixels, _) in enumerate(batches):
                placed = pixels.to(bench.device, non_blocking=True, memory_format=layout)
                n += len(network(placed).float().cpu())
                if number < ahead:
                    n, begun = 0, time.perf_counter()
        bench.note("images/s", f"tutorial, {name}", round(n / (time.perf_counter() - begun), 1))


def judge(bench: Bench) -> None:
    """What was asked of this pipeline, at least, and what was found; of sections that ran."""
    cores, right, pace = count_cores(), bench.found.get("right", {}), bench.speeds
    asked = {
        "decoding on one core, times Pillow's": ("decoding, one core, {}", 1.8),
        "the same of 12 MP": ("decoding, 12 MP, one core, {}", 2.5),
    }
    for name, (timed, least) in asked.items():
        if timed.format("pillow") in pace:
            ratio = pace[timed.format("exact")] / pace[timed.format("pillow")]
            bench.note_bar(name, least, ratio)
    by_processes = pace.get(f"decoding, {cores} processes")
    if by_processes is not None:
        by_threads = pace[f"decoding, {cores} threads"]
        bench.note_bar("decoding in processes, times threads'", 1.0, by_processes / by_threads)
    for precision in ("fp32", *ROUGH.get(bench.device, ())):
        loop, network = (pace.get(f"{of}, {precision}") for of in ("loop of both", "network alone"))
        if loop is None:
            continue
        if network is not None and by_processes is not None:
            ratio = loop / min(network, by_processes)
            bench.note_bar(f"{precision}: loop against the slower of its two", 0.85, ratio)
        if (tutorial := pace.get("tutorial, autocast bf16")) is not None:
            bench.note_bar(
                f"{precision}: loop, times the tutorial's by autocast", 1.5, loop / tutorial
            )
    if bench.device == "cuda":
        for precision, whole in bench.wholes.items():
            bench.note_bar(f"{precision}: whole command, times {BEFORE}/s", 5.0, whole / BEFORE)
    wrong = [name for name, same in right.items() if same is False]
    bench.note("asked for", "the same bits", f"not {', '.join(wrong)}" if wrong else "yes")


# What nothing else shows comes first.
SECTIONS: dict[str, Callable[[Bench], None]] = {
    "features": check_features,
    "network": time_network,
    "decoding": time_decoding,
    "commands": time_commands,
    "tutorial": time_tutorial,
    "kill": check_kill,
    "tuning": check_tuning,
}


def build_engines(bench: Bench, batch_size: int | None = None) -> Iterator[tuple[str, Any]]:
    """One of each precision, in turn."""
    weights = resolve_weights(bench.weights)
    for precision in ("fp32", *ROUGH.get(bench.device, ())):
        yield precision, make_engine(
            weights, draw_pixels, engine="torch", device=bench.device, precision=precision,
            batch_size=batch_size,
        )  # fmt: skip


def pin(engine: Any, pixels: np.ndarray[Any, Any]) -> Any:
    """Memory that an engine copies from as it is, where it has such."""
    return engine.pin(pixels) if hasattr(engine, "pin") else nullcontext()


def clock(n: int, work: Callable[[], object]) -> float:
    """Images a second."""
    begun = time.perf_counter()
    work()
    return n / (time.perf_counter() - begun)


def measure_private(number: int) -> float:
    """MB of memory that a process has to itself; see proc_pid_smaps(5)."""
    try:
        lines = Path(f"/proc/{number}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return float("nan")
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1000


def draw_pixels(n: int) -> np.ndarray[Any, Any]:
    side = TORCHVISION_V1.crop
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)


def save_random(path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet50().state_dict(), path)
    return path


def pick_some(bench: Bench, n: int) -> Path:
    """A folder of the first so many photographs."""
    some = bench.work / f"first-{n}"
    for path in bench.photos[:n]:
        (some / path.parent.name).mkdir(parents=True, exist_ok=True)
        if not (link := some / path.parent.name / path.name).exists():
            os.link(path, link)
    return some


def list_jobs(paths: list[Path]) -> list[tuple[int, tuple[Path]]]:
    return [(i, (path,)) for i, path in enumerate(paths)]


def draw_photos(folder: Path, n: int, size: tuple[int, int]) -> None:
    """Pictures of some structure and grain, whose files are as long as photographs'."""
    for name in "ab":
        (folder / name).mkdir(parents=True)
    paths = [folder / "ab"[i % 2] / f"{i:06}.jpg" for i in range(n)]
    with ProcessPoolExecutor(count_cores()) as pool:
        list(pool.map(partial(draw_photo, size), paths, range(n), chunksize=8))


def draw_photo(size: tuple[int, int], path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
    grain = rng.integers(-8, 9, (size[1], size[0], 1), np.int16)
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)


if __name__ == "__main__":
    main()
