"""featx against what people use, in one run on one machine: `make bench DATA=folder SPLIT=...`.

    python benchmarks/bench.py DATA --split first:30,6 --output bench

Every measurement is a process of its own, and they take turns: all extractions once, then all of
them again, and so on. Medians over the rounds; ratios of medians. Writes bench.json (everything),
bench.md (the table) and bench.png to --output. Without DATA: scikit-learn's digits.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
from tabulate import tabulate
from turns import run_script, take_medians, take_turns

from featx.machine import describe_machine
from featx.sources.samples import write_digits

HERE = Path(__file__).parent
SECTIONS = ("extraction", "start", "network", "decoding", "heads", "tuning")
FEATX = ("featx torch fp32", "featx torch bf16", "featx openvino fp32", "featx openvino bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="DIR/<class>/*  [default: digits]")
    parser.add_argument("--split", default="first:30,6")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("bench"))
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be repeated")
    parser.add_argument(
        "--thingsvision", metavar="PYTHON", help="a Python that has it: it wants a torch of its own"
    )
    words = parser.parse_args()
    words.output.mkdir(parents=True, exist_ok=True)
    data = Path(words.data) if words.data else write_digits(words.output / "digits")
    kept = words.output / "bench.json"
    found: dict[str, Any] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    found["machine"] = describe_machine()
    names = ("torch", "torchvision", "scikit-learn", "pillow", "numpy")
    optional = [n for n in ("openvino", "onnxruntime", "timm") if importlib.util.find_spec(n)]
    found["versions"] = {name: version(name) for name in (*names, *optional)}
    measure: dict[str, Callable[[], Any]] = {
        "extraction": lambda: measure_extraction(data, words.rounds, words.thingsvision),
        "start": lambda: measure_start(data, words.rounds),
        "network": lambda: run_script("network.py"),
        "decoding": lambda: run_script("decoding.py", data),
        "heads": lambda: [
            run_script("heads.py", "600", "10", "--cv"),
            run_script("heads.py", "3030", "101"),
        ],
        "tuning": lambda: run_script("tuning.py", data, words.split),
    }
    for section in words.only or SECTIONS:
        found[section] = measure[section]()
        kept.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    table = render(found)
    (words.output / "bench.md").write_text(table + "\n", "utf-8")
    if "extraction" in found:
        draw(found, words.output / "bench.png")
    print(table)  # noqa: T201


def measure_extraction(data: Path, rounds: int, thingsvision: str | None) -> dict[str, Any]:
    """Every way to the features, `rounds` times in turn; medians of what each run says."""
    pythons = {"tutorial": sys.executable}
    if importlib.util.find_spec("timm"):
        pythons["timm"] = sys.executable
    if thingsvision:
        pythons["thingsvision"] = thingsvision
    for name in ("openvino", "onnxruntime"):
        if importlib.util.find_spec(name):
            pythons[f"bare {name}"] = sys.executable
    for name in FEATX:
        if "openvino" not in name or importlib.util.find_spec("openvino"):
            pythons[name] = sys.executable
    ways = {
        name: lambda name=name, python=python: run_script(
            "extraction.py", name, data, time.monotonic(), python=python
        )
        for name, python in pythons.items()
    }
    runs: dict[str, list[dict[str, float]]] = take_turns(ways, rounds)
    medians = {
        name: {key: statistics.median(run[key] for run in each) for key in each[0]}
        for name, each in runs.items()
    }
    return {"medians": medians, "runs": runs}


def measure_start(data: Path, rounds: int) -> dict[str, Any]:
    """Whole processes: `--help`, one batch from nothing, a folder that is done already."""
    paths = sorted(p for p in data.glob("*/*") if p.is_file())
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=".") as place:
        folder = Path(place)
        few = folder / "few.csv"
        step = max(1, len(paths) // 32)
        rows = [f"{p.relative_to(data).as_posix()},{p.parent.name}" for p in paths[::step][:32]]
        few.write_text("\n".join(["path,label", *rows]) + "\n", "utf-8")
        whole = ["extract", data, "-o", folder / "all.h5", "--engine", "auto", "-q"]
        timed = {
            "featx --help": ["--help"],
            "one batch from nothing": [
                "extract", few, "--root", data, "-o", folder / "few.h5", "--rehash", "-q",
            ],
            "first run": whole,
            "second run": whole,
        }  # fmt: skip
        for _ in range(rounds):
            for made in folder.glob("*.h5*"):
                made.unlink()
            for name, arguments in timed.items():
                begun = time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-m", "featx.cli", *map(str, arguments), *JSON[name]],
                    check=True, capture_output=True,
                )  # fmt: skip
                seconds.setdefault(name, []).append(time.perf_counter() - begun)
                if name.endswith("run"):
                    told = json.loads(done.stdout)
                    seconds.setdefault(f"{name}, without imports", []).append(told["seconds"])
                    if name == "second run":
                        assert told["extracted"] == 0
                        assert "network" not in told["stages"]
    return take_medians(seconds)


JSON: dict[str, list[str]] = {
    "featx --help": [],
    "one batch from nothing": [],
    "first run": ["--json"],
    "second run": ["--json"],
}


def render(found: dict[str, Any]) -> str:
    """All that was measured as Markdown."""
    parts = [f"Machine: {found['machine']}; {', '.join(map(' '.join, found['versions'].items()))}."]
    if "extraction" in found:
        parts.append(render_extraction(found["extraction"]["medians"]))
    if "network" in found:
        network = found["network"]
        limit = network["matrix products"]
        rows = [
            [name, f"{speed:.1f}", f"{network['first batch'][name]:.1f}"]
            for name, speed in sorted(network["images/s"].items(), key=lambda item: item[1])
        ]
        rows += [[f"matrix products, {name}", f"{speed:.1f}", ""] for name, speed in limit.items()]
        parts.append(_table(rows, ["network alone", "images/s", "s to the first batch"]))
    rows = []
    if "start" in found:
        start = found["start"]
        rows += [[name, f"{start[name]:.2f} s"] for name in start]
        rows += [
            [
                f"first run / second run{words}",
                _ratio(start, f"first run{words}", f"second run{words}"),
            ]
            for words in ("", ", without imports")
        ]
    if "decoding" in found:
        rows += render_decoding(found["decoding"])
    for grid in found.get("heads", ()):
        shape = f"45 values of C, {grid['samples']} x 2048, {grid['classes']} classes"
        rows += [[f"{shape}: {name}", f"{s:.2f} s"] for name, s in grid["seconds"].items()]
        for name in {"45 cold fits", "LogisticRegressionCV"} & grid["seconds"].keys():
            rows.append([f"{shape}: {name} / featx", _ratio(grid["seconds"], name, "featx")])
        rows += [
            [f"{shape}: {name} chose", f"C = {one['C']:.3g}" + _val(one)]
            for name, one in grid["chosen"].items()
        ]
    if "tuning" in found:
        rows += render_tuning(found["tuning"])
    if rows:
        parts.append(_table(rows, ["what", "measured"]))
    return "\n\n".join(parts)


def render_extraction(medians: dict[str, dict[str, float]]) -> str:
    """The table of all ways to the features."""
    base = medians["tutorial"]
    rows = [
        [
            name,
            f"{one['images'] / one['loop']:.1f}",
            f"{base['loop'] / one['loop']:.2f}",
            f"{one['whole']:.1f}",
            f"{base['whole'] / one['whole']:.2f}",
            f"{one['alone'] / one['loop']:.2f}" if "alone" in one else "",
            f"{one['peak MB']:.0f}",
        ]
        for name, one in medians.items()
    ]
    return _table(
        rows,
        [
            "way to the features", "images/s", "times the tutorial's", "whole process, s",
            "times the tutorial's", "of the network alone", "peak memory, MB",
        ],
    )  # fmt: skip


def render_decoding(decoding: dict[str, Any]) -> list[list[str]]:
    """Rows of what a photograph takes, by its size and by what decodes."""
    rows = []
    for size, seconds in decoding["seconds"].items():
        name = f"{size}, {decoding['MB'][size]:.2g} MB each"
        rows += [
            [f"{name}: {way}", f"{1000 * each:.3g} ms a photograph"]
            for way, each in seconds.items()
        ]
        rows.append([f"{name}: pillow / exact", _ratio(seconds, "pillow", "exact")])
        rows += [
            [f"{name}: smallest cosine of features, {way} to pillow", f"{cosine:.5f}"]
            for way, cosine in decoding["smallest cosine"][size].items()
        ]
    rows += [
        [f"12 megapixels, whole loop: {way}", f"{speed:.1f} images/s"]
        for way, speed in decoding["loop"].items()
    ]
    rows += [[f"right on test, {way}", said] for way, said in decoding["accuracy"].items()]
    return rows


def render_tuning(tuning: dict[str, Any]) -> list[list[str]]:
    """Rows for fine-tuning and the linear head."""
    rows, later = [], {}
    for name, one in tuning.items():
        if name == "linear" or not isinstance(one, dict):
            continue
        first, *rest = one["seconds"]
        later[name] = statistics.median(rest)
        losses = ", ".join(f"{split} {loss:.4f}" for split, loss in one["loss"].items())
        rows.append([f"{name}: first epoch, later ones", f"{first:.1f} s, {later[name]:.1f} s"])
        rows.append([f"{name}: losses of the last epoch", losses])
    plain, kept = "layer4", "layer4, prefix cache"
    rows.append(["layer4 / layer4 with the prefix cache, from epoch 2", _ratio(later, plain, kept)])
    head = tuning["linear"]
    baseline = 15 * later["fc"]
    rows.append(
        ["linear: 15 epochs, and the extraction", f"{head['fit']:.2f} s, {head['extract']:.1f} s"]
    )
    rows.append(["15 epochs of fc / of linear", f"{baseline / head['fit']:.0f}"])
    counted = baseline / (head["fit"] + head["extract"])
    rows.append(["15 epochs of fc / of linear and the extraction", f"{counted:.1f}"])
    return rows


def draw(found: dict[str, Any], path: Path) -> None:
    """Images per second of every way as one picture."""
    rows = [
        {"way": name, "images/s": one["images"] / one["loop"], "featx": name.startswith("featx")}
        for name, one in found["extraction"]["medians"].items()
    ]
    fastest_first = [row["way"] for row in sorted(rows, key=lambda row: -row["images/s"])]
    bars = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("images/s:Q").title(f"images/s from files to features; {found['machine']}"),
        y=alt.Y("way:N").sort(fastest_first).title(None),
    )
    colour = alt.Color("featx:N").scale(domain=[True, False], range=["#0072B2", "#9aa5ab"])
    numbers = bars.mark_text(align="left", dx=4).encode(text=alt.Text("images/s:Q").format(".1f"))
    chart = bars.mark_bar().encode(color=colour.legend(None)) + numbers
    chart.properties(width=520).configure_view(stroke=None).save(path, scale_factor=2)


def _table(rows: list[list[str]], headers: list[str]) -> str:
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def _ratio(seconds: dict[str, float], a: str, b: str) -> str:
    return f"{seconds[a] / seconds[b]:.1f}"


def _val(one: dict[str, float]) -> str:
    return f", {100 * one['val']:.1f} % of val" if "val" in one else ""


if __name__ == "__main__":
    main()
