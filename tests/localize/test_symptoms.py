"""Spectra of channels by hand: covered forward and backward; formulas, and gradients of single examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from birdnn.errors import MismatchError
from birdnn.localize import symptoms
from birdnn.localize.symptoms import SpectrumExamples, _trace_examples, find_symptoms, suspiciousness
from birdnn.network import Network
from birdnn.records import FORMULAS, Formula
from tests.bounds.builders import graph_net
from tests.classifiers import classifier, quarters


def two_channels() -> Network:
    """Images of one place: scores are relu of the input, and of the input turned round."""
    tensors = {"w": np.array([1.0, -1.0], np.float32).reshape(2, 1, 1, 1)}
    options = {"kernel_shape": [1, 1], "pads": [0, 0, 0, 0], "strides": [1, 1], "dilations": [1, 1], "group": 1}
    nodes = [("Conv", ("x", "w"), "c", options), ("Relu", ("c",), "r", {}), ("Flatten", ("r",), "y", {"axis": 1})]
    return graph_net(nodes, tensors, ["n", 1, 1, 1])


def seen(failing: list[float], passing: list[float], fail_as: int = 1, pass_as: int = 1) -> SpectrumExamples:
    def side(values: list[float], label: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(values)[:, None], torch.full((len(values),), label)

    (bad, y), (good, z) = side(failing, fail_as), side(passing, pass_as)
    return SpectrumExamples(failing_x=bad, failing_y=y, passing_x=good, passing_y=z)


def test_levels_above_what_is_usual_and_below_it() -> None:
    """Both failing examples are above the passing mean of channel 0, and below that of channel 1; half pass so."""
    net = two_channels()
    (found,) = find_symptoms(net, net.nodes[:1], seen([5.0, 6.0], [1.0, 3.0]), "ochiai")
    wanted = 1 / (1 + 0.5) ** 0.5
    assert found.node == net.nodes[0]
    assert found.forward.tolist() == [pytest.approx(wanted)] * 2
    # at the mean itself is not above it: of channel 0 one of two and one of three, of channel 1 none and one are
    (found,) = find_symptoms(net, net.nodes[:1], seen([2.0, 3.0], [1.0, 2.0, 3.0]), "ochiai")
    above, below = 0.5 / (0.5 + 1 / 3) ** 0.5, 1 / (1 + 2 / 3) ** 0.5
    assert found.forward.tolist() == [pytest.approx(above), pytest.approx(below)]


def test_steps_that_serve_failing_examples_and_harm_passing_ones() -> None:
    """Of positive inputs only channel 0 is awake: right class 1 asks for less of it, class 0 for more."""
    net = two_channels()
    (harms,) = find_symptoms(net, net.nodes[:1], seen([5.0, 6.0], [1.0, 3.0], 1, 0), "ochiai")
    (serves,) = find_symptoms(net, net.nodes[:1], seen([5.0, 6.0], [1.0, 3.0], 1, 1), "ochiai")
    assert harms.backward.tolist() == [pytest.approx(2**-0.5), 0.0]
    assert serves.backward.tolist() == [pytest.approx(1.0), 0.0]


def test_an_example_does_not_vote_for_itself() -> None:
    """Of two that pull in opposite directions neither is served by the other; of a single one any pull counts."""
    net = two_channels()
    pair = SpectrumExamples(
        failing_x=torch.tensor([[5.0], [5.5]]),
        failing_y=torch.tensor([0, 1]),
        passing_x=torch.tensor([[1.0]]),
        passing_y=torch.tensor([0]),
    )
    (found,) = find_symptoms(net, net.nodes[:1], pair, "tarantula")
    assert found.backward.tolist() == [0.0, 0.0]
    (alone,) = find_symptoms(net, net.nodes[:1], seen([5.0], [1.0]), "tarantula")
    assert alone.backward.tolist() == [1.0, 0.0]


def test_batches_of_examples_are_put_together_again(monkeypatch: pytest.MonkeyPatch) -> None:
    net = two_channels()
    examples = seen([5.0, 6.0, 0.5, -1.0], [1.0, 3.0, -2.0], 1, 0)
    (whole,) = find_symptoms(net, net.nodes[:1], examples, "dstar")
    monkeypatch.setattr(symptoms, "_BATCH_ENTRIES", 2)
    (parts,) = find_symptoms(net, net.nodes[:1], examples, "dstar")
    assert torch.allclose(parts.forward, whole.forward)
    assert torch.allclose(parts.backward, whole.backward)


@given(
    formula=st.sampled_from(FORMULAS),
    sizes=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    more=st.floats(0, 1),
)
def test_suspiciousness_grows_with_failing_and_falls_with_passing_examples(
    formula: Formula, sizes: tuple[int, int], shares: tuple[float, float], more: float
) -> None:
    """Within 0 and 1, of no cover 0, and not dependent on how many passing examples there are."""
    n, m = sizes
    f, p = (torch.tensor(share * size, dtype=torch.float64) for share, size in zip(shares, sizes, strict=True))

    def of(failing: torch.Tensor, passing: torch.Tensor, passing_of: int = m) -> float:
        return float(suspiciousness(failing, passing, n, passing_of, formula))

    value = of(f, p)
    assert 0 <= value <= 1
    assert of(f + more * (n - f), p) >= value - 1e-12
    assert of(f, p + more * (m - p)) <= value + 1e-12
    assert of(torch.zeros(()).double(), p) == 0
    assert of(f, 7 * p, 7 * m) == pytest.approx(value)


@pytest.mark.parametrize(("n_failing", "n_passing"), [(0, 3), (3, 0)])
def test_examples_of_both_kinds_are_needed(n_failing: int, n_passing: int) -> None:
    with pytest.raises(MismatchError, match=f"{n_failing} failing, {n_passing} passing"):
        suspiciousness(torch.zeros(1), torch.zeros(1), n_failing, n_passing, "ochiai")


def one(failing: float, passing: float, n: int, m: int, formula: str) -> float:
    return float(suspiciousness(torch.tensor(failing).double(), torch.tensor(passing).double(), n, m, formula))  # type: ignore[arg-type]


def test_formulas_by_hand() -> None:
    assert one(3, 10, 4, 40, "tarantula") == pytest.approx(0.75 / (0.75 + 0.25))
    # as many passing examples as failing ones: 3 of 4 failing, 1 of 4 passing
    assert one(3, 10, 4, 40, "ochiai") == pytest.approx(3 / (4 * (3 + 1)) ** 0.5)
    assert one(2, 10, 4, 40, "tarantula") == pytest.approx(0.5 / (0.5 + 0.25))
    assert one(2, 10, 4, 40, "ochiai") == pytest.approx(2 / (4 * (2 + 1)) ** 0.5)
    d = 3**2 / (1 + 1)
    assert one(3, 10, 4, 40, "dstar") == pytest.approx(d / (1 + d))


@pytest.mark.parametrize("formula", FORMULAS)
def test_what_only_failing_examples_cover_is_most_suspicious(formula: str) -> None:
    values = [
        one(5, 0, 5, 50, formula),
        one(5, 25, 5, 50, formula),
        one(2, 25, 5, 50, formula),
        one(0, 0, 5, 50, formula),
    ]
    assert values == sorted(values, reverse=True)
    assert 0 == values[-1] < values[0] <= 1


def test_gradients_of_single_examples() -> None:
    net, images = classifier(), quarters(3, 5)
    nodes = [node for node in net.nodes if node.op == "Conv"]
    for node, trace in zip(nodes, _trace_examples(net, nodes, images.x, images.y), strict=True):
        for place in range(3):
            net.zero_grad()
            cross_entropy(net(images.x[place : place + 1]), images.y[place : place + 1]).backward()
            wanted = net.value(node.inputs[1]).grad
            assert wanted is not None
            assert torch.allclose(trace.gradient[place], wanted.flatten(1), atol=1e-5), node.name


def test_a_channel_that_only_failing_examples_switch_on() -> None:
    net = classifier()
    images, bright = quarters(30, 1), quarters(30, 2)
    node = next(node for node in net.nodes if node.op == "Conv")
    seen = SpectrumExamples(failing_x=bright.x + 2, failing_y=bright.y, passing_x=images.x, passing_y=images.y)
    (found,) = find_symptoms(net, [node], seen, "ochiai")
    assert float(found.forward.max()) == pytest.approx(1 / (1 + 0) ** 0.5, abs=0.2)
    same = SpectrumExamples(failing_x=images.x, failing_y=images.y, passing_x=images.x, passing_y=images.y)
    (found,) = find_symptoms(net, [node], same, "ochiai")
    assert float(found.forward.max()) < 0.8
