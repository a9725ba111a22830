"""Candidates from recipes: trained, or taken from a comparison's folder where they are there."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.comparison.candidates import (
    Candidate,
    ExtractionCost,
    Pair,
    evaluate_strangers,
    make_pairs,
)
from featx.config import EPOCH_PASSES, LAST_LAYER, MARGIN
from featx.data.dataset import HashedRows
from featx.errors import BudgetError, ModelError, WeightsError
from featx.features.content import Features
from featx.features.costs import read_cost, read_full_cost
from featx.features.outputs import plan_layers, take_engine_rows
from featx.finetuning.finetune import finetune_rows
from featx.finetuning.recipe import TuneOptions, list_rates, make_tune_recipe, plan_epochs, run_name
from featx.heads.fit import fit, learn_ranks, learn_strangers
from featx.heads.head import load_head, read_layers
from featx.heads.kind import HeadOptions, find_kind
from featx.heads.recipe import make_recipe
from featx.network.weights import Weights
from featx.novelty.measures import NoveltyScores
from featx.novelty.rank_scores import RankScores, measure_answers, measure_ranks
from featx.novelty.ranks import Evidence, Ranking, add_ranking, keeps_ranks, load_ranking
from featx.novelty.taxonomy import TAXONOMY_NAME, Taxonomy, write_taxonomy
from featx.storage.blocks import Blocks
from featx.storage.files import hash_json
from featx.training.model import Model, reuse_model, write_model

log = logging.getLogger(__name__)

BEFORE = "on the labels as they were"  # what such a head is called, after its name
_MODEL = "model.safetensors"  # in a run's folder


@dataclass(frozen=True)
class HeadTrainer:
    """Trains heads on features.

    Attributes
    ----------
    folder : Path
        Where models are kept, under names that hold the hash of their recipe.
    features : Features
    seeds : int
        Of what is random: from the seed that is asked for on.
    weights : str
        Where ImageNet's last layer is to be had.
    max_memory : int or None
        See `featx.fit`.
    """

    folder: Path
    features: Features
    seeds: int
    weights: str
    max_memory: int | None = None

    def make_each(
        self,
        names: Iterable[str],
        options: HeadOptions,
        views: Sequence[Features] = (),
        optional: bool = False,
        uncalibrated: Container[str] = (),
    ) -> list[Candidate]:
        """Each head on the last layer; with views, and on the layers asked for, once more each.

        Parameters
        ----------
        names : iterable of str
        options : HeadOptions
        views : sequence of Features
        optional : bool
            Those that need more memory, or a last layer that the weights lack, are left out.
        uncalibrated : container of str
            Which of them `calibrate` passes by.
        """
        candidates = []
        for name in dict.fromkeys(names):
            kind = find_kind(name)
            its = replace(options, calibrate=options.calibrate and name not in uncalibrated)
            last = replace(its, layers=LAST_LAYER)
            wanted: list[tuple[str, HeadOptions, Sequence[Features]]] = [(name, last, ())]
            if views and not kind.untouched:
                wanted.append((f"{name} with views", last, views))
            if not kind.untouched and plan_layers(self.features, options.layers):
                wanted.append((f"{name}+layers", its, ()))
            for title, chosen, more in wanted:
                try:
                    candidates.append(self.make(name, chosen, more))
                except (ModelError, WeightsError) as error:
                    lacking = kind.prior is not None  # weights without a last layer, for one
                    if not optional or not (lacking or isinstance(error, BudgetError)):
                        raise
                    log.warning("left out: %s%s", f"{title}: " * (title != name), error)
                    if title == name:
                        break  # what reads more takes more
        return candidates

    def make(self, name: str, options: HeadOptions, views: Sequence[Features] = ()) -> Candidate:
        """One head."""
        model = self._train(name, options, views)
        # Where val chooses, the rest of them find the same from any seed.
        random = find_kind(name).drawn or model.outcome.details["chosen_by"].startswith("folds")
        others = tuple(
            self._train(name, replace(options, seed=options.seed + i), views).outcome
            for i in range(1, self.seeds if random else 1)
        )
        cost = measure_cost([self.features, *views])
        return Candidate(model, cost, others=others, views=len(views))

    def add_strangers(self, candidate: Candidate, views: Sequence[Features] = ()) -> Candidate:
        """The same, what `--strangers` of `featx fit` learns being in its file as well.

        Raises
        ------
        ModelError
            See `learn_strangers`.
        """
        model, path = candidate.model, candidate.model.path
        if path is None or "strangers" in model.outcome.details:
            return candidate
        model = learn_strangers(
            model, self.features, views=views, weights=self.weights, max_memory=self.max_memory
        )
        return replace(candidate, model=write_model(model, path))

    def add_ranks(
        self,
        candidate: Candidate,
        taxonomy: Taxonomy,
        precision: float,
        views: Sequence[Features] = (),
    ) -> Candidate:
        """The same, what `--taxonomy` of `featx fit` learns being in its file as well.

        A fine-tuned network is not trained again for each fold: its ranks go by val.

        Raises
        ------
        ModelError
            See `learn_ranks`; or a network had no val.
        """
        model, path, features = candidate.model, candidate.model.path, self.features
        if path is None:
            return candidate
        if keeps_ranks(model) and (there := load_ranking(model)).taxonomy == taxonomy:
            if there.precision == precision:
                return candidate
            model = add_ranking(model, replace(there, precision=precision))
        elif candidate.kind == "frozen":
            model = learn_ranks(
                model, features, taxonomy, precision,
                views=views, weights=self.weights, max_memory=self.max_memory,
            )  # fmt: skip
        elif (on_val := model.outcome.probabilities.get("val")) is None:
            raise ModelError("it was fine-tuned without val, which its ranks are calibrated on")
        else:
            truth = features.targets[features.rows("val")]
            evidence = Evidence.judge(taxonomy, on_val, truth)
            model = add_ranking(model, Ranking(taxonomy, evidence, precision))
        return replace(candidate, model=write_model(model, path))

    def _train(self, name: str, options: HeadOptions, views: Sequence[Features]) -> Model:
        recipe = make_recipe(self.features, name, options, views=views, max_memory=self.max_memory)
        path = self.folder / f"{name}-{hash_json(recipe)[:8]}.safetensors"
        return reuse_model(path, recipe) or fit(
            self.features, name, views=views, weights=self.weights, max_memory=self.max_memory,
            output=path, overwrite=True, **vars(options),
        )  # fmt: skip


def judge_strangers(
    trainer: HeadTrainer, candidate: Candidate, views: Sequence[Features] = ()
) -> tuple[Candidate, NoveltyScores]:
    """A candidate that knows strangers, where it can, and what test says of that, or why not."""
    try:
        if candidate.kind == "frozen":
            candidate = trainer.add_strangers(candidate, views if candidate.views else ())
        return candidate, evaluate_strangers(candidate, trainer.features)
    except ModelError as error:
        return candidate, NoveltyScores(candidate.name, lacking=str(error))


def judge_ranks(
    trainer: HeadTrainer,
    candidates: Sequence[Candidate],
    place: int,
    ranking: tuple[Taxonomy, float],
    views: Sequence[Features] = (),
) -> tuple[Candidate, RankScores]:
    """The candidate at a place, answering by ranks where it can, and what test says of ranks.

    `ranking` is a taxonomy of the classes, and the precision that answers are to keep.
    """
    features, (taxonomy, precision), chosen = trainer.features, ranking, candidates[place]
    write_taxonomy(taxonomy, trainer.folder / TAXONOMY_NAME)
    rows, clusters = features.rows("test"), features.split_clusters("test")
    said = {c.name: c.outcome.probabilities["test"] for c in candidates}
    told = RankScores(
        taxonomy.ranks,
        tuple(map(len, taxonomy.names)),
        precision,
        measure_ranks(taxonomy, said, features.targets[rows], clusters),
        chosen.name,
    )
    try:
        chosen = trainer.add_ranks(chosen, taxonomy, precision, views if chosen.views else ())
    except ModelError as error:
        return chosen, replace(told, lacking=str(error))
    answers = measure_answers(
        load_ranking(chosen.model), said[chosen.name], features.targets[rows], clusters
    )
    return chosen, replace(told, answers=answers)


def pair_with_before(
    trainer: HeadTrainer,
    made: Features,
    after: Sequence[Candidate],
    options: HeadOptions,
    uncalibrated: Container[str] = (),
    runs: Mapping[str, Model] = MappingProxyType({}),
    margin: float = MARGIN,
) -> tuple[Pair, ...]:
    """Each with itself, before labels were corrected: both on the same corrected test labels.

    Parameters
    ----------
    trainer : HeadTrainer
        Of features with corrected labels; of others there are no pairs.
    made : Features
        The same with the labels as they were, on which the heads are trained, or taken from the
        folder where they are there.
    after : sequence of Candidate
        Who learned from the corrected labels; of heads those on the last layer alone are paired.
    options, uncalibrated
        See `HeadTrainer.make_each`.
    runs : mapping of str to Model
        Baselines that were trained on the labels as they were, by name; the others are not paired.
    margin : float
        See `pair_candidates`.

    Returns
    -------
    tuple of Pair
        Of those of now less those of before, p-values corrected for all of them.
    """
    features = trainer.features
    if features.corrected is None:
        return ()
    now = {c.name: c for c in after if c.name == c.model.name}
    once, last = replace(trainer, features=made, seeds=1), replace(options, layers=LAST_LAYER)
    heads = [name for name, one in now.items() if one.kind == "frozen"]
    before = once.make_each(heads, last, optional=True, uncalibrated=uncalibrated)
    rows, said = features.rows("test"), dict[str, npt.NDArray[Any]]()
    for old in before:
        X = Blocks((take_engine_rows(features, read_layers(old.model)),), rows)
        said[old.name] = np.array(old.model.classes)[load_head(old.model).predict(X)]
    for name, run in runs.items():
        found = np.array(run.classes)[run.outcome.probabilities["test"].argmax(axis=1)]
        by_path = dict(zip(made.paths[made.rows("test")].tolist(), found.tolist(), strict=True))
        paths = features.paths[rows].tolist()
        if all(path in by_path for path in paths):  # none had no label then
            said[name] = np.array([by_path[path] for path in paths])
    truth, sides = features.targets[rows], []
    for name, words in said.items():
        # By names: a class may be new or gone, and others have other numbers then.
        was = words == np.array(features.classes)[truth]
        label = now[name].outcome.probabilities["test"].argmax(axis=1)
        sides.append(((name, label == truth), (f"{name} {BEFORE}", was)))
    return tuple(make_pairs(sides, margin, features.split_clusters("test")))


@dataclass(frozen=True)
class NetworkTrainer:
    """Fine-tunes the network; attributes as of `HeadTrainer` and `finetune_rows`."""

    folder: Path
    rows: HashedRows
    weights: Weights
    seeds: int
    device: str
    num_workers: int
    decode_processes: int | None
    progress: bool

    def make(self, name: str, options: TuneOptions) -> Candidate:
        """One baseline."""
        first, *others = (
            self._train(name, replace(options, seed=options.seed + i)) for i in range(self.seeds)
        )
        return Candidate(first, None, others=tuple(model.outcome for model in others))

    def find(self, names: Iterable[str], options: TuneOptions) -> dict[str, Model]:
        """Those baselines that are in the folder."""
        found = {}
        for name in names:
            recipe = make_tune_recipe(self.rows, self.weights, name, options)
            if there := reuse_model(self.folder / run_name(recipe) / _MODEL, recipe):
                found[name] = there
        return found

    def estimate(self, names: Iterable[str], options: TuneOptions, network: float) -> float:
        """About how many seconds baselines will take, but for those that are there.

        Parameters
        ----------
        names : iterable of str
        options : TuneOptions
        network : float
            Seconds that the network takes for all images once, in an extraction.
        """
        seconds = 0.0
        for name in names:
            first, later = EPOCH_PASSES[name]
            # Of several learning rates all but fc's go through what moves on their own.
            own = 0.0 if name == "fc" else later
            if options.augment or not options.prefix_cache:
                later = first
            for i in range(self.seeds):
                recipe = make_tune_recipe(
                    self.rows, self.weights, name, replace(options, seed=options.seed + i)
                )
                if not (self.folder / run_name(recipe) / _MODEL).exists():
                    more = plan_epochs(recipe).count_more(len(list_rates(recipe)))
                    seconds += network * (first + (options.epochs - 1) * later + more * own)
        return seconds

    def _train(self, name: str, options: TuneOptions) -> Model:
        recipe = make_tune_recipe(self.rows, self.weights, name, options)
        run = self.folder / run_name(recipe)
        return reuse_model(run / _MODEL, recipe) or finetune_rows(
            self.rows, self.weights, recipe, run,
            device=self.device, num_workers=self.num_workers,
            decode_processes=self.decode_processes, progress=self.progress,
        )  # fmt: skip


def measure_cost(features: Sequence[Features]) -> ExtractionCost | None:
    """What some features cost; of reused ones, what they cost then. None where one is unknown."""
    total: ExtractionCost | None = None
    for one in features:
        each = read_full_cost(one)
        if not each:
            return None
        there = read_cost(one)
        cost = ExtractionCost(**each, machine=f"{there.get('machine')}, {there.get('device')}")
        total = cost if total is None else total + cost
    return total
