import json


def test_list_and_path(run, stored):
    values = json.loads(run("weights", "list", "--json").stdout)
    assert values["folder"] == str(stored)
    assert [(w["name"], w["stored"]) for w in values["weights"]] == [
        ("imagenet1k-v1", True), ("keras-imagenet", False), ("imagenet1k-v2", False),
    ]  # fmt: skip
    assert "imagenet1k-v1   stored" in run("weights", "list").stdout
    assert run("weights", "path", "imagenet1k-v1").stdout == f"{stored}/imagenet1k-v1.safetensors\n"
    missing = run("weights", "path", "keras-imagenet")
    assert missing.exit_code == 1
    assert missing.stderr.endswith("featx weights fetch keras-imagenet\n")


def test_fetch_what_is_stored(run, stored):
    done = run("weights", "fetch", "--json")
    assert json.loads(done.stdout)["name"] == "imagenet1k-v1"
    assert done.stderr.startswith("weights: imagenet1k-v1, since it is stored")


def test_fetch_nonsense(run):
    done = run("weights", "fetch", "vgg16")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: unknown weights 'vgg16'")
