"""What a user writes, for mypy alone: the types come through the lazy `import featx`."""

from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt

import featx
from featx import ResNet50Features


def use(data: Path) -> None:
    done = featx.extract(data, split="0.7,0.1,0.2", output="F.h5")
    assert_type(done.images, int)
    features = featx.load_features(done.features)
    assert_type(features, featx.Features)
    _, y = features.split("train")
    assert_type(y, npt.NDArray[np.int64])
    model = featx.fit(features, "logreg", output="model.safetensors")
    assert_type(model.classes, tuple[str, ...])
    assert_type(featx.read_model("model.safetensors").classes, tuple[str, ...])
    comparison = featx.compare(data, split="0.7,0.1,0.2")
    assert_type(comparison.folder, Path)
    for one in featx.predict("model.safetensors", [data], top=2):
        assert_type(one.path, str)
    rows = ResNet50Features(cache_dir=False).fit([data]).transform([data])
    assert_type(rows, npt.NDArray[np.float32])
    try:
        featx.audit("F.h5")
    except featx.FeatxError as error:
        raise SystemExit(str(error)) from error
    assert_type(featx.fetch_weights("auto").sha256, str)
    featx.extract(1)  # type: ignore[arg-type]
    featx.nonsense  # noqa: B018  # type: ignore[attr-defined]
