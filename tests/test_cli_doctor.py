import json

from featx.doctor import Finding, probe_rows


def test_doctor_looks_at_everything(run, tmp_path):
    done = run("doctor", "--cache-dir", tmp_path / "c", "--batch-size", "2")
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()[-3:-1]] == [
        ["✓", "cache"],
        ["✓", "engine"],
    ]
    assert "HDF5" in done.stdout
    assert not (tmp_path / "c").exists()


def test_what_is_amiss_is_said_and_exit_1(run, monkeypatch):
    found = [Finding("featx", None, "1"), Finding("cache", False, "read-only")]
    monkeypatch.setattr("featx.doctor.examine", lambda *_, **__: iter(found))
    done = run("doctor")
    assert (done.exit_code, done.stdout) == (1, "  featx      1\n✗ cache      read-only\n")
    values = json.loads(run("doctor", "--json").stdout)
    assert values["healthy"] is False
    assert values["findings"][1] == {"name": "cache", "good": False, "text": "read-only"}


def test_the_probe_sees_what_moves_a_row(counting):
    assert probe_rows(counting, 8) == ()
    real = counting.run

    def by_place(pixels):
        return real(pixels) + [[i * 1e-7] for i in range(len(pixels))]

    counting.run = by_place
    assert probe_rows(counting, 8) == ("the place in the batch",)
    counting.run = lambda pixels: real(pixels) + real(pixels).mean() * 1e-6
    assert probe_rows(counting, 8) == ("the other images of the batch",)
