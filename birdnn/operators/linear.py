"""The linear part of an affine operator.

A rule gets the operator's inputs and, for each, whether it depends on the network's input. The same operator applied to
what the rule returns is linear in the dependent inputs. It returns None where the operator is not affine in them: a
product of two dependent values, a division by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from birdnn.operators.forward import Inputs

Depends: TypeAlias = Sequence[bool]
LinearPart: TypeAlias = Callable[[Inputs, Depends], "list[Tensor] | None"]


def constants_to_zero(inputs: Inputs, depends: Depends) -> list[Tensor] | None:
    # of a sum the constant operands are the offset
    return [x if on_input else torch.zeros_like(x) for x, on_input in zip(inputs, depends, strict=True)]


def exactly_one(inputs: Inputs, depends: Depends) -> list[Tensor] | None:
    # linear in either factor, but not in both
    return list(inputs) if sum(depends) == 1 else None


def first_only(inputs: Inputs, depends: Depends) -> list[Tensor] | None:
    return list(inputs) if depends[0] and not any(depends[1:]) else None


def without_bias(inputs: Inputs, depends: Depends) -> list[Tensor] | None:
    return list(inputs[:2]) if depends[0] and not any(depends[1:]) else None


def gemm(inputs: Inputs, depends: Depends) -> list[Tensor] | None:
    if sum(depends[:2]) != 1:
        return None
    # an offset that depends on the input is linear itself; a constant one goes
    keep_offset = len(inputs) > 2 and depends[2]
    return list(inputs) if keep_offset else list(inputs[:2])


def batch_normalization(inputs: Inputs, depends: Depends) -> list[Tensor] | None:
    if not depends[0] or any(depends[1:]):
        return None
    x, scale, shift, mean, variance = inputs
    # (x - mean) * factor + shift without both offsets; the variance is part of the factor
    return [x, scale, torch.zeros_like(shift), torch.zeros_like(mean), variance]
