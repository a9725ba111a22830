"""What a protocol decides of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featx.config import CLASSIFIERS, EPOCHS, HEAD_LEARNING_RATE, PROTOCOLS, TRAINED
from featx.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way of comparing.

    Attributes
    ----------
    name : str
        A word of `PROTOCOLS`.
    heads, networks : tuple of str
        Candidates where nobody names any.
    tunable : tuple of str
        What a network may train.
    framing : str
        Of the pixels: a word of `FRAMINGS`.
    augmented : bool
        Whether train images may be shown in other ways.
    choose_on, refit : str and bool, or None
        See `featx.fit`; None: as is asked for.
    epochs : int or None
        The only number; None: any.
    learning_rate : float or None
        The only one; None: any, and those that val chooses from.
    """

    name: str
    heads: tuple[str, ...] = CLASSIFIERS
    networks: tuple[str, ...] = ("fc",)
    tunable: tuple[str, ...] = TRAINED
    framing: str = "none"
    augmented: bool = True
    choose_on: str | None = None
    refit: bool | None = None
    epochs: int | None = None
    learning_rate: float | None = None

    def check(
        self, networks: Sequence[str], epochs: int, learning_rate: float | str, changed: bool
    ) -> float | str:
        """The learning rate to train with.

        Raises
        ------
        ModelError
            Something that is asked for is not in the protocol; `changed`: train images are to be
            shown in other ways.
        """
        if changed and not self.augmented:
            raise ModelError(
                f"the protocol {self.name} has no augmentation: leave out augment and views"
            )
        if more := [network for network in networks if network not in self.tunable]:
            raise ModelError(
                f"the protocol {self.name} trains {', '.join(self.tunable)} alone: leave out "
                f"{', '.join(more)}"
            )
        if self.epochs not in (None, epochs):
            raise ModelError(
                f"the protocol {self.name} trains {self.epochs} epochs, not {epochs}: leave out "
                "epochs"
            )
        if self.learning_rate is None:
            return learning_rate
        if learning_rate not in ("auto", self.learning_rate):
            raise ModelError(
                f"the protocol {self.name} trains at a learning rate of {self.learning_rate:g}, "
                f"not {learning_rate}: leave out learning_rate"
            )
        return self.learning_rate


_PROTOCOLS = (
    Protocol(name="none"),
    # Kornblith et al. 2019, and appendix B.8 of SimCLR (Chen et al. 2020).
    Protocol(
        name="linear-eval",
        heads=("logreg",),
        networks=(),
        framing="linear-eval",
        augmented=False,
        choose_on="val",
        refit=True,
    ),
    # A new last layer on the frozen network, and what featx makes of the same question.
    Protocol(
        name="paper",
        heads=("linear", "logreg"),
        tunable=("fc",),
        augmented=False,
        choose_on="val",
        refit=False,
        epochs=EPOCHS,
        learning_rate=HEAD_LEARNING_RATE,
    ),
)


def find_protocol(name: str) -> Protocol:
    """A protocol by its name.

    Raises
    ------
    ModelError
        There is no such protocol.
    """
    for protocol in _PROTOCOLS:
        if protocol.name == name:
            return protocol
    raise ModelError(f"unknown protocol {name!r}: say one of {', '.join(PROTOCOLS)}")
