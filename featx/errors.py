"""What can go wrong, as one tree: catch `FeatxError` to catch everything featx raises on purpose.

Each kind is also the built-in kind it is, so that code that knows nothing of featx handles it.
A message says what is wrong, where, what was expected and found, and what to do next.
"""

from __future__ import annotations

from pathlib import Path


class FeatxError(Exception):
    """Base of every error that featx raises on purpose."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The message by the lines that featx made; any other line break is of a name in it."""
        return (str(self),)


class ArgumentError(FeatxError, TypeError):
    """An argument of a kind that a function does not take."""


class DatasetError(FeatxError, ValueError):
    """A folder, manifest or split rule that cannot be used as it stands."""


# Kinds of `ImageError` that are the contents' own fault: the same bytes fail again.
CONTENT_FAULTS = frozenset({"empty", "not-an-image", "damaged", "unsupported", "bad-box"})


class ImageError(FeatxError, ValueError):
    """One image that cannot be decoded.

    Attributes
    ----------
    path : str
        The image, as it was named to featx.
    reason : str
        Why, in a few words.
    kind : str
        The class of the reason: one of CONTENT_FAULTS; or "unreadable" (permissions,
        input/output, dangling links), "bad-name" or "too-large", which may end otherwise in
        another try.
    """

    def __init__(self, path: str, reason: str, kind: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.kind = kind

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str, str]]:
        """So that it travels between processes as it is."""
        return type(self), (self.path, self.reason, self.kind)


class WeightsError(FeatxError, RuntimeError):
    """Network parameters that cannot be had, or are not what their name promises."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self._lines = lines

    def __reduce__(self) -> tuple[type[WeightsError], tuple[str, ...]]:
        """So that it travels between processes as it is."""
        return type(self), self._lines

    @property
    def lines(self) -> tuple[str, ...]:
        """What cannot be had, and the ways to get it, one a line."""
        return self._lines


class DeviceError(FeatxError, RuntimeError):
    """A device that this machine does not have."""


class LayersError(FeatxError, ValueError):
    """Layers that a network does not have, or that a file of features lacks."""


class PlanError(FeatxError, ValueError):
    """A plan that is none of ours, does not fit this machine, or whose shards are not all there."""


class RunnerError(FeatxError, RuntimeError):
    """A cluster that cannot be reached, or work on it that failed."""


class ExtractionError(FeatxError, RuntimeError):
    """An extraction that cannot finish."""


class StorageError(FeatxError, OSError):
    """No room for what is to be written, or no place that may be written to."""


class ExportError(FeatxError, RuntimeError):
    """An export that cannot be done as it was asked for."""


class LockedError(FeatxError, BlockingIOError):
    """An output that another process is at work on, or a place where nothing can be locked."""


class NoLocksError(LockedError):
    """A place where nothing can be locked."""


class FeatureFileError(FeatxError, ValueError):
    """A feature file that is not ours, incomplete, of another schema or not fit for the purpose."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class OutputExistsError(FeatxError, FileExistsError):
    """An output that exists and holds something else.

    Attributes
    ----------
    path : Path
        The file or folder in the way.
    differences : tuple of str
        What it holds and what was asked for, one entry a difference.
    """

    def __init__(self, path: Path, differences: tuple[str, ...]) -> None:
        what = "; ".join(differences)
        super().__init__(
            f"{path} exists and holds something else ({what}); "
            "name another output, or say --overwrite to replace it"
        )
        self.path = path
        self.differences = differences


class ModelError(FeatxError, ValueError):
    """A model file that cannot be read, or that does not fit the features it meets."""


class BudgetError(ModelError, MemoryError):
    """A head that needs more memory than it may have, whichever way it reads its features."""
