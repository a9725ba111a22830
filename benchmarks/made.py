"""Made-up features, which cost no network: of ResNet50's shape and sizes.

None is negative, a few directions are far larger than the rest, and norms are near 25.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featx.config import FEATURE_DIM


def make_features(
    n_samples: int, n_classes: int, columns: int = FEATURE_DIM
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.int64]]:
    """Features of shape (n_samples, columns), float32, and their classes."""
    rng = np.random.default_rng(0)
    hidden = 64
    y = np.arange(n_samples) % n_classes
    Z = 0.5 * rng.standard_normal((n_classes, hidden))[y]
    Z = Z + rng.standard_normal((n_samples, hidden))
    X = Z @ rng.standard_normal((hidden, columns)) / np.sqrt(hidden)
    X = X + 0.5 * rng.standard_normal((n_samples, columns))
    return 0.6 * np.maximum(X, 0).astype(np.float32), y
