"""How far two networks are apart: what is proved against what is sampled, at every size of numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from birdnn.bounds.difference import SeparateBound
from birdnn.bounds.protocol import MarginBound
from birdnn.boxes import Boxes
from birdnn.formats.onnx import layers_to_onnx, network_from_onnx
from birdnn.network import Network
from birdnn.verify import differing
from birdnn.verify.differing import bound_of_difference, boxes_needed, tighten_difference
from tests.bounds.builders import convolution

KINDS = "bias", "last", "all"


def pair(seed: int, kind: str, *, scale: float = 1.0, activation: str = "Relu") -> tuple[Network, Network]:
    """A network, and one that differs from it a little."""
    rng = np.random.default_rng(seed)
    sizes = [2, 7, 6, 3]
    layers = [(scale * rng.normal(size=(n, m)) / np.sqrt(m), scale * rng.normal(size=n)) for m, n in pairwise(sizes)]
    other = [(weight.copy(), bias.copy()) for weight, bias in layers]
    for number, (weight, bias) in enumerate(other):
        if kind == "all" or number == 2:
            bias += 0.01 * scale * rng.normal(size=bias.shape)
            if kind != "bias":
                weight += 0.01 * scale * rng.normal(size=weight.shape)
    nets = (network_from_onnx(layers_to_onnx(each, activation)) for each in (layers, other))
    before, after = (net.copy().double() for net in nets)
    return before, after


def box(radius: float) -> Boxes:
    return Boxes(torch.full((1, 2), -radius, dtype=torch.float64), torch.full((1, 2), radius, dtype=torch.float64))


def sampled(before: Network, after: Network, radius: float, seed: int) -> Tensor:
    """Changes of outputs at random points and corners, (n, outputs) float64."""
    generator = torch.Generator().manual_seed(seed)
    x = radius * (2 * torch.rand(4000, 2, generator=generator, dtype=torch.float64) - 1)
    x[:64] = radius * torch.sign(x[:64])
    with torch.no_grad():
        return after(x) - before(x)


def proved(before: Network, after: Network, radius: float, enough: float, boxes: float = 400) -> Any:
    bound, _ = bound_of_difference(before, after)
    wanted = torch.full((3, 2), enough, dtype=torch.float64)
    return tighten_difference(bound, box(radius), wanted, batch=32, most_boxes=boxes)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(KINDS),
    activation=st.sampled_from(["Relu", "Tanh", "LeakyRelu"]),
    scale=st.sampled_from([1e-9, 1e-3, 1.0, 1e3]),
    radius=st.sampled_from([1e-6, 0.5, 100.0]),
    share=st.sampled_from([0.0, 0.5, 1.5, 4.0]),
)
def test_no_change_is_beyond_what_is_proved(
    seed: int, kind: str, activation: str, scale: float, radius: float, share: float
) -> None:
    before, after = pair(seed, kind, scale=scale, activation=activation)
    change = sampled(before, after, radius, seed)
    found = proved(before, after, radius, share * float(change.abs().amax()))
    slack = 1e-12 * float(change.abs().amax())
    assert (change <= found.upper + slack).all()
    assert (change >= found.lower - slack).all()
    if found.complete:
        assert share >= 1 - 1e-9
        assert (found.most <= share * change.abs().amax() + slack).all()


def test_a_constant_is_proved_at_once_and_exactly() -> None:
    before, after = pair(3, "bias")
    change = sampled(before, after, 1.0, 0)
    found = proved(before, after, 1.0, 1.0)
    assert (found.boxes, found.complete) == (1, True)
    assert torch.allclose(found.upper, change.amax(0), atol=1e-12)
    assert torch.allclose(found.lower, change.amin(0), atol=1e-12)


def test_what_is_asked_for_ends_the_search() -> None:
    before, after = pair(1, "all")
    largest = float(sampled(before, after, 2.0, 0).abs().amax())
    easy, hard = (proved(before, after, 2.0, share * largest, boxes=100_000) for share in (4.0, 1.05))
    assert easy.complete
    assert hard.complete
    assert easy.boxes < hard.boxes
    cut = proved(before, after, 2.0, 1.05 * largest, boxes=10)
    assert not cut.complete
    assert float(cut.most.amax()) > float(hard.most.amax())


def test_the_estimate_is_of_the_size_of_the_search() -> None:
    before, after = pair(1, "all")
    largest = float(sampled(before, after, 2.0, 0).abs().amax())
    bound, _ = bound_of_difference(before, after)
    wanted = torch.full((3, 2), 1.05 * largest, dtype=torch.float64)
    spent = tighten_difference(bound, box(2.0), wanted, batch=32)
    assert spent is not None
    assert spent.complete
    told = boxes_needed(bound, box(2.0), wanted, torch.Generator().manual_seed(0), most=1e6)
    assert spent.boxes / 4 < told < 4 * spent.boxes
    assert boxes_needed(bound, box(2.0), wanted, torch.Generator().manual_seed(0), most=8.0) > 8.0


@pytest.mark.parametrize("fault", ["half", "closer"])
def test_planted_faults_are_seen(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """One half of a box is lost; a bound is what it ought to be, and a little less."""
    before, after = pair(1, "all")
    change = sampled(before, after, 2.0, 0)

    def lost(self: Any, which: Tensor) -> tuple[Any, Tensor]:
        halves, upper = halved(self, which)
        upper[len(which) :] = -torch.inf
        return halves, upper

    def closer(bound: MarginBound, *arguments: Any) -> Any:
        found = asked(bound, *arguments)
        object.__setattr__(found, "lower", found.lower + 0.05)
        return found

    halved = differing._Tightening.halves
    bound, _ = bound_of_difference(before, after)
    asked = type(bound).bound
    if fault == "half":
        monkeypatch.setattr(differing._Tightening, "halves", lost)
    else:
        monkeypatch.setattr(type(bound), "bound", closer)
    found = proved(before, after, 2.0, 0.0, boxes=3000)
    assert bool((change > found.upper).any() | (change < found.lower).any())


def test_other_layers_are_bounded_each_by_itself() -> None:
    before, _ = pair(0, "all")
    after, _ = pair(0, "all", activation="Tanh")
    bound, remark = bound_of_difference(before, after)
    assert "each network was bounded by itself" in remark.lower()
    found = tighten_difference(bound, box(1.0), torch.full((3, 2), 0.1, dtype=torch.float64), batch=16, most_boxes=50)
    assert found is not None
    change = sampled(before, after, 1.0, 0)
    assert (change <= found.upper).all()
    assert (change >= found.lower).all()


@pytest.mark.parametrize("kind", ["layers", "graphs"])
def test_no_bound_is_made_where_time_is_over_from_the_start(kind: str) -> None:
    """Whichever bounds a pair of networks has: those of the difference, or of two graphs that are no chains."""
    before, after = pair(0, "all") if kind == "layers" else (convolution(seed, "residual") for seed in (0, 1))
    bound, _ = bound_of_difference(before, after)
    assert isinstance(bound, SeparateBound) == (kind == "graphs")
    side = torch.full((1, before.n_inputs), 0.1, dtype=torch.float64)
    enough = torch.zeros(before.n_outputs, 2, dtype=torch.float64)
    assert tighten_difference(bound, Boxes(-side, side), enough, batch=4, most_boxes=4, over=lambda: True) is None
    generator = torch.Generator().manual_seed(0)
    assert boxes_needed(bound, Boxes(-side, side), enough, generator, most=4, over=lambda: True) == torch.inf
    assert tighten_difference(bound, Boxes(-side, side), enough, batch=4, most_boxes=4) is not None
