"""Whether a rougher precision does for the images at hand: a linear probe learns from both.

How near rows are says little of what is lost where classes are told apart by little: so some of
the user's own images are classified by features in one precision and in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx.config import INT8_FOLDER
from featx.data.feeding import Decoding
from featx.data.inventory import Inventory
from featx.data.loading import load_batches
from featx.decoding.picture import Source
from featx.machine import count_cores

if TYPE_CHECKING:
    from featx.network.engine import Engine

ROWS, CLASSES = 256, 32  # at most; with fewer images of a class it would not be learned
LOSS = 0.01  # of the images: so many fewer may be right
_FOLDS = 5  # and the fewest images of a class
_STRENGTHS = np.logspace(0, 6, 13)  # of a ridge on standardised features


class LinearProbe:
    """Judges an engine by how many images a linear classifier of its rows has right.

    A ridge classifier on standardised features, its strength chosen by leave-one-out, learns from
    four fifths of the images and says the class of the last, of each fifth in turn.

    Parameters
    ----------
    images : sequence of (Path or Image, int)
        With their classes; those that cannot be decoded are left out.
    decoding : Decoding
    n_features : int
        Of a row; what an engine gives behind them is not looked at.
    """

    def __init__(
        self, images: Sequence[tuple[Source, int]], decoding: Decoding, n_features: int
    ) -> None:
        self._images, self._decoding, self._n_features = images, decoding, n_features

    def __call__(self, exact: Engine, rough: Engine) -> tuple[bool, str]:
        """See `network.engine_choice.Judge`."""
        from featx.network.engine_choice import INT8_COSINE, compare_rows

        expected, found, y = self._run(exact, rough)
        if len(np.unique(y)) < 2:
            return False, "too few of the images to judge it by could be decoded"
        _, cosine = compare_rows(found, expected)
        if not cosine >= INT8_COSINE:
            return False, f"of {len(y)} images' features one has a cosine of {cosine:.5f}"
        before, after = count_right(expected, y), count_right(found, y)
        good = before - after <= LOSS * len(y)
        told = f"a linear probe has {after} of {len(y)} images right, with fp32 {before}"
        return good, f"least cosine of them {cosine:.5f}, {told}" if good else told

    def _run(
        self, exact: Engine, rough: Engine
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Both engines' features, shape (n, n_features), and the classes, shape (n,).

        Of a class there are at least as many as folds, or none.
        """
        batches = load_batches(
            lambda i: self._decoding(self._images[i][0]),
            range(len(self._images)), exact.batch_size, count_cores(),
        )  # fmt: skip
        targets = np.array([target for _, target in self._images])
        none = np.empty((0, self._n_features), np.float32)
        y, expected, found = [targets[:0]], [none], [none]
        for batch in batches:
            if len(batch.rows):
                y.append(targets[batch.rows])
                for engine, told in ((exact, expected), (rough, found)):
                    told.append(engine.run(batch.pixels)[:, : self._n_features])
        of_all = np.concatenate(y)
        classes, counts = np.unique(of_all, return_counts=True)
        kept = np.isin(of_all, classes[counts >= _FOLDS])
        return np.concatenate(expected)[kept], np.concatenate(found)[kept], of_all[kept]


def count_right(X: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> int:
    """Rows that the probe has right which learned from the others; see `LinearProbe`."""
    # Here, since scikit-learn takes a second to import, and hardly an extraction needs it.
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(_STRENGTHS))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    return int((cross_val_predict(probe, X.astype(np.float64), y, cv=folds) == y).sum())


def choose_probed(inventory: Inventory) -> list[tuple[Source, int]]:
    """Labelled train images to judge by, as many of each class; none where they are too few.

    Of the largest classes; of a class those of the lowest hashes, so that names, order and place
    change nothing. Of copies, and of images of one group, there is one, since a fold that learns
    from the others would know them.
    """
    if inventory.count("SELECT count(digest) FROM images") < INT8_FOLDER:
        return []
    own = "coalesce(team, digest)" if inventory.grouped else "digest"
    # Of columns beside min(), SQLite takes those of the row that has it.
    inventory.db.execute(
        "CREATE TEMP TABLE probed AS SELECT target, position, min(digest) AS digest FROM images "
        f"WHERE split = 0 AND target >= 0 AND digest IS NOT NULL GROUP BY target, {own}"
    )
    try:
        classes = inventory.db.execute(
            "SELECT target, count(*) FROM probed GROUP BY target HAVING count(*) >= ? "
            "ORDER BY 2 DESC, 1 LIMIT ?",
            (_FOLDS, CLASSES),
        ).fetchall()
        if len(classes) < 2:
            return []
        each, found = ROWS // len(classes), list[tuple[Source, int]]()
        for target, _ in classes:
            chosen = "SELECT position FROM probed WHERE target = ? ORDER BY digest LIMIT ?"
            images = inventory.iterate(f"WHERE position IN ({chosen})", (target, each))
            found += ((inventory.root / image.path, target) for image in images)
    finally:
        inventory.db.execute("DROP TABLE probed")
    return found
