"""A network's parameters in the files that people have: other wrappings, prefixes and last layers.

Programs save the network inside a dict (``state_dict``, ``model``, …), and inside other modules, so
that every name has a prefix (``module.``, ``backbone.``, ``encoder_q.``, …), with a last layer of
their own. The names inside the network are torchvision's all the same, and found by them.
"""

from __future__ import annotations

import argparse
import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from featx.errors import WeightsError
from featx.text import list_some, say_error

log = logging.getLogger(__name__)

# Keys under which training programs keep the network, in the order in which they are looked for.
_HOLDERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights")
_FIRST, _LAST = "conv1.weight", "fc."  # of every network here
_BEGINNINGS = (b"PK\3\4", b"\x80")  # of the archive that torch writes, and of the older pickle
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")  # what torch's loader names where it refuses a kind


def read_pth(path: Path) -> dict[str, Any]:
    """What a file of torch's holds, and be it the network inside something else.

    Raises
    ------
    WeightsError
        It holds anything but plain tensors, numbers and text, or is none of torch's files.
    """
    try:
        with path.open("rb") as file:
            begins = file.read(4)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {say_error(error)}") from error
    if not begins.startswith(_BEGINNINGS):
        raise WeightsError(f"{path} is not a file that torch.save wrote: it begins as none does")
    try:
        with (
            warnings.catch_warnings(),
            # Options, which many programs save beside the parameters; nothing runs for them.
            torch.serialization.safe_globals([argparse.Namespace]),
        ):
            # Remarks on the file's age; what is wrong with it is said below.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises nearly every kind for what is no state dict
        raise WeightsError(
            f"{path} is not a file of plain tensors (anything else is refused, since loading it "
            f"could run code): {_say_refused(str(error) or type(error).__name__)}"
        ) from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not a state dict")
    return dict(state)


def find_network(
    state: Mapping[str, Any], expected: Mapping[str, torch.Tensor], source: str
) -> dict[str, Any]:
    """The network's own parameters in what a file held, by torchvision's names.

    A last layer of another size is left out, and so is what lies beside the network.

    Parameters
    ----------
    state : mapping
        What a file held.
    expected : mapping of str to Tensor
        The network's own names and shapes.
    source : str
        Named in what is said.

    Returns
    -------
    dict
        As it is where it is the network's; what is wrong with it is for `check_state` to say.

    Raises
    ------
    WeightsError
        There are several networks, or names of no such network.
    """
    while (holder := _find_holder(state, source)) is not None:
        state = state[holder]
    state = {str(name): value for name, value in state.items()}
    needed = {name for name in expected if _is_needed(name)}
    prefixes = [name.removesuffix(_FIRST) for name in state if _ends(name)]
    whole = [prefix for prefix in prefixes if all(prefix + name in state for name in needed)]
    if len(whole) > 1:
        raise _refuse_several(source, [f"{one}*" for one in whole])
    if not whole:
        # The nearest to one, so that what is wrong is said of it.
        nearest = [p for p in prefixes if any(p + name in state for name in needed - {_FIRST})]
        if not state or not nearest:
            names = f"its names are {list_some(list(state))}" if state else "it holds nothing"
            raise WeightsError(f"{source} is no network of torchvision's: {names}")
        prefix = min(nearest, key=lambda p: sum(p + name not in state for name in needed))
    else:
        (prefix,) = whole
    ours = {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    stages = {name.partition(".")[0] for name in needed}
    kept = {name: v for name, v in ours.items() if name.partition(".")[0] in stages}
    last = {name: v for name, v in ours.items() if name in expected and name.startswith(_LAST)}
    if all(getattr(v, "shape", None) == expected[name].shape for name, v in last.items()):
        kept |= last
    if left := [name for name in state if name.removeprefix(prefix) not in kept]:
        log.info("weights: %s: left aside: %s", source, list_some(left))
    return kept


def _find_holder(state: Mapping[str, Any], source: str) -> str | None:
    """The key under which the network lies: a usual one, or the only one with such names in it."""
    usual = next((key for key in _HOLDERS if isinstance(state.get(key), Mapping)), None)
    if usual is not None or any(_ends(str(name)) for name in state):
        return usual
    holders = [key for key, value in state.items() if _holds_network(value)]
    if len(holders) > 1:
        raise _refuse_several(source, list(map(str, holders)))
    return holders[0] if holders else None


def _holds_network(value: Any, deep: int = 3) -> bool:
    if not isinstance(value, Mapping):
        return False
    if any(_ends(str(name)) for name in value):
        return True
    return deep > 0 and any(_holds_network(inner, deep - 1) for inner in value.values())


def _refuse_several(source: str, names: list[str]) -> WeightsError:
    return WeightsError(
        f"{source} holds several networks ({list_some(names)}): save the state dict of the one you "
        "mean"
    )


def _is_needed(name: str) -> bool:
    return not name.startswith(_LAST) and not name.endswith("num_batches_tracked")


def _ends(name: str) -> bool:
    """Whether a name is that of a network's first convolution, and not of one in a block of it."""
    before = name.removesuffix(_FIRST)
    return before != name and (not before or before.endswith(".")) and not _BLOCK.search(before)


_BLOCK = re.compile(r"layer\d\.\d+\.$")


def _say_refused(said: str) -> str:
    """Why torch did not load a file, in a clause that says what to do."""
    if "TorchScript" in said:
        what = "it is a TorchScript program"
    elif found := _GLOBAL.search(said):
        what = f"it holds a {found[1]}"
    else:
        # torch advises to load it without the check: that is what runs code.
        first = said.splitlines()[0]
        return "it holds something else, or is damaged" if "weights_only" in first else first
    return (
        f"{what}; in the program that made it, torch.save(model.state_dict(), 'weights.pth') saves "
        "what featx reads"
    )
