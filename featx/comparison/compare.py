"""Frozen and fine-tuned candidates on the same images, with what each costs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from featx.comparison.candidates import Candidate, evaluate_candidates, pair_candidates
from featx.comparison.checks import (
    check_asked,
    check_comparable,
    check_cross_validation,
    check_names,
    find_uncalibrated,
    keep_rows,
    list_tuning,
    resolve_same,
    settle_options,
)
from featx.comparison.cross_tuning import cross_tune
from featx.comparison.cross_validation import cross_validate, gather_rows
from featx.comparison.curves import keep_curves
from featx.comparison.folder import claim_folder, keep_corrections
from featx.comparison.protocols import find_protocol
from featx.comparison.relatives import keep_inflation, keeps_groups_whole
from featx.comparison.result import Comparison
from featx.comparison.shares import (
    PREVALENCE_NAME,
    order_shares,
    read_prevalence,
    write_prevalence,
)
from featx.comparison.trainers import (
    HeadTrainer,
    NetworkTrainer,
    judge_ranks,
    judge_strangers,
    pair_with_before,
)
from featx.comparison.verdict import judge, rank_on_val
from featx.config import (
    ALL_LAYERS,
    AUTO_LAYERS,
    BACKBONE,
    EPOCHS,
    LAST_LAYER,
    MARGIN,
    RANK_PRECISION,
)
from featx.data.dataset import Dataset
from featx.data.splits import promote_val
from featx.decoding.decoders import read_decode
from featx.decoding.pixel_format import read_colours
from featx.errors import ModelError, OutputExistsError
from featx.extraction.extract import extract_request
from featx.extraction.request import Request
from featx.extraction.views import check_view, extract_each_view
from featx.features.corrections import CORRECTIONS_NAME, correct_labels, read_corrections
from featx.features.costs import read_full_cost
from featx.features.file import read_features
from featx.features.outputs import add_features
from featx.features.provenance import Choice
from featx.finetuning.recipe import TuneOptions
from featx.heads.imagenet import find_known
from featx.heads.kind import HeadOptions, find_kind
from featx.heads.recipe import warn_few
from featx.machine import describe_machine
from featx.network.catalogue import KNOWN
from featx.novelty.taxonomy import TAXONOMY_NAME, Taxonomy, take_taxonomy
from featx.sources.boxes import Boxes
from featx.sources.groups import choose_grouping
from featx.sources.manifest import GROUP_COLUMN, write_manifest
from featx.sources.reading import take_dataset

log = logging.getLogger(__name__)


def compare(
    data: str | Path | Dataset,
    *,
    clf: Sequence[str] | None = None,
    baseline: Sequence[str] | None = None,
    epochs: int = EPOCHS,
    C: float | str = "auto",
    scale: str = "none",
    class_weight: str = "none",
    calibrate: bool = False,
    choose_on: str = "folds",
    refit: bool = True,
    layers: str = LAST_LAYER,
    protocol: str = "none",
    views: int = 0,
    seeds: int = 1,
    margin: float = MARGIN,
    prevalence: str | Path | Mapping[str, float] | None = None,
    labels: str | Path | None = None,
    learning_curves: bool = True,
    strangers: bool = True,
    taxonomy: str | Path | Taxonomy | None = None,
    precision_at_least: float = RANK_PRECISION,
    cv: str | None = None,
    cv_baselines: bool = False,
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
    seed: int = 0,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    decode: str = "exact",
    depth: str = "auto",
    sample_range: tuple[float, float] | str | None = None,
    channels: tuple[int, ...] | str | None = None,
    profiles: str = "auto",
    batch_size: int | None = None,
    num_workers: int | None = None,
    decode_processes: int | None = None,
    on_error: str = "skip",
    cache_dir: str | Path | None = None,
    rehash: bool = False,
    lock: bool = True,
    max_memory: int | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
    on_heads: Callable[[Sequence[Candidate], float | None], None] | None = None,
) -> Comparison:
    """Do what is missing, reuse what is there, and put all candidates on the same images.

    Where there is no test, val is the test, folds of train choose for heads, and baselines keep the
    last epoch.

    Models are kept in `output` under a name that holds the hash of all that decided them; one
    that is there is not trained again.

    Parameters
    ----------
    clf : sequence of str, optional
        Heads; see `featx.fit`, also for `C`, `scale`, `class_weight`, `calibrate`, `choose_on` and
        `refit`. None: all of them, with the protocol logreg alone.
    baseline : sequence of str, optional
        Fine-tuned networks; see `featx.finetune`, also for `augment`, `prefix_cache` and
        `learning_rate`, which is the linear head's, too. None: fc, with the protocol none.
    epochs : int
        Of the linear head and of every baseline.
    layers : str
        What else heads read, each as a second candidate, NAME+layers; see `featx.fit`. Extraction
        keeps what that needs; "auto" needs all four stages. "last": there are no such candidates.
    protocol : {"none", "linear-eval", "paper"}
        "linear-eval": images are framed as Kornblith et al. (2019) do, and a head is fitted on
        train and val together once val has chosen, whatever `choose_on` and `refit` say. "paper":
        15 epochs at a learning rate of 1e-3, the new last layer alone; the heads linear and logreg
        beside it.
    views : int
        Let heads learn from so many random crops and flips of each train image, too, as candidates
        of their own.
    seeds : int
        Train what is random from `seed`, `seed` + 1 and so on; the first is the candidate.
    margin : float
        Points of accuracy that count as no difference between two candidates, and that a cheaper
        one may lose and still be chosen; above 0 and below 100.
    prevalence : path or mapping of str to float, optional
        How frequent each class is in the field: a CSV with the columns class,share, or a mapping.
        Test is scored at these shares as well.
    labels : path, optional
        Corrected labels; see `featx.correct_labels`. Everything is trained and tested on them, and
        each head is also trained on the labels as they were, to be tested on the corrected ones; so
        is a baseline whose run on these is in the folder already.
    learning_curves : bool
        Train the heads on 1, 2, 5, 10 and 20 images per class as well.
    strangers : bool
        Have the chosen head learn strangers and sets as well, which its file keeps, and say what
        test says of them; see `featx.fit`.
    taxonomy, precision_at_least
        Say what each candidate tells at the ranks of a taxonomy, and have the chosen one answer by
        them, which its file keeps; see `featx.fit`.
    cv : str, optional
        REPEATSxFOLDS, such as "5x5": cross-validate the heads on all labelled images as well; see
        `featx.cross_validate`.
    cv_baselines : bool
        And the baselines, which are trained anew for every fold: how long that will take is said
        before it begins.
    output : path, optional
        The comparison's folder; None: results/NAME.
    overwrite : bool
        Use an `output` that holds the comparison of another dataset.
    data, split, root, recursive, group, group_pattern, group_time, group_folder
    boxes
        See `featx.read_dataset`. With groups, intervals and pairs take a group for an observation.
    backbone, weights, device, engine, precision, decode, depth, sample_range, channels, profiles
    batch_size, num_workers, decode_processes, on_error, cache_dir, rehash, lock
        See `featx.extract`.
    seed, max_memory, progress
        See `featx.fit`. Of the default heads those that need more memory are left out.
    on_heads : callable, optional
        Where baselines are still to be trained: called before that with the heads, and with about
        how many seconds the baselines will take, None where no cost of the features is known.

    Returns
    -------
    Comparison
        Not yet written; see `featx.write_report`.

    Raises
    ------
    DatasetError
        The data cannot be compared on: no labels, one class, no test images.
    OutputExistsError
        `output` holds another dataset's comparison and `overwrite` is False.
    FeatxError
        Whatever extraction, fitting and fine-tuning raise.
    """
    rule = find_protocol(protocol)
    heads = rule.heads if clf is None else clf
    networks = rule.networks if baseline is None else baseline
    check_names(heads, networks)
    check_asked(margin, precision_at_least)
    learning_rate = rule.check(networks, epochs, learning_rate, augment or views > 0)
    grouping = choose_grouping(group, group_pattern, group_time, group_folder)
    dataset = take_dataset(data, split, root, grouping, recursive=recursive, boxes=boxes)
    promoted = promote_val(dataset.targets, dataset.splits)
    if promoted is not None:
        log.info("there is no test: val is the test, and folds of train choose")
        dataset = replace(dataset, splits=promoted)
    check_comparable(dataset, needs_val=f"the protocol {protocol}" if rule.refit else "")
    uncalibrated = find_uncalibrated(dataset, heads, networks) if calibrate else frozenset()
    plan = check_cross_validation(dataset, cv, cv_baselines)
    corrections = None if labels is None else read_corrections(labels)
    expected: dict[str, float] = {}
    if prevalence is not None and corrections is None:
        expected = read_prevalence(prevalence, dataset.classes)
        order_shares(expected, dataset.classes, dataset.targets[dataset.splits == "test"])
    tree = None if taxonomy is None else take_taxonomy(taxonomy, dataset.classes)
    folder = Path(output) if output is not None else Path("results") / dataset.name
    if not isinstance(data, Dataset) and Path(data).resolve() == (folder / "split.csv").resolve():
        raise OutputExistsError(folder, ("the manifest that is compared on",))
    claim_folder(folder, dataset, output is not None, overwrite)
    choice = Choice(
        engine=engine, precision=precision, decode=decode, protocol=rule.framing, backbone=backbone,
        depth=depth, sample_range=sample_range, channels=channels, profiles=profiles,
        layers=ALL_LAYERS if layers == AUTO_LAYERS else add_features(layers),
    )  # fmt: skip
    request = Request(
        data=dataset, choice=choice, weights=weights, device=device, batch_size=batch_size,
        num_workers=num_workers, decode_processes=decode_processes, on_error=on_error,
        cache_dir=cache_dir, rehash=rehash, lock=lock, progress=progress,
    )  # fmt: skip
    extraction = extract_request(request)
    log.info("features: %s", extraction.features)
    features = made = read_features(extraction.features)
    found = keep_rows(dataset, made)
    if corrections is not None:
        features = correct_labels(made, corrections)
        if prevalence is not None:
            expected = read_prevalence(prevalence, features.classes)
        if taxonomy is not None:
            tree = take_taxonomy(taxonomy, features.classes)
    if (rule.choose_on or choose_on) == "folds" and (few := warn_few(features, heads)):
        extraction = replace(extraction, notes=(*extraction.notes, few))
    rows = keep_rows(dataset, features)
    check_comparable(rows.dataset)  # again, now that some images may have been skipped
    dealt = None if plan is None else gather_rows(features, plan)  # again, and without copies
    write_manifest(found.dataset, folder / "split.csv", overwrite)
    # What auto has become, for all that follows and for whoever repeats it.
    settled = settle_options(features, weights)
    weights, reading = settled["weights"], read_colours(features.provenance.colours)
    choice = replace(
        choice, backbone=settled["backbone"], engine=settled["engine"],
        precision=settled["precision"], decode=read_decode(features.provenance.decoder),
        depth=reading.depth, profiles=reading.profiles,
        layers=LAST_LAYER,  # views are for heads that read that alone
    )  # fmt: skip
    request = replace(request, weights=weights, choice=choice)
    seen = []
    if not all(find_kind(name).untouched for name in heads):
        paths = extract_each_view(request, found.dataset, views)
        seen = [read_features(path) for path in paths]
    for number, view in enumerate(seen, 1):
        check_view(features, view, number)
    fitting = HeadOptions(
        C=C, scale=scale, epochs=epochs, seed=seed, class_weight=class_weight,
        calibrate=calibrate, choose_on=rule.choose_on or choose_on,
        refit=refit if rule.refit is None else rule.refit, learning_rate=learning_rate,
        layers=layers,
    )  # fmt: skip
    tuning = TuneOptions(
        epochs=epochs, augment=augment, prefix_cache=prefix_cache, class_weight=class_weight,
        calibrate=calibrate and not uncalibrated, decode=choice.decode,
        colours=features.provenance.colours, seed=seed, learning_rate=learning_rate,
    )  # fmt: skip
    trainer = HeadTrainer(folder, features, seeds, weights, max_memory)
    candidates = trainer.make_each(heads, fitting, seen, clf is None, uncalibrated)
    if not candidates and not networks:
        raise ModelError("nothing is left to compare: every head was left out")
    candidates = evaluate_candidates(candidates, features, expected)
    runs = {}
    if networks:
        network = resolve_same(weights, features, extraction, rule.framing)
        tuner = NetworkTrainer(
            folder, rows, network, seeds, device, request.count_workers(), decode_processes,
            progress,
        )  # fmt: skip
        names = list(dict.fromkeys(networks))
        if on_heads is not None and candidates and tuner.estimate(names, tuning, 1.0):
            seconds = read_full_cost(features).get("network")
            if seconds is not None:
                # A baseline sees copies as often as they are there.
                seconds *= len(features.hashes) / len(np.unique(features.hashes))
                seconds = tuner.estimate(names, tuning, seconds)
            on_heads(tuple(candidates), seconds)
        tuned = [tuner.make(name, tuning) for name in names]
        tuned = evaluate_candidates(tuned, features, expected)
        candidates += tuned
        if corrections is not None:
            runs = replace(tuner, rows=found).find(names, tuning)
    relabelled = pair_with_before(trainer, made, candidates, fitting, uncalibrated, runs, margin)
    truth = {split: features.targets[features.rows(split)] for split in ("val", "test")}
    if expected:
        write_prevalence(expected, folder / PREVALENCE_NAME)
    if corrections is not None:
        keep_corrections(corrections, folder)
    paired = tuple(
        pair_candidates(candidates, truth["test"], margin, features.split_clusters("test"))
    )
    plain = [c.model for c in candidates if c.kind == "frozen" and not c.views]
    crossed = None
    if plan is not None and dealt is not None:
        crossed = cross_validate(
            features, plain, str(plan), seed=seed, weights=weights, max_memory=max_memory,
            kept=folder / "cv.json", progress=progress,
        )  # fmt: skip
        if cv_baselines and networks:
            kept = folder / "cv-baselines.json"
            more = (cross_tune(tuner, one, tuning, dealt, plan, kept) for one in tuned)
            crossed = replace(crossed, candidates=(*crossed.candidates, *more))
    verdict = judge(candidates, paired, rank_on_val(candidates, truth["val"]), margin)
    place, doubts = [c.name for c in candidates].index(verdict.choose), None
    if strangers:
        candidates[place], doubts = judge_strangers(trainer, candidates[place], seen)
    ranks = None
    if tree is not None:
        asked = (tree, precision_at_least)
        candidates[place], ranks = judge_ranks(trainer, candidates, place, asked, seen)
    return Comparison(
        folder=folder,
        root=dataset.root,
        features=features,
        extraction=extraction,
        candidates=tuple(candidates),
        paired=paired,
        verdict=verdict,
        strangers=doubts,
        ranks=ranks,
        known=find_known(features.classes) if features.provenance.weights in KNOWN else {},
        learning=keep_curves(
            folder / "learning.json", features, plain, seed, weights, max_memory
        )
        if learning_curves and plain
        else (),
        cv=crossed,
        val_is_test=promoted is not None,
        options={
            "clf": list(heads), "baseline": list(networks), **vars(fitting), **list_tuning(tuning),
            "calibrate": calibrate, "views": len(seen),
            "group": None if features.groups is None else GROUP_COLUMN,
            "seeds": seeds, "margin": margin, "protocol": protocol,
            "learning_curves": learning_curves, "strangers": strangers,
            "cv": cv, "cv_baselines": cv_baselines,
            "prevalence": str((folder / PREVALENCE_NAME).resolve()) if expected else None,
            "labels": str((folder / CORRECTIONS_NAME).resolve()) if corrections else None,
            "taxonomy": str((folder / TAXONOMY_NAME).resolve()) if tree else None,
            "precision_at_least": precision_at_least,
            **settled, "depth": depth, **reading.to_options(),
        },
        machine=describe_machine(),
        prevalence=expected,
        relabelled=relabelled,
        inflation=keep_inflation(
            folder / "relatives.json", features, plain, seed, weights, max_memory
        )
        if plain and keeps_groups_whole(features)
        else (),
    )  # fmt: skip
