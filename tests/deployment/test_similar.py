import shutil

import pytest
import torch

from featx.data.dataset import Skipped
from featx.deployment.similar import find_similar
from featx.errors import DatasetError, FeatureFileError, ModelError
from featx.extraction.extract import extract


def test_photographs_find_themselves(feature_file, photos, tmp_path):
    file = feature_file("first:6,1")
    shutil.copy(photos / "owl" / "08.jpg", tmp_path / "renamed.jpg")
    (tmp_path / "text.jpg").write_text("x")
    named = [tmp_path / "renamed.jpg", tmp_path / "text.jpg", photos / "cat"]
    first, skipped, *rest = find_similar(file, named, k=3)
    assert isinstance(skipped, Skipped)
    near = first.nearest[0]
    assert (near.path, near.label, near.split, near.same) == ("owl/08.jpg", "owl", "test", True)
    assert near.cosine == pytest.approx(1, abs=1e-6)
    assert not any(one.same for one in first.nearest[1:])
    assert [one.path for one in rest] == [str(p) for p in sorted((photos / "cat").iterdir())]
    for one in rest:
        assert one.path.endswith(one.nearest[0].path)
        cosines = [other.cosine for other in one.nearest]
        assert cosines == sorted(cosines, reverse=True)


def test_the_network_is_the_files_own(stored, photos, tmp_path, random_state):
    other = {**random_state, "conv1.weight": random_state["conv1.weight"] * 1.01}
    torch.save(other, tmp_path / "other.pth")
    made = extract(
        photos, weights=str(tmp_path / "other.pth"), storage="float16", output=tmp_path / "F.h5"
    )
    (found,) = find_similar(made.features, photos / "dog" / "00.jpg", k=1)
    assert found.nearest[0].cosine == pytest.approx(1, abs=1e-6)
    assert found.nearest[0].split == "train"
    with pytest.raises(ModelError, match=r"F.h5 was made with file:other .* mean nothing"):
        find_similar(made.features, photos / "dog", weights="imagenet1k-v1")
    (tmp_path / "other.pth").unlink()
    with pytest.raises(ModelError, match=r"weights from a local file, .* with --weights"):
        find_similar(made.features, photos / "dog")


def test_what_is_not_there(feature_file, tmp_path):
    with pytest.raises(FeatureFileError, match="no such feature file"):
        find_similar(tmp_path / "none.h5", tmp_path)
    with pytest.raises(DatasetError, match="no such image"):
        find_similar(feature_file("first:6,1"), tmp_path / "gone.jpg")
