import csv
import json

import pytest

TREE = "class,kind,kingdom\ncat,pet,animal\ndog,pet,animal\nowl,bird,animal\n"


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "taxonomy.csv"
    path.write_text(TREE)
    return path


@pytest.fixture
def model(run, feature_file, tree, tmp_path):
    out = tmp_path / "m.safetensors"
    words = ["--taxonomy", tree, "--precision-at-least", "0.8", "--strangers"]
    done = run("fit", feature_file("first:6,1"), "--clf", "centroid", *words, "-o", out)
    assert done.exit_code == 0, done.stderr
    assert "ranks: an answer at a rank is to be right in 80 % of cases or more" in done.stdout
    return out


def test_answers_in_text_csv_and_json(run, model, photos, tmp_path):
    table = tmp_path / "p.csv"
    words = ["predict", model, photos / "dog", "-q", "--csv", table]
    values = json.loads(run(*words, "--json").stdout)["predictions"]
    ranks = {"class": {"cat", "dog", "owl"}, "kind": {"pet", "bird"}, "kingdom": {"animal"}}
    for one in values:
        assert one["answer"] is None or one["answer"] in ranks[one["answer_rank"]]
        assert (one["leaf"] is None) == (one["answer"] is None)
        if one["answer_rank"] == "class":
            assert one["answer"] == one["leaf"] == one["class"]
            assert one["answer_probability"] == one["probability"]
    assert any(one["answer"] for one in values)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[4:] == ["answer_rank", "answer", "answer_probability", "leaf"]
    assert [row["answer"] for row in rows] == [one["answer"] or "" for one in values]
    text = run(*words, "--top", "2").stdout.splitlines()  # its own table is replaced
    assert text[0].split() == ["image", "class", "probability", "answer"]
    first = values[0]
    told = f"{first['answer']} ({first['answer_rank']})" if first["answer"] else "(none)"
    assert text[2].endswith(told)


def test_a_stranger_has_no_answer_at_any_rank(run, model, photos):
    words = ["predict", model, photos, "-q", "--json", "--unknown", "0.5"]
    values = json.loads(run(*words).stdout)["predictions"]
    strangers = [one for one in values if one["unknown"]]
    assert 0 < len(strangers) < len(values)
    assert all(one["answer"] is one["answer_rank"] is one["leaf"] is None for one in strangers)
    assert any(one["answer"] for one in values)


def test_another_precision_is_asked_for(run, model, photos):
    words = ["predict", model, photos, "--json"]
    said = run(*words, "--precision-at-least", "0.99")
    strict = json.loads(said.stdout)["predictions"]
    assert not any(one["answer"] for one in strict)  # 99 held images would be needed
    assert "these ranks, which do not keep a precision of 0.99 or were left too few" in said.stderr
    assert "images to say: class, kind, kingdom\n" in said.stderr
    done = run(*words, "--precision-at-least", "0.3", "--explain", "maps")
    assert done.exit_code == 2
    assert "--explain does not go with --unknown, --sets and --precision-at-least" in done.stderr


def test_a_precision_is_one_of_ranks(run, feature_file, photos):
    for words in (["fit", feature_file("first:6,1")], ["compare", photos]):
        done = run(*words, "--precision-at-least", "0.9")
        assert done.exit_code == 2
        assert "--precision-at-least needs --taxonomy" in done.stderr


def test_a_model_without_ranks_says_how_to_get_them(run, feature_file, photos, tmp_path):
    out = tmp_path / "m.safetensors"
    run("fit", feature_file("first:6,1"), "--clf", "centroid", "-o", out, "-q")
    done = run("predict", out, photos, "--precision-at-least", "0.9")
    assert done.exit_code == 1
    assert done.stderr == (
        f"Error: {out} was made without a taxonomy: fit it again with featx fit F.h5 --clf "
        "centroid --taxonomy FILE\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TREE.replace("dog,", "Dog,"), "has no line for dog (it has one in another case)"),
        (TREE + "owl,bird,animal\n", "line 5: the class owl stands in line 4 already"),
        (TREE + "emu,animal,bird\n", "line 5: animal is of the rank kind, and in line 2 of"),
    ],
)
def test_bad_taxonomies_are_said_before_the_work(run, feature_file, tree, text, said):
    tree.write_text(text)
    done = run("fit", feature_file("first:6,1"), "--clf", "centroid", "--taxonomy", tree)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {tree}")
    assert said in done.stderr


def test_a_comparison_tells_of_ranks_and_is_repeated(run, photos, stored, tree, tmp_path):
    tree.write_text(TREE + "emu,bird,animal\n")
    words = [
        "--split", "first:4,2", "--clf", "centroid", "--clf", "ridge", "--baseline", "none",
        "--no-learning-curves", "--no-maps", "--no-strangers", "--precision-at-least", "0.6",
    ]  # fmt: skip
    out = tmp_path / "out"
    done = run("compare", photos, *words, "--taxonomy", tree, "-o", out, "--json")
    assert done.exit_code == 0, done.stderr
    assert "lines of classes that are not here were left out: emu" in done.stderr
    values = json.loads(done.stdout)
    told = values["ranks"]
    assert (told["ranks"], told["names"]) == (["class", "kind", "kingdom"], [3, 2, 1])
    assert [one["candidate"] for one in told["candidates"]] == ["centroid", "ridge"]
    for one, candidate in zip(told["candidates"], values["candidates"], strict=True):
        assert one["accuracy"][0]["count"] == candidate["counts"]["test"]["correct"]
        assert one["accuracy"][2]["share"] == 1  # all are animals
        assert sum(one["mistakes"]) == 9 - one["accuracy"][0]["count"]
    assert sum(one["answered"]["count"] for one in told["answers"]) <= 9
    assert values["ranks"]["sentences"][0].startswith(f"{told['candidate']} by ranks, and 95 %: ")
    assert '<section id="ranks"' in (out / "report.html").read_text("utf-8")
    assert (out / "taxonomy.csv").read_text() == TREE
    again = run("compare", "--config", out / "featx.toml", "--json", "-q")
    assert json.loads(again.stdout)["ranks"] == told
    model = values["candidates"][[c["name"] for c in values["candidates"]].index(told["candidate"])]
    assert "ranks" in model
    said = json.loads(run("predict", model["model"], photos / "owl", "--json", "-q").stdout)
    assert "answer" in said["predictions"][0]
