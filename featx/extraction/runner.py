"""The engine that runs the network as chosen, and what its features will say made them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.config import Preprocessing
from featx.data.feeding import Decoding
from featx.data.loading import decode_some
from featx.decoding.decoders import describe_decoder, read_decode
from featx.decoding.picture import Source
from featx.decoding.pixel_format import Seen, describe_colours, read_colours
from featx.features.provenance import Choice, Provenance
from featx.timing import Stages

if TYPE_CHECKING:
    from featx.network.engine import Engine
    from featx.network.weights import Weights


def make_provenance(weights: Weights, engine: str, choice: Choice) -> Provenance:
    """All that decides an image's features.

    Parameters
    ----------
    weights : Weights
    engine : str
        Its name with its version.
    choice : Choice
        Whose precision and layers are settled.
    """
    return Provenance(
        backbone=weights.backbone,
        weights=weights.name,
        weights_sha256=weights.sha256,
        preprocessing=weights.preprocessing.to_dict(),
        decoder=describe_decoder(choice.decode),
        colours=describe_colours(choice.reading),
        engine=engine,
        precision=choice.precision,
        storage=choice.storage,
        layers=choice.layers,
    )


def make_decoding(provenance: Provenance, seen: Seen) -> Decoding:
    """What decodes as a provenance says, and tells `seen` what it meets."""
    return Decoding(
        Preprocessing.from_dict(provenance.preprocessing),
        read_decode(provenance.decoder),
        replace(read_colours(provenance.colours), seen=seen),
    )


def build_runner(
    find_paths: Callable[[int], Iterable[Source]],
    choice: Choice,
    weights: str,
    made: Provenance | None,
    *,
    device: str,
    batch_size: int | None,
    progress: bool,
    stages: Stages,
    labelled: Callable[[], Sequence[tuple[Source, int]]] | None = None,
) -> tuple[Engine, Provenance]:
    """The engine that runs the network as chosen, and what its features will say made them.

    Parameters
    ----------
    find_paths : callable
        Gives some images, files or pictures, at most as many as it is told, to probe with where
        there is something to probe.
    choice : Choice
    weights : str
        See `featx.fetch_weights`.
    made : Provenance or None
        Of features of the same data; what is left open is taken from it.
    device : {"auto", "cpu", "cuda", "mps", "xpu"}
    batch_size : int or None
    progress : bool
    stages : Stages
        Counts "start".
    labelled : callable, optional
        Gives images with their classes, to judge int8 by; none where there are too few.
    """
    # Here, since torch takes seconds to import, and who had nothing to compute is done by now.
    from featx.network.engine_choice import make_engine

    found = resolve_framed(choice, weights, made, progress)
    settled = choice.settle(made)

    def decode_first(most: int) -> npt.NDArray[np.uint8]:
        paths = find_paths(most)
        return decode_some(paths, found.preprocessing, most, settled.decode, settled.reading)

    with stages.time("start"):
        judge = None
        if settled.precision == "auto" and labelled is not None and (images := labelled()):
            from featx.extraction.linear_probe import LinearProbe

            decoding = Decoding(found.preprocessing, settled.decode, settled.reading)
            judge = LinearProbe(images, decoding, found.feature_dim)
        engine = make_engine(
            found,
            decode_first,
            engine=settled.engine,
            precision=settled.precision,
            device=device,
            batch_size=batch_size,
            layers=settled.layers,
            judge=judge,
        )
    made_with = replace(settled, precision=engine.precision, layers=engine.layers)
    return engine, make_provenance(found, engine.name, made_with)


def start_network(device: str) -> None:
    """Import torch, and start CUDA: seconds each, for a thread while files are found and hashed."""
    from featx.network.engine_choice import warm_up

    warm_up(device)


def resolve_framed(
    choice: Choice, weights: str, made: Provenance | None, progress: bool
) -> Weights:
    """Weights with their preprocessing as chosen; see `build_runner`."""
    from featx.network.fetch import resolve_weights

    prefer = made.weights if made is not None and weights == "auto" else None
    found = resolve_weights(weights, prefer=prefer, progress=progress, backbone=choice.backbone)
    return replace(found, preprocessing=choice.frame(found.preprocessing))
