"""Feature rows by the images' hashes, in sealed batch files that processes share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.config import PART_IMAGES
from featx.errors import LockedError, NoLocksError
from featx.features.provenance import Provenance
from featx.storage.files import explain_full, is_temporary, write_json, write_whole
from featx.storage.locks import hold_lock

log = logging.getLogger(__name__)

Rows = dict[str, npt.NDArray[np.float32]]

# A batch file: _MAGIC, the counts of rows and columns as two unsigned 64-bit numbers, the rows'
# digests, the rows (float32), and the SHA-256 of all that. Numbers are little-endian.
_MAGIC = b"featx rows 1\n\0\0\0"
_HEAD = len(_MAGIC) + 16
_HASH = 32
_SUFFIX = ".rows"
_ROWS = "rows"  # in the cache folder; there a folder for each provenance
_KEY = 16  # characters of its key that are the folder's name
_MADE_BY = "made-by.json"  # in each folder: the Provenance of its rows

# Images are claimed by the group that the first byte of their digest puts them in: of ten thousand
# images 156 are in one, so that several processes find work side by side.
_GROUPS = 64
_PAUSE = 0.05  # seconds between looks at what another process has done
_SMALL_FILES = 32  # that lie there before they are put together


class RowCache:
    """The rows of one provenance in a folder.

    Threads and processes may use the same folder at once: a file is there whole or not at all, and
    what it holds never changes.

    Parameters
    ----------
    folder : Path
        Made when the first row is written.
    n_features : int
    """

    def __init__(self, folder: Path, n_features: int) -> None:
        self.folder = folder
        self._n_features = n_features
        self._lock = threading.Lock()
        self._files: dict[str, tuple[str, ...]] = {}  # digests by name of file
        self._ignored: set[str] = set()

    def read(self, digests: Iterable[str]) -> Rows:
        """Rows of these images, by digest, as far as there are any.

        A damaged file is said, removed and as good as not there.

        Returns
        -------
        dict of str to ndarray of shape (n_features,), float32
        """
        wanted, found = set(digests), Rows()
        with self._lock:
            while True:
                self._look()
                there: dict[str, str] = {}
                for name, held in self._files.items():
                    there |= dict.fromkeys(wanted.intersection(held), name)
                if not there:
                    return found
                for name in sorted(set(there.values())):
                    rows = self._read_file(name)
                    if rows is None:
                        del self._files[name]  # another may have the same rows: look again
                        continue
                    held = self._files[name]
                    found |= {d: rows[i].copy() for i, d in enumerate(held) if d in wanted}
                wanted -= found.keys()

    def write(self, rows: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Keep rows by digest, in one file.

        Raises
        ------
        StorageError
            No room for it.
        OSError
        """
        if not rows:
            return
        self._write_file(rows)
        with self._lock:
            self._look()
            small = [name for name, held in self._files.items() if len(held) < PART_IMAGES // 2]
        if len(small) > _SMALL_FILES:
            self._put_together(small)

    @contextlib.contextmanager
    def claim(self, digests: Iterable[str], most: int) -> Iterator[list[str]]:
        """Have some of these images for oneself, until the block ends; wait until there are some.

        Whoever claims images looks for their rows again, since another may have written them
        meanwhile. On a file system without locks all are given out, and processes at work on the
        same images at once compute them more than once.

        Parameters
        ----------
        digests : iterable of str
            At least one.
        most : int
            How many are enough.
        """
        groups: dict[int, list[str]] = {}
        for digest in digests:
            groups.setdefault(int(digest[:2], 16) % _GROUPS, []).append(digest)
        waited = False
        while True:
            with contextlib.ExitStack() as locks:
                claimed: list[str] = []
                for group, members in groups.items():
                    place = self.folder / "claimed" / f"{group:02d}"
                    try:
                        locks.enter_context(hold_lock(place, self.folder))
                    except NoLocksError as error:
                        log.debug("rows may be computed more than once: %s", error)
                    except LockedError:
                        continue
                    claimed += members
                    if len(claimed) >= most:
                        break
                if claimed:
                    yield claimed[:most]
                    return
            if not waited:
                log.info("%s: waiting for rows that are being computed elsewhere", self.folder)
            waited = True
            time.sleep(_PAUSE)

    def _look(self) -> None:
        """Bring up to date which files there are, and which digests each has."""
        try:
            names = {e.name for e in os.scandir(self.folder) if e.name.endswith(_SUFFIX)}
        except OSError:
            names = set()
        self._files = {name: held for name, held in self._files.items() if name in names}
        for name in sorted(names):
            if name in self._files or name in self._ignored:
                continue
            held = self._read_digests(name)
            if held is not None:
                self._files[name] = held

    def _read_digests(self, name: str) -> tuple[str, ...] | None:
        """The digests that a file begins with, not yet checked; None where it is to be ignored."""
        path = self.folder / name
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
                if head[: len(_MAGIC)] != _MAGIC or len(head) < _HEAD:
                    log.warning("ignored, since it holds no rows of this version: %s", path)
                    self._ignored.add(name)
                    return None
                n, n_features = (int(k) for k in np.frombuffer(head, "<u8", 2, len(_MAGIC)))
                size = _HEAD + n * (_HASH + 4 * n_features) + _HASH
                if n_features != self._n_features or os.fstat(file.fileno()).st_size != size:
                    self._discard(path)
                    return None
                data = file.read(n * _HASH)
        except FileNotFoundError:
            return None  # put together with others by another process, this moment
        except OSError as error:
            log.warning("ignored, since it cannot be read: %s", error)
            self._ignored.add(name)
            return None
        return tuple(data[i : i + _HASH].hex() for i in range(0, len(data), _HASH))

    def _read_file(self, name: str) -> npt.NDArray[np.float32] | None:
        """All rows of a file whose digests are known; None where it is damaged or gone."""
        path, n = self.folder / name, len(self._files[name])
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("ignored, since it cannot be read: %s", error)
            self._ignored.add(name)
            return None
        body = memoryview(data)[:-_HASH]
        # The digests as they were read before count, too.
        held = b"".join(bytes.fromhex(digest) for digest in self._files[name])
        if hashlib.sha256(body).digest() != data[-_HASH:] or body[_HEAD:][: len(held)] != held:
            self._discard(path)
            return None
        numbers = np.frombuffer(body, "<f4", offset=_HEAD + n * _HASH)
        return numbers.astype(np.float32).reshape(n, self._n_features)

    def _discard(self, path: Path) -> None:
        log.warning("removed, since it is damaged; its rows are computed again: %s", path)
        self._ignored.add(path.name)  # where it cannot be removed
        with contextlib.suppress(OSError):
            path.unlink()

    def _write_file(self, rows: Mapping[str, npt.NDArray[np.float32]]) -> str:
        digests = sorted(rows)
        counts = np.array([len(digests), self._n_features], "<u8").tobytes()
        numbers = np.stack([rows[digest] for digest in digests]).astype("<f4").tobytes()
        hashes = b"".join(bytes.fromhex(digest) for digest in digests)
        data = b"".join((_MAGIC, counts, hashes, numbers))
        seal = hashlib.sha256(data)
        # Named by content: the same rows twice are one file.
        path = self.folder / f"{seal.hexdigest()[:32]}{_SUFFIX}"
        kept = "the rows written before are kept: the same call goes on with the rest"
        with explain_full(path, len(data) + _HASH, kept), write_whole(path) as temporary:
            temporary.write_bytes(data + seal.digest())
        self._ignored.discard(path.name)
        return path.name

    def _put_together(self, names: Iterable[str]) -> None:
        """Make one file of many small ones, so that looking stays quick; one process at a time.

        Who reads meanwhile finds the rows in the old files or in the new one.
        """
        with (
            contextlib.suppress(LockedError),
            hold_lock(self.folder / "claimed" / "all", self.folder),
            self._lock,
        ):
            all_rows = Rows()
            read = []
            for name in names:
                rows = self._read_file(name) if name in self._files else None
                if rows is not None:
                    all_rows |= dict(zip(self._files[name], rows, strict=True))
                    read.append(name)
            if len(read) < 2:
                return
            made = self._write_file(all_rows)
            for name in read:
                if name != made:
                    (self.folder / name).unlink(missing_ok=True)
            self._look()


def open_rows(home: Path, provenance: Provenance, n_features: int) -> RowCache:
    """The rows of that provenance in a cache folder; the same object for all threads."""
    folder = (home / _ROWS / provenance.key()[:_KEY]).absolute()
    with _opening:
        if folder not in _opened:
            _opened[folder] = RowCache(folder, n_features)
        return _opened[folder]


_opened: dict[Path, RowCache] = {}
_opening = threading.Lock()


def note_provenance(cache: RowCache, provenance: Provenance) -> None:
    """Say in the folder what its rows were made by, so that they are found without the network."""
    path = cache.folder / _MADE_BY
    if not path.exists():
        write_json(path, provenance.to_dict())


def list_provenances(home: Path) -> list[Provenance]:
    """What the rows in a cache folder were made by, the newest first."""
    notes = [(path.stat().st_mtime_ns, path) for path in (home / _ROWS).glob(f"*/{_MADE_BY}")]
    found = (read_making(path.parent) for _, path in sorted(notes, reverse=True))
    return [made for made in found if made is not None]


def read_making(folder: Path) -> Provenance | None:
    """What the rows in one of its folders were made by; None where that is not said."""
    path = folder / _MADE_BY
    try:
        made = Provenance(**json.loads(path.read_text("utf-8")))
        named = made.key()[:_KEY]
    except (OSError, ValueError, TypeError) as error:
        log.warning("ignored, since it cannot be read: %s: %s", path, error)
        return None
    return made if named == folder.name else None


def list_row_files(home: Path) -> dict[Path, list[Path]]:
    """The folders of rows in a cache folder, each with the files in it that this module makes."""
    rows = home / _ROWS
    there = sorted(rows.iterdir()) if rows.is_dir() and not rows.is_symlink() else []
    folders = [one for one in there if re.fullmatch(f"[0-9a-f]{{{_KEY}}}", one.name)]
    return {
        folder: [one for one in sorted(folder.iterdir()) if _is_ours(one)]
        for folder in folders
        if folder.is_dir() and not folder.is_symlink()
    }


def _is_ours(path: Path) -> bool:
    return path.name == _MADE_BY or path.suffix == _SUFFIX or is_temporary(path)
