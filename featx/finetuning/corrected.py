"""Corrected labels of the images that a network is trained on."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from featx.data.dataset import HashedRows, check_trainable
from featx.errors import DatasetError
from featx.features.corrections import read_corrections, relabel

log = logging.getLogger(__name__)


def correct_rows(rows: HashedRows, labels: str | Path) -> HashedRows:
    """Images with the labels that corrections give them, by content; see `featx.correct_labels`.

    Their split's rule names the corrections, as a feature file's does.

    Raises
    ------
    DatasetError
        The corrections cannot be read or are of other data; or several labels an image, which are
        not corrected; or nothing can be trained on what is left.
    """
    data, corrections = rows.dataset, read_corrections(labels)
    if data.label_sets is not None:
        raise DatasetError(f"{data.root}: several labels an image are not corrected by a CSV")
    settled, targets, kept = relabel(corrections, data, rows.hashes, str(data.root))
    rule = f"{data.split_rule}; labels corrected by {corrections.sha256[:16]}"
    now = replace(data, targets=targets, classes=settled.classes, split_rule=rule).select(kept)
    check_trainable(now)
    log.info("%s", settled.describe(rows.fingerprint).notes[0])
    return HashedRows(now, rows.hashes[kept], rows.unread)
