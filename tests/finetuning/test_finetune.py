import contextlib
import errno
import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from shared import CLASSES

from featx.config import (
    HEAD_LEARNING_RATE,
    HEAD_LEARNING_RATES,
    TRAINED,
    TUNE_LEARNING_RATE,
    TUNE_LEARNING_RATES,
)
from featx.data.feeding import Decoding, Feed
from featx.data.images import load_image
from featx.decoding.decoders import describe_decoder, read_decode
from featx.errors import DatasetError, ImageError, ModelError, OutputExistsError, StorageError
from featx.extraction.extract import extract
from featx.finetuning.finetune import finetune
from featx.finetuning.prefix import PrefixBatches, PrefixFile
from featx.finetuning.tuned_network import ImageBatches, TunedNetwork, load_tuned
from featx.heads.linear import LinearClassifier
from featx.network.engine import TorchEngine
from featx.novelty.detector import drop_kept
from featx.sources.reading import read_dataset
from featx.timing import Stages
from featx.training.model import read_model


@pytest.fixture
def tune(stored, photos, tmp_path):
    def call(output="run", **options):
        defaults = {"split": "first:4,2", "epochs": 2, "batch_size": 5, "num_workers": 2}
        return finetune(photos, output=tmp_path / output, **(defaults | options))

    return call


STEM = ("network.conv1", "network.bn1", "network.layer1", "network.layer2", "network.layer3")


def frozen_prefixes(train):
    return {
        "fc": ("network.",),
        "layer4": STEM,
        "last3": (
            *STEM, "network.layer4.0", "network.layer4.1", "network.layer4.2.conv1",
            "network.layer4.2.bn1",
        ),
        "all": ("normalise",),
    }[train]  # fmt: skip


@pytest.mark.full_width
@pytest.mark.parametrize("train", list(TRAINED))
def test_frozen_is_frozen(tiny_weights, photos, train):
    network = TunedNetwork(tiny_weights, 3, train, seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = network.learn(1e-4).optimizer
    paths = sorted(photos.glob("*/*.jpg"))[:6]
    pixels = torch.from_numpy(np.stack([load_image(p, tiny_weights.preprocessing) for p in paths]))
    for _ in range(2):
        network.train()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(pixels), torch.arange(6) % 3).backward()
        optimizer.step()
        network.eval()
    after = network.state_dict()
    frozen = [name for name in before if name.startswith(frozen_prefixes(train))]
    moving = [
        name for name in before if name not in frozen and name.startswith(("head", "network"))
    ]
    # Bit for bit: parameters, running statistics and their counters.
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert sorted(moving) == sorted(network.copy_state())
    assert all(not torch.equal(before[name], after[name]) for name in moving), "all else moved"
    if train != "fc":
        assert any("running_mean" in name for name in moving)
    counted = {"fc": 2048 * 3 + 3}
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trainable == counted.get(train, trainable)


@pytest.mark.full_width
def test_last3_is_two_convolutions_and_the_last_layer(tiny_weights):
    network = TunedNetwork(tiny_weights, 3, "last3", seed=0)
    moving = {name for name, p in network.named_parameters() if p.requires_grad}
    assert moving == {
        "head.weight", "head.bias",
        "network.layer4.2.conv2.weight", "network.layer4.2.bn2.weight", "network.layer4.2.bn2.bias",
        "network.layer4.2.conv3.weight", "network.layer4.2.bn3.weight", "network.layer4.2.bn3.bias",
    }  # fmt: skip


@pytest.mark.parametrize("rate", [1e-3, "auto"])
def test_both_roads_are_one(tune, tiny_weights, photos, rate):
    """fc fine-tuning and the linear head on cached features: the same loss in every epoch."""
    model, _ = tune(epochs=4, seed=3, learning_rate=rate)
    dataset = read_dataset(photos, "first:4,2")
    engine = TorchEngine(tiny_weights, "cpu", batch_size=8)
    pixels = [load_image(photos / p, tiny_weights.preprocessing) for p in dataset.paths]
    X = np.concatenate([engine.run(np.stack(pixels[i : i + 8])) for i in range(0, 27, 8)])
    splits = {
        s: (X[dataset.splits == s], dataset.targets[dataset.splits == s])
        for s in ("train", "val", "test")
    }
    rates = HEAD_LEARNING_RATES if rate == "auto" else rate
    head = LinearClassifier(epochs=4, batch_size=5, learning_rate=rates, seed=3)
    head.fit(*splits.pop("train"), splits)
    losses = []
    for images, features in zip(model.outcome.history, head.history_, strict=True):
        for split in ("train", "val", "test"):
            assert images.loss[split] == pytest.approx(features.loss[split], rel=1e-3)
            assert images.accuracy[split] == features.accuracy[split]
        losses.append(images.loss["train"])
    assert losses[-1] < losses[0]
    assert model.outcome.details["chosen"]["value"] == head.learning_rate_
    tried = [(one["learning_rate"], one["epochs"]) for one in model.outcome.details["rates"]]
    assert tried == [(one.learning_rate, 4) for one in head.attempts_]
    assert model.outcome.best_epoch == head.best_epoch_
    assert np.allclose(model.arrays["head.weight"], head.coef_, atol=1e-4)


@pytest.mark.full_width
def test_a_run_and_what_it_keeps(tune, tmp_path, tiny_weights):
    model, skipped = tune(train="last3", epochs=3)
    assert skipped == ()
    assert model.path == tmp_path / "run" / "model.safetensors"
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert history["train"] == "last3"
    assert [e["epoch"] for e in history["history"]] == [1, 2, 3]
    for epoch in history["history"]:
        assert set(epoch["loss"]) == set(epoch["accuracy"]) == {"train", "val", "test"}
        assert epoch["seconds"] > 0
    ranks = [(e["accuracy"]["val"], -e["loss"]["val"]) for e in history["history"]]
    assert history["best_epoch"] == 1 + ranks.index(max(ranks))
    assert history["counts"]["val"]["correct"] == round(max(ranks)[0] * 6)
    assert (
        history["trainable_parameters"]
        == 512 * 512 * 9 + 2 * 512 + 512 * 2048 + 2 * 2048 + 2049 * 3
    )
    assert history["seconds_per_epoch"] == pytest.approx(history["fit_seconds"] / 3)
    # What was stored is the network of the kept epoch.
    network = load_tuned(read_model(model.path), tiny_weights)
    assert sorted(drop_kept(model.arrays)) == sorted(network.copy_state())


def test_the_stored_network_gives_the_stored_probabilities(tune, tiny_weights, photos):
    model, _ = tune(train="layer4", epochs=1)
    network = load_tuned(read_model(model.path), tiny_weights)
    dataset = read_dataset(photos, "first:4,2")
    names = [p for p, s in zip(dataset.paths, dataset.splits, strict=True) if s == "test"]
    pixels = np.stack([load_image(photos / p, tiny_weights.preprocessing) for p in names])
    with torch.inference_mode():
        found = network(torch.from_numpy(pixels)).softmax(1).numpy()
    assert np.allclose(found, model.outcome.probabilities["test"], atol=1e-4)


def test_every_epoch_is_said(tune, caplog):
    caplog.set_level(logging.INFO)
    tune(epochs=2)
    lines = [m for m in caplog.messages if m.startswith("fc: epoch ")]
    assert len(lines) == 2
    assert re.fullmatch(
        r"fc: epoch 2/2, [\d.e-]+ s: train [\d.]+ [\d.]+ %, val [\d.]+ [\d.]+ %, test .* %",
        lines[1],
    )


def test_an_equal_run_is_reused_and_another_refused(tune, monkeypatch):
    first, _ = tune()

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("featx.finetuning.finetune.train_softmax", never)
    assert tune()[0].outcome.to_dict() == first.outcome.to_dict()
    with pytest.raises(OutputExistsError, match=r"epochs: 2 → 3"):
        tune(epochs=3)


@pytest.mark.parametrize("options", [{"augment": True}, {"train": "last3"}])
def test_processes_that_decode_train_what_threads_train(tune, options):
    options |= {"decode": "pillow", "learning_rate": 1e-3}
    by_threads, by_processes = (tune(f"run{n}", decode_processes=n, **options)[0] for n in (0, 2))
    assert by_processes.recipe == by_threads.recipe
    assert by_processes.arrays.keys() == by_threads.arrays.keys()
    for name, array in by_threads.arrays.items():
        assert np.array_equal(by_processes.arrays[name], array), name


def test_augmentation_touches_train_alone(photos, tiny_weights):
    paths = tuple(sorted(photos.glob("*/*.jpg"))[:4])
    feed = Feed(Decoding(tiny_weights.preprocessing), Stages(), 0)
    plain = ImageBatches(paths, torch.zeros(4, dtype=torch.int64), feed)
    moved = replace(plain, augment_seed=0)
    order = np.arange(4)

    def see(batches, epoch):
        return torch.cat(list(batches.iterate(order, 3, epoch)))

    assert torch.equal(see(plain, 1), see(plain, 2))
    assert not torch.equal(see(moved, 1), see(plain, 1))
    assert not torch.equal(see(moved, 1), see(moved, 2))
    assert torch.equal(see(moved, 2), see(moved, 2))


def test_augmented_runs_score_val_as_plain_ones_do(tune):
    # With the same layer before the first step, only train's images differ.
    plain, _ = tune("a", epochs=1)
    moved, _ = tune("b", epochs=1, augment=True)
    assert plain.outcome.history[0].loss["train"] != moved.outcome.history[0].loss["train"]
    assert moved.outcome.details["augment"] is True


def test_images_that_cannot_be_decoded_are_left_out(tune, photos):
    (photos / "cat" / "08.jpg").write_bytes(b"x")
    model, skipped = tune(epochs=1)
    assert [(one.path, one.reason) for one in skipped] == [("cat/08.jpg", "not an image")]
    assert model.outcome.scores["test"].total == 8
    with pytest.raises(ImageError, match="not an image"):
        tune("other", on_error="fail")


def test_wrong_options(tune, photos, stored):
    with pytest.raises(ModelError, match="unknown train 'layer9'"):
        tune(train="layer9")
    with pytest.raises(ModelError, match="epochs is 0: at least 1"):
        tune(epochs=0)
    with pytest.raises(DatasetError, match="its images have no labels"):
        finetune(photos / "cat")


def test_a_run_with_other_tensors_is_refused(tune, tiny_weights):
    model, _ = tune(epochs=1)
    wrong = replace(model, arrays={"head.weight": model.arrays["head.weight"]})
    with pytest.raises(ModelError, match="its tensors do not fit --train fc"):
        load_tuned(wrong, tiny_weights)
    assert model.classes == CLASSES


@pytest.mark.parametrize("train", ["layer4", "last3"])
def test_the_prefix_cache_changes_no_more_than_its_rounding(tune, train, monkeypatch):
    counts = []
    real = TunedNetwork.prefix

    def count(self, pixels):
        counts.append(len(pixels))
        return real(self, pixels)

    monkeypatch.setattr(TunedNetwork, "prefix", count)
    options = {"train": train, "epochs": 3, "batch_size": 12, "learning_rate": 1e-4}
    plain, _ = tune("plain", prefix_cache=False, **options)
    assert sum(counts) == 3 * 27 + 12, "every image in every epoch, and train once more"
    counts.clear()
    kept, _ = tune("kept", **options)
    assert sum(counts) == 1 + 27, "one for the shape, then every image once in three epochs"
    assert (plain.outcome.details["prefix_cache"], kept.outcome.details["prefix_cache"]) == (0, 1)
    # A batch norm in train mode makes steps of what float16 rounded away; nothing else differs.
    for a, b in zip(plain.outcome.history, kept.outcome.history, strict=True):
        for split in ("train", "val", "test"):
            assert b.loss[split] == pytest.approx(a.loss[split], abs=3e-3)
    first = [model.outcome.history[0].loss["train"] for model in (plain, kept)]
    assert first[1] == pytest.approx(first[0], rel=5e-4)
    assert plain.recipe_key != kept.recipe_key
    for split in ("val", "test"):
        difference = kept.outcome.probabilities[split] - plain.outcome.probabilities[split]
        assert np.abs(difference).max() < 5e-3


def test_a_prefix_is_read_as_it_was_computed_but_for_float16(tiny_weights, photos, tmp_path):
    network = TunedNetwork(tiny_weights, 3, "last3", seed=0).eval()
    paths = tuple(sorted(photos.glob("*/*.jpg"))[:7])
    feed = Feed(Decoding(tiny_weights.preprocessing), Stages(), 2)
    images = ImageBatches(paths, torch.zeros(7, dtype=torch.int64), feed)
    with contextlib.closing(PrefixFile(tmp_path, network.prefix_shape(64))) as file:
        batches = PrefixBatches(images, network.prefix, file, 3, 2, Stages())
        orders = [np.array([5, 0, 3, 6, 1, 2, 4]), np.array([2, 6, 4])]
        for epoch, order in enumerate([orders[0], *orders]):
            seen = torch.cat(list(batches.iterate(order, 3, epoch)))
            pixels = torch.cat(list(images.iterate(order, 7, 0)))
            assert seen.is_contiguous(memory_format=torch.channels_last)
            assert torch.allclose(seen, network.prefix(pixels), rtol=1e-3, atol=1e-4)
            assert torch.equal(seen, seen.half().float())


def test_a_prefix_takes_the_networks_seconds_and_its_file_none(clock, monkeypatch, tmp_path):
    class Pixels:
        y = torch.zeros(5, dtype=torch.int64)

        def iterate(self, order, batch_size, epoch):
            for start in range(0, len(order), batch_size):
                clock(2)
                yield torch.zeros(len(order[start : start + batch_size]), 4, 1, 1)

    # A GPU's results are due when the CPU wants them.
    cpu, write, read = torch.Tensor.cpu, PrefixFile.write, PrefixFile.read
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: clock(10) or cpu(self))
    monkeypatch.setattr(PrefixFile, "write", lambda *row: clock(3) or write(*row))
    monkeypatch.setattr(PrefixFile, "read", lambda *row: clock(1) or read(*row))
    stages = Stages()
    with contextlib.closing(PrefixFile(tmp_path, (1, 1, 4))) as file:
        batches = PrefixBatches(Pixels(), lambda pixels: pixels, file, 0, 0, stages)
        for spent in ({"network": 20.0, "keep": 15.0, "decode": 4.0}, {"decode": 5.0}):
            for _ in stages.wait("decode", batches.iterate(np.arange(5), 3, 1)):
                clock(100)
            assert stages.take() == spent


@pytest.mark.parametrize("train", ["fc", "layer4"])
def test_seconds_of_a_run(tune, monkeypatch, clock, train):
    """27 images, 12 of them in train; three batches of these, and of val and test two each."""
    forward, prefix = TunedNetwork.forward, TunedNetwork.prefix
    monkeypatch.setattr(
        "featx.data.feeding.load_image", lambda *a, **k: clock(1) or load_image(*a, **k)
    )
    monkeypatch.setattr(TunedNetwork, "forward", lambda *a: clock(10) or forward(*a))
    monkeypatch.setattr(TunedNetwork, "prefix", lambda *a: clock(100) or prefix(*a))
    model, _ = tune(train=train, num_workers=0, learning_rate=1e-3)
    parts = [(e.seconds, e.decode, e.network) for e in model.outcome.history]
    outcome = read_model(model.path).outcome
    assert outcome.history == model.outcome.history
    if train == "fc":
        assert parts == [(797.0, 27.0, 770.0)] * 2
        assert (outcome.decode, outcome.network, outcome.seconds) == (54.0, 1540.0, 1594.0)
        assert outcome.details["scoring"] == {"decode": 12.0, "network": 330.0}
    else:  # the first epoch runs the frozen part, the second reads what it gave
        assert parts == [(797.0, 27.0, 770.0), (70.0, 0.0, 70.0)]
        assert outcome.details["scoring"] == {"decode": 0.0, "network": 30.0}
    assert model.to_dict()["seconds"] == {
        "decode": outcome.decode, "network": outcome.network, "fit": outcome.seconds,
    }  # fmt: skip


@pytest.mark.full_width
def test_the_boundary_is_where_training_begins(tiny_weights, photos):
    paths = sorted(photos.glob("*/*.jpg"))[:3]
    pixels = torch.from_numpy(np.stack([load_image(p, tiny_weights.preprocessing) for p in paths]))
    # 64 pixels: layer3 gives 4 x 4, layer4 2 x 2.
    for train, shape in (("layer4", (4, 4, 1024)), ("last3", (2, 2, 2048)), ("all", (64, 64, 3))):
        network = TunedNetwork(tiny_weights, 3, train, seed=0).eval()
        assert network.prefix_shape(64) == shape
        with torch.no_grad():
            assert torch.equal(network(network.prefix(pixels)), network(pixels))


def test_no_prefix_is_kept_where_images_or_all_of_it_change(tune, caplog, tmp_path):
    caplog.set_level(logging.INFO, "featx")
    for options in ({"train": "layer4", "augment": True}, {"train": "fc"}, {"train": "all"}):
        model, _ = tune("-".join(map(str, options)), epochs=1, overwrite=True, **options)
        assert model.outcome.details["prefix_cache"] is False
    assert not [r for r in caplog.records if "prefix cache" in r.getMessage()]
    tune("kept", train="last3", epochs=1)
    said = next(r.getMessage() for r in caplog.records if "prefix cache" in r.getMessage())
    assert said.startswith(f"prefix cache: {27 * 2 * 2 * 2048 * 2 / 1000:.3g} kB in {tmp_path}")
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == [
        "history.json", "model.safetensors",
    ]  # fmt: skip


def test_a_prefix_that_does_not_fit_says_what_to_do(tune, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("featx.storage.files.os.pwrite", full)
        with pytest.raises(StorageError, match=r"no space left on device.*--prefix-cache off"):
            tune(train="layer4", epochs=1)
    real = TunedNetwork.prefix
    monkeypatch.setattr(TunedNetwork, "prefix", lambda self, pixels: real(self, pixels) + 7e4)
    with pytest.raises(ModelError, match=r"beyond 65504.*--prefix-cache off"):
        tune(train="layer4", epochs=1)
    assert not list((tmp_path / "run").iterdir())


def test_decoding_is_part_of_what_decided_a_run(tune):
    exact, _ = tune("a", epochs=1)
    fast, _ = tune("b", epochs=1, decode="fast")
    assert exact.recipe_key != fast.recipe_key
    assert read_decode(fast.recipe["decoder"]) == "fast"


def test_a_baseline_sees_pixels_as_the_features_of_the_same_data_were_made(tune, photos):
    extract(photos, split="first:4,2", engine="torch", decode="pillow")
    # A recipe that featx 0.1 could have written, so that what it tuned is reused.
    model, _ = tune("a", epochs=1)
    assert (model.recipe["decode"], model.recipe["decoder"]) == (
        "exact",
        describe_decoder("pillow"),
    )
    asked, _ = tune("b", epochs=1, decode="fast")
    assert read_decode(asked.recipe["decoder"]) == "fast"


def test_the_learning_rate_is_won_in_a_race(tune):
    model, _ = tune("race", train="layer4", epochs=5)
    recipe, details = model.recipe, model.outcome.details
    assert recipe["tune_learning_rate"] == list(TUNE_LEARNING_RATES)
    assert recipe["learning_rate"] == HEAD_LEARNING_RATE
    rates = {one["learning_rate"]: one for one in details["rates"]}
    assert list(rates) == list(TUNE_LEARNING_RATES)
    # After two fifths of the epochs two of three go on, after three fifths one.
    assert sorted(one["epochs"] for one in rates.values()) == [2, 3, 5]
    won = rates[details["chosen"]["value"]]
    assert (won["epochs"], details["chosen"]["by"]) == (5, "val")
    assert won["loss"] == model.outcome.history[-1].loss["val"]
    assert won["lowest_loss"] == min(e.loss["val"] for e in model.outcome.history)
    spent = sum(one["seconds"] for one in rates.values())
    assert won["seconds"] < spent < model.outcome.seconds
    # It learned as it does where it is alone.
    alone, _ = tune("alone", train="layer4", epochs=5, learning_rate=won["learning_rate"])
    for a, b in zip(alone.outcome.history, model.outcome.history, strict=True):
        assert (a.loss, a.accuracy) == (b.loss, b.accuracy)
    assert all(np.array_equal(alone.arrays[name], model.arrays[name]) for name in alone.arrays)
    assert alone.outcome.details["chosen"]["by"] == "fixed"


def test_without_val_nothing_chooses_a_learning_rate(tune, caplog):
    caplog.set_level(logging.INFO, "featx")
    for train, name, rate in (
        ("fc", "learning_rate", HEAD_LEARNING_RATE),
        ("layer4", "tune_learning_rate", TUNE_LEARNING_RATE),
    ):
        model, _ = tune(train, train=train, split="first:4,0", epochs=1)
        assert model.recipe[name] == model.outcome.details["chosen"]["value"] == rate
        assert model.outcome.details["rates"][0]["loss"] is None
        assert f"{train}: no val images, so the last epoch at {rate:g} is kept" in caplog.messages
    with pytest.raises(ModelError, match=r"learning_rate is -1: .* or auto"):
        tune(learning_rate=-1)


def test_a_fork_shares_what_is_frozen(tiny_weights):
    network = TunedNetwork(tiny_weights, 3, "layer4", seed=0)
    fork = network.fork()
    mine, other = network.state_dict(), fork.state_dict()
    shared = {name for name in mine if mine[name].data_ptr() == other[name].data_ptr()}
    assert shared == set(mine) - set(network.copy_state())
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert fork.learn(1e-3).module is fork
