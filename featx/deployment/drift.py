"""Whether new images look like those that a model knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from featx.config import DRIFT_RATE, UNUSUAL
from featx.data.dataset import Leftovers, Skipped
from featx.deployment.predict import predict, take_model
from featx.novelty.detector import load_detectors, tells_strangers
from featx.novelty.shift import Drift, Watch, check_share
from featx.training.model import Model


def detect_drift(
    model: str | Path | Model,
    images: str | Path | Sequence[str | Path] = (),
    *,
    listed: Iterable[str | Path] = (),
    left_out: Leftovers | None = None,
    rate: float = DRIFT_RATE,
    unusual: int = UNUSUAL,
    weights: str | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "fp32",
    batch_size: int | None = None,
    num_workers: int | None = None,
    decode_processes: int | None = None,
    progress: bool = False,
) -> Drift:
    """Test whether images together are stranger than those that a model knows.

    Each is compared with held-out images that are taken for the same class, by the model's score
    of strangers and by the distance to the nearest class's mean, so that it does not matter how
    frequent classes are. Images of one burst lean together, and p is then too small;
    those whose features are another's to the bit count once. See docs/unknown.md.

    Parameters
    ----------
    model : path or Model
        A head fitted with `strangers`, or a fine-tuned network that had val.
    images, listed, left_out
        See `featx.predict`.
    rate : float
        Which share of folders of known images is called drift, in (0, 1).
    unusual : int
        How many of the strangest images are named.
    weights, device, engine, precision, batch_size, num_workers, decode_processes
    progress
        See `featx.predict`.

    Returns
    -------
    Drift

    Raises
    ------
    DatasetError
        No such file, a folder without images, or nothing at all.
    ImageError
        Not one of the files is an image.
    ModelError
        As for `featx.predict`; or the model tells no strangers, or `rate` is no share.
    WeightsError, DeviceError

    Examples
    --------
    >>> import featx
    >>> done = featx.extract("photos", split="first:5,2", output="F.h5")
    >>> model = featx.fit(
    ...     featx.load_features("F.h5"), "centroid", strangers=True, output="knows.safetensors"
    ... )
    >>> found = featx.detect_drift("knows.safetensors", "photos")
    >>> found.images, found.found
    (27, False)
    """
    trained = take_model(model)
    trained.need_one_label("featx drift")
    check_share(rate)
    watch = Watch(load_detectors(trained), trained.classes, unusual)
    said = predict(
        trained, images, listed=listed, left_out=left_out, watch=watch, weights=weights,
        device=device, engine=engine, precision=precision, batch_size=batch_size,
        num_workers=num_workers, decode_processes=decode_processes, progress=progress,
    )  # fmt: skip
    skipped = tuple(one for one in said if isinstance(one, Skipped))
    return replace(watch.sum_up(rate), skipped_files=skipped)


def start_watch(model: Model) -> Watch | None:
    """What `predict` may tell how strange images are; None where the model tells no strangers."""
    return Watch(load_detectors(model), model.classes) if tells_strangers(model) else None
