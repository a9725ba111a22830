"""What decides an image's features, and what of it a user chooses."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from featx.config import BACKBONE, LAST_LAYER, SCHEMA, Preprocessing
from featx.decoding.decoders import (
    accepts_decode,
    check_decode,
    describe_decoder,
    read_decode,
)
from featx.decoding.pixel_format import (
    Reading,
    check_depth,
    check_profiles,
    parse_channels,
    parse_range,
    read_colours,
)
from featx.errors import DatasetError
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
    precision : {"auto", "fp32", "tf32", "bf16", "fp16", "int8"}
    decode : {"exact", "pillow", "fast", "pillow-fast"}
        exact and fast take what Pillow alone decoded at that scale, where it is there.
    protocol : {"none", "linear-eval"}
    view : int
        See `Preprocessing.frame`.
    storage : {"float32", "float16"}
        Of the stored numbers.
    backbone : str
        A key of `BACKBONES`.
    layers : str
        See `parse_layers`.
    depth : {"auto", "full", "used"}
        Of samples of 16 bits: auto and full take their type's range, used the bits that occur in
        the data; "used N", once those are known.
    sample_range : (float, float) or "LOW,HIGH", optional
        Black and white of samples of more than 8 bits, signed or floating-point.
    channels : tuple of 1 or 3 int, or "0,1,2", optional
        Of a TIFF of several channels, those to take.
    profiles : {"auto", "srgb", "ignore"}
        Whether a picture's ICC profile is followed; auto: as features that are there did, else it
        is.

    Raises
    ------
    WeightsError
        There is no such backbone.
    LayersError
        There are no such layers.
    DatasetError
        Pixels cannot be read so.
    """

    engine: str = "auto"
    precision: str = "fp32"
    decode: str = "exact"
    protocol: str = "none"
    view: int = 0
    storage: str = "float32"
    backbone: str = BACKBONE
    layers: str = LAST_LAYER
    depth: str = "auto"
    sample_range: tuple[float, float] | str | None = None
    channels: tuple[int, ...] | str | None = None
    profiles: str = "auto"

    def __post_init__(self) -> None:
        check_backbone(self.backbone)
        object.__setattr__(self, "layers", spell_layers(parse_layers(self.layers)))
        check_decode(self.decode)
        check_depth(self.depth)
        check_profiles(self.profiles)
        for name, parse in (("sample_range", parse_range), ("channels", parse_channels)):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, parse(given))  # a frozen object's own way
        if self.sample_range is not None and self.depth not in ("auto", "full"):
            raise DatasetError(f"depth {self.depth} and a range: each is a scale, say one of them")

    @property
    def reading(self) -> Reading:
        """How pixels are read where no features are there that say more."""
        return Reading(
            profiles="srgb" if self.profiles == "auto" else self.profiles,
            depth=self.depth if self.depth.startswith("used ") else "full",
            sample_range=self.sample_range,  # type: ignore[arg-type]  # parsed by now
            channels=self.channels,  # type: ignore[arg-type]
        )

    def frame(self, preprocessing: Preprocessing) -> Preprocessing:
        """What is to be done with images that weights want preprocessed so."""
        return preprocessing.frame(self.protocol, self.view)

    def accepts(self, made: Provenance) -> bool:
        """Whether features of that making are what is asked for; auto takes what is there."""
        engine = self.engine == "auto" or made.engine == describe_engine(self.engine)
        precision = self.precision in ("auto", made.precision)
        stored = self.storage == made.storage
        decoded = accepts_decode(self.decode, read_decode(made.decoder))
        kept = self.backbone == made.backbone and includes(made.layers, self.layers)
        alike = stored and decoded and kept and self._accepts_reading(read_colours(made.colours))
        return engine and precision and alike

    def _accepts_reading(self, made: Reading) -> bool:
        mine = self.reading
        used = self.depth == "used" and made.depth.startswith("used ")
        profiles = self.profiles in ("auto", made.profiles)
        stated = (mine.sample_range, mine.channels) == (made.sample_range, made.channels)
        return profiles and stated and (used or (self.depth != "used" and mine.depth == made.depth))

    def settle(self, made: Provenance | None) -> Choice:
        """This choice with what is left open taken from a file, where it can still be made so.

        A file that keeps more layers goes on keeping them.
        """
        if made is None or not self.accepts(made):
            return self
        name = made.engine.split()[0]
        if made.engine != describe_engine(name):
            return self
        found = replace(self, engine=name, precision=made.precision, layers=made.layers)
        settled = found.settle_decoder(made)
        if made.decoder != describe_decoder(settled.decode):
            return found  # all is decoded anew
        return replace(settled, profiles=read_colours(made.colours).profiles)

    def settle_decoder(self, made: Provenance) -> Choice:
        """This choice with the decoder of a file that it takes, where that is still the same."""
        decode = read_decode(made.decoder)
        if not accepts_decode(self.decode, decode) or made.decoder != describe_decoder(decode):
            return self
        return replace(self, decode=decode)
