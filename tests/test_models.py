import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from featx.config import MODEL_SCHEMA
from featx.errors import ModelError
from featx.models import read_model


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "is a safetensors file, but not a model of featx"),
        ({"featx-model": "{"}, "is not a model file"),
        (
            {"featx-model": json.dumps({"schema": 99})},
            f"has schema 99, and this featx reads {MODEL_SCHEMA}",
        ),
        ({"featx-model": json.dumps({"schema": MODEL_SCHEMA})}, "is damaged, train it again"),
    ],
)
def test_files_that_are_no_models(tmp_path, metadata, message):
    path = tmp_path / "m.safetensors"
    save_file({"coef": np.zeros(2)}, path, metadata=metadata)
    with pytest.raises(ModelError, match=message):
        read_model(path)


def test_no_file_and_no_safetensors(tmp_path):
    with pytest.raises(ModelError, match=r"no such model: .*model.safetensors; featx fit"):
        read_model(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="is not a model file"):
        read_model(tmp_path / "m.safetensors")
