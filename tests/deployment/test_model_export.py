import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shared import CLASSES

from featx.config import SCALINGS
from featx.decoding.decoders import describe_decoder
from featx.deployment import export
from featx.deployment.classifier import read_classifier
from featx.deployment.export import export_model
from featx.deployment.onnx_graph import fold_linear
from featx.deployment.parity import make_pictures
from featx.deployment.predict import predict
from featx.errors import ExportError, OutputExistsError
from featx.finetuning.finetune import finetune
from featx.heads.fit import fit
from featx.heads.search import LinearFit
from featx.machine import has_openvino
from featx.network.engine import TorchEngine
from featx.network.layers import parse_outputs, spell_outputs
from featx.novelty.ranks import load_ranking
from featx.training.model import read_model
from featx.training.scaling import Scaler

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def features(feature_file, photos):
    return feature_file("first:6,1")


@pytest.fixture
def model(features, tmp_path):
    return fit(features, "logreg", C=1.0, output=tmp_path / "m.safetensors").path


def run_onnx(path, pixels):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": pixels})[0]


def featx_says(model, pixels):
    found = read_classifier(model)
    return found.head.predict_proba(TorchEngine(found.weights, "cpu", len(pixels)).run(pixels))


def test_a_scaler_folds_into_the_layer():
    rng = np.random.default_rng(0)
    X, coef, intercept = rng.normal(5, 2, (7, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)
    scaler = Scaler("standard", rng.normal(size=4), rng.uniform(1, 2, 4))
    weight, bias = fold_linear(scaler, LinearFit(coef, intercept), 2.5)
    expected = (((X - scaler.mean) / scaler.scale) @ coef.T + intercept) / 2.5
    shift = X @ weight.T + bias - expected
    assert np.allclose(shift, shift[:, :1])  # the same for all classes, which no softmax sees


@pytest.mark.parametrize(
    ("clf", "scale"),
    [
        pytest.param("logreg", "standard", marks=pytest.mark.full_width),
        ("logreg", "l2"),
        ("logreg", "center-l2"),
        ("linear", "none"),
        ("svm", "none"),
        ("ridge", "auto"),
        ("centroid", "none"),
        ("knn", "none"),
        ("knn", "standard"),
        ("knn", "center-l2"),
        ("imagenet", "none"),
    ],
)
def test_every_head_gives_featxs_probabilities(features, tmp_path, clf, scale):
    model = fit(features, clf, scale=scale, output=tmp_path / "m.safetensors").path
    out = tmp_path / "m.onnx"
    done = export_model(model, onnx=out)
    assert done.difference <= 1e-4
    assert done.written[0].bytes == out.stat().st_size
    pixels = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), np.uint8)
    expected = featx_says(model, pixels)
    for n in (1, 2, 5):
        found = run_onnx(out, pixels[:n])
        assert found.dtype == np.float32
        assert np.abs(found - expected[:n]).max() <= 1e-4
        assert np.allclose(found.sum(1), 1, atol=1e-5)


def test_a_model_that_knows_strangers_has_three_outputs(features, tmp_path):
    model = fit(features, "ridge", strangers=True, output=tmp_path / "m.safetensors")
    openvino = tmp_path / "m.xml" if has_openvino() else None
    done = export_model(model.path, onnx=tmp_path / "m.onnx", openvino=openvino)  # both checked
    told = done.to_dict()["strangers"]
    assert told["score"] == model.outcome.details["strangers"]["score"]
    assert [one["name"] for one in told["outputs"]] == ["stranger_score", "stranger_p"]
    pixels = make_pictures(3, 64)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    probabilities, scores, p_values = session.run(None, {"pixels": pixels})
    assert probabilities.shape == (3, 3)
    assert scores.shape == (3,)
    assert ((p_values >= 1 / 22 - 1e-6) & (p_values <= 1)).all()  # 21 images calibrate it


@pytest.mark.parametrize("scale", ["center-l2", "auto"])
def test_a_scaling_goes_where_the_model_goes(features, photos, tmp_path, scale):
    trained = fit(features, "centroid", scale=scale, output=tmp_path / "m.safetensors")
    kinds = (scale,) if scale != "auto" else SCALINGS
    assert read_classifier(trained.path).head.scaler.kind in kinds
    pictures = sorted(photos.glob("cat/*"))[7:9]
    said = list(predict(trained.path, pictures, engine="torch", top=3))
    assert [one.path for one in said] == [str(path) for path in pictures]
    expected = trained.outcome.probabilities["test"][:2]
    for one, row in zip(said, expected, strict=True):
        assert dict(one.top) == pytest.approx(dict(zip(CLASSES, row, strict=True)), abs=1e-5)


@pytest.mark.parametrize(
    ("clf", "layers", "scale"),
    [
        ("logreg", "max", "none"),
        ("logreg", "all", "standard"),
        ("svm", "last,layer1:max", "l2"),
        ("knn", "avg", "none"),
    ],
)
def test_a_head_on_layers_gives_featxs_probabilities(feature_file, tmp_path, clf, layers, scale):
    features = feature_file("first:6,1", "all")
    path = tmp_path / "m.safetensors"
    model = fit(features, clf, layers=layers, scale=scale, output=path).path
    done = export_model(model, onnx=tmp_path / "m.onnx")
    assert done.difference <= 1e-4
    pixels = make_pictures(3, 64)
    found = read_classifier(model)
    rows = TorchEngine(found.weights, "cpu", 3, layers=found.layers).run(pixels)
    expected = found.head.predict_proba(rows)
    assert np.abs(run_onnx(tmp_path / "m.onnx", pixels) - expected).max() <= 1e-4
    told = {one.key: one.value for one in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert told["layers"] == spell_outputs(parse_outputs(layers))


def test_a_neighbour_at_no_distance_has_all_votes(features, tmp_path):
    model = fit(features, "knn", output=tmp_path / "m.safetensors").path
    export_model(model, onnx=tmp_path / "m.onnx")
    photos = sorted((tmp_path / "photos").glob("*/0[0-5].*"))  # train itself
    from featx.data.images import load_image

    preprocessing = read_classifier(model).weights.preprocessing
    pixels = np.stack([load_image(path, preprocessing) for path in photos])
    found = run_onnx(tmp_path / "m.onnx", pixels)
    assert np.abs(found - featx_says(model, pixels)).max() <= 1e-4


def test_a_fine_tuned_network(stored, photos, tmp_path):
    tuned, _ = finetune(
        photos, split="first:4,2", train="last3", epochs=1, calibrate=True, output=tmp_path / "run"
    )
    done = export_model(tmp_path / "run", onnx=tmp_path / "m.onnx")
    assert (done.kind, done.name, done.difference <= 1e-4) == ("network", "last3", True)
    assert done.strangers == "probability"  # by val, and checked as a head's is
    pixels = make_pictures(3, 64)
    expected = featx_says(tuned.path, pixels)
    assert np.abs(run_onnx(tmp_path / "m.onnx", pixels) - expected).max() <= 1e-4


def test_what_a_file_says_of_itself(model, tmp_path):
    export_model(model, onnx=tmp_path / "m.onnx")
    held = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(held, full_check=True)
    about = {one.key: one.value for one in held.metadata_props}
    assert json.loads(about["classes"]) == list(CLASSES)
    how = json.loads(about["preprocessing"])
    assert (how["resize"], how["crop"], how["interpolation"]) == (72, 64, "bilinear")
    assert (about["backbone"], about["weights"], about["model"]) == (
        "resnet50", "imagenet1k-v1", "head logreg",
    )  # fmt: skip
    assert [(one.domain, one.version) for one in held.opset_import] == [("", 17)]
    (pixels,), (out,) = held.graph.input, held.graph.output
    shapes = [
        [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim]
        for one in (pixels, out)
    ]
    assert shapes == [["n", 64, 64, 3], ["n", 3]]
    first = (tmp_path / "m.onnx").read_bytes()
    export_model(model, onnx=tmp_path / "m.onnx")  # its own file, once more
    assert (tmp_path / "m.onnx").read_bytes() == first


def test_a_file_that_differs_is_not_there(model, tmp_path, monkeypatch):
    build = export.build_graph

    def wrong(*words):
        graph = build(*words)
        for held in graph.graph.initializer:
            if held.name == "head.bias":
                values = onnx.numpy_helper.to_array(held) + np.array([0.01, 0, 0], np.float32)
                held.CopyFrom(onnx.numpy_helper.from_array(values, held.name))
        return graph

    monkeypatch.setattr(export, "build_graph", wrong)
    with pytest.raises(ExportError, match=r"m.onnx: .* other probabilities .* 0.0001 are allowed"):
        export_model(model, onnx=tmp_path / "m.onnx")
    assert not list(tmp_path.glob("*.onnx*"))
    assert not list(tmp_path.glob(".*onnx*"))


def test_refusals(features, model, tmp_path, monkeypatch):
    (tmp_path / "mine.onnx").write_text("mine")
    with pytest.raises(OutputExistsError, match="not a model that featx exported"):
        export_model(model, onnx=tmp_path / "mine.onnx")
    export_model(model, onnx=tmp_path / "mine.onnx", overwrite=True)
    other = fit(features, "ridge", output=tmp_path / "other.safetensors").path
    with pytest.raises(OutputExistsError, match=r"model: \w{12} → \w{12}"):
        export_model(other, onnx=tmp_path / "mine.onnx")
    with pytest.raises(ExportError, match="is a feature file, and --onnx"):
        export_model(features, onnx=tmp_path / "m.onnx")
    monkeypatch.setattr(export, "has_openvino", lambda: True)
    with pytest.raises(ExportError, match=r"name OUT\.xml"):
        export_model(model, openvino=tmp_path / "m.ov")
    monkeypatch.setattr(export, "_MOST_BYTES", 1000)
    with pytest.raises(ExportError, match="an ONNX file has 2 GB at most"):
        export_model(model, onnx=tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ExportError, match=r"--onnx: onnxruntime is not installed; pip install 'featx\[onnx\]'"
    ):
        export_model(model, onnx=tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_openvino(model, tmp_path):
    openvino = pytest.importorskip("openvino")
    done = export_model(model, onnx=tmp_path / "m.onnx", openvino=tmp_path / "m.xml")
    assert [one.path.name for one in done.written] == ["m.onnx", "m.xml", "m.bin"]
    held = openvino.Core().read_model(tmp_path / "m.xml")
    assert json.loads(held.get_rt_info(["featx", "classes"]).value) == list(CLASSES)
    pixels = make_pictures(3, 64)
    found = openvino.Core().compile_model(held, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(pixels)
    assert np.abs(found[0] - featx_says(model, pixels)).max() <= 1e-4
    export_model(model, openvino=tmp_path / "m.xml")
    (tmp_path / "m.xml").unlink()
    with pytest.raises(OutputExistsError, match=r"m\.bin exists"):
        export_model(model, openvino=tmp_path / "m.xml")


def test_the_example_of_the_docs_needs_no_featx(model, photos, tmp_path, empty_home):
    page = (DOCS / "elsewhere.md").read_text("utf-8").partition("## A model without featx")[2]
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    export_model(model, onnx=empty_home / "model.onnx")
    paths = sorted(photos.glob("*/*"))
    blocked = "import sys\nfor name in ('featx', 'torch', 'torchvision', 'sklearn'):\n    "
    (tmp_path / "example.py").write_text(f"{blocked}sys.modules[name] = None\n{code}", "utf-8")
    done = subprocess.run(
        [sys.executable, tmp_path / "example.py", *paths],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    said = [line.split("\t") for line in done.stdout.splitlines()]
    found = np.array([float(probability) for _, _, probability in said])
    learned = read_model(model)
    by_pillow = {**learned.provenance, "decoder": describe_decoder("pillow")}
    for one, most in ((learned, 5e-3), (replace(learned, provenance=by_pillow), 1e-4)):
        expected = list(predict(one, paths))
        assert [(path, label) for path, label, _ in said] == [(p.path, p.label) for p in expected]
        assert np.abs(found - [p.probability for p in expected]).max() <= most


@pytest.mark.parametrize(("given", "expected"), [(None, "1"), ("0", "0")])
def test_onnx_runtime_is_told_to_keep_to_itself(given, expected, monkeypatch, tmp_path):
    """Before it is imported, unless the user has said something."""
    (tmp_path / "onnxruntime.py").write_text("import os\ntold = dict(os.environ)\n")
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    if given is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", given)
    assert export.import_runtime().told["ORT_DISABLE_TELEMETRY"] == expected


def test_what_answers_by_ranks_is_in_the_metadata(features, photos, tmp_path):
    (tmp_path / "tree.csv").write_text("class,kind\ncat,pet\ndog,pet\nowl,\n")
    model = fit(
        features, "centroid", taxonomy=tmp_path / "tree.csv", precision_at_least=0.7,
        output=tmp_path / "m.safetensors",
    ).path  # fmt: skip
    export_model(model, onnx=tmp_path / "m.onnx")
    held = {one.key: one.value for one in onnx.load(tmp_path / "m.onnx").metadata_props}
    told = json.loads(held["ranks"])
    assert told["ranks"] == ["class", "kind"]
    assert told["classes"] == [["cat", "pet"], ["dog", "pet"], ["owl", ""]]
    pixels = make_pictures(5, 64)
    answers = load_ranking(read_model(model)).answer(featx_says(model, pixels))
    for row, answer in zip(run_onnx(tmp_path / "m.onnx", pixels), answers, strict=True):
        said = (None, None)
        for r, rank in reversed(list(enumerate(told["ranks"]))):
            sums = {line[r]: 0.0 for line in told["classes"] if line[r]}
            for line, p in zip(told["classes"], row, strict=True):
                if line[r]:
                    sums[line[r]] += float(p)
            best = max(sums, key=sums.get)
            if told["thresholds"][r] is not None and sums[best] >= told["thresholds"][r] - 1e-6:
                said = (rank, best)
        assert said == (answer.rank, answer.name)
