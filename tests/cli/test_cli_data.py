import json


def test_the_papers_manifest(run, caltech, tmp_path):
    done = run("data", "caltech256-animals", "--root", caltech, "--json")
    assert done.exit_code == 0
    values = json.loads(done.stdout)
    assert values["images"] == {"train": 600, "val": 100, "test": 409}
    assert values["manifest"] == str(caltech.parent / "caltech256-animals.csv")
    elsewhere = run("data", "caltech256-animals", "--root", caltech, "-o", tmp_path / "a.csv")
    assert elsewhere.stdout.endswith(f"next: featx compare {tmp_path / 'a.csv'} --root {caltech}\n")


def test_one_of_root_and_download(run, caltech):
    for words in ([], ["--root", caltech, "--download", "here"]):
        done = run("data", "caltech256-animals", *words)
        assert done.exit_code == 2
        assert "name the folder with --root, or --download it" in done.stderr


def test_download_is_torchvisions(run, caltech, monkeypatch, tmp_path):
    asked = []

    def download(root, download):
        asked.append((root, download))
        (tmp_path / "d" / "caltech256").mkdir(parents=True)
        caltech.rename(tmp_path / "d" / "caltech256" / "256_ObjectCategories")

    monkeypatch.setattr("torchvision.datasets.Caltech256", download)
    done = run("data", "caltech256-animals", "--download", tmp_path / "d", "--json")
    assert asked == [(str(tmp_path / "d"), True)]
    assert json.loads(done.stdout)["images"]["test"] == 409


def test_a_failed_download_says_the_other_way(run, monkeypatch):
    def download(root, download):
        raise OSError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.Caltech256", download)
    done = run("data", "caltech256-animals", "--download")
    assert done.exit_code == 1
    assert "could not be downloaded to data: Name or service not known" in done.stderr
    assert "--root" in done.stderr


def test_another_file_is_replaced_only_if_told(run, caltech, tmp_path):
    (tmp_path / "notes.csv").write_text("my,notes\n")
    words = ["data", "caltech256-animals", "--root", caltech, "-o", tmp_path / "notes.csv"]
    assert run(*words).exit_code == 1
    assert (tmp_path / "notes.csv").read_text() == "my,notes\n"
    assert run(*words, "--overwrite").exit_code == 0


def test_what_is_whole_is_not_downloaded_again(run, caltech, monkeypatch, tmp_path):
    (tmp_path / "d" / "caltech256").mkdir(parents=True)
    caltech.rename(tmp_path / "d" / "caltech256" / "256_ObjectCategories")
    monkeypatch.setattr("torchvision.datasets.Caltech256", None)
    for _ in range(2):
        assert run("data", "caltech256-animals", "--download", tmp_path / "d").exit_code == 0
