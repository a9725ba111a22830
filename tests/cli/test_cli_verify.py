import json


def test_verify_says_whether_a_file_is_whole(run, photos, stored, tmp_path):
    good, bad = tmp_path / "F.h5", tmp_path / "G.h5"
    run("extract", photos, "-o", good, "-q")
    data = bytearray(good.read_bytes())
    data[40_000] ^= 1
    bad.write_bytes(data)
    done = run("verify", good)
    assert (done.exit_code, done.stdout) == (0, f"{good}: 27 images, whole\n")
    done = run("verify", good, bad, tmp_path / "none.h5")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"{good}: 27 images, whole",
        f"{bad}: damaged: its bytes are not those that were written (SHA-256)",
        f"{tmp_path / 'none.h5'}: no such feature file; featx extract makes one",
    ]
    values = json.loads(run("verify", good, bad, "--json").stdout)
    assert values["whole"] is False
    assert [one["images"] for one in values["files"]] == [27, None]


def test_no_command_uses_a_damaged_file(run, photos, stored, tmp_path):
    out = tmp_path / "F.h5"
    run("extract", photos, "--split", "first:4,2", "-o", out, "-q")
    out.write_bytes(out.read_bytes()[:-1])
    for words in (["fit", out, "--clf", "logreg"], ["info", out]):
        done = run(*words)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"Error: {out}: damaged: it has ")
