"""Which outputs of the network a head reads, side by side, and where their columns stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from featx.arrays import Labels
from featx.config import AUTO_LAYERS, BACKBONES, LAYER_SETS
from featx.errors import LayersError
from featx.features.content import Features
from featx.network.layers import (
    LAST,
    LayerColumns,
    Output,
    count_channels,
    list_columns,
    parse_layers,
    parse_outputs,
    sort_outputs,
    spell_layers,
    spell_outputs,
)
from featx.storage.blocks import Beside, RowSource

# What a recipe says of layers: of each set that is tried its "layers", as `spell_outputs` spells
# them, and their "columns" among those of all sets side by side, as [start, stop] of each output.
LayerSets = Sequence[Mapping[str, Any]]


def plan_layers(
    features: Features, layers: str, views: Sequence[Features] = ()
) -> list[dict[str, Any]]:
    """The sets of outputs that a head chooses from, for its recipe; [] where it is the last layer.

    Parameters
    ----------
    features : Features
    layers : str
        "auto": those of `LAYER_SETS` that the features have; beside the last layer all that they
        have where that is none of these. Else one set; see `parse_outputs`.
    views : sequence of Features
        What these lack is not among what is chosen from.

    Raises
    ------
    LayersError
        The features lack what is asked for, or it is none.
    """
    held = [{LAST, *parse_layers(one.provenance.layers)} for one in (features, *views)]
    there = set.intersection(*held)
    if layers == AUTO_LAYERS:
        known = [{*parse_outputs(name)} for name in LAYER_SETS]
        sets = [one for one in known if one <= there]
        sets += [there] if sets == [{LAST}] != [there] else []
    else:
        sets = [{*parse_outputs(layers)}]
        for one, has in zip((features, *views), held, strict=True):
            if missing := sets[0] - has:
                raise LayersError(_say_missing(one, layers, missing))
    if sets == [{LAST}]:
        return []
    places = {(one.layer, one.pool): one for one in lay_out(features, set().union(*sets))}
    return [
        {
            "layers": spell_outputs(one),
            "columns": [[places[each].start, places[each].stop] for each in sort_outputs(one)],
        }
        for one in sets
    ]


def lay_out(features: Features, taken: Iterable[Output]) -> list[LayerColumns]:
    """Where outputs stand, where they stand side by side."""
    width = {(one.layer, one.pool): one.stop - one.start for one in _list_beside(features)}
    width[LAST] = features.X.shape[1]
    found: list[LayerColumns] = []
    for layer, pool in sort_outputs(taken):
        start = found[-1].stop if found else 0
        found.append(LayerColumns(layer, pool, start, start + width[layer, pool]))
    return found


def take_rows(features: Features, sets: LayerSets = ()) -> RowSource:
    """Rows of all columns of some sets side by side; of none, the features themselves."""
    taken = [output for one in sets for output in parse_outputs(one["layers"])] or [LAST]
    beside = {
        (one.layer, one.pool): np.arange(one.start, one.stop) for one in _list_beside(features)
    }
    if missing := {*taken} - {LAST, *beside}:
        raise LayersError(_say_missing(features, spell_outputs(taken), missing))
    there = [beside[one] for one in sort_outputs(taken) if one != LAST]
    if not there:
        return features.X
    assert features.layers is not None
    part = features.layers, np.concatenate(there)
    if LAST not in taken:
        return Beside((part,))
    return Beside(((features.X, np.arange(features.X.shape[1])), part))


def take_engine_rows(features: Features, layers: str) -> RowSource:
    """Rows as the network gives them for a head that reads these outputs; see `find_own`."""
    return take_rows(features, [{"layers": spell_outputs({LAST, *parse_outputs(layers)})}])


def count_width(features: Features, sets: LayerSets) -> int:
    """How many columns `take_rows` gives."""
    return max((stop for one in sets for _, stop in one["columns"]), default=features.X.shape[1])


def count_columns(one: Mapping[str, Any]) -> int:
    """How many columns a set has."""
    return sum(stop - start for start, stop in one["columns"])


def find_columns(one: Mapping[str, Any], sets: LayerSets) -> Labels | None:
    """Which columns a set has of those of all sets; None: all."""
    columns = np.concatenate([np.arange(*ends) for ends in one["columns"]])
    width = max(stop for each in sets for _, stop in each["columns"])
    return None if len(columns) == width else columns


def add_features(layers: str) -> str:
    """What the network has to keep beside the features for a head that reads these outputs."""
    return spell_layers(parse_layers(layers))


def find_own(layers: str, backbone: str, kept: str | None = None) -> Labels | None:
    """Where the columns of some outputs are among those that the network gives; None: all.

    Parameters
    ----------
    layers : str
        See `parse_outputs`.
    backbone : str
    kept : str, optional
        What it gives behind the features; None: what these outputs need.
    """
    dim, taken = BACKBONES[backbone], parse_outputs(layers)
    there = list_columns(add_features(layers) if kept is None else kept, backbone)
    places = {(one.layer, one.pool): dim + np.arange(one.start, one.stop) for one in there}
    places[LAST] = np.arange(dim)
    columns = np.concatenate([places[one] for one in taken])
    return None if len(columns) == sum(map(len, places.values())) else columns


def name_columns(layers: str, backbone: str) -> list[str]:
    """Names of some outputs' columns: the features' are the backbone's with a number."""
    names = []
    for layer, pool in parse_outputs(layers):
        whose = backbone if (layer, pool) == LAST else f"{backbone}_{layer}_{pool}"
        names += [f"{whose}_{i}" for i in range(count_channels(layer, backbone))]
    return names


def _list_beside(features: Features) -> tuple[LayerColumns, ...]:
    made = features.provenance
    return list_columns(made.layers, made.backbone)


def _say_missing(features: Features, layers: str, missing: Iterable[Output]) -> str:
    made = features.provenance
    needed = spell_layers({*parse_layers(made.layers), *parse_layers(layers)})
    lacking = ", ".join(f"{layer}:{pool}" for layer, pool in sort_outputs(missing))
    where = features.path or features.dataset
    output, views = features.path or "F.h5", ""
    if view := made.preprocessing.get("view"):
        output, views = "F.h5", f" --views {view}"  # of the file that it is a view of
    return (
        f"{where} has no {lacking}, which --layers {layers} asks for (it keeps {made.layers}): "
        f"featx extract DATA -o {output} --layers {needed}{views} adds what is missing; "
        "the network runs again, the rest is kept"
    )
