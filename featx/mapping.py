"""Features drawn in a plane."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

_FEW = 12  # images, below which neighbourhoods mean nothing
_COMPONENTS = 50  # before t-SNE, as van der Maaten and Hinton (2008) do
_PERPLEXITY = 30.0


def map_features(X: npt.NDArray[np.floating], seed: int = 0) -> tuple[str, npt.NDArray[np.float64]]:
    """Places in a plane where images lie near those with similar features.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        n_samples at least 3.
    seed : int

    Returns
    -------
    method : {"t-SNE", "PCA"}
        PCA for a dozen images or fewer.
    places : ndarray of shape (n_samples, 2), float64
    """
    n = len(X)
    components = PCA(min(_COMPONENTS, n - 1, X.shape[1]), svd_solver="full").fit_transform(
        X.astype(np.float64)
    )
    if n <= _FEW:
        return "PCA", components[:, :2]
    tsne = TSNE(perplexity=min(_PERPLEXITY, (n - 1) / 3), init="pca", random_state=seed)
    places: npt.NDArray[np.float64] = tsne.fit_transform(components).astype(np.float64)
    return "t-SNE", places
