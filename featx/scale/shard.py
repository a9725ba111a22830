"""A plan carried out: the features of its shards, one at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featx.data.inventory import Inventory
from featx.decoding.crops import find_picture
from featx.decoding.decoders import read_decode
from featx.decoding.pixel_format import read_colours
from featx.errors import DatasetError, FeatureFileError, PlanError
from featx.extraction.extract import extract_inventory
from featx.extraction.request import Request
from featx.extraction.result import Extraction, summarise_found
from featx.extraction.runner import build_runner
from featx.features.content import FeatureFile
from featx.features.file import open_features
from featx.features.ledger import holds
from featx.machine import describe_engine
from featx.scale.plan_file import Plan, read_plan, read_shard
from featx.storage.places import is_folder, state_of
from featx.timing import Stages

if TYPE_CHECKING:
    from featx.network.engine import Engine


class ShardWorker:
    """Computes shards of one plan, with one network for all of them.

    Parameters
    ----------
    plan : Plan or path of its folder
    root : path, optional
        Where the images are on this machine; None: where they were when the plan was made.
    weights : str, optional
        Where the parameters are on this machine; None: by the plan's own name.
    device, num_workers, decode_processes, lock, progress
        See `featx.extract`.

    Raises
    ------
    PlanError
        There is no such plan, or it is damaged.
    """

    def __init__(
        self,
        plan: Plan | str | Path,
        *,
        root: str | Path | None = None,
        weights: str | None = None,
        device: str = "auto",
        num_workers: int | None = None,
        decode_processes: int | None = None,
        lock: bool = True,
        progress: bool = False,
    ) -> None:
        self.plan = plan if isinstance(plan, Plan) else read_plan(plan)
        made = self.plan.provenance
        reading = read_colours(made.colours)
        self._root = Path(self.plan.root) if root is None else _find_root(self.plan, Path(root))
        self._request = Request(
            data=self.plan.data,
            choice=replace(
                self.plan.choice,
                decode=read_decode(made.decoder),
                depth=reading.depth,
                profiles=reading.profiles,
            ),
            weights=weights or self.plan.weights,
            device=device,
            batch_size=self.plan.batch_size,
            num_workers=num_workers,
            decode_processes=decode_processes,
            on_error=self.plan.on_error,
            overwrite=True,  # what an older plan left there is ours, and used where it fits
            lock=lock,
            progress=progress,
        )
        self._engine: Engine | None = None

    def extract(self, shard: int) -> Extraction:
        """Compute one shard, from 0; one that is done already is left as it is.

        Raises
        ------
        PlanError
            No such shard, damage, or a machine that would make other features.
        DatasetError
            The shard's images are not what they were.
        WeightsError, DeviceError, LockedError, StorageError, ImageError
            See `featx.extract`.
        """
        plan, stages = self.plan, Stages()
        inventory = read_shard(plan, shard, self._root)
        with stages.time("find"):
            done = _find_done(plan, shard, inventory)
        if done is not None:
            return summarise_found(done, stages, self._request.device)
        with stages.time("find"):
            _check_unchanged(plan, shard, inventory)
        if self._engine is None:
            self._engine = _build_engine(plan, inventory, self._request)
        return extract_inventory(
            inventory,
            self._engine,
            plan.provenance,
            replace(self._request, output=plan.features_path(shard)),
            stages=stages,
            fixed=True,
        )


def _check_unchanged(plan: Plan, shard: int, inventory: Inventory) -> None:
    """Raise DatasetError where images of a shard are gone, or are not as long as they were.

    That the bytes are those that were hashed is seen when they are decoded.
    """
    gone, changed = [], []
    for name, size in inventory.iterate_sizes():
        try:
            found = state_of(find_picture(inventory.root / name))
        except OSError:
            gone.append(name)
            continue
        if found.size != size:
            changed.append(name)
    said = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', …' * (len(names) > 3)})"
        for what, names in (("gone or unreadable", gone), ("of another size", changed))
        if names
    ]
    if said:
        raise DatasetError(
            f"{inventory.root} has changed since {plan.folder} was made: of shard {shard}, "
            f"{' and '.join(said)}; featx plan … --overwrite makes it anew (shards whose images "
            "are as they were stay done), --root names another folder"
        )


def _build_engine(plan: Plan, inventory: Inventory, request: Request) -> Engine:
    """The engine that a plan asks for.

    Raises
    ------
    PlanError
        What this machine would make differs from what the plan asks for.
    """
    if describe_engine(plan.choice.engine) != plan.provenance.engine:
        here = describe_engine(plan.choice.engine) or f"no {plan.choice.engine}"
        raise PlanError(
            f"{plan.folder} asks for {plan.provenance.engine} and this machine has {here}: install "
            "the same everywhere, or plan again with --overwrite"
        )
    engine, provenance = build_runner(
        inventory.first_paths,
        request.choice,
        request.weights,
        None,
        device=request.device,
        batch_size=request.batch_size,
        progress=request.progress,
        stages=Stages(),
    )
    differences = plan.provenance.differences(provenance)
    if differences:
        raise PlanError(
            f"this machine would make other features than {plan.folder} asks for "
            f"({'; '.join(differences)}): install the same everywhere, or plan again with "
            "--overwrite"
        )
    return engine


def _find_root(plan: Plan, root: Path) -> Path:
    """Where a plan's images are below another root: in the folder that an archive was made of."""
    if not Path(plan.root).is_relative_to(plan.data):
        return root
    inner = root / Path(plan.root).relative_to(plan.data)
    return inner if is_folder(inner) else root


def _find_done(plan: Plan, shard: int, inventory: Inventory) -> FeatureFile | None:
    """A shard's features, where they are what the plan asks for."""
    try:
        found = open_features(plan.features_path(shard))
    except FeatureFileError:
        return None
    fits = found.provenance == plan.provenance and holds(found, inventory, retry=False)
    return found if fits else None
