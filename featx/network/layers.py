"""What one pass gives beside the last layer's averages: outputs of stages, pooled over places.

What a stage has found is a map of places for each channel. Its mean over the places says how much
of a thing there is, its maximum whether there is any: what is small in the picture drowns in the
first and stands in the second. (Head2Toe, Evci et al. 2022, takes features of all layers, too.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from featx.config import ALL_LAYERS, BACKBONES, LAST_LAYER, LAYERS, POOLS
from featx.errors import LayersError

Output = tuple[str, str]  # a stage, and how it is pooled

_ALL = tuple((layer, pool) for layer in LAYERS for pool in POOLS)
LAST = (LAYERS[-1], "avg")  # the features themselves
_BESIDE = tuple(one for one in _ALL if one != LAST)
_STRIDE = 32  # pixels from one place of the last stage's output to the next: He et al. 2016
_SETS = {
    LAST_LAYER: (LAST,),
    ALL_LAYERS: _ALL,
    **{pool: tuple((layer, pool) for layer in LAYERS) for pool in POOLS},
}


@dataclass(frozen=True)
class LayerColumns:
    """Where one stage's pooled output stands.

    Attributes
    ----------
    layer : {"layer1", "layer2", "layer3", "layer4"}
    pool : {"avg", "max"}
    start, stop : int
        Its columns: among those beside the features.
    """

    layer: str
    pool: str
    start: int
    stop: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def parse_outputs(text: str) -> tuple[Output, ...]:
    """Which outputs are named, in the order in which they stand: the features come first.

    Parameters
    ----------
    text : str
        "last": the last stage's average, which is the features. "all": all stages, both ways.
        "avg", "max": all stages, one way. Or names with commas between them: "layer2" (both ways),
        "layer3:max".

    Returns
    -------
    tuple of (layer, pool)

    Raises
    ------
    LayersError
        It is none of these.
    """
    taken: set[Output] = set()
    for part in text.split(","):
        word = part.strip()
        layer, _, pool = word.partition(":")
        if word in _SETS:
            taken.update(_SETS[word])
        elif layer in LAYERS and word in (layer, *(f"{layer}:{one}" for one in POOLS)):
            taken.update((layer, one) for one in POOLS if pool in ("", one))
        else:
            raise LayersError(
                f"--layers {text}: say last, all, avg, max, or names such as layer2 or layer3:max "
                f"with commas between them; {word!r} is none"
            )
    return sort_outputs(taken)


def sort_outputs(taken: Iterable[Output]) -> tuple[Output, ...]:
    """Outputs once each, in the order in which they stand: the features come first."""
    there = {*taken}
    return tuple(one for one in (LAST, *_BESIDE) if one in there)


def spell_outputs(taken: Iterable[Output]) -> str:
    """The one spelling of some outputs; the inverse of `parse_outputs`."""
    there = {*taken}
    for name, members in _SETS.items():
        if there == {*members}:
            return name
    return ",".join(f"{layer}:{pool}" for layer, pool in _ALL if (layer, pool) in there)


def parse_layers(text: str) -> tuple[Output, ...]:
    """Which outputs are kept beside the features, in the order in which they stand.

    Raises
    ------
    LayersError
        See `parse_outputs`, whose text it is.
    """
    return tuple(one for one in parse_outputs(text) if one != LAST)


def spell_layers(taken: Iterable[Output]) -> str:
    """The one spelling of a choice, for provenance; the inverse of `parse_layers`."""
    whole = {*taken, LAST}
    for name, members in _SETS.items():
        if whole == {*members, LAST}:
            return name
    return spell_outputs(whole - {LAST})


def list_columns(layers: str, backbone: str) -> tuple[LayerColumns, ...]:
    """Where each output that a choice keeps stands; () where it keeps the features alone."""
    found: list[LayerColumns] = []
    for layer, pool in parse_layers(layers):
        start = found[-1].stop if found else 0
        found.append(LayerColumns(layer, pool, start, start + count_channels(layer, backbone)))
    return tuple(found)


def count_columns(layers: str, backbone: str) -> int:
    """How many numbers a choice keeps beside the features."""
    return sum(one.stop - one.start for one in list_columns(layers, backbone))


def count_channels(layer: str, backbone: str) -> int:
    """Channels of a stage: each stage of a ResNet has half as many as the next (He et al. 2016)."""
    dim: int = BACKBONES[backbone]
    return dim >> (len(LAYERS) - 1 - LAYERS.index(layer))


def count_places(crop: int) -> int:
    """Places along a side of the last stage's output for a square of `crop` pixels."""
    return -(-crop // _STRIDE)


def includes(wide: str, narrow: str) -> bool:
    """Whether one choice keeps all that another keeps."""
    return {*parse_layers(wide)} >= {*parse_layers(narrow)}
