"""What a kind of head is: one row in the module of its name, and nothing anywhere else.

A new head is a module here whose last line is its row, `KIND`, and its name among `CLASSIFIERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy.typing as npt

from featx.config import AUTO_LAYERS, CLASSIFIERS, EPOCHS
from featx.errors import ModelError
from featx.features.content import Features
from featx.heads.search import Fit, LinearFit, Search, Task
from featx.training.choice import Choice
from featx.training.model import Epoch


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """What is asked of a head; see `featx.fit`."""

    C: float | str = "auto"
    scale: str = "none"
    epochs: int = EPOCHS
    seed: int = 0
    class_weight: str = "none"
    calibrate: bool = False
    choose_on: str = "folds"
    refit: bool = True
    learning_rate: float | str = "auto"
    layers: str = AUTO_LAYERS


@dataclass(frozen=True)
class Learned:
    """What training a head gives.

    Attributes
    ----------
    search : Search
    history : tuple of Epoch
        Where there are epochs.
    best_epoch : int or None
        From 1.
    details : mapping
        What else it is to be known by, as JSON values of its outcome.
    """

    search: Search
    history: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """What a head chooses by itself.

    Attributes
    ----------
    name : str
        What the values are called in recipes and reports. Of "C" a user may give one.
    values : tuple of float
        From the simplest to the most flexible.
    thinned : int
        Learning curves, many small fits, try every so manieth value.
    ends : bool
        Trying them ends early; see `PATH_MARGIN` of `config`.
    """

    name: str
    values: tuple[float, ...]
    thinned: int = 1
    ends: bool = False


@dataclass(frozen=True)
class Size:
    """What a fit is made of.

    Attributes
    ----------
    train, val, test : int
        Labelled rows; train with its views.
    features, classes : int
    values : int
        Of the grid.
    joined : bool
        Whether train is put together with other rows.
    folds : int
        That choose; 0 where val does.
    """

    train: int
    val: int
    test: int
    features: int
    classes: int
    values: int = 1
    joined: bool = False
    folds: int = 0


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a head takes at its peak.

    Attributes
    ----------
    copies : int
        Bytes for each number of train, beside its float32 itself: copies in float64 for centring
        and scoring, in float32 for L-BFGS' first steps, liblinear's nodes of 16 bytes, ...
    tried : int
        Bytes for each number of a fold's rows, beside themselves, while folds choose.
    whole : callable
        More bytes where all rows are at hand.
    blocks : callable or None
        More bytes where rows are read in blocks; None: it cannot.
    keeps_rows : bool
        Its model is train's rows themselves.
    keeps_fits : bool
        Coefficients of every value of the grid stay until one is chosen.
    """

    copies: int
    tried: int = 0
    whole: Callable[[Size], int] = lambda size: 0
    blocks: Callable[[Size], int] | None = lambda size: 0
    keeps_rows: bool = False
    keeps_fits: bool = True


def say_nothing(options: HeadOptions) -> dict[str, Any]:
    """A recipe's settings of a head that has none of its own."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """All that sets one head apart from the others.

    Attributes
    ----------
    name : str
        That of its module, and a word of `CLASSIFIERS`.
    train : callable
        From a `Task` to what was learned.
    choose : callable or None
        From a `Task` with a trial to what that chooses, of whose fits none is kept; None where it
        has nothing to judge. None: nothing is chosen.
    memory : Memory
    grid : Grid or None
        None: nothing is chosen.
    weighed : bool
        It knows class weights.
    logits : bool
        Its scores are logits and need no temperature; where `calibrate` asks for one, it has it.
        The others have one, but for those without a grid.
    exact : bool
        Where no image has relatives, every single one is left out instead of folds.
    drawn : bool
        A seed changes it even where no folds choose.
    untouched : bool
        It takes features as the network gave them: not scaled, and of no views.
    settings : callable
        From `HeadOptions` to what else decides it, as JSON values for its recipe.
    order : callable or None
        What decides the order of rows where they are read in blocks, for its recipe; None: no
        order changes it.
    prior : callable or None
        From `Features` and the weights' name or None to what it needs beside features.
    load : callable
        From arrays of a model file, the chosen value and the number of classes to its fit.
    """

    name: str
    train: Callable[[Task], Learned]
    choose: Callable[[Task], Choice | None] | None = None
    memory: Memory
    grid: Grid | None = None
    weighed: bool = False
    logits: bool = False
    exact: bool = False
    drawn: bool = False
    untouched: bool = False
    settings: Callable[[HeadOptions], dict[str, Any]] = say_nothing
    order: Callable[[], dict[str, int]] | None = None
    prior: Callable[[Features, str | None], Any] | None = None
    load: Callable[[Mapping[str, npt.NDArray[Any]], float, int], Fit] = field(
        default=LinearFit.from_arrays
    )


def read_grid(recipe: Mapping[str, Any]) -> Sequence[float]:
    """The values that a recipe has its head choose from; () where it chooses nothing."""
    grid = find_kind(recipe["clf"]).grid
    values: Sequence[float] = () if grid is None else recipe[grid.name]
    return values


def find_kind(clf: str) -> Kind:
    """The row of a head. Of all heads its module alone is imported: some bring torch.

    Raises
    ------
    ModelError
        There is no such head.
    """
    if clf not in CLASSIFIERS:
        raise ModelError(f"unknown clf {clf!r}: say one of {', '.join(CLASSIFIERS)}")
    kind: Kind = import_module(f"featx.heads.{clf}").KIND
    return kind
