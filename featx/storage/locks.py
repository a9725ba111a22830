"""One writer at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from featx.errors import LockedError, NoLocksError
from featx.storage.files import write_bytes

log = logging.getLogger(__name__)

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_TRIES = 100  # each fails only where another process ended and removed the file that moment


@contextlib.contextmanager
def hold_lock(folder: Path, what: Path) -> Iterator[None]:
    """Be the one process at work in `folder` until the block ends.

    The folder is made, and removed in the end if nothing but the lock is in it. The system lets go
    of the lock of a process that dies, so that a stale one never blocks.

    Parameters
    ----------
    folder : Path
        Where the file "lock" goes; it says who holds it.
    what : Path
        What is to be written, for the message.

    Raises
    ------
    LockedError
        Another process, or thread, holds the lock.
    NoLocksError
        The file system has none.
    """
    path = folder / "lock"
    handle = _acquire(path, what)
    try:
        before = _read_owner(handle)
        if before:
            log.info("%s: going on after %s, which ended before it was done", what, before)
        owner = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now().astimezone().isoformat(" ", "seconds"),
        }
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        write_bytes(handle, json.dumps(owner).encode())
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile finds that it has no name.
        _remove(path)
        os.close(handle)


@contextlib.contextmanager
def do_without_lock(folder: Path) -> Iterator[None]:
    """What `hold_lock` does, where the caller sees to it that there is no other process."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        _remove(folder / "lock")


def _acquire(path: Path, what: Path) -> int:
    for _ in range(_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the folder was removed by a process that ended
        except FileExistsError:
            if path.parent.exists():
                raise  # it is a file
            continue  # removed between two looks of mkdir's
        try:
            _lock(handle)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except BlockingIOError as error:
            owner = _wait_for_owner(handle)
            os.close(handle)
            raise LockedError(
                f"{what} is being written by {owner}; wait until that ends, or end it"
            ) from error
        except OSError as error:
            os.close(handle)
            if error.errno not in _NO_LOCKS:
                raise
            # The file stays: another process may hold it, if the system is merely short of locks.
            raise NoLocksError(
                f"{path.parent}: this file system has no locks ({error.strerror}), as some network "
                "file systems do not: keep features on a local disk (--cache-dir, -o), or see to "
                "it that nothing else writes there and say --no-lock"
            ) from error
        os.close(handle)
    raise LockedError(f"{what} is being written by other processes; try again")


def _remove(path: Path) -> None:
    """Remove the lock, and its folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        path.unlink()
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def _wait_for_owner(handle: int) -> str:
    """Who holds the lock; it may have been taken a moment ago and not yet be signed."""
    for _ in range(_TRIES):
        if owner := _read_owner(handle):
            return owner
        time.sleep(0.005)
    return "another process"


def _read_owner(handle: int) -> str:
    """ "process 7 on host, since 12:00"; empty where nothing is written."""
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        owner = json.loads(os.read(handle, 1000))
        return f"process {int(owner['pid'])} on {owner['host']!s}, since {owner['since']!s}"
    except (ValueError, KeyError, TypeError):
        return ""


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond the owner's name, which others may read
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
