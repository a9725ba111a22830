"""A trained model with the network that it needs: from pixels to probabilities."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from featx.config import BACKBONE, LAST_LAYER, Preprocessing
from featx.decoding.decoders import read_decode
from featx.decoding.pixel_format import FIRST_COLOURS, Reading, read_colours
from featx.errors import ModelError, WeightsError
from featx.features.outputs import add_features
from featx.finetuning.tuned_network import load_tuned
from featx.heads.head import Head, load_head, read_layers
from featx.heads.search import LinearFit
from featx.multilabel.head import load_labels_head
from featx.network.catalogue import (
    KNOWN,
    list_stored,
    read_stored_hash,
    recall_weights,
)
from featx.network.fetch import fetch_weights, resolve_weights
from featx.network.weights import Weights
from featx.training.model import MULTILABEL, Model, read_model
from featx.training.scaling import Scaler

log = logging.getLogger(__name__)


class Made(Protocol):
    """What goes by a network: a model, or features."""

    @property
    def path(self) -> Path | None:
        """Its file, where there is one."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """See `Provenance`; of a fine-tuned network its weights alone."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network with all that decides what it gives of an image.

    Attributes
    ----------
    weights : Weights
        With the preprocessing that goes with what was made by it.
    decode : {"exact", "pillow", "fast", "pillow-fast"}
        How images are decoded.
    reading : Reading
        How their pixels are read.
    provenance : mapping
        Of what was made by it; see `Made`.
    layers : str
        What the network gives beside the features; see `parse_layers`.
    """

    weights: Weights
    decode: str
    reading: Reading
    provenance: Mapping[str, Any]
    layers: str = LAST_LAYER


@dataclass(frozen=True, kw_only=True)
class Classifier(Network):
    """A network, tuned or not, and a head on what it gives.

    Attributes
    ----------
    model : Model
    head : Head
    """

    model: Model
    head: Head


def read_classifier(
    model: str | Path | Model, weights: str | None = None, *, progress: bool = False
) -> Classifier:
    """Read a model and have its network ready.

    Parameters
    ----------
    model : path or Model
        Of ``featx fit`` or ``featx finetune``.
    weights : str, optional
        Where the network's parameters are to be had; None: see `find_weights`.
    progress : bool
        Show a bar while weights are fetched.

    Raises
    ------
    ModelError
        The file is no model or damaged, or the weights are not those that it learned on.
    WeightsError
        They cannot be had.
    """
    trained = model if isinstance(model, Model) else read_model(Path(model))
    recipe = trained.recipe  # a fine-tuned network's, which had no features
    network = read_network(
        trained, weights, recipe.get("decoder", ""), recipe.get("colours", FIRST_COLOURS),
        progress=progress,
    )  # fmt: skip
    if trained.kind == MULTILABEL:
        return Classifier(**vars(network), model=trained, head=load_labels_head(trained))
    if trained.kind == "head":
        network = replace(network, layers=add_features(read_layers(trained)))
        return Classifier(**vars(network), model=trained, head=load_head(trained))
    tuned = load_tuned(trained, network.weights)
    last = LinearFit(tuned.head.weight.detach().numpy(), tuned.head.bias.detach().numpy())
    temperature = float(trained.outcome.details.get("temperature", 1.0))
    head = Head(trained.name, trained.classes, Scaler("none"), last, temperature)
    tuned_weights = replace(network.weights, state=tuned.network.state_dict())
    return Classifier(**vars(replace(network, weights=tuned_weights)), model=trained, head=head)


def read_network(
    made: Made,
    weights: str | None = None,
    decoder: str = "",
    colours: str = FIRST_COLOURS,
    *,
    progress: bool = False,
) -> Network:
    """The network that something was made by; see `read_classifier`.

    `decoder` and `colours` are for what has none in its provenance.
    """
    learned = made.provenance
    if weights is None:
        found = find_weights(made, progress=progress)
    else:
        found = resolve_weights(weights, progress=progress, backbone=_name_backbone(made))
    if found.sha256 != learned["weights_sha256"]:
        raise ModelError(
            f"{made.path} was made with {learned['weights']} ({learned['weights_sha256'][:12]}), "
            f"and {found.name} is {found.sha256[:12]}: the numbers would mean nothing"
        )
    return Network(
        weights=replace(found, preprocessing=Preprocessing.from_dict(learned["preprocessing"])),
        decode=read_decode(learned.get("decoder") or decoder),
        reading=read_colours(learned.get("colours") or colours),
        provenance=learned,
    )


def find_weights(made: Made, *, progress: bool = False) -> Weights:
    """The weights that something was made with, wherever they are.

    Looked for among the stored ones, first by name, then by hash; in the file that they were last
    read from; and where weights of their name are fetched from.

    Raises
    ------
    ModelError
        They are known by a local file alone, and that is nowhere.
    WeightsError
        They cannot be fetched.
    """
    name, sha256 = str(made.provenance["weights"]), str(made.provenance["weights_sha256"])
    if (here := find_weights_here(made)) is not None:
        return here
    if name in KNOWN:
        return fetch_weights(name, progress=progress, backbone=_name_backbone(made))
    raise ModelError(
        f"{made.path} was made with weights from a local file, {name} ({sha256[:12]}), which is "
        "neither among the stored ones nor where it was last read: name it with --weights"
    )


def find_weights_here(made: Made) -> Weights | None:
    """The same, where they are on this machine; None where they are not."""
    name, sha256 = str(made.provenance["weights"]), str(made.provenance["weights_sha256"])
    backbone = _name_backbone(made)
    for stored in _list_alike(name, sha256):
        found = fetch_weights(stored, backbone=backbone)
        if found.sha256 == sha256 and _normalises_alike(found, made):
            return found
    place = recall_weights(sha256)
    if place is not None:
        try:
            found = fetch_weights(str(place), backbone=backbone)
        except WeightsError as error:
            log.info("weights: not those of %s any more: %s", made.path, error)
        else:
            if found.sha256 == sha256 and _normalises_alike(found, made):
                return found
    return None


def _name_backbone(made: Made) -> str:
    return str(made.provenance.get("backbone", BACKBONE))


def _list_alike(name: str, sha256: str) -> Iterator[str]:
    """Names of stored weights that were stored with this hash; the model's own first."""
    for stored in sorted((stored for stored, _ in list_stored()), key=lambda other: other != name):
        if read_stored_hash(stored) == sha256:
            yield stored


def _normalises_alike(weights: Weights, made: Made) -> bool:
    """Whether pixels become numbers as they did: the same tensors may stand for two networks."""
    learned = Preprocessing.from_dict(made.provenance["preprocessing"])
    here = weights.preprocessing
    return (here.mean, here.std) == (learned.mean, learned.std)
