"""What a network is trained on where labels were corrected."""

import pytest

from featx.data.hashing import hash_rows
from featx.errors import DatasetError
from featx.features.corrections import CORRECTION_COLUMNS
from featx.finetuning.corrected import correct_rows
from featx.finetuning.finetune import finetune
from featx.sources.reading import read_dataset


@pytest.fixture
def rows(photos):
    return hash_rows(read_dataset(photos, split="first:4,2"), "skip")


def write_answers(path, rows, *answers):
    lines = [",".join(CORRECTION_COLUMNS)]
    for row, answer, label in answers:
        lines.append(f"{rows.hashes[row]},{rows.dataset.paths[row]},,{answer},{label},label")
    path.write_text("\n".join(lines))
    return path


def test_rows_have_corrected_labels_and_lack_what_is_left_out(rows, tmp_path):
    path = write_answers(tmp_path / "C.csv", rows, (0, "is", "wolf"), (2, "leave out", ""))
    found = correct_rows(rows, path)
    old, new = rows.dataset, found.dataset
    assert new.classes == ("cat", "dog", "owl", "wolf")
    assert new.classes[new.targets[0]] == "wolf"
    assert new.paths == (*old.paths[:2], *old.paths[3:])
    assert found.hashes.tolist() == [*rows.hashes[:2], *rows.hashes[3:]]
    assert [new.classes[k] for k in new.targets[1:]] == [
        old.classes[k] for i, k in enumerate(old.targets) if i not in (0, 2)
    ]
    assert new.split_rule.startswith("first:4,2; labels corrected by ")
    assert found.fingerprint != rows.fingerprint
    with pytest.raises(DatasetError, match="of other data"):
        correct_rows(rows.select(rows.hashes != rows.hashes[0]).select(slice(5, 9)), path)


@pytest.mark.slow
def test_a_run_on_corrected_labels_is_another_one(rows, photos, stored, tmp_path):
    path = write_answers(tmp_path / "C.csv", rows, (0, "is", "owl"))
    options = {"split": "first:4,2", "epochs": 1, "num_workers": 0}
    plain, _ = finetune(photos, output=tmp_path / "plain", **options)
    model, _ = finetune(photos, output=tmp_path / "run", labels=path, **options)
    assert model.recipe["fingerprint"] != plain.recipe["fingerprint"]
    assert "; labels corrected by " in model.outcome.details["data"]["split"]
