"""What decides an image's features, and what of it a user chooses."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from featx.config import BACKBONE, LAST_LAYER, SCHEMA, Preprocessing
from featx.data.images import read_decode
from featx.machine import describe_engine
from featx.network.catalogue import check_backbone
from featx.network.layers import count_columns, includes, parse_layers, spell_layers
from featx.storage.files import hash_json


@dataclass(frozen=True)
class Provenance:
    """All that decides what an image's features are; another value in any field, another file.

    Attributes
    ----------
    backbone, weights, weights_sha256 : str
    preprocessing : dict
        `Preprocessing.to_dict()`.
    decoder : str
        What decodes, with versions.
    colours : str
        How pictures of every kind become upright RGB; see `describe_colours`.
    engine : str
        What runs the network, with its version.
    precision, storage : str
        Of the computation ("fp32") and of the stored numbers ("float32").
    layers : str
        What is kept beside the features, as `spell_layers` spells it.
    """

    __module__ = "featx"  # its public place, so that a pickle does not know where it lies

    backbone: str
    weights: str
    weights_sha256: str
    preprocessing: dict[str, Any]
    decoder: str
    colours: str
    engine: str
    precision: str
    storage: str
    layers: str = LAST_LAYER

    def key(self) -> str:
        """One hash for all fields and the schema of the file."""
        return hash_json([SCHEMA, self.to_dict()])

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; `layers` only where there are any beside the last."""
        values = asdict(self)
        if self.layers == LAST_LAYER:
            del values["layers"]
        return values

    @property
    def n_columns(self) -> int:
        """Numbers that are kept of an image beside its features."""
        return count_columns(self.layers, self.backbone)

    def widens_to(self, other: Provenance) -> bool:
        """Whether `other` is the same making with more layers."""
        wider = other.layers != self.layers and includes(other.layers, self.layers)
        return wider and replace(self, layers=other.layers) == other

    def differences(self, other: Provenance) -> tuple[str, ...]:
        """Fields in which `other` differs, as "field: here → there"."""
        mine, theirs = asdict(self), asdict(other)
        return tuple(f"{k}: {mine[k]} → {theirs[k]}" for k in mine if mine[k] != theirs[k])


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An engine, a precision, a way to decode and to frame, a network: as a user names them.

    Attributes
    ----------
    engine : {"auto", "torch", "openvino"}
    precision : {"auto", "fp32", "bf16", "fp16"}
    decode : {"exact", "fast"}
    protocol : {"none", "linear-eval"}
    view : int
        See `Preprocessing.frame`.
    storage : {"float32", "float16"}
        Of the stored numbers.
    backbone : str
        A key of `BACKBONES`.
    layers : str
        See `parse_layers`.

    Raises
    ------
    WeightsError
        There is no such backbone.
    LayersError
        There are no such layers.
    """

    engine: str = "auto"
    precision: str = "fp32"
    decode: str = "exact"
    protocol: str = "none"
    view: int = 0
    storage: str = "float32"
    backbone: str = BACKBONE
    layers: str = LAST_LAYER

    def __post_init__(self) -> None:
        check_backbone(self.backbone)
        object.__setattr__(self, "layers", spell_layers(parse_layers(self.layers)))

    def frame(self, preprocessing: Preprocessing) -> Preprocessing:
        """What is to be done with images that weights want preprocessed so."""
        return preprocessing.frame(self.protocol, self.view)

    def accepts(self, made: Provenance) -> bool:
        """Whether features of that making are what is asked for; auto takes what is there."""
        engine = self.engine == "auto" or made.engine == describe_engine(self.engine)
        precision = self.precision in ("auto", made.precision)
        stored = self.storage == made.storage and self.decode == read_decode(made.decoder)
        kept = self.backbone == made.backbone and includes(made.layers, self.layers)
        return engine and precision and stored and kept

    def settle(self, made: Provenance | None) -> Choice:
        """This choice with what is left open taken from a file, where it can still be made so.

        A file that keeps more layers goes on keeping them.
        """
        if made is None or not self.accepts(made):
            return self
        name = made.engine.split()[0]
        if made.engine != describe_engine(name):
            return self
        return replace(self, engine=name, precision=made.precision, layers=made.layers)
