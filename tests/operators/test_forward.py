"""What operators compute, by hand: padding, what windows count, and values far from zero."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from birdnn.operators import Attributes, apply, pad


def row(*values: float) -> Tensor:
    """A batch of one."""
    return torch.tensor([values], dtype=torch.float64)


def line(*values: float) -> Tensor:
    """One channel of one axis: (1, 1, n)."""
    return row(*values)[None]


def window(size: int, stride: int = 1, pads: tuple[int, int] = (0, 0), extra: int = 0, **more: int) -> Attributes:
    """Attributes of a pooling along one axis; `extra`: what ``ceil_mode`` adds at its end."""
    at = {"kernel_shape": (size,), "strides": (stride,), "pads": pads, "dilations": (1,), "overshoot": (0, extra)}
    return at | more


def test_all_beginnings_come_before_all_ends() -> None:
    x = torch.ones(1, 1, 1, 1)
    assert pad(x, (1, 0, 0, 2), 7.0).tolist() == [[[[7.0, 7.0, 7.0], [1.0, 7.0, 7.0]]]]
    assert pad(x, (0, 0, 0, 0), 7.0) is x
    assert pad(line(1, 2, 3), (-1, -1), 0.0).tolist() == [[[2.0]]]


def test_a_padded_place_is_never_the_greatest() -> None:
    assert apply("MaxPool", [line(-5, -3, -4)], window(2, 2, pads=(1, 0))).tolist() == [[[-5.0, -3.0]]]
    assert apply("MaxPool", [line(-5, -3, -4)], window(2, 2, extra=1)).tolist() == [[[-3.0, -4.0]]]


@pytest.mark.parametrize(("counted", "wanted"), [(1, [1.0, 4.0, 5.0]), (0, [2.0, 4.0, 5.0])])
def test_a_mean_counts_padding_where_asked_and_never_what_is_beyond(counted: int, wanted: list[float]) -> None:
    """Windows (pad, 2), (3, 5), (5, beyond): of the last one a single place counts, whatever is said of padding."""
    found = apply("AveragePool", [line(2, 3, 5, 5)], window(2, 2, pads=(1, 0), extra=1, count_include_pad=counted))
    assert found.tolist() == [[wanted]]


def test_entries_beyond_every_kernel_have_the_bias_alone() -> None:
    attributes = {"strides": (2,), "dilations": (1,), "group": 1, "pads": (0, 0), "output_padding": (1,)}
    bias = torch.tensor([10.0], dtype=torch.float64)
    found = apply("ConvTranspose", [line(1, 2), line(1), bias], attributes)
    assert found.tolist() == [[[11.0, 10.0, 12.0, 10.0]]]
    cut = {**attributes, "pads": (1, 0)}
    assert apply("ConvTranspose", [line(1, 2), line(1), bias], cut).tolist() == [[[10.0, 12.0, 10.0]]]
    # the cut takes all of the kernel's places, and one more
    assert apply(
        "ConvTranspose",
        [line(1), line(1), bias],
        {**attributes, "strides": (3,), "pads": (2, 0), "output_padding": (2,)},
    ).tolist() == [[[10.0]]]


def test_a_convolution_of_two_groups_with_a_stride_and_a_pad_at_one_end() -> None:
    """The second channel sees the second kernel, not the first; nothing is turned round."""
    x = torch.tensor([[[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]])
    weight = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    attributes = {"strides": (2,), "dilations": (1,), "group": 2, "pads": (1, 0)}
    assert apply("Conv", [x, weight], attributes).tolist() == [[[0.0, 2.0], [10.0, 30.0]]]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, [[17.0 + 1, 39.0 + 2]]),
        ({"alpha": 2.0}, [[34.0 + 1, 78.0 + 2]]),
        ({"beta": 10.0}, [[17.0 + 10, 39.0 + 20]]),
        ({"transB": 0}, [[23.0 + 1, 34.0 + 2]]),
    ],
)
def test_scales_of_a_product_and_of_its_summand(said: dict[str, float], wanted: list[list[float]]) -> None:
    b = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    attributes = {"transA": 0, "transB": 1, "alpha": 1.0, "beta": 1.0} | said
    assert apply("Gemm", [row(5, 6), b, row(1, 2)], attributes).tolist() == wanted
    assert apply("Gemm", [row(5, 6).T, b, row(1, 2)], {**attributes, "transA": 1}).tolist() == wanted


def test_normalisations_by_hand() -> None:
    """Mean 3 and variance 4; running mean 1, and 4 - 3 + 3 as spread."""
    x = row(1, 5)
    two, one = torch.tensor([2.0, 2.0]).double(), torch.tensor([1.0, 0.0]).double()
    assert apply("LayerNormalization", [x, two, one], {"axis": 1, "epsilon": 0.0}).tolist() == [[-1.0, 2.0]]
    assert apply("LayerNormalization", [x, two, one], {"axis": 1, "epsilon": 12.0}).tolist() == [[0.0, 1.0]]
    found = apply("BatchNormalization", [x, two, one, one, two + 1], {"epsilon": 1.0})
    assert found.tolist() == [[1.0, 5.0]]


def test_a_constant_operand_of_a_concatenation_is_repeated_for_the_batch() -> None:
    x, constant = torch.tensor([[1.0], [2.0]]), torch.tensor([[9.0]])
    assert apply("Concat", [constant, x], {"axis": -1}).tolist() == [[9.0, 1.0], [9.0, 2.0]]
    assert apply("Concat", [x, constant], {"axis": 0}).tolist() == [[1.0], [2.0], [9.0]]


def test_entries_are_picked_backwards_and_by_shape() -> None:
    x = row(0, 1, 2, 3, 4)
    assert apply("Slice", [x], {"slices": [(1, 4, -1, -2)]}).tolist() == [[4.0, 2.0, 0.0]]
    assert apply("Slice", [x], {"slices": []}) is x
    one = {"axis": 1, "indices": [3], "index_shape": ()}
    assert apply("Gather", [x], one).tolist() == [3.0]
    assert apply("Gather", [x], {**one, "indices": [4, 4, 0, 1], "index_shape": (2, 2)}).tolist() == [[[4, 4], [0, 1]]]


def test_truth_is_whatever_is_not_zero() -> None:
    truth = row(0.0, -0.0, 0.5, math.nan)
    assert apply("Where", [truth, row(1, 1, 1, 1), row(2, 2, 2, 2)], {}).tolist() == [[2.0, 2.0, 1.0, 1.0]]
    assert apply("Greater", [row(1, 2, 3), row(2, 2, 2)], {}).tolist() == [[0.0, 0.0, 1.0]]
    assert apply("GreaterOrEqual", [row(1, 2, 3), row(2, 2, 2)], {}).tolist() == [[0.0, 1.0, 1.0]]
    assert apply("Greater", [row(math.nan), row(0)], {}).tolist() == [[0.0]]


def test_halves_are_rounded_to_even() -> None:
    assert apply("Round", [row(0.5, 1.5, 2.5, -0.5, -1.5)], {}).tolist() == [[0.0, 2.0, 2.0, 0.0, -2.0]]


def test_far_from_zero_nothing_overflows() -> None:
    """torch's own softplus is the identity above 20, where it is a little more."""
    found = apply("Softplus", [row(-1000, 0, 25, 1000)], {})
    assert found[0, [0, 1, 3]].tolist() == [0.0, math.log(2), 1000.0]
    assert found[0, 2] > 25
    x = row(-1, 1000).requires_grad_(True)
    apply("Elu", [x], {"alpha": 2.0}).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[pytest.approx(2 * math.exp(-1)), 1.0]]


def test_hard_swish_is_straight_beyond_three() -> None:
    assert apply("HardSwish", [row(-4, -3, 0, 3, 4)], {}).tolist() == [[0.0, 0.0, 0.0, 3.0, 4.0]]
