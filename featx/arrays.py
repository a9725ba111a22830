"""What arrays are called in signatures."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]  # a number for each row: its class, or another row
Matrix = npt.NDArray[np.floating]  # rows of features, scores or probabilities
