"""The baseline: a new last layer on the network, images through all of it in every epoch."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_class_weight

from featx.config import (
    BACKBONE,
    EPOCHS,
    TRAIN_BATCH_SIZE,
)
from featx.data.dataset import Dataset, HashedRows, Skipped, check_trainable, describe_rows
from featx.data.feeding import Decoding
from featx.data.hashing import hash_rows
from featx.data.loading import find_depth
from featx.decoding.pixel_format import describe_colours, read_colours
from featx.features.cache import find_cache_dir, find_making, list_same_data
from featx.features.provenance import Choice, Provenance
from featx.finetuning.corrected import correct_rows
from featx.finetuning.looking import leave_out_undecodable
from featx.finetuning.prefix import PrefixBatches, PrefixFile, row_bytes
from featx.finetuning.recipe import TuneOptions, list_rates, make_tune_recipe, plan_epochs, run_name
from featx.finetuning.tuned_network import ImageBatches, TunedNetwork, open_images
from featx.machine import count_cores, describe_machine
from featx.network.backbone import flush_denormals
from featx.network.cuda_engine import explain_device
from featx.network.engine import choose_device, full_float32, limit_threads
from featx.network.fetch import resolve_weights
from featx.network.weights import Weights
from featx.novelty.sets import Calibration
from featx.sources.boxes import Boxes
from featx.sources.groups import choose_grouping
from featx.sources.reading import take_dataset
from featx.storage.files import check_own_folder, check_space, explain_full, write_json
from featx.text import format_bytes, printable
from featx.timing import Stages
from featx.training.calibration import as_scores, fit_temperature, temper
from featx.training.epochs import Batches, score_softmax, train_softmax
from featx.training.evaluation import measure
from featx.training.learner import describe_rates
from featx.training.metrics import score_labels
from featx.training.model import Model, Outcome, check_place, read_model, write_model

log = logging.getLogger(__name__)


def finetune(
    data: str | Path | Dataset,
    *,
    train: str = "fc",
    epochs: int = EPOCHS,
    backbone: str = BACKBONE,
    weights: str = "auto",
    split: str | None = None,
    root: str | Path | None = None,
    recursive: bool = False,
    group: str | None = None,
    group_pattern: str | None = None,
    group_time: float | None = None,
    group_folder: bool = False,
    boxes: str | Path | Boxes | None = None,
    augment: bool = False,
    prefix_cache: bool = True,
    learning_rate: float | str = "auto",
    class_weight: str = "none",
    calibrate: bool = False,
    labels: str | Path | None = None,
    decode: str = "exact",
    depth: str = "auto",
    sample_range: tuple[float, float] | str | None = None,
    channels: tuple[int, ...] | str | None = None,
    profiles: str = "auto",
    seed: int = 0,
    batch_size: int = TRAIN_BATCH_SIZE,
    device: str = "auto",
    num_workers: int | None = None,
    decode_processes: int | None = None,
    on_error: str = "skip",
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> tuple[Model, tuple[Skipped, ...]]:
    """Train the network itself on images.

    Parameters
    ----------
    data, split, root, recursive, group, group_pattern, group_time, group_folder
    boxes
        See `featx.read_dataset`.
    train : {"fc", "last3", "layer4", "all"}
        What moves: the new last layer alone, the last three layers, the last stage, everything.
    epochs, batch_size, seed : int
    backbone, weights : str
        See `featx.fetch_weights`.
    augment : bool
        Random rotation, crop and flip of train images.
    prefix_cache : bool
        With "last3" and "layer4", unless augmenting: compute what the frozen part gives once, keep
        it on disk as float16 while training, and train on that. Losses differ from those
        without it by what float16 rounds away; see docs/benchmarks.md.
    learning_rate : float or "auto"
        Adam's step for what moves: the new layer alone with "fc"; else pretrained layers, beside
        which the new one has `HEAD_LEARNING_RATE`. "auto": those of `config` learn side by side
        from the same batches, and the one with the lowest val loss after the last epoch is kept;
        where pretrained layers move, it is a race by the lowest val loss so far: after two fifths
        of the epochs two go on and after three fifths one. Without val images it is
        `HEAD_LEARNING_RATE` or `TUNE_LEARNING_RATE`.
    class_weight : {"none", "balanced"}
        "balanced": a class weighs the same whatever its number of train images.
    calibrate : bool
        Fit a temperature for the probabilities on val.
    labels : path, optional
        Corrected labels; see `featx.correct_labels`.
    decode : {"exact", "pillow", "fast", "pillow-fast"}
        See `featx.extract`; augmented images are decoded by Pillow, at full size.
    depth, sample_range, channels, profiles
        See `featx.extract`.
    device : {"auto", "cpu", "cuda", "mps", "xpu"}
    num_workers : int, optional
        Decoding threads; None: as many as cores.
    decode_processes : int, optional
        See `featx.extract`.
    on_error : {"skip", "fail"}
        Leave out an image that cannot be decoded, or stop. All are decoded once before training.
    output : path, optional
        The run's folder; None: results/NAME/TRAIN-RECIPE. One that holds just this run is reused.
    overwrite : bool
        Replace an `output` that holds something else.
    progress : bool

    Returns
    -------
    Model
        With the run's file as its path; its provenance is the network's.
    tuple of Skipped
        The images that were left out, and why.

    Raises
    ------
    DatasetError, WeightsError, DeviceError, ImageError, OutputExistsError
    ExtractionError
        A process that decoded was killed.
    ModelError
        Unknown `train`, or a learning rate that is not positive.
    """
    grouping = choose_grouping(group, group_pattern, group_time, group_folder)
    dataset = take_dataset(data, split, root, grouping, recursive=recursive, boxes=boxes)
    check_trainable(dataset)
    workers = count_cores() if num_workers is None else num_workers
    choice = Choice(
        decode=decode,
        backbone=backbone,
        depth=depth,
        sample_range=sample_range,
        channels=channels,
        profiles=profiles,
    )
    found = hash_rows(dataset, on_error)
    if labels is not None:
        found = correct_rows(found, labels)
    made = find_making(list_same_data(dataset, find_cache_dir()))
    choice = _settle_pixels(choice, found, made, workers)
    prefer = made.weights if made is not None else None
    resolved = resolve_weights(weights, prefer=prefer, progress=progress, backbone=backbone)
    rows, skipped = leave_out_undecodable(
        found, on_error, Decoding(resolved.preprocessing, choice.decode, choice.reading),
        choose_device(device).type, num_workers=workers, processes=decode_processes,
    )  # fmt: skip
    options = TuneOptions(
        epochs=epochs,
        augment=augment,
        prefix_cache=prefix_cache,
        learning_rate=learning_rate,
        class_weight=class_weight,
        calibrate=calibrate,
        decode=choice.decode,
        colours=describe_colours(choice.reading),
        seed=seed,
        batch_size=batch_size,
    )
    recipe = make_tune_recipe(rows, resolved, train, options)
    folder = Path("results") / dataset.name / run_name(recipe) if output is None else Path(output)
    path = folder / "model.safetensors"
    if not overwrite:
        check_own_folder(folder, path.name)
    check_place(path, recipe, overwrite)
    if path.exists() and not overwrite:
        log.info("reused: %s", folder)
        return _score_groups(read_model(folder), rows), skipped
    model = finetune_rows(
        rows, resolved, recipe, folder, device=device, num_workers=workers,
        decode_processes=decode_processes, progress=progress,
    )  # fmt: skip
    return model, skipped


def _score_groups(model: Model, rows: HashedRows) -> Model:
    """A model that was trained before, with intervals of images that come in groups."""
    if rows.dataset.groups is None:
        return model
    data, scores = rows.dataset, dict(model.outcome.scores)
    for name, p in model.outcome.probabilities.items():
        y = data.targets[(data.splits == name) & (data.targets >= 0)]
        if len(y) and len(y) == len(p):
            scores[name] = score_labels(y, p.argmax(axis=1), rows.split_clusters(name))
    return replace(model, outcome=replace(model.outcome, scores=scores))


def _settle_pixels(
    choice: Choice, rows: HashedRows, made: Provenance | None, num_workers: int
) -> Choice:
    """How pixels are decoded and read: as chosen, else as the features of the same data were."""
    if choice.depth == "used":
        paths = (rows.locate(i) for i in range(len(rows.hashes)))
        choice = replace(choice, depth=find_depth(paths, choice.reading, num_workers))
    if choice.profiles == "auto" and made is not None:
        choice = replace(choice, profiles=read_colours(made.colours).profiles)
    return choice if made is None else choice.settle_decoder(made)


@explain_device()
def finetune_rows(
    rows: HashedRows,
    weights: Weights,
    recipe: dict[str, Any],
    folder: Path,
    *,
    device: str,
    num_workers: int,
    progress: bool,
    decode_processes: int | None = None,
) -> Model:
    """Train as `recipe` (of `make_tune_recipe`) says and keep the run in `folder`.

    Every image of `rows` can be decoded. The seconds, loss and accuracy of every epoch are kept
    beside the model as history.json.
    """
    dataset, train = rows.dataset, recipe["train"]
    check_trainable(dataset)
    place = choose_device(device)
    limit_threads()
    network = TunedNetwork(weights, len(dataset.classes), train, recipe["seed"]).to(place)
    framing, stages = weights.preprocessing, Stages()
    with (
        full_float32(),
        flush_denormals(),
        open_images(
            rows, network, recipe, framing, num_workers=num_workers, processes=decode_processes
        ) as images,
        _keep_prefix(network, images, framing.crop, recipe, folder, stages) as splits,
    ):
        y_train = images["train"].y.numpy()
        weight = None
        if recipe["class_weight"] == "balanced":
            weight = compute_class_weight("balanced", classes=np.unique(y_train), y=y_train)
        first, *more = list_rates(recipe)
        if "val" not in images:
            log.info("%s: no val images, so the last epoch at %g is kept", train, first)
        training = train_softmax(
            [network.learn(first), *(network.fork().learn(rate) for rate in more)],
            splits,
            plan_epochs(recipe),
            prepare=network.prepare,
            device=place,
            class_weight=weight,
            stages=stages,
            name=train,
            progress=progress,
        )
        # The history counts train while the parameters move, and augmented; this is the kept model.
        network.load_state_dict(training.state, strict=False)
        plain = (
            replace(images["train"], augment_seed=None) if recipe["augment"] else splits["train"]
        )
        on_train = score_softmax(network, plain, recipe["batch_size"], place, stages)
    scores = {
        name: score_labels(images[name].y.numpy(), p.argmax(axis=1), rows.split_clusters(name))
        for name, p in ({"train": on_train} | training.probabilities).items()
    }
    probabilities: dict[str, npt.NDArray[np.floating]] = dict(training.probabilities)
    temperature = 1.0
    if recipe["calibrate"]:
        temperature = fit_temperature(as_scores(probabilities["val"]), images["val"].y.numpy())
        probabilities = {name: temper(p, temperature) for name, p in probabilities.items()}
    sets = {}
    if "val" in probabilities:
        y_val = images["val"].y.numpy()
        sets = Calibration.judge(probabilities["val"], y_val).to_arrays()
    measured = {}
    if "test" in probabilities:
        y, clusters = images["test"].y.numpy(), rows.split_clusters("test")
        found = measure(y, probabilities["test"], clusters)
        measured = {"evaluation": {"test": found.to_dict()}}
    model = Model(
        kind="network",
        name=train,
        classes=dataset.classes,
        provenance={
            "backbone": weights.backbone,
            "weights": weights.name,
            "weights_sha256": weights.sha256,
            "preprocessing": weights.preprocessing.to_dict(),
        },
        recipe=recipe,
        outcome=Outcome(
            scores=scores,
            probabilities=probabilities,
            seconds=sum(epoch.seconds for epoch in training.history),
            trainable_parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
            machine=f"{describe_machine()}, {place.type}",
            history=training.history,
            best_epoch=training.best_epoch,
            details={
                **describe_rates(training.learning_rate, training.attempts),
                **{key: recipe[key] for key in ("augment", "prefix_cache", "class_weight")},
                "calibrated": recipe["calibrate"],
                "temperature": temperature,
                # Of train, by the kept model: after the seconds, as for heads.
                "scoring": stages.take(),
                "data": describe_rows(
                    dataset.name, dataset.split_rule, dataset.targets, dataset.splits,
                    len(dataset.classes), rows.fingerprint,
                ),
                **measured,
            },
        ),
        arrays={**{name: tensor.numpy() for name, tensor in training.state.items()}, **sets},
    )  # fmt: skip
    written = write_model(model, folder / "model.safetensors")
    write_json(folder / "history.json", written.to_dict())
    return written


@contextlib.contextmanager
def _keep_prefix(
    network: TunedNetwork,
    images: dict[str, ImageBatches],
    crop: int,
    recipe: dict[str, Any],
    folder: Path,
    stages: Stages,
) -> Iterator[Mapping[str, Batches]]:
    """The splits as the network is to see them: as images, or as what its frozen part gave.

    The first epoch computes that, so that its seconds are those of the first epoch.
    """
    if not recipe["prefix_cache"]:
        yield images
        return
    shape = network.prefix_shape(crop)
    each, total = row_bytes(shape), sum(len(one.y) for one in images.values())
    place = folder / "prefix"
    check_space(place, each * total, each * total)
    log.info(
        "prefix cache: %s in %s while training, so that the frozen part runs once "
        "(--prefix-cache off does without)",
        format_bytes(each * total),
        printable(str(folder)),
    )
    splits, first = {}, 0
    advice = "make room, or say --prefix-cache off"
    with (
        explain_full(place, each * total, advice),
        contextlib.closing(PrefixFile(folder, shape)) as file,
    ):
        for name, one in images.items():
            splits[name] = PrefixBatches(
                one, lambda pixels: network.prefix(pixels.to(network.device)), file, first,
                one.feed.num_workers, stages,
            )  # fmt: skip
            first += len(one.y)
        yield splits
