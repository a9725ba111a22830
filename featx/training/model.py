"""Trained models: what was learned, from what, how well it does; on disk without pickle.

Arrays are kept as safetensors, everything else as JSON in the file's header.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from featx.config import MODEL_SCHEMA
from featx.errors import ModelError, OutputExistsError
from featx.storage.files import check_writable, hash_json, take_path, write_whole
from featx.text import say_one_label
from featx.timing import add_seconds
from featx.training.metrics import Score, describe_scores

log = logging.getLogger(__name__)

MULTILABEL = "multilabel"  # the kind of a model that gives an image any number of labels
KINDS = ("head", "network", MULTILABEL)
_MARK, _SEAL = "featx-model", "featx-sha256"
_SCORED = "probabilities."


@dataclass(frozen=True)
class Epoch:
    """One row of a training history.

    Attributes
    ----------
    epoch : int
        From 1.
    seconds : float
        Wall time of training and of scoring the other splits.
    loss, accuracy : dict of str to float
        By split. Loss is the mean cross-entropy in nats, accuracy a fraction in [0, 1]. Those of
        train are taken during the epoch, while the parameters move; the others after it.
    decode : float or None
        Of the seconds, waited for inputs: images to be decoded, or what a prefix cache holds of
        them to be read. None where that was not measured, as on features.
    network : float or None
        Of the seconds, in the network: forward, backward, steps, scores.
    """

    epoch: int
    seconds: float
    loss: dict[str, float]
    accuracy: dict[str, float]
    decode: float | None = None
    network: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """How a training went and how well its result does.

    Attributes
    ----------
    scores : dict of str to Score
        By split.
    probabilities : dict of str to ndarray of shape (n_samples, n_classes)
        Of val and test, in the dataset's order.
    seconds : float
        Wall time of all fitting: scaling and search, or all epochs. What scores the result comes
        after it.
    trainable_parameters : int
        Numbers that the training decided.
    machine : str
        Where the seconds were measured.
    history : tuple of Epoch
        Empty where there are no epochs.
    best_epoch : int or None
        From 1: the one that was kept.
    details : dict
        JSON values that only this kind of training has, such as C.
    """

    scores: dict[str, Score]
    probabilities: dict[str, npt.NDArray[np.floating]]
    seconds: float
    trainable_parameters: int
    machine: str
    history: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds_per_epoch(self) -> float | None:
        """Mean wall time of an epoch: train, val and test; None where there are none."""
        if not self.history:
            return None
        return sum(epoch.seconds for epoch in self.history) / len(self.history)

    @property
    def decode(self) -> float | None:
        """Of the seconds, waited for images; see `featx.Epoch`."""
        return add_seconds(epoch.decode for epoch in self.history)

    @property
    def network(self) -> float | None:
        """Of the seconds, in the network; see `featx.Epoch`."""
        return add_seconds(epoch.network for epoch in self.history)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without the probabilities."""
        return {
            **describe_scores(self.scores),
            "fit_seconds": self.seconds,
            "seconds": {"decode": self.decode, "network": self.network, "fit": self.seconds},
            "seconds_per_epoch": self.seconds_per_epoch,
            "trainable_parameters": self.trainable_parameters,
            "machine": self.machine,
            "epochs": len(self.history),
            "best_epoch": self.best_epoch,
            "history": [epoch.to_dict() for epoch in self.history],
            **self.details,
        }

    @classmethod
    def from_dict(
        cls, values: dict[str, Any], probabilities: dict[str, npt.NDArray[np.floating]]
    ) -> Outcome:
        """The inverse of `to_dict`; raises KeyError or TypeError on anything else."""
        rest = dict(values)
        counts, intervals, means = (rest.pop(k) for k in ("counts", "ci95", "mean_per_class"))
        methods = rest.pop("ci95_method", {})  # not in files of before there were groups
        for derived in ("accuracy", "seconds_per_epoch", "epochs"):
            del rest[derived]
        rest.pop("seconds", None)  # derived, too, and not in the first files of this schema
        return cls(
            scores={
                name: Score(
                    count["correct"],
                    count["total"],
                    tuple(intervals[name]),
                    means[name],
                    methods.get(name, "wilson"),
                )
                for name, count in counts.items()
            },
            probabilities=probabilities,
            seconds=rest.pop("fit_seconds"),
            trainable_parameters=rest.pop("trainable_parameters"),
            machine=rest.pop("machine"),
            history=tuple(Epoch(**epoch) for epoch in rest.pop("history")),
            best_epoch=rest.pop("best_epoch"),
            details=rest,
        )


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes
    ----------
    kind : {"head", "network", "multilabel"}
        Whether it takes features or images; or features, and gives an image several labels.
    name : str
        The head's (``--clf``) or the part that was trained (``--train``).
    classes : tuple of str
    provenance : dict
        Of the features it learned on, or of the network: weights, weights_sha256, preprocessing.
    recipe : dict
        All that decided the result, as JSON values.
    outcome : Outcome
    arrays : dict of str to ndarray
        What was learned.
    path : Path or None
        The file, where there is one.
    """

    kind: str
    name: str
    classes: tuple[str, ...]
    provenance: dict[str, Any]
    recipe: dict[str, Any]
    outcome: Outcome
    arrays: dict[str, npt.NDArray[Any]] = field(repr=False)
    path: Path | None = None

    @property
    def title(self) -> str:
        """Its name among others on the same images: one with other layers' outputs has more."""
        return f"{self.name}+layers" if self.recipe.get("layers") else self.name

    def need_one_label(self, what: str) -> None:
        """Raise ModelError where it gives an image several labels, and `what` takes one."""
        if self.kind == MULTILABEL:
            raise ModelError(f"{self.path or self.name}: {say_one_label(what)}")

    @property
    def recipe_key(self) -> str:
        """One hash for all that decided the result."""
        return hash_json(self.recipe)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``featx fit --json`` and ``featx finetune --json``."""
        return {
            "train" if self.kind == "network" else "clf": self.name,
            "model": str(self.path) if self.path else None,
            **self.outcome.to_dict(),
            "classes": list(self.classes),
        }


def write_model(model: Model, path: Path) -> Model:
    """Write a model file, whole or not at all; returns the model with its path."""
    facts = {
        "schema": MODEL_SCHEMA,
        "sealed": True,
        "kind": model.kind,
        "name": model.name,
        "classes": list(model.classes),
        "provenance": model.provenance,
        "recipe": model.recipe,
        "outcome": model.outcome.to_dict(),
    }
    arrays = dict(model.arrays)
    arrays |= {_SCORED + name: values for name, values in model.outcome.probabilities.items()}
    # safetensors writes the memory as it lies; asarray, since ascontiguousarray adds a dimension
    # to batch norm's counters.
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with write_whole(path) as temporary:
        # Written by ourselves, so that a full disk is an OSError.
        told = json.dumps(facts, sort_keys=True)
        seal = _hash_content(told, arrays)
        temporary.write_bytes(save(arrays, metadata={_MARK: told, _SEAL: seal}))
    return replace(model, path=path)


def _hash_content(facts: str, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256, in hex, of all that a model file says, however it lies in the file."""
    digest = hashlib.sha256(facts.encode())
    for name in sorted(arrays):
        digest.update(f"\n{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_model(path: str | Path) -> Model:
    """Read a model file, or the one in a run's folder.

    Parameters
    ----------
    path : path

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        No such file, not ours, of another schema, or damaged.

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> model = featx.fit(featx.load_features("F.h5"), "centroid", output="model.safetensors")
    >>> featx.read_model("model.safetensors").classes
    ('cat', 'dog', 'owl')
    """
    path = take_path(path, "model")
    file_path = path / "model.safetensors" if path.is_dir() else path
    if not file_path.is_file():
        raise ModelError(f"no such model: {file_path}; featx fit and featx finetune make them")
    try:
        with safe_open(file_path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(metadata.get(_MARK, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{file_path} is not a model file: {error}") from error
    if not isinstance(facts, Mapping):
        raise ModelError(f"{file_path} is a safetensors file, but not a model of featx")
    if facts.get("schema") != MODEL_SCHEMA:
        raise ModelError(
            f"{file_path} has schema {facts.get('schema')}, and this featx reads {MODEL_SCHEMA}; "
            "train it again"
        )
    # Files of before there were seals have none.
    sealed = "sealed" in facts or _SEAL in metadata
    if sealed and metadata.get(_SEAL) != _hash_content(metadata[_MARK], arrays):
        raise ModelError(f"{file_path} is damaged, train it again: it is not as it was written")
    scored = {n.removeprefix(_SCORED): a for n, a in arrays.items() if n.startswith(_SCORED)}
    try:
        if facts["kind"] not in KINDS or not isinstance(facts["name"], str):
            raise ValueError("no kind of model that this featx knows")
        for name, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} holds what is no number")
        return Model(
            kind=facts["kind"],
            name=facts["name"],
            classes=tuple(facts["classes"]),
            provenance=dict(facts["provenance"]),
            recipe=dict(facts["recipe"]),
            outcome=Outcome.from_dict(facts["outcome"], scored),
            arrays={name: a for name, a in arrays.items() if not name.startswith(_SCORED)},
            path=file_path,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = str(error) if isinstance(error, ValueError) else repr(error)
        raise ModelError(f"{file_path} is damaged, train it again: {said}") from error


def check_place(path: Path, recipe: dict[str, Any], overwrite: bool = False) -> None:
    """Check, before the work, that a model can be written where it replaces nothing but itself.

    Raises
    ------
    OutputExistsError
        `path` holds something other than what the same recipe made, and `overwrite` is False.
    OSError
        It cannot be written.
    """
    if path.exists() and not overwrite:
        try:
            there = read_model(path)
        except ModelError as error:
            raise OutputExistsError(path, (str(error),)) from error
        if there.recipe_key != hash_json(recipe):
            raise OutputExistsError(path, find_differences(there.recipe, recipe))
    check_writable(path)


def reuse_model(path: Path, recipe: dict[str, Any]) -> Model | None:
    """The model that is there, if it is the one that `recipe` makes."""
    if not path.exists():
        return None
    try:
        there = read_model(path)
    except ModelError as error:
        log.warning("trained again: %s", error)
        return None
    if there.recipe_key != hash_json(recipe):
        return None
    log.info("reused: %s", path)
    return there


def find_differences(there: dict[str, Any], wanted: dict[str, Any]) -> tuple[str, ...]:
    """Fields in which two recipes differ, as "field: there → wanted"."""
    keys = sorted(key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key))
    return tuple(f"{key}: {there.get(key)!s:.40} → {wanted.get(key)!s:.40}" for key in keys)
