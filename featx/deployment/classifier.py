"""A trained model with the network that it needs: from pixels to probabilities."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from featx.config import BACKBONE, LAST_LAYER, Preprocessing
from featx.data.images import read_decode
from featx.decoding.pixel_format import FIRST_COLOURS, Reading, read_colours
from featx.errors import ModelError, WeightsError
from featx.features.outputs import add_features
from featx.finetuning.tuned_network import load_tuned
from featx.heads.head import Head, load_head, read_layers
from featx.heads.search import LinearFit
from featx.network.catalogue import (
    KNOWN,
    list_stored,
    read_stored_hash,
    recall_weights,
)
from featx.network.fetch import fetch_weights, resolve_weights
from featx.network.weights import Weights
from featx.training.model import Model, read_model
from featx.training.scaling import Scaler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Classifier:
    """A network and a head on its features. A fine-tuned network is one, too.

    Attributes
    ----------
    model : Model
    weights : Weights
        Of the network as the model has it, tuned or not, with the preprocessing that the model
        learned on.
    head : Head
    decode : {"exact", "fast"}
        How the images were decoded that it learned on.
    reading : Reading
        How their pixels were read.
    layers : str
        What the network gives beside the features, which the head reads; see `parse_layers`.
    """

    model: Model
    weights: Weights
    head: Head
    decode: str
    reading: Reading
    layers: str = LAST_LAYER


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
    if weights is None:
        found = find_weights(trained, progress=progress)
    else:
        found = resolve_weights(weights, progress=progress, backbone=_name_backbone(trained))
    learned = trained.provenance
    if found.sha256 != learned["weights_sha256"]:
        raise ModelError(
            f"{trained.path} learned on {learned['weights']} ({learned['weights_sha256'][:12]}), "
            f"and {found.name} is {found.sha256[:12]}: the numbers would mean nothing"
        )
    found = replace(found, preprocessing=Preprocessing.from_dict(learned["preprocessing"]))
    decode = read_decode(learned.get("decoder") or trained.recipe.get("decoder", ""))
    colours = learned.get("colours") or trained.recipe.get("colours", FIRST_COLOURS)
    reading = read_colours(colours)
    if trained.kind == "head":
        layers = add_features(read_layers(trained))
        return Classifier(trained, found, load_head(trained), decode, reading, layers)
    tuned = load_tuned(trained, found)
    last = LinearFit(tuned.head.weight.detach().numpy(), tuned.head.bias.detach().numpy())
    temperature = float(trained.outcome.details.get("temperature", 1.0))
    head = Head(trained.name, trained.classes, Scaler("none"), last, temperature)
    tuned_weights = replace(found, state=tuned.network.state_dict())
    return Classifier(trained, tuned_weights, head, decode, reading)


def find_weights(trained: Model, *, progress: bool = False) -> Weights:
    """The weights that a model learned on, wherever they are.

    Looked for among the stored ones, first by name, then by hash; in the file that they were last
    read from; and where weights of their name are fetched from.

    Raises
    ------
    ModelError
        They are known by a local file alone, and that is nowhere.
    WeightsError
        They cannot be fetched.
    """
    name, sha256 = str(trained.provenance["weights"]), str(trained.provenance["weights_sha256"])
    if (here := find_weights_here(trained)) is not None:
        return here
    if name in KNOWN:
        return fetch_weights(name, progress=progress, backbone=_name_backbone(trained))
    raise ModelError(
        f"{trained.path} learned on weights from a local file, {name} ({sha256[:12]}), which is "
        "neither among the stored ones nor where it was last read: name it with --weights"
    )


def find_weights_here(trained: Model) -> Weights | None:
    """The same, where they are on this machine; None where they are not."""
    name, sha256 = str(trained.provenance["weights"]), str(trained.provenance["weights_sha256"])
    backbone = _name_backbone(trained)
    for stored in _list_alike(name, sha256):
        found = fetch_weights(stored, backbone=backbone)
        if found.sha256 == sha256 and _normalises_alike(found, trained):
            return found
    place = recall_weights(sha256)
    if place is not None:
        try:
            found = fetch_weights(str(place), backbone=backbone)
        except WeightsError as error:
            log.info("weights: not those of %s any more: %s", trained.path, error)
        else:
            if found.sha256 == sha256 and _normalises_alike(found, trained):
                return found
    return None


def _name_backbone(trained: Model) -> str:
    return str(trained.provenance.get("backbone", BACKBONE))


def _list_alike(name: str, sha256: str) -> Iterator[str]:
    """Names of stored weights that were stored with this hash; the model's own first."""
    for stored in sorted((stored for stored, _ in list_stored()), key=lambda other: other != name):
        if read_stored_hash(stored) == sha256:
            yield stored


def _normalises_alike(weights: Weights, trained: Model) -> bool:
    """Whether pixels become numbers as they did: the same tensors may stand for two networks."""
    learned = Preprocessing.from_dict(trained.provenance["preprocessing"])
    here = weights.preprocessing
    return (here.mean, here.std) == (learned.mean, learned.std)
