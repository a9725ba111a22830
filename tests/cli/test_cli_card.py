import json


def test_card(run, feature_file, tmp_path):
    model, out = tmp_path / "m.safetensors", tmp_path / "README.md"
    run("fit", feature_file("first:6,1"), "--clf", "centroid", "-o", model, "-q")
    printed = run("card", model)
    assert printed.exit_code == 0
    assert printed.stdout.startswith("---\n# Written by featx")
    done = run("card", model, "-o", out, "--json")
    assert json.loads(done.stdout) == {"card": str(out), "text": out.read_text("utf-8")}
    assert printed.stdout == out.read_text("utf-8")
    assert run("card", model, "-o", out).stdout == f"written: {out}\n"  # its own card again
    out.write_text("mine")
    refused = run("card", model, "-o", out)
    assert (refused.exit_code, "not a card that featx wrote" in refused.stderr) == (1, True)
    assert run("card", model, "-o", out, "--overwrite").exit_code == 0
    nothing = run("card", tmp_path / "gone.safetensors")
    assert (nothing.exit_code, "no such model" in nothing.stderr) == (1, True)
