"""A trained head: scaling, scores, probabilities; from a model file and back to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from featx.arrays import Labels, Matrix
from featx.config import BACKBONE, LAST_LAYER
from featx.errors import ModelError
from featx.features.outputs import find_own
from featx.heads.kind import find_kind, read_grid
from featx.heads.search import Fit, LinearFit
from featx.storage.blocks import Blocks, Samples, gather
from featx.training.model import Model
from featx.training.scaling import Scaler

if TYPE_CHECKING:
    from featx.heads.recipe import Trained


@dataclass(frozen=True)
class Head:
    """A trained head: its scaler, then scores, then their softmax at a temperature.

    Attributes
    ----------
    clf : str
    classes : tuple of str
    scaler : Scaler
    fit : Fit
    temperature : float
    """

    clf: str
    classes: tuple[str, ...]
    scaler: Scaler
    fit: Fit
    temperature: float = 1.0

    def predict_proba(self, X: Samples) -> Matrix:
        """Probabilities, shape (n_samples, n_classes), float64; of Blocks float32."""
        return gather(self.scaler.apply(X), self._predict)

    def predict(self, X: Samples) -> Labels:
        """Codes of the most probable classes, shape (n_samples,)."""
        return gather(self.scaler.apply(X), lambda rows: self._predict(rows).argmax(axis=1))

    def decide(self, X: Matrix) -> tuple[Matrix, npt.NDArray[np.float64]]:
        """Rows, scaled, and their logits, whose softmax probabilities are."""
        scaled = self.scaler.apply(X)
        assert not isinstance(scaled, Blocks)
        return scaled, self.fit.decide(scaled) / self.temperature

    @property
    def layer(self) -> tuple[Matrix, Matrix] | None:
        """Coefficients and intercepts from scaled rows to logits, where the head is linear."""
        if not isinstance(self.fit, LinearFit):
            return None
        return self.fit.coef / self.temperature, self.fit.intercept / self.temperature

    def _predict(self, scaled: Matrix) -> npt.NDArray[np.float64]:
        probabilities: npt.NDArray[np.float64] = softmax(
            self.fit.decide(scaled) / self.temperature, axis=1
        )
        return probabilities

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file keeps of it."""
        return {**self.scaler.to_arrays(), **self.fit.to_arrays()}


def read_layers(model: Model) -> str:
    """Which outputs of the network a head reads, as `spell_outputs` spells them."""
    return str(model.outcome.details.get("layers", LAST_LAYER))


def load_head(model: Model) -> Head:
    """The head in a model, for rows of the features with what `add_features` of its layers adds.

    Raises
    ------
    ModelError
        It is no head, or arrays are missing.
    """
    where = model.path or model.name
    model.need_one_label("this")
    if model.kind != "head":
        raise ModelError(f"{where} is a fine-tuned network: it takes images, not features")
    kind, arrays, n_classes = find_kind(model.name), model.arrays, len(model.classes)
    try:
        details = model.outcome.details
        backbone = str(model.provenance.get("backbone", BACKBONE))
        own = find_own(read_layers(model), backbone)
        scaler = Scaler.from_arrays(str(details["scale"]), arrays, own)
        value = 0.0 if kind.grid is None else details["chosen"]["value"]
        fit = kind.load(arrays, value, n_classes)
        fits = fit.suits(n_classes)
        temperature = float(details["temperature"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{where} is damaged: it lacks {error}") from error
    if not fits or not temperature > 0:
        raise ModelError(f"{where} is damaged: its coefficients are not for {n_classes} classes")
    return Head(model.name, model.classes, scaler, fit, temperature)


def describe_training(recipe: Mapping[str, Any], trained: Trained) -> dict[str, Any]:
    """What a training chose, as a model file's details have it."""
    grid, search = find_kind(recipe["clf"]).grid, trained.search
    name = None if grid is None else grid.name
    protocol = {}
    if search.choice is not None:
        protocol = {
            "choice": {
                "on": recipe["choose_on"], "log_loss": search.choice.loss,
                "tried": search.choice.tried, "of": len(read_grid(recipe)),
            },
            "refit": recipe["refit"],
            "val": trained.val_is,
        }  # fmt: skip
    return {
        "scale": trained.scaler.kind,
        "layers": trained.layers,
        **({"layers_tried": list(trained.tried)} if trained.tried else {}),
        "class_weight": recipe["class_weight"],
        "calibrated": recipe["calibrate"],
        "views": len(recipe["views"]),
        "temperature": search.temperature,
        "C": search.value if name == "C" else None,
        "chosen_by": search.chosen_by,
        "chosen": {"name": name, "value": search.value if name else None, "by": search.chosen_by},
        "converged": search.fit.converged,
        "n_iter": search.fit.n_iter,
        **protocol,
    }
