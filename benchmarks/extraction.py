"""Ways to get 2048 numbers of every image of a folder, a process each, to tell memory apart.

    python benchmarks/extraction.py CASE DATA BEGUN

CASE is a key of CASES; BEGUN is `time.monotonic()` when the process was started. Prints one JSON
object: "whole" (seconds from BEGUN to the last feature), "loop" (seconds from the first image to
the last feature), "images", and for featx "alone", the seconds that the same engine needs for as
many images that are decoded already. All networks have ResNet50's shape; parameters, which change
no time, are random but in featx's own runs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

BATCH = 32
WORKERS = 2


def tutorial(data: Path) -> dict[str, float]:
    """What PyTorch's tutorials teach: ImageFolder, DataLoader with two workers, eager float32."""
    import torch
    import torchvision

    network = torchvision.models.resnet50().eval()
    network.fc = torch.nn.Identity()
    transform = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    return _run_loop(network, _load(data, transform))


def timm(data: Path) -> dict[str, float]:
    """timm as its documentation extracts features, in the tutorial's loop."""
    import timm as package

    network = package.create_model("resnet50", pretrained=False, num_classes=0).eval()
    config = package.data.resolve_model_data_config(network)
    config |= {"input_size": (3, 224, 224)}  # as everyone else here
    return _run_loop(network, _load(data, package.data.create_transform(**config)))


def thingsvision(data: Path) -> dict[str, float]:
    """thingsvision as its documentation has it; a Python of its own runs this."""
    from thingsvision import get_extractor
    from thingsvision.utils.data import DataLoader, ImageDataset

    extractor = get_extractor("resnet50", pretrained=False, device="cpu", source="torchvision")
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        dataset = ImageDataset(
            root=str(data),
            out_path=folder,
            backend=extractor.get_backend(),
            transforms=extractor.get_transformations(),
        )
        batches = DataLoader(dataset, batch_size=BATCH, backend=extractor.get_backend())
        X = extractor.extract_features(batches=batches, module_name="avgpool", flatten_acts=True)
    return {"loop": time.perf_counter() - begun, "images": len(X)}


def bare_openvino(data: Path) -> dict[str, float]:
    """OpenVINO's own conversion and defaults around a loop that decodes one image after another."""
    import openvino
    import torch
    import torchvision

    network = torchvision.models.resnet50().eval()
    network.fc = torch.nn.Identity()
    shape = [BATCH, 3, 224, 224]
    model = openvino.convert_model(network, example_input=torch.zeros(1, 3, 224, 224), input=shape)
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return _decode_and_run(data, lambda pixels: compiled(pixels)[0])


def bare_onnxruntime(data: Path) -> dict[str, float]:
    """torch's export to ONNX and ONNX Runtime's defaults around the same loop."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime
    import torch
    import torchvision

    network = torchvision.models.resnet50().eval()
    network.fc = torch.nn.Identity()
    exported = torch.onnx.export(network, (torch.zeros(BATCH, 3, 224, 224),), dynamo=True)
    session = onnxruntime.InferenceSession(
        exported.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return _decode_and_run(data, lambda pixels: session.run(None, {name: pixels})[0])


def featx(engine: str, precision: str) -> Callable[[Path], dict[str, float]]:
    """featx itself, from nothing to the finished file."""

    def run(data: Path) -> dict[str, float]:
        from featx.extraction import extract as extraction
        from featx.network import engine_choice as engines

        made: list[Any] = []
        make_engine = engines.make_engine
        samples: list[Any] = []

        def keep(weights: Any, sample: Any, **options: Any) -> Any:
            made.append(make_engine(weights, sample, **options))
            samples.append(sample)
            return made[0]

        engines.make_engine = keep  # type: ignore[assignment]
        with tempfile.TemporaryDirectory(dir=".") as folder:
            done = extraction.extract(
                data, output=Path(folder) / "F.h5", engine=engine, precision=precision
            )
        whole = time.monotonic() - BEGUN
        pixels = samples[0](made[0].batch_size)
        begun, batches = time.perf_counter(), 20
        for _ in range(batches):
            made[0].run(pixels)
        alone = (time.perf_counter() - begun) / (batches * len(pixels))
        return {
            "whole": whole,
            "loop": done.images / (done.images_per_second or 1),
            "images": done.images,
            "alone": alone * done.images,
            **{f"stage {name}": seconds for name, seconds in done.stages.items()},
        }

    return run


CASES: dict[str, Callable[[Path], dict[str, float]]] = {
    "tutorial": tutorial,
    "timm": timm,
    "thingsvision": thingsvision,
    "bare openvino": bare_openvino,
    "bare onnxruntime": bare_onnxruntime,
    "featx torch fp32": featx("torch", "fp32"),
    "featx torch bf16": featx("torch", "bf16"),
    "featx openvino fp32": featx("openvino", "fp32"),
    "featx openvino bf16": featx("openvino", "bf16"),
}


def _load(data: Path, transform: Any) -> Iterable[Any]:
    import torch
    import torchvision

    dataset = torchvision.datasets.ImageFolder(str(data), transform)
    return torch.utils.data.DataLoader(dataset, batch_size=BATCH, num_workers=WORKERS)


def _decode_and_run(data: Path, run: Callable[[Any], Any]) -> dict[str, float]:
    """One image decoded after another, then the network: nothing overlaps."""
    import torch
    import torchvision
    from PIL import Image

    transform = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
    paths = sorted(p for p in data.glob("*/*") if p.is_file())
    begun, images = time.perf_counter(), 0
    for start in range(0, len(paths), BATCH):
        here = paths[start : start + BATCH]
        batch = torch.zeros(BATCH, 3, 224, 224)
        for i, path in enumerate(here):
            batch[i] = transform(Image.open(path).convert("RGB"))
        images += len(run(batch.numpy())[: len(here)])
    return {"loop": time.perf_counter() - begun, "images": images}


def _run_loop(network: Any, batches: Iterable[Any]) -> dict[str, float]:
    import torch

    begun, parts = time.perf_counter(), []
    with torch.inference_mode():
        for pixels, _ in batches:
            parts.append(network(pixels))
    return {"loop": time.perf_counter() - begun, "images": len(torch.cat(parts))}


if __name__ == "__main__":
    BEGUN = float(sys.argv[3])
    found = CASES[sys.argv[1]](Path(sys.argv[2]))
    found.setdefault("whole", time.monotonic() - BEGUN)
    print(json.dumps(found))  # noqa: T201
    sys.stdout.flush()
    os._exit(0)  # what libraries do at their end belongs to nobody's time
