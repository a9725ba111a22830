"""Where weights that came from a local file were last seen, so that models need not be told."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from featx.catalogue import find_weights_dir
from featx.storage.files import write_text

_NOTES = "files"  # a folder beside the stored weights; a note each, named by the tensors' hash


def remember_weights(sha256: str, path: Path) -> None:
    """Note where weights of this hash lie; where no note can be written, none is."""
    note, place = _note(sha256), os.path.realpath(path)
    if recall_weights(sha256) != Path(place):
        with contextlib.suppress(OSError):
            write_text(note, place)


def recall_weights(sha256: str) -> Path | None:
    """The file that weights of this hash were last read from; None where it is not known or gone.

    What lies there now may be something else.
    """
    try:
        path = Path(_note(sha256).read_text("utf-8"))
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def _note(sha256: str) -> Path:
    return find_weights_dir() / _NOTES / sha256
