"""The network under OpenVINO: torch's numbers wherever a row stands, and no reports of use."""

import subprocess
import sys

import numpy as np
import pytest

from featx.errors import DeviceError
from featx.network.engine import TorchEngine

pytest.importorskip("openvino")

from featx.network import openvino_engine
from featx.network.openvino_engine import OpenVinoEngine

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 64, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def there(monkeypatch):
    monkeypatch.setattr(openvino_engine, "has_openvino", lambda: True)


def test_it_gives_torchs_features(tiny_weights):
    found = OpenVinoEngine(tiny_weights, 4)
    expected = TorchEngine(tiny_weights, "cpu", 4).run(PIXELS[:4])
    rows = found.run(PIXELS[:4])
    assert (rows.dtype, rows.shape) == (np.float32, expected.shape)
    assert np.abs(rows - expected).max() < 1e-5 * np.abs(expected).max()


def test_a_smaller_batch_is_padded_and_its_rows_are_the_same(tiny_weights):
    engine = OpenVinoEngine(tiny_weights, 4)
    whole = engine.run(PIXELS[:4])
    assert np.array_equal(engine.run(PIXELS[2:3])[0], whole[2])


@pytest.mark.parametrize("layers", ["max", "all", "layer2:avg"])
def test_layers_stand_behind_the_same_features(tiny_weights, layers):
    rows = OpenVinoEngine(tiny_weights, 4, layers=layers).run(PIXELS[:4])
    expected = TorchEngine(tiny_weights, "cpu", 4, layers=layers).run(PIXELS[:4])
    assert np.allclose(rows, expected, rtol=1e-4, atol=1e-5)
    alone = OpenVinoEngine(tiny_weights, 4).run(PIXELS[:4])
    assert np.array_equal(rows[:, : alone.shape[1]], alone)
    assert rows.shape == expected.shape != alone.shape


def test_what_is_not_installed_is_said_with_how_to_get_it(tiny_weights, monkeypatch):
    monkeypatch.setattr(openvino_engine, "has_openvino", lambda: False)
    with pytest.raises(DeviceError, match=r"pip install 'featx\[openvino\]'"):
        OpenVinoEngine(tiny_weights)


def test_the_reports_of_use_are_not_imported_and_others_may_import_them():
    code = (
        "import sys; from featx.network.openvino_engine import import_openvino\n"
        "import_openvino()\n"
        "print(any(name.startswith('openvino_telemetry') for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_places_are_an_output_of_their_own(tiny_weights):
    engine = OpenVinoEngine(tiny_weights, 4, places=True)
    rows = engine.run(PIXELS[:3])
    expected = TorchEngine(tiny_weights, "cpu", 4, places=True).run(PIXELS[:3])
    assert rows.shape == expected.shape == (3, engine.width)
    assert np.allclose(rows, expected, rtol=1e-4, atol=1e-5)
    places = rows[:, tiny_weights.feature_dim :].reshape(3, tiny_weights.feature_dim, -1)
    assert np.allclose(places.mean(2), rows[:, : tiny_weights.feature_dim], rtol=1e-5, atol=1e-6)
