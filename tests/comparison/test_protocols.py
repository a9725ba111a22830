import pytest

from featx.comparison.protocols import find_protocol
from featx.config import FRAMINGS, PROTOCOLS
from featx.errors import ModelError


def test_every_protocol_is_one():
    for name in PROTOCOLS:
        protocol = find_protocol(name)
        assert protocol.name == name
        assert protocol.framing in FRAMINGS
        assert protocol.check(protocol.networks, 15, "auto", False) in ("auto", 1e-3)
    assert find_protocol("linear-eval").framing == "linear-eval"
    with pytest.raises(ModelError, match="unknown protocol 'mine': say one of none, linear-eval"):
        find_protocol("mine")


def test_the_paper_has_one_rate_one_layer_and_its_epochs():
    paper = find_protocol("paper")
    assert (paper.heads, paper.networks) == (("linear", "logreg"), ("fc",))
    assert (paper.choose_on, paper.refit, paper.framing) == ("val", False, "none")
    assert paper.check(("fc",), 15, "auto", False) == paper.check((), 15, 1e-3, False) == 1e-3
    for asked, said in (
        ((("fc", "layer4"), 15, "auto", False), "trains fc alone: leave out layer4"),
        ((("fc",), 3, "auto", False), "trains 15 epochs, not 3"),
        ((("fc",), 15, 3e-3, False), "at a learning rate of 0.001, not 0.003"),
        ((("fc",), 15, "auto", True), "has no augmentation"),
    ):
        with pytest.raises(ModelError, match=said):
            paper.check(*asked)


def test_without_a_protocol_anything_goes():
    assert find_protocol("none").check(("all",), 3, 0.5, True) == 0.5
