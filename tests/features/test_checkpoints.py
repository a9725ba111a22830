"""Parts and their journal: a part counts once its line is there, and while its bytes are its."""

import json
from dataclasses import replace

import pytest
from made_features import make_features
from shared import PROVENANCE

from featx.errors import LockedError, OutputExistsError
from featx.features.checkpoints import Checkpoints, list_parts, open_checkpoints

COST = {"seconds": 1.5, "images": 4, "device": "cpu", "machine": "here"}


def keep(found, *seeds):
    return [found.keep(make_features(PROVENANCE, n_per=4, seed=s), COST) for s in seeds]


def resume(path):
    found = Checkpoints(path)
    found.resume()
    return found


def names(found):
    return [part.path.name for part, _ in found.parts]


def test_what_was_kept_is_there_again(tmp_path):
    path = tmp_path / "F.h5"
    kept = keep(resume(path), 0, 1)
    again = resume(path)
    assert [part.sha256 for part, _ in again.parts] == [part.sha256 for part in kept]
    assert [cost for _, cost in again.parts] == [COST, COST]
    assert not again.empty
    (new,) = keep(again, 2)
    assert new.path.name == "000002.h5"
    assert [one.name for one in list_parts(path)] == [
        "journal", "000000.h5", "000001.h5", "000002.h5"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "harm",
    [
        lambda line: line[:-3],
        lambda line: "not json",
        lambda line: json.dumps(json.loads(line) | {"shard": "../../etc/passwd"}),
        lambda line: json.dumps(json.loads(line) | {"cost": {}}),
        lambda line: json.dumps(json.loads(line) | {"sha256": "0" * 64}),
        lambda line: "[" * 100_000,
        lambda line: "3",
    ],
)
def test_a_line_that_is_wrong_costs_its_part_alone(tmp_path, harm):
    path = tmp_path / "F.h5"
    found = resume(path)
    keep(found, 0, 1, 2)
    journal = found.folder / "journal"
    lines = journal.read_text().splitlines()
    lines[1] = harm(lines[1])
    journal.write_text("\n".join(lines) + "\n")
    again = resume(path)
    assert names(again) == ["000000.h5", "000002.h5"]
    # What does not count is gone, and the journal says what is left.
    assert [one.name for one in list_parts(path)] == ["journal", "000000.h5", "000002.h5"]
    assert len(journal.read_text().splitlines()) == 2
    assert names(resume(path)) == ["000000.h5", "000002.h5"]


def test_a_part_without_its_line_does_not_count(tmp_path):
    path = tmp_path / "F.h5"
    found = resume(path)
    keep(found, 0)
    (found.folder / "000001.h5").write_bytes((found.folder / "000000.h5").read_bytes())
    (found.folder / "mine.txt").write_text("mine")
    assert names(resume(path)) == ["000000.h5"]
    assert sorted(one.name for one in found.folder.iterdir()) == [
        "000000.h5", "journal", "mine.txt"
    ]  # fmt: skip


def test_another_part_under_its_name_does_not_count(tmp_path, caplog):
    path = tmp_path / "F.h5"
    found = resume(path)
    keep(found, 0, 1)
    (found.folder / "000000.h5").write_bytes((found.folder / "000001.h5").read_bytes())
    assert names(resume(path)) == ["000001.h5"]
    assert "it is not the part that was kept" in caplog.text


def test_one_process_is_at_a_file(tmp_path):
    path = tmp_path / "F.h5"
    with open_checkpoints(path) as found:
        keep(found, 0)
        with pytest.raises(LockedError), open_checkpoints(path):
            pass
    assert list_parts(path)  # what was kept stays
    with open_checkpoints(path) as found:
        found.discard()
    assert not found.folder.exists()


def test_no_empty_folder_is_left(tmp_path):
    with open_checkpoints(tmp_path / "F.h5", lock=False) as found:
        assert found.empty
    assert not found.folder.exists()


def test_what_has_its_name_is_not_written_over(tmp_path):
    (tmp_path / "F.h5.parts").write_text("mine")
    with (
        pytest.raises(OutputExistsError, match="no folder of ours"),
        open_checkpoints(tmp_path / "F.h5"),
    ):
        pass
    assert (tmp_path / "F.h5.parts").read_text() == "mine"


def test_parts_are_feature_files_of_their_own_making(tmp_path):
    found = resume(tmp_path / "F.h5")
    other = replace(PROVENANCE, precision="bf16")
    found.keep(make_features(other, n_per=2), COST)
    ((part, _),) = resume(tmp_path / "F.h5").parts
    assert part.provenance == other
