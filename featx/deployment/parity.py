"""Whether a model in another runtime says what featx says, on made-up pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.deployment.classifier import Classifier
from featx.errors import ExportError
from featx.network.engine import TorchEngine
from featx.novelty.detector import Detector

TOLERANCE = 1e-4  # largest difference of a probability from featx's own
# Of a stranger's score, as a share of how far the held scores reach: it is a sum over thousands of
# features, or a logarithm of what is left of 1.
SCORE_TOLERANCE = 1e-3
PICTURES = 8  # that it is checked on

Run = Callable[[npt.NDArray[np.uint8]], Sequence[npt.NDArray[np.floating]]]  # its outputs


@dataclass(frozen=True)
class Expected:
    """What featx says of some pictures.

    Attributes
    ----------
    pixels : ndarray of shape (n, crop, crop, 3), uint8
    probabilities : ndarray of shape (n, n_classes)
    scores : ndarray of shape (n,) or None
        How strange each is, where there is a detector.
    detector : Detector or None
    """

    pixels: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.floating]
    scores: npt.NDArray[np.float64] | None = None
    detector: Detector | None = None


def ask_featx(classifier: Classifier, detector: Detector | None) -> Expected:
    """What featx's own network and head say of `PICTURES` made-up pictures."""
    pixels = make_pictures(PICTURES, classifier.weights.preprocessing.crop)
    engine = TorchEngine(classifier.weights, "cpu", len(pixels), layers=classifier.layers)
    features = engine.run(pixels)
    probabilities = classifier.head.predict_proba(features)
    if detector is None:
        return Expected(pixels, probabilities)
    scores, _ = detector.measure(*classifier.head.decide(features))
    return Expected(pixels, probabilities, scores, detector)


def make_pictures(n: int, side: int) -> npt.NDArray[np.uint8]:
    """Made-up pictures, (n, side, side, 3), the same each time: two plain, the others like nature.

    The power of nature's spatial frequencies falls with their square (Field 1987); white noise
    would leave a network with features that no photograph has.
    """
    rng = np.random.default_rng(0)
    down, across = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    frequency = np.maximum(np.hypot(down, across), 1 / side)[..., None]
    pictures = [np.full((side, side, 3), level) for level in (0.0, 255.0)]
    for _ in range(n - len(pictures)):
        spectrum = np.fft.rfft2(rng.standard_normal((side, side, 3)), axes=(0, 1)) / frequency
        picture = np.fft.irfft2(spectrum, (side, side), axes=(0, 1))
        pictures.append(127 + 60 * (picture - picture.mean()) / picture.std())
    return np.stack(pictures[:n]).clip(0, 255).astype(np.uint8)


def check_runtime(path: Path, run: Run, expected: Expected) -> float:
    """Largest difference of a probability from featx's own, in batches of one and of several.

    Raises
    ------
    ExportError
        It is too large, or a stranger's score or p-value is another.
    """
    difference = 0.0
    for n in (1, len(expected.pixels)):
        probabilities, *strange = run(expected.pixels[:n])
        wanted = expected.probabilities[:n]
        if probabilities.shape != wanted.shape or not np.isfinite(probabilities).all():
            raise ExportError(f"{path}: what was to be written gives no probabilities; not written")
        difference = max(difference, float(np.abs(probabilities - wanted).max()))
        if expected.detector is not None and expected.scores is not None:
            _check_strangers(path, strange, expected.scores[:n], expected.detector)
    if difference > TOLERANCE:
        raise ExportError(
            f"{path}: what was to be written gives other probabilities than featx, by up to "
            f"{difference:.1e}, and {TOLERANCE:g} are allowed; not written"
        )
    return difference


def _check_strangers(
    path: Path,
    found: Sequence[npt.NDArray[np.floating]],
    wanted: npt.NDArray[np.float64],
    detector: Detector,
) -> None:
    """A p-value is one that some score within the tolerance has."""
    scores, p_values = found
    allowed = SCORE_TOLERANCE * max(float(np.ptp(detector.held)), float(np.abs(wanted).max()))
    highest, lowest = (detector.find_p_values(wanted + side * allowed) for side in (-1, 1))
    near = np.abs(scores - wanted) <= allowed
    rounding = 1e-6
    if not (near & (lowest - rounding <= p_values) & (p_values <= highest + rounding)).all():
        raise ExportError(
            f"{path}: what was to be written says otherwise than featx how strange a picture is, "
            f"by up to {np.abs(scores - wanted).max():.1e}; not written"
        )
