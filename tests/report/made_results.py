"""A comparison that never happened, in the form of results.json, and images to label next."""

from __future__ import annotations

import base64
import io
import random

from made_features import make_features
from PIL import Image, ImageDraw
from shared import PROVENANCE

from featx.labelling.forecast import Forecast, Gain
from featx.labelling.next import NextImages, Proposal

CLASSES = ["badger", "bear", "cormorant", "giraffe", "hawk", "otter", "owl", "zebra"]
SPLITS = {"train": 480, "val": 80, "test": 283}
# (name, kind, accuracy on test, seconds of fit)
CANDIDATES = (
    ("logreg", "frozen", 0.975, 0.41),
    ("linear head", "frozen", 0.965, 2.13),
    ("last layer", "finetuned", 0.958, 212.0),
    ("last stage", "finetuned", 0.982, 618.0),
)

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "$x^2",
    "{{7*7}}",
    "\u202egnp.exe",
    "a\n<b>b</b>\u2028",
    "'; alert(3); '",
]


def make_picture(seed=0, side=96):
    """A small JPEG as a data: URI."""
    rng = random.Random(seed)
    image = Image.new("RGB", (side, side * 3 // 4), tuple(rng.randrange(90, 230) for _ in "rgb"))
    draw = ImageDraw.Draw(image)
    for _ in range(5):
        x, y, r = rng.randrange(side), rng.randrange(side), rng.randrange(8, 30)
        draw.ellipse(
            (x - r, y - r, x + r, y + r), fill=tuple(rng.randrange(30, 250) for _ in "rgb")
        )
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def make_evaluation(rng, accuracy, total, n):
    sizes = [total // n + (i < total % n) for i in range(n)]
    confusion = [[0] * n for _ in range(n)]
    for i, size in enumerate(sizes):
        for _ in range(size):
            right = rng.random() < accuracy
            confusion[i][i if right else (i + rng.choice((1, 1, 2))) % n] += 1
    return {
        "log_loss": 1.3 - accuracy,
        "macro_f1": accuracy - 0.004,
        "top5": 0.996 if n > 5 else None,
        "mean_per_class_ci95": [accuracy - 0.02, accuracy + 0.012],
        "ece": 0.021,
        "bins": [
            {
                "low": k / 10,
                "high": (k + 1) / 10,
                "count": 4 + 3 * k * k,
                "confidence": k / 10 + 0.06,
                "accuracy": min(1, k / 10 + 0.01 + 0.05 * rng.random()),
            }
            for k in range(3, 10)
        ],
        "per_class": [
            {
                "correct": confusion[i][i],
                "total": size,
                "ci95": [
                    max(0, confusion[i][i] / size - 0.14),
                    min(1, confusion[i][i] / size + 0.03),
                ]
                if size
                else None,
            }
            for i, size in enumerate(sizes)
        ],
        "confusion": confusion,
    }


def make_candidate(rng, name, kind, accuracy, fit, n):
    tuned = kind == "finetuned"
    scores = {"train": 0.999, "val": accuracy - 0.006, "test": accuracy}
    history = [
        {
            "epoch": epoch,
            "seconds": fit / 15,
            "decode": 0.1 * fit / 15 if tuned else None,
            "network": 0.88 * fit / 15 if tuned else None,
            "loss": {
                s: a + 2.2 * 0.7**epoch for s, a in zip(SPLITS, (0.01, 0.11, 0.09), strict=True)
            },
            "accuracy": {s: v - 0.3 * 0.6**epoch - 0.004 * rng.random() for s, v in scores.items()},
        }
        for epoch in range(1, 16)
    ]
    return {
        "name": name,
        "kind": kind,
        "model": f"models/{name}.safetensors",
        "accuracy": scores,
        "counts": {
            s: {"correct": round(scores[s] * total), "total": total} for s, total in SPLITS.items()
        },
        "ci95": {s: [v - 0.025, min(1, v + 0.012)] for s, v in scores.items()},
        "mean_per_class": scores,
        "evaluation": {s: make_evaluation(rng, scores[s], SPLITS[s], n) for s in ("val", "test")},
        "temperature": 1.32,
        "chosen": {"value": 0.0178, "name": "C", "by": "val"} if name == "logreg" else None,
        "seconds": {
            "extract": None if tuned else 40.0,
            "decode": 0.1 * fit if tuned else 6.2,
            "network": 0.88 * fit if tuned else 32.4,
            "fit": fit,
        },
        "seconds_per_epoch": None if name == "logreg" else fit / 15,
        "trainable_parameters": 23_528_522 if tuned else 2049 * n,
        "kept_bytes": 94_000_000 if tuned else 66_000,
        "history": [] if name == "logreg" else history,
        "best_epoch": None if name == "logreg" else 11,
        "seeds": {
            "n": 5,
            "accuracy": {"test": {"mean": 0.968, "sd": 0.004, "min": 0.96, "max": 0.97}},
        }
        if name == "linear head"
        else None,
    }


def make_strangers():
    def count(right, total):
        return {"count": right, "total": total, "ci95": [right / total - 0.03, right / total]}

    return {
        "candidate": "logreg",
        "coverage": [
            {
                "by": by,
                "points": [{"coverage": k / 20, "accuracy": 1 - lost * k * k / 9000}
                           for k in range(1, 21)],
            }
            for by, lost in (("vim", 1.1), ("probability", 0.6))
        ],
        "refused": [{"rate": 0.05, "refused": count(14, 283), "answered": count(264, 269)}],
        "sets": [
            {"coverage": 0.9, "covered": count(258, 283), "size": 1.02, "single": 200, "empty": 3,
             "own": 7, "floor": 99}
        ],
        "sentences": ["logreg, strangers: vim tells a class that was left out."],
    }  # fmt: skip


def make_evidence(classes):
    """Where evidence lies, and one class that a corner decides."""
    shares = {"images": 30, "corners": 0.07, "border": 0.31, "centre": 0.62}
    zones = [{"label": name, **shares} for name in (*classes, "")]
    text = f"{classes[0]} may be decided by its pictures' top left corner."
    shortcut = {"label": classes[0], "row": 0, "column": 0, "count": 20, "images": 30}
    return {"zones": zones, "shortcuts": [{**shortcut, "text": text}], "text": text}


def make_results(classes=CLASSES, dataset="Caltech-256 animals", points=120, prefix="", seed=1):
    """Results and pictures; every third class' pictures are missing."""
    rng = random.Random(seed)
    n = len(classes)
    names = [name for name, *_ in CANDIDATES]

    def make_image(i, wrong):
        truth = classes[i % n]
        return {
            "path": f"{prefix}{truth}/{i:04}.jpg",
            "truth": truth,
            "predicted": classes[(i + 1) % n] if wrong else truth,
        }

    places = []
    for i in range(points):
        angle = 6.283 * (i % n) / n
        place = {
            "x": 9 * (1 + i % 2) * (1 if angle < 3.14 else -1) + rng.gauss(0, 1.3),
            "y": 4 * (i % n) + rng.gauss(0, 1.3),
        }
        places.append(make_image(i, i % 29 == 7) | place)
    examples = [make_image(i, False) | {"probability": 0.99 - i / 80} for i in range(12)]
    mistakes = [make_image(i, True) | {"probability": 0.97 - i / 50} for i in range(4)]
    results = {
        "dataset": {
            "name": dataset,
            "root": f"/data/{prefix}animals",
            "split": "first:60,10",
            "images": dict(SPLITS),
            "skipped": 2,
            "fingerprint": "5b1c" * 16,
        },
        "classes": list(classes),
        "features": {
            "backbone": "resnet50",
            "weights": "imagenet1k-v2",
            "weights_sha256": "11ad3fa6" * 8,
            "preprocessing": {"resize": 232, "crop": 224, "interpolation": "bilinear"},
            "decoder": "Pillow 12.3",
            "colours": "RGB",
            "engine": "openvino 2026.2",
            "precision": "f32",
            "storage": "float32",
        },
        "options": {"epochs": 15, "seed": 0, "finetune": ["fc", "layer4"], "learning": True},
        "command": [f"featx compare '/data/{prefix}animals' --split first:60,10 --finetune layer4"],
        "machine": "AMD EPYC 7R13, 2 cores, 8 GB",
        "versions": {"featx": "0.1.0", "torch": "2.10.0", "scikit-learn": "1.8.0"},
        "best": "last stage",
        "report": "report.html",
        "verdict": {
            "choose": "logreg",
            "best": "last stage",
            "level": ["logreg", "linear head"],
            "sentences": [
                "Choose logreg: it is level with the best on these 283 test images and costs "
                "39 seconds instead of 618.",
                "last stage is best on val, but 2 images in 283 do not tell the two apart.",
            ],
        },
        "notes": ["val chose C and the epoch; test chose nothing.", "Fit is in seconds."],
        "cost": {"sentences": ["Fine-tuning the last stage costs 16 times as much as logreg."]},
        "candidates": [make_candidate(rng, *one, n) for one in CANDIDATES],
        "paired": [
            {
                "a": a,
                "b": b,
                "only_a": 3,
                "only_b": 5,
                "p_value_raw": 0.7,
                "p_value": 1.0,
                "text": f"{a} and {b}: 8 of 283 test images are right with one of them alone "
                f"(3 with {a}, 5 with {b}), p = 1: not distinguishable.",
            }
            for i, a in enumerate(names)
            for b in names[i + 1 :]
        ],
        "learning": {
            "draws": 5,
            "sentence": "With 10 images per class logreg reaches what last layer reaches with 60.",
            "points": [
                {
                    "name": name,
                    "per_class": per_class,
                    "images": per_class * n,
                    "all": per_class == 60,
                    "accuracies": [1 - lost / per_class**0.6] * 5,
                    "mean": 1 - lost / per_class**0.6,
                    "low": 1 - 1.25 * lost / per_class**0.6,
                    "high": 1 - 0.8 * lost / per_class**0.6,
                }
                for name, lost in (("logreg", 0.3), ("linear head", 0.38))
                for per_class in (1, 2, 5, 10, 20, 60)
            ],
        },
        "strangers": make_strangers(),
        "exhibits": {"candidate": "logreg", "examples": examples, "mistakes": mistakes},
        "map": {"method": "t-SNE", "candidate": "logreg", "points": places},
        "known": {"classes": {"zebra": "zebra", "otter": "otter"}},
        "evidence": make_evidence(classes),
    }
    shown = {one["path"]: one["truth"] for one in (*examples, *mistakes, *places)}
    pictures = {
        path: make_picture(i)
        for i, (path, truth) in enumerate(shown.items())
        if classes.index(truth) % 3 != 2
    }
    return results, pictures


def make_least(classes=("no", "yes")):
    """Results with as little in them as a comparison may have."""
    results, _ = make_results(classes)
    del results["dataset"]["images"]["val"]
    for candidate in results["candidates"]:
        for key in ("accuracy", "counts", "ci95", "mean_per_class"):
            candidate[key] = {"test": candidate[key]["test"]}
        del candidate["evaluation"], candidate["temperature"]
        candidate["seconds"] = {"extract": None, "decode": None, "network": None, "fit": 0.2}
        candidate |= {"history": [], "best_epoch": None, "seeds": None}
    results["candidates"] = results["candidates"][:1]
    for key in ("verdict", "notes", "cost", "command", "versions", "known"):
        del results[key]
    return results | {
        "paired": [],
        "learning": None,
        "exhibits": None,
        "strangers": None,
        "map": None,
        "best": "logreg",
        "evidence": None,
    }


def make_hostile():
    """Results whose every name would like to be markup, a command or another line."""
    results, pictures = make_results(HOSTILE, HOSTILE[1], prefix=HOSTILE[0])
    for i, candidate in enumerate(results["candidates"]):
        candidate["name"] = HOSTILE[i]
    results |= {"best": HOSTILE[0], "notes": HOSTILE, "command": HOSTILE}
    results["verdict"] = {"choose": HOSTILE[1], "sentences": HOSTILE}
    results["exhibits"]["candidate"] = HOSTILE[2]
    results["strangers"] |= {"candidate": HOSTILE[0], "sentences": HOSTILE}
    results["paired"][0]["text"] = results["evidence"]["shortcuts"][0]["text"] = HOSTILE[0]
    for point in results["learning"]["points"]:
        point["name"] = HOSTILE[2]
    return results, pictures


TOLD = Forecast(
    100, 50, ((20, 0.8), (80, 0.9)), 320, 0.91, 0.95,
    (Gain(150, 0.02, (0.01, 0.03)), Gain(200, 0.03, (0.0, 0.05))), 240,
)  # fmt: skip


def make_next():
    """Twelve images to label next, and what fifty labels would bring."""
    held = make_features(PROVENANCE)
    images = tuple(Proposal(f"{k}.jpg", f"{k:064x}", "a", 0.4) for k in range(12))
    return NextImages(
        held, held, "uncertainty", 100, 40, 4, images, TOLD, "test", ("A note.",), 1.5
    )
