"""Ties: an output that must not decide follows, up to a constant, one that may.

An unsafe polytope ``a_r @ y <= b_r`` (all r) is out of reach as soon as one of its rows exceeds its bound. Where the
last affine map makes ``a_r @ y`` *constant*, no input can change it, and the proof is one line, however restless the
layers before are. It costs little where the outputs of the row hardly differ: N1,9 of ACAS Xu answers COC nearly
everywhere, its strong turns follow the weak ones to 1e-4, and the property that takes others hours is proved at the
root.

The price, what the tied outputs told apart, shows in the mean absolute error and not in the decisions; the caller
measures both before it accepts. Between outputs that decide, a tie removes every boundary: of two actions that compete
it leaves one. `contested_share` says how much there is to lose. The idea is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from birdnn.records import Decision, Tied
from birdnn.repair.jacobian import OutputLayer
from birdnn.spec import Polytope

_ROUNDING = 1e-12
"""Of a sum of some dozen float64, as a share of its terms."""


@dataclass(frozen=True, slots=True, eq=False)
class Tie:
    """``row @ y`` is to be a constant of at least ``least``.

    Attributes:
        row: (outputs,) float64.
        follower: the output that gives way.
        constant: where the row would like to be, at least ``least``.
        least: in the units of the property's left-hand sides.
    """

    row: Tensor
    follower: int
    constant: float
    least: float

    @property
    def outputs(self) -> tuple[int, ...]:
        """All that the row names."""
        return tuple(torch.nonzero(self.row)[:, 0].tolist())

    def record(self, name: str) -> Tied:
        """For the outcome, of the property ``name``."""
        return Tied(output=self.follower, follows=tuple(k for k in self.outputs if k != self.follower), property=name)

    @staticmethod
    def of(polytope: Polytope, y: Tensor, margin: float, importance: Tensor) -> Tie:
        """The row of the polytope that varies least, for its size, over outputs ``y`` (n, outputs).

        Among the outputs that it names the least important one follows; importance has shape (outputs,).
        """
        values = y.double() @ polytope.a.T
        flattest = int((values.std(0, correction=0) / polytope.a.abs().amax(1).clamp(min=1e-300)).argmin())
        row, least = polytope.a[flattest], float(polytope.b[flattest]) + margin
        # only an output that the row names can make it constant
        follower = int(importance.double().masked_fill(row == 0, torch.inf).argmin())
        # where the row mostly lies: outputs move least, and it is safe
        return Tie(row, follower, max(least, float(values[:, flattest].median())), least)


def contested_share(y: Tensor, outputs: Sequence[int], rule: Decision) -> float:
    """How much of a decision is a contest of tied outputs, as a share of the points of ``y`` (n, outputs).

    Of two outputs that compete each comes first somewhere, with the other one second; where they are tied, one of them
    never does again. So the share is the lesser of the two, for the pair that competes most. An output that is to be
    constant competes with whatever comes first or second beside it. No points contest nothing.
    """
    if len(y) == 0 or y.shape[1] < 2 or rule == "none":
        return 0.0
    first, second = y.topk(2, dim=1, largest=rule == "argmax").indices.unbind(1)
    if len(outputs) == 1:
        wins, loses = first == outputs[0], second == outputs[0]
        return min(float(wins.double().mean()), float(loses.double().mean()))
    pairs = [
        [float(((first == a) & (second == b)).double().mean()) for a, b in ((i, j), (j, i))]
        for i, j in combinations(outputs, 2)
    ]
    return max(min(pair) for pair in pairs)


def tying_change(ties: list[Tie], layer: OutputLayer, parameters: int) -> Tensor | None:
    """The change, (parameters,), after which each follower follows and nothing else has moved.

    None where the followers cannot all follow: one of them would have to follow two outputs that differ, or two would
    have to stay above each other.
    """
    rows, followers = torch.stack([tie.row for tie in ties]), sorted({tie.follower for tie in ties})
    constants, least = (torch.tensor([getattr(tie, which) for tie in ties]).double() for which in ("constant", "least"))
    # several regions may tie the same row: it has one constant, large enough for all of them
    same = (rows[:, None] == rows).all(2)
    constants = torch.where(same, constants, -torch.inf).amax(1)
    # all at once: a follower may be named in another's row, so that one by one the last would undo the first
    now = torch.cat([layer.weight, layer.bias[:, None]], 1)
    before = rows @ now
    wanted = torch.cat([torch.zeros_like(before[:, :-1]), constants[:, None]], 1)
    moved = torch.zeros_like(now)
    moved[followers] = torch.linalg.pinv(rows[:, followers]) @ (wanted - before)
    after = rows @ (now + moved)
    rounding = _ROUNDING * (rows.abs() @ (now.abs() + moved.abs())).amax()
    # not "more than" and "below": NaN ties nothing
    if not bool((after[:, :-1].abs() <= rounding).all() and (after[:, -1] >= least - rounding).all()):
        return None
    change = torch.zeros(parameters, dtype=torch.float64)
    change[layer.weight_at], change[layer.bias_at] = moved[:, :-1], moved[:, -1]
    return change


def tie_equations(ties: list[Tie], layer: OutputLayer, parameters: int) -> tuple[Tensor, Tensor]:
    """What makes the rows independent of the input: ``rows @ change == values``.

    Returns:
        rows (ties * features, parameters) and values (ties * features,), float64.
    """
    features = layer.weight.shape[1]
    rows = torch.zeros(len(ties), features, parameters, dtype=torch.float64)
    values = torch.empty(len(ties), features, dtype=torch.float64)
    for i, tie in enumerate(ties):
        for output, coefficient in enumerate(tie.row.tolist()):
            rows[i, torch.arange(features), layer.weight_at[output]] = coefficient
        values[i] = -(tie.row @ layer.weight)
    return rows.flatten(0, 1), values.flatten()


def tie_demands(ties: list[Tie], layer: OutputLayer, parameters: int) -> tuple[Tensor, Tensor]:
    """What makes the constants large enough: ``rows @ change >= values``, one row for each tie."""
    rows = torch.zeros(len(ties), parameters, dtype=torch.float64)
    values = torch.empty(len(ties), dtype=torch.float64)
    for i, tie in enumerate(ties):
        rows[i, layer.bias_at] = tie.row
        values[i] = tie.least - float(tie.row @ layer.bias)
    return rows, values
