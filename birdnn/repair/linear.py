"""The last affine map, changed as little as a linear program allows.

The outputs are affine in the weights and biases of the last affine map (`birdnn.repair.readout`), so that what hard
inputs demand are linear constraints, exactly and whatever computes the features, and the least mean absolute change of
outputs that satisfies them is one linear program. Counterexamples and inputs that a hunt finds on its solution become
constraints of the next one.

**Which outputs change.** To be safe is to be outside every unsafe polytope, by one of its rows. An output can help
where some row of the polytope names it. The program changes one output that can help with every unsafe polytope of the
violated properties, if there is one; of several those that most rows name are tried, and the one is taken that changes
fewest decisions. For ACAS Xu's phi-2 (COC is not maximal) that is COC. Otherwise outputs are added, the most useful
first, until each polytope has one. Where something is decided, an output counts the more, the closer it is to changing
the decision; how much more is best differs from network to network, and two ways are tried.

**How far outputs may be from the original's.** Where that is limited, and has to be proved, a small mean says nothing:
the largest change is a hundred times as much somewhere, and bounds of what weights move are wide. Those of a bias are
exact. So the range of each weight's share has a price then, and more after a proof that was out of reach: biases move
as far as that heals, and weights as little as they can.

The program is the project's own; single-layer repair with exact constraints goes back to Goldberger et al. 2020 and to
Sotoudeh and Thakur 2021 (PRDNN).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.records import Progress, Tied, Watch
from birdnn.records.limits import Over
from birdnn.repair.aims import Aim
from birdnn.repair.hunting import (
    aims_of,
    behaviour_difference,
    compared_outputs,
    hunt_hard_inputs,
    learn_evidence,
    repair_set,
    some_of,
    worst_lack,
)
from birdnn.repair.importance import decision_gap, output_importance
from birdnn.repair.jacobian import HELD, Trained
from birdnn.repair.program import HOLD, Output, least_absolute
from birdnn.repair.protocol import Evidence, RepairTask
from birdnn.repair.readout import Readout
from birdnn.sample import draw_uniform, evaluate

# factor on the price of a change as such while it is beyond the limit, and where that ends
_FIRMER, _FIRMEST = 2.0, 1.0
# price of the range of a share where closeness is to be proved; factor on it after a proof out of reach
_NARROW, _NARROWER = 64.0, 8.0
_MOST_ALTERNATIVES = 3
# of one output that moves; where several do, each has fewer, for a program has the columns of all
_MOST_CONSTRAINTS, _MOST_POINTS, _MOST_TERMS = 20_000, 16_000, 16_000
_MOST_UNKNOWNS = 1 << 14
_FULL = 16  # regions, from which on each constrains a program by fewer inputs

Way: TypeAlias = tuple[tuple[int, ...], float]
"""Which outputs change, and the power of `LinearSettings.decision_powers`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSettings:
    """How the last affine map is changed.

    Attributes:
        domain_points, region_points: inputs whose outputs are to change least, from the domain and from each region.
        kept_points: uniform inputs of each region that is not violated, which a hunt looks at.
        decision_powers, decision_floor: an output counts the more, the closer it is to changing the decision
            (`birdnn.repair.importance`); all powers are tried at first.
        constraints: inputs of each region that constrain one program, the closest to unsafe and a random choice.
        steps: programs for one candidate and way at most, a hunt behind each; one whose change is beyond the limit is
            solved again at a higher price.
        margin_share, kept_margin_share: margin asked for, as in `RetrainSettings`.
        harder: factor on the margin after a search that could not finish.
        biases_only: shift one output by a constant and change nothing else. It is the control that every comparison
            needs: where an output never decides it keeps all decisions, and shifts what it means everywhere.
    """

    domain_points: int = 4000
    region_points: int = 1000
    kept_points: int = 375
    decision_powers: tuple[float, ...] = (0.75, 1.5)
    decision_floor: float = 0.1
    constraints: int = 1500
    steps: int = 12
    margin_share: float = 0.02
    kept_margin_share: float = 0.02
    harder: float = 2.0
    biases_only: bool = False


class LastLayer:
    """`Repairer` by the program above; keeps its hard inputs between candidates.

    Raises:
        MismatchError: no weights or biases of their own make the outputs, or no output can help.
    """

    def __init__(self, task: RepairTask, settings: LinearSettings) -> None:
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(task.seed)
        self.teacher = task.teacher()
        self.readout = require_last_layer(self.teacher)
        self.trained = Trained(self.teacher, names=self.readout.names)
        shares = settings.margin_share, settings.kept_margin_share
        samples = settings.region_points, settings.kept_points
        self.aims = aims_of(task, self.teacher, shares=shares, samples=samples, generator=self.generator)
        self.change = torch.zeros(len(self.trained), dtype=torch.float64)
        self.spread = 0.0 if math.isinf(task.max_difference) else _NARROW
        # where nothing is decided all outputs count 1, whatever the power
        powers = settings.decision_powers[: 1 if task.decision == "none" else None]
        self.alternatives = [(outputs, power) for outputs in self._helpful_outputs() for power in powers]
        for outputs, _ in self.alternatives:
            self._free_values(outputs)  # as long as another method may take its place
        self._behaviour = self._behaviour_seen()
        self._known: dict[tuple[tuple[int, ...], int], tuple[Tensor, Tensor]] = {}
        self.holds: dict[Way, float] = dict.fromkeys(self.alternatives, HOLD)
        self.held: dict[Way, bool] = {}

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """Learn from `evidence`, then solve until no hunt finds an unsafe input; hands out a copy."""
        until = time.monotonic() + timeout_s
        student, over = self.trained.at(self.change), self.task.ends(until, watch)
        if evidence.too_far:
            self.spread *= _NARROWER
        learn_evidence(self.aims, evidence, student, self.generator, harder=self.settings.harder, over=over)
        hunt_hard_inputs(self.aims, student, self.task.resample, self.generator, over)
        found = [
            (self._solve_and_hunt(way, until, over, watch, anew=evidence.too_far), way) for way in self.alternatives
        ]
        # ranked when all are solved, on the same hard inputs: those that one way met count for the others too
        self.change, way = min(found, key=lambda pair: self._rank_student(self.trained.at(pair[0])))
        self.alternatives = [way]
        return self.task.net.with_values(self.trained.values(self.change))

    def negatives(self) -> dict[str, Tensor]:
        """The repair set: property name -> inputs that violated it when the regions were characterised."""
        return repair_set(self.aims)

    def remarks(self) -> tuple[str, ...]:
        """Whether the change was held back."""
        held = any(self.held.get(way, False) for way in self.alternatives)
        return (HELD.format(self.task.max_change),) if held else ()

    def ties(self) -> tuple[Tied, ...]:
        """None."""
        return ()

    # --- which outputs

    def _helpful_outputs(self) -> list[tuple[int, ...]]:
        """Sets of outputs to choose from, see the module."""
        unsafe = [p for aim in self.aims if aim.goal.repair and aim.goal.violated for p in aim.region.unsafe if p.rows]
        named = [(p.a != 0).any(0) for p in unsafe]
        if not all(bool(some.any()) for some in named):
            raise MismatchError("an unsafe set names no output: no change of outputs can leave it")
        if not named:
            return [()]
        count = torch.stack([(p.a != 0).sum(0) for p in unsafe]).sum(0)
        alone = [i for i in range(len(count)) if all(bool(some[i]) for some in named)]
        if alone:
            if self.settings.biases_only or self.spread:  # a constant on what never decides changes no decision
                return [(i,) for i in alone]
            most = max(int(count[i]) for i in alone)
            equals: list[tuple[int, ...]] = [(i,) for i in alone if int(count[i]) == most]
            return equals[:_MOST_ALTERNATIVES]
        chosen: list[int] = []
        while open_ := [some for some in named if not bool(some[chosen].any())]:
            chosen.append(max(range(len(count)), key=lambda i: (sum(int(s[i]) for s in open_), int(count[i]))))
        return [tuple(sorted(chosen))]

    # --- the program

    def _solve_and_hunt(self, way: Way, until: float, over: Over, watch: Watch, *, anew: bool) -> Tensor:
        """Programs and hunts in turn, until nothing lacks, or no change within the limit does: (parameters,)."""
        change, student = self.change, self.trained.at(self.change)
        for step in range(self.settings.steps):
            lack = worst_lack(self.aims, student)
            # after a candidate that was too far nothing lacks, and yet another program is due, at the higher price
            done = lack <= 0 and (step > 0 or not anew)
            if done or self.held.get(way, False) or over():
                break
            news = f"program {step + 1}, worst input lacks {lack:.2g} of its margin"
            watch.update(Progress(phase="solving", done=step / self.settings.steps, detail=news))
            found = self._solve_within_limit(way, student, until)
            if found is None:
                break
            change, student = found, self.trained.at(found)
            hunt_hard_inputs(self.aims, student, self.task.resample, self.generator, over)
        return change

    def _solve_within_limit(self, way: Way, student: Network, until: float) -> Tensor | None:
        """One program, with changes as cheap as the limit on them allows: the change, cut off where none is within.

        What is asked only grows from program to program, and so does the price of a change.
        """
        while True:
            found = self._solve_program(way, student, until - time.monotonic())
            if found is None:
                return None
            reach = self.trained.reach(torch.zeros_like(found), found, self.task.max_change)
            if reach == 1 or self.holds[way] >= _FIRMEST or time.monotonic() > until:
                break
            self.holds[way] *= _FIRMER
        self.held[way] = reach < 1
        return reach * found

    def _solve_program(self, way: Way, student: Network, seconds: float) -> Tensor | None:
        """One program: the change from the original, (parameters,)."""
        outputs, power = way
        free = self._free_values(outputs)
        if not len(free):
            return None
        parts = [part for aim in self.aims for part in self._constraints(aim, free, student)]
        if not parts:
            return None
        lack, rows, wanted = (torch.cat(side) for side in zip(*parts, strict=True))
        moving = self.readout.moves[:, free].any(1).nonzero()[:, 0].tolist()
        # lack is relative to the margin asked for, so that regions of different units compare
        hardest = lack.argsort(descending=True)[: int(_MOST_CONSTRAINTS / len(moving) ** 1.5)].sort().values
        # a prefix is a sample: where they are many they lie in random order
        features, y, shares = (part[: _MOST_TERMS // len(moving)] for part in self._behaviour)
        weights = shares[:, None] * self._output_importance(y, power)
        terms = [self._output_terms(outputs, output, free, features, weights[:, output]) for output in moving]
        found = least_absolute(
            terms,
            rows[hardest].numpy(),
            wanted[hardest].numpy(),
            hold=self.holds[way],
            even=self.holds[way] > HOLD,  # the change is to be small in itself
            spread=self.spread,
            seconds=seconds,
        )
        if found is None:
            return None
        change = torch.zeros_like(self.change)
        change[free] = torch.from_numpy(found)
        return change

    def _free_values(self, outputs: tuple[int, ...]) -> Tensor:
        """The values that may change: those that move one of the outputs, output by output, biases last."""
        moves, constant = self.readout.moves[list(outputs)], self.readout.constant
        if not outputs:
            return torch.empty(0, dtype=torch.int64)
        able = moves.any(0) & (constant | (not self.settings.biases_only))
        places = able.nonzero()[:, 0].tolist()
        first = moves.int().argmax(0)
        if len(places) > _MOST_UNKNOWNS:
            told = f"{len(places):,} weights and biases move what has to change"
            raise MismatchError(f"{told}; a linear program takes at most {_MOST_UNKNOWNS:,}")
        return torch.tensor(sorted(places, key=lambda at: (int(first[at]), bool(constant[at]), at)))

    def _output_terms(
        self, outputs: tuple[int, ...], output: int, free: Tensor, features: Tensor, weights: Tensor
    ) -> Output:
        """How an output moves where behaviour is measured."""
        # features are the original's, so that these derivatives are the same in every program
        if (outputs, output) not in self._known:
            columns = self.readout.moves[output, free].nonzero()[:, 0]
            direction = torch.nn.functional.one_hot(torch.tensor([output]), self.readout.net.n_outputs)
            self._known[outputs, output] = columns, self.readout.rows(features, direction, free[columns])
        columns, moved = self._known[outputs, output]
        return Output(columns=columns.numpy(), features=moved.numpy(), weights=weights.numpy())

    def _constraints(self, aim: Aim, free: Tensor, student: Network) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What the region's hard points ask, polytope by polytope: what lacks (m,), rows (m, free) and wanted (m,).

        A polytope is left through the half-space that is nearest for the student, of those that name an output that
        moves; a point asks for nothing where another half-space, which stays what it is, keeps it out anyway.
        """
        if not aim.goal.repair:
            return
        x = aim.hardest(-(-self.settings.constraints // max(1, len(self.aims) // _FULL)), student, self.generator)
        if not len(x):
            return
        before, now, features = evaluate(self.teacher, x).double(), evaluate(student, x).double(), None
        moving = self.readout.moves[:, free].any(1)
        for polytope in aim.region.unsafe:
            helps = (polytope.a[:, moving] != 0).any(1)
            if not bool(helps.any()):
                continue
            value = now @ polytope.a.T - polytope.b
            # rows that no output of this way moves: what they reach they keep
            fixed = value.masked_fill(helps, -torch.inf).amax(1)
            asks = fixed < aim.margin
            row = value.masked_fill(~helps, -torch.inf).argmax(1)[asks]
            a = polytope.a[row]
            wanted = aim.margin - ((a * before[asks]).sum(1) - polytope.b[row])
            features = self.readout.features(x) if features is None else features
            lack = aim.margin - value[asks].gather(1, row[:, None])[:, 0]
            yield lack / max(aim.margin, 1e-30), self.readout.rows(features[asks], a, free), wanted

    def _behaviour_points(self) -> list[tuple[Tensor, float]]:
        """Inputs whose outputs are to change least, and what all of them count."""
        parts = [] if self.task.data is None else [(some_of(self.task.data, _MOST_POINTS, self.generator), 1.0)]
        if self.task.domain is not None:
            parts.append((draw_uniform(*self.task.domain, self.settings.domain_points, self.generator), 1.0))
        inside = [aim.positives.x for aim in self.aims if aim.goal.violated]
        each = min(self.settings.region_points, _MOST_POINTS // max(1, len(inside)))
        # all regions together count as much as the domain
        return [*parts, *((x[:each], 1.0 / len(inside)) for x in inside if len(x))]

    def _behaviour_seen(self) -> tuple[Tensor, Tensor, Tensor]:
        """Features (n, k) and outputs of those inputs, what each counts, (n,); in random order where they are many."""
        parts = self._behaviour_points() or [(aim.draw(self.generator), 1.0) for aim in self.aims]
        features = torch.cat([self.readout.features(x) for x, _ in parts])
        y = torch.cat([evaluate(self.teacher, x).double() for x, _ in parts])
        weights = torch.cat([torch.full((len(x),), share / len(x), dtype=torch.float64) for x, share in parts])
        if len(y) <= _MOST_TERMS // y.shape[1]:
            return features, y, weights
        order = torch.randperm(len(y), generator=self.generator)
        return features[order], y[order], weights[order]

    def _output_importance(self, y: Tensor, power: float) -> Tensor:
        """How much each output counts there, (n, outputs) with mean 1."""
        clear = decision_gap(y, self.task.decision)
        scale = max(float(clear.median()), 1e-12) if clear is not None else 1.0
        counts = output_importance(y, self.task.decision, scale=scale, floor=self.settings.decision_floor, power=power)
        return counts / counts.mean()

    def _rank_student(self, student: Network) -> tuple[bool, float]:
        """The smaller the better: does something lack, and how many decisions changed on fresh inputs.

        Where nothing is decided, the mean difference of outputs.
        """
        before, after = compared_outputs(self.task, self.aims, self.teacher, student)
        return worst_lack(self.aims, student) > 0, behaviour_difference(before, after, self.task.decision)


def require_last_layer(net: Network) -> Readout:
    """What a linear program changes of a network.

    Raises:
        MismatchError: no weights and biases of their own make its outputs.
    """
    try:
        return Readout(net)
    except MismatchError as error:
        told = f"a linear program needs a last affine layer with weights and biases of its own: {error}"
        raise MismatchError(f"{told}; use --optimiser pso or cmaes, or --method retrain") from None
