import json
import re


def test_list_and_path(run, stored):
    values = json.loads(run("weights", "list", "--json").stdout)
    assert values["folder"] == str(stored)
    assert [(w["name"], w["backbone"], w["stored"]) for w in values["weights"][:4]] == [
        ("imagenet1k-v1", "resnet50", True),
        ("imagenet1k-v2", "resnet50", False),
        ("keras-imagenet", "resnet50", False),
        ("resnet18-imagenet1k-v1", "resnet18", False),
    ]
    said = run("weights", "list").stdout
    assert re.search(r"^imagenet1k-v1 +resnet50 +stored +small and random", said, re.MULTILINE)
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
