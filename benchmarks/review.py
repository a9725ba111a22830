"""The review page of featx audit, in real browsers: what its suggestions mend, and how fast it is.

    python benchmarks/review.py DIR [--seeds 3] [--rows 10000] [--browsers chromium,firefox]
        [--cache-dir CACHE]

DIR is DIR/<class>/*. For each seed 5 % of all labels become another class at random; the page of
the audit is opened in Chromium from disk, every suggestion for a label is taken by its key,
corrections.csv is saved, and it is counted how many labels are right before and after. Then
`--labels` is timed on a feature file of so many rows of random numbers, 5 % of them corrected.
Last, a page of so many suspected labels with drawn pictures is opened: seconds to the first
picture, milliseconds from a key to the next picture, memory of the tab's process (proportional set
size). Firefox is spoken to by WebDriver BiDi, which needs the package websockets (the extra
featx[bench]). Prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import re
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from firefox import start_firefox
from PIL import Image
from playwright.sync_api import sync_playwright

from featx.auditing.audit import Audit, audit
from featx.auditing.findings import Finding
from featx.config import TORCHVISION_V1
from featx.extraction.extract import extract
from featx.features.content import Features
from featx.features.corrections import CORRECTION_COLUMNS, correct_labels
from featx.features.file import read_features, write_features
from featx.features.provenance import Provenance
from featx.machine import describe_machine
from featx.report.audit import write_audit_page

FLIPPED = 0.05
KEYS = 200  # that are timed
DRAWN = 200  # pictures of the large page; each lies there under many names
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
# From the beginning of the navigation to the frame after the first picture is decoded: the page may
# still be loading then.
WATCH = """() => {
  const look = () => {
    const image = document.querySelector("#review-first img");
    if (!(image && image.complete && image.naturalWidth)) return setTimeout(look, 5);
    image.decode().then(() => requestAnimationFrame(() => {
      window.firstPicture = performance.now();
    }));
  };
  look();
}"""
FIRST = """(async () => {
  while (!window.firstPicture) await new Promise((done) => setTimeout(done, 20));
  return window.firstPicture;
})()"""
# From a key to its picture, decoded, in the next frame.
NEXT = f"""(async () => {{
  const image = document.querySelector("#review-first img"), found = [];
  for (let i = 0; i < {KEYS}; i++) {{
    await new Promise((done) => setTimeout(done, 30));
    const began = performance.now(), key = i % 2 ? "s" : "ArrowRight";
    document.body.dispatchEvent(new KeyboardEvent("keydown", {{ key, bubbles: true }}));
    await image.decode();
    await new Promise((done) => requestAnimationFrame(done));
    found.push(performance.now() - began);
  }}
  return found.join();
}})()"""


def flip_labels(root: Path, seed: int, manifest: Path) -> dict[str, str]:
    """Write a manifest with flipped labels; returns the right ones."""
    rng = np.random.default_rng(seed)
    truth = {
        path.relative_to(root).as_posix(): path.parent.name for path in sorted(root.glob("*/*"))
    }
    classes, paths = sorted(set(truth.values())), list(truth)
    labels = dict(truth)
    for path in rng.choice(paths, round(FLIPPED * len(paths)), replace=False).tolist():
        labels[path] = str(rng.choice([name for name in classes if name != truth[path]]))
    splits = rng.choice(["train", "val", "test"], len(paths), p=[0.7, 0.1, 0.2]).tolist()
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows([p, labels[p], s] for p, s in zip(paths, splits, strict=True))
    return truth


def count_right(features: Features, truth: dict[str, str]) -> float:
    """The share of images whose label is the right one."""
    pairs = zip(features.paths.tolist(), features.targets.tolist(), strict=True)
    return statistics.mean(features.classes[k] == truth[path] for path, k in pairs)


def take_suggestions(root: Path, seed: int, folder: Path, cache: Path) -> dict[str, Any]:
    """Audit flipped labels, take what the page suggests in Chromium, and count."""
    manifest, page = folder / "manifest.csv", folder / "audit.html"
    truth = flip_labels(root, seed, manifest)
    done = extract(manifest, root=root, cache_dir=cache)
    found = audit(done.features, root=root)
    write_audit_page(found, page)
    n_asked = sum(one.kind == "label" for one in found.findings)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        view = browser.new_page()
        view.goto(page.as_uri())
        for _ in range(n_asked):
            view.keyboard.press("s")
        with view.expect_download() as saving:
            view.locator("#review-save").click()
        saving.value.save_as(folder / "corrections.csv")
        browser.close()
    features = read_features(done.features)
    corrected = correct_labels(features, folder / "corrections.csv")
    return {
        "seed": seed,
        "images": len(truth),
        "asked": n_asked,
        "right_before": count_right(features, truth),
        "right_after": count_right(corrected, truth),
    }


def make_rows(n: int) -> Features:
    """Random features of ten classes."""
    rng = np.random.default_rng(0)
    made = Provenance(
        backbone="resnet50", weights="random", weights_sha256="0" * 64,
        preprocessing=TORCHVISION_V1.to_dict(), decoder="pillow", colours="rgb", engine="none 0",
        precision="fp32", storage="float32",
    )  # fmt: skip
    return Features(
        X=rng.normal(0, 1, (n, 2048)).astype(np.float32),
        targets=np.arange(n) % 10,
        splits=np.array(["train", "val", "test"])[np.arange(n) // 10 % 3],
        paths=np.array([f"{i % 10}/{i:06d}.jpg" for i in range(n)]),
        hashes=np.array([f"{i:064x}" for i in range(n)]),
        classes=tuple("0123456789"),
        provenance=made,
        dataset="rows",
        split_rule="manifest",
    )


def time_labels(n: int, folder: Path) -> dict[str, float]:
    """Seconds from a feature file and corrections to features that a head can learn from."""
    write_features(make_rows(n), folder / "F.h5")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CORRECTION_COLUMNS)
        for i in range(0, n, round(1 / FLIPPED)):
            writer.writerow([f"{i:064x}", "", i % 10, "is", (i + 1) % 10, "label"])
    started = time.perf_counter()
    features = correct_labels(read_features(folder / "F.h5"), folder / "rows.csv")
    return {
        "rows": n,
        "changed": features.corrected.changed,
        "seconds": time.perf_counter() - started,
    }


def draw_page(n: int, folder: Path) -> Path:
    """The page of so many suspected labels, with pictures that are drawn."""
    root, rng = folder / "drawn", np.random.default_rng(1)
    made = replace(make_rows(n), X=np.zeros((n, 1), np.float32))
    drawn = []
    for _ in range(DRAWN):
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        file = io.BytesIO()
        small.resize((320, 240), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
        drawn.append(file.getvalue())
    for i, path in enumerate(made.paths.tolist()):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(drawn[i % DRAWN])
    findings = tuple(
        Finding("label", path, split, path[0], 0.01, suggested=str((int(path[0]) + 1) % 10))
        for path, split in zip(made.paths.tolist(), made.splits.tolist(), strict=True)
    )
    found = Audit(
        features=made, root=root, looked=n, judged=n, layers="last", findings=findings, leak=None,
        classes={}, rare=(), notes=(), seconds=0.0,
    )  # fmt: skip
    return write_audit_page(found, folder / "large.html")


def read_memory(pids: list[int]) -> int:
    """Bytes of the largest of some processes, what is shared being shared out."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return max(1024 * int(re.search(r"^Pss: +(\d+)", text, re.M)[1]) for text in texts)


def measure_chromium(page: Path) -> dict[str, Any]:
    """How the page does in Chromium."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        view = browser.new_page()
        view.add_init_script(f"({WATCH})()")
        view.goto(page.as_uri())
        first, keys = view.evaluate(FIRST), view.evaluate(NEXT)
        running = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
        tabs = [one["id"] for one in running["processInfo"] if one["type"] == "renderer"]
        memory = read_memory(tabs)
        browser.close()
    return summarise(first, keys, memory)


def list_tabs(firefox: int) -> list[int]:
    """The processes that show Firefox's tabs."""
    mine = re.compile(rf"-isForBrowser\s.*-parentPid\s{firefox}\s")
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mine.search(path.read_text().replace("\0", " ")):
                found.append(int(path.parent.name))
    return found


def measure_firefox(page: Path, folder: Path) -> dict[str, Any]:
    """How the page does in Firefox."""
    with start_firefox(folder) as firefox:
        firefox.open(page, WATCH)
        first, keys = firefox.evaluate(FIRST), firefox.evaluate(NEXT)
        memory = read_memory(list_tabs(firefox.pid))
    return summarise(first, keys, memory)


def summarise(first: float, keys: str, memory: int) -> dict[str, Any]:
    each = [float(one) for one in keys.split(",")]
    return {
        "first_picture_s": first / 1000,
        "key_ms": {"median": statistics.median(each), "p95": float(np.quantile(each, 0.95))},
        "tab_mb": memory / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--browsers", default="chromium,firefox")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": describe_machine()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result["taken"] = [
            take_suggestions(options.data, seed, folder, options.cache_dir or folder / "cache")
            for seed in range(options.seeds)
        ]
        result["labels"] = time_labels(options.rows, folder)
        page = draw_page(options.rows, folder)
        result["page_mb"] = page.stat().st_size / 1e6
        if "chromium" in options.browsers:
            result["chromium"] = measure_chromium(page)
        if "firefox" in options.browsers:
            result["firefox"] = measure_firefox(page, folder)
    print(json.dumps(result, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
