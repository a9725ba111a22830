"""What one pass gives beside the last layer's averages: outputs of stages, pooled over places.

What a stage has found is a map of places for each channel. Its mean over the places says how much
of a thing there is, its maximum whether there is any: what is small in the picture drowns in the
first and stands in the second. (Head2Toe, Evci et al. 2022, takes features of all layers, too.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from featx.config import ALL_LAYERS, BACKBONES, LAST_LAYER, LAYERS, POOLS
from featx.errors import LayersError

_ALL = tuple((layer, pool) for layer in LAYERS for pool in POOLS)
_LAST = (LAYERS[-1], "avg")  # the features themselves
_SETS = {
    LAST_LAYER: (),
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


def parse_layers(text: str) -> tuple[tuple[str, str], ...]:
    """Which outputs are kept beside the features, in the order in which they stand.

    Parameters
    ----------
    text : str
        "last": none. "all": all stages, both ways. "avg", "max": all stages, one way. Or names
        with commas between them: "layer2" (both ways), "layer3:max".

    Returns
    -------
    tuple of (layer, pool)
        Without the last stage's average, which is the features.

    Raises
    ------
    LayersError
        It is none of these.
    """
    taken: set[tuple[str, str]] = set()
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
    return tuple(one for one in _ALL if one in taken and one != _LAST)


def spell_layers(taken: Sequence[tuple[str, str]]) -> str:
    """The one spelling of a choice, for provenance; the inverse of `parse_layers`."""
    whole = {*taken, _LAST}
    for name, members in _SETS.items():
        if whole == {*members, _LAST}:
            return name
    return ",".join(f"{layer}:{pool}" for layer, pool in _ALL if (layer, pool) in {*taken})


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


def includes(wide: str, narrow: str) -> bool:
    """Whether one choice keeps all that another keeps."""
    return {*parse_layers(wide)} >= {*parse_layers(narrow)}
