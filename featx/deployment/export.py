"""A trained model as one file for other runtimes, checked against featx before it is there."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.config import BACKBONE, LAST_LAYER
from featx.deployment.classifier import Classifier, read_classifier
from featx.deployment.onnx_graph import INPUT, OPSET, OUTPUT, build_graph, estimate_head
from featx.deployment.onnx_strangers import STRANGER
from featx.deployment.parity import TOLERANCE, Run, ask_featx, check_runtime
from featx.errors import ExportError, OutputExistsError
from featx.features.export import Written
from featx.features.file import is_feature_file
from featx.heads.head import read_layers
from featx.machine import has_openvino
from featx.multilabel.head import LabelsHead
from featx.network.backbone import FrozenBackbone, build_network, flush_denormals
from featx.network.layers import parse_layers
from featx.network.openvino_engine import import_openvino
from featx.novelty.detector import Detector, load_detector, tells_strangers
from featx.novelty.ranks import keeps_ranks, load_ranking
from featx.storage.files import (
    as_path,
    check_space,
    explain_full,
    hash_json,
    resolve_output,
    take_path,
    write_whole,
)
from featx.training.model import read_model

_MOST_BYTES = 2**31 - 2**20  # protobuf's limit, with room for names


@dataclass(frozen=True)
class Deployment:
    """What an export of a model did.

    Attributes
    ----------
    model : Path
    kind : {"head", "network", "multilabel"}
    name : str
        The head's (``--clf``) or the part that was trained (``--train``).
    classes : tuple of str
    shape : tuple of (str, int, int, int)
        Of the input: n, height, width, 3.
    opset : int
        Of ONNX.
    difference : float
        Largest absolute difference of a probability from featx's own.
    pictures : int
        That it was found on.
    written : tuple of Written
    seconds : float
    strangers : str or None
        The score that tells them, where the model has one: then there are the outputs `STRANGER`,
        too.
    """

    model: Path
    kind: str
    name: str
    classes: tuple[str, ...]
    shape: tuple[str, int, int, int]
    opset: int
    difference: float
    pictures: int
    written: tuple[Written, ...]
    seconds: float
    strangers: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx export --json`` of a model."""
        written = [{**asdict(one), "path": str(one.path)} for one in self.written]
        return {
            "model": str(self.model),
            "kind": self.kind,
            "train" if self.kind == "network" else "clf": self.name,
            "classes": list(self.classes),
            "input": {"name": INPUT, "dtype": "uint8", "shape": list(self.shape)},
            "output": {"name": OUTPUT, "dtype": "float32", "shape": ["n", len(self.classes)]},
            **({} if self.strangers is None else {"strangers": self._describe_strangers()}),
            "opset": self.opset,
            "check": {
                "pictures": self.pictures,
                "max_difference": self.difference,
                "tolerance": TOLERANCE,
            },
            "written": written,
            "seconds": self.seconds,
        }

    def _describe_strangers(self) -> dict[str, Any]:
        outputs = [{"name": name, "dtype": "float32", "shape": ["n"]} for name in STRANGER]
        return {"score": self.strangers, "outputs": outputs}


def export_model(
    model: str | Path,
    *,
    onnx: str | Path | None = None,
    openvino: str | Path | None = None,
    weights: str | None = None,
    overwrite: bool = False,
) -> Deployment:
    """Write a model and its network as one file, from pixels to probabilities.

    The input is (n, crop, crop, 3) uint8 RGB, resized and cropped; normalising, network, scaling,
    head and temperature are inside. The file says which classes it knows and how images are to be
    prepared; see `describe_model`. It is there only if its probabilities of some made-up pictures,
    in batches of one and of several, are featx's own to `TOLERANCE`.

    Parameters
    ----------
    model : path
        Of ``featx fit`` or ``featx finetune``.
    onnx : path, optional
        OUT.onnx, under ONNX Runtime.
    openvino : path, optional
        OUT.xml, with OUT.bin beside it, under OpenVINO.
    weights : str, optional
        See `read_classifier`.
    overwrite : bool
        Replace outputs that hold something else.

    Returns
    -------
    Deployment

    Raises
    ------
    ModelError, WeightsError
        See `read_classifier`.
    ExportError
        A package is missing, the model is a feature file or too large, or the written file gives
        other probabilities.
    OutputExistsError
        An output holds something else and `overwrite` is False.
    StorageError
        No room.
    """
    begun = time.perf_counter()
    onnx, openvino = as_path(onnx), as_path(openvino)
    _check_packages(onnx, openvino)
    if is_feature_file(take_path(model, "model")):
        raise ExportError(
            f"{model} is a feature file, and --onnx and --openvino are for models: featx fit makes "
            "one of it"
        )
    trained = read_model(Path(model))
    places = _list_places(onnx, openvino)
    classifier = read_classifier(trained, weights)
    about = describe_model(classifier)
    _claim(onnx, openvino, about["identity"], overwrite)
    detector = load_detector(trained) if tells_strangers(trained) else None
    expected = ask_featx(classifier, detector)
    data = _serialise(classifier, about, detector)
    differences: list[float] = []
    for place in places:
        check_space(place, len(data), len(data))
    with contextlib.ExitStack() as stack:
        for place in places:
            stack.enter_context(explain_full(place, len(data), "nothing was written"))
        if onnx is not None:
            temporary = stack.enter_context(write_whole(places[0]))
            temporary.write_bytes(data)
            differences.append(check_runtime(onnx, _open_onnx(temporary), expected))
        if openvino is not None:
            xml, weights_file = (stack.enter_context(write_whole(place)) for place in places[-2:])
            run = _write_openvino(data, about, xml, weights_file)
            differences.append(check_runtime(openvino, run, expected))
    kinds = ["onnx"] * (onnx is not None) + ["openvino", "openvino weights"] * (
        openvino is not None
    )
    crop = classifier.weights.preprocessing.crop
    return Deployment(
        model=Path(model),
        kind=trained.kind,
        name=trained.name,
        classes=trained.classes,
        shape=("n", crop, crop, 3),
        opset=OPSET,
        difference=max(differences),
        pictures=len(expected.pixels),
        strangers=None if detector is None else detector.name,
        written=tuple(
            Written(kind, path, path.stat().st_size)
            for kind, path in zip(kinds, places, strict=True)
        ),
        seconds=time.perf_counter() - begun,
    )


def describe_model(classifier: Classifier) -> dict[str, str]:
    """What a written file says of itself, for whoever runs it without featx.

    ``classes`` is a JSON list, in the order of the probabilities; ``preprocessing`` a JSON object:
    resize (length of the short side), crop (side of the square in the middle), interpolation
    (Pillow's name, with antialiasing), and layout in words. ``weights`` and ``weights_sha256``
    name the network's parameters, ``model`` what was trained, ``thresholds``, a JSON list, from
    which probability on each of several labels is said of an image, and where they are not the last
    layer's averages ``layers`` which of the network's outputs it reads. ``ranks`` is a JSON object
    of a model with a taxonomy: see `Ranking.to_dict`. ``identity`` is a hash of what decided it
    all.
    """
    trained, preprocessing = classifier.model, classifier.weights.preprocessing
    learned = trained.provenance
    return {
        "classes": json.dumps(list(trained.classes)),
        "preprocessing": json.dumps(
            {
                "resize": preprocessing.resize,
                "crop": preprocessing.crop,
                "interpolation": preprocessing.interpolation,
                "input": "uint8 RGB, (n, height, width, 3); normalised inside",
            }
        ),
        "backbone": str(learned.get("backbone", BACKBONE)),
        "weights": str(learned["weights"]),
        "weights_sha256": str(learned["weights_sha256"]),
        "model": f"{trained.kind} {trained.name}",
        **({} if classifier.layers == LAST_LAYER else {"layers": read_layers(trained)}),
        **_describe_thresholds(classifier),
        **({"ranks": json.dumps(load_ranking(trained).to_dict())} if keeps_ranks(trained) else {}),
        "identity": hash_json([trained.recipe, learned, list(trained.classes)]),
    }


def _describe_thresholds(classifier: Classifier) -> dict[str, str]:
    head = classifier.head
    if not isinstance(head, LabelsHead):
        return {}
    return {"thresholds": json.dumps(head.thresholds.tolist())}


def _serialise(classifier: Classifier, about: dict[str, str], detector: Detector | None) -> bytes:
    """The ONNX file's bytes."""
    weights = classifier.weights
    held = estimate_head(classifier.head) + sum(tensor.nbytes for tensor in weights.state.values())
    if detector is not None:
        held += 2 * sum(array.nbytes for array in detector.to_arrays().values())
    if held > _MOST_BYTES:
        raise ExportError(
            f"{classifier.model.path}: an ONNX file has 2 GB at most, and this {about['model']} "
            f"would take {held / 1e9:.1f}: fit a linear head (logreg, linear, svm, ridge, centroid)"
        )
    network = build_network(weights.state, weights.stride_in_1x1, weights.backbone)
    backbone = FrozenBackbone(network, weights.preprocessing, parse_layers(classifier.layers))
    graph = build_graph(backbone, classifier.head, weights.preprocessing.crop, about, detector)
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def import_runtime() -> Any:
    """ONNX Runtime, told not to send statistics of use, unless the user has said otherwise.

    From 1.29 on it looks up a host and opens connections from threads of its own, from the moment
    that it is imported. Beside telling on the user, their loading of libraries can meet
    threadpoolctl's and stand still for ever.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _open_onnx(path: Path) -> Run:
    onnxruntime = import_runtime()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.floating]]:
        return [np.asarray(one, np.float64) for one in session.run(None, {INPUT: pixels})]

    return run


def _write_openvino(data: bytes, about: dict[str, str], xml: Path, weights: Path) -> Run:
    """Convert the ONNX file to OpenVINO's two, and open them."""
    openvino = import_openvino()
    with tempfile.TemporaryDirectory(dir=xml.parent, prefix=".featx-") as made:
        folder = Path(made)
        (folder / "model.onnx").write_bytes(data)
        core = openvino.Core()
        model = core.read_model(folder / "model.onnx")
        for key, value in about.items():
            model.set_rt_info(value, ["featx", key])
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
        del model
        with flush_denormals():  # see featx.network.openvino_engine
            compiled = core.compile_model(
                folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
            )
        os.replace(folder / "model.xml", xml)  # noqa: PTH105
        os.replace(folder / "model.bin", weights)  # noqa: PTH105

    def run(pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.floating]]:
        return [np.array(one, np.float64) for one in compiled(pixels).to_tuple()]

    return run


def _check_packages(onnx: Path | None, openvino: Path | None) -> None:
    if onnx is None and openvino is None:
        raise ExportError("nothing to write: name OUT.onnx, OUT.xml, or both")
    if openvino is not None and not has_openvino():
        raise ExportError(
            "--openvino: OpenVINO is not installed; pip install 'featx[openvino,onnx]'"
        )
    for name in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            option = "--onnx" if onnx is not None else "--openvino"
            raise ExportError(f"{option}: {name} is not installed; pip install 'featx[onnx]'")


def _list_places(onnx: Path | None, openvino: Path | None) -> list[Path]:
    """Where all files really are: OUT.onnx, OUT.xml, OUT.bin."""
    if openvino is not None and openvino.suffix != ".xml":
        raise ExportError(f"{openvino}: OpenVINO reads .xml, with .bin beside it; name OUT.xml")
    named = [] if onnx is None else [onnx]
    named += [] if openvino is None else [openvino, openvino.with_suffix(".bin")]
    places = [resolve_output(path) for path in named]
    if len({path.resolve() for path in places}) < len(places):
        raise ExportError(f"{named[0]} would be written over another file of this export")
    return places


def _claim(onnx: Path | None, openvino: Path | None, identity: str, overwrite: bool) -> None:
    """Raise OutputExistsError where an output is there and not this model's."""
    if overwrite:
        return
    if onnx is not None and onnx.exists():
        _compare(onnx, _read_onnx_identity(onnx), identity)
    if openvino is not None:
        beside = openvino.with_suffix(".bin")
        if openvino.exists():
            _compare(openvino, _read_openvino_identity(openvino), identity)
        elif beside.exists():
            _compare(beside, None, identity)


def _compare(path: Path, found: str | None, identity: str) -> None:
    if found is None:
        raise OutputExistsError(path, ("not a model that featx exported",))
    if found != identity:
        raise OutputExistsError(path, (f"model: {found[:12]} → {identity[:12]}",))


def _read_onnx_identity(path: Path) -> str | None:
    import onnx

    try:
        held = onnx.load(path, load_external_data=False)
    except Exception:  # of protobuf's, which are of no one kind
        return None
    return {one.key: one.value for one in held.metadata_props}.get("identity")


def _read_openvino_identity(path: Path) -> str | None:
    import openvino

    try:
        value = openvino.Core().read_model(path).get_rt_info(["featx", "identity"])
        return str(value.value)
    except RuntimeError:
        return None
