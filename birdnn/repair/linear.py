"""The last affine map, changed as little as a linear program allows.

The outputs are linear in the weights and biases of the last affine map, so that what hard inputs demand are linear
constraints, exactly and for any activation, and the least mean absolute change of outputs that satisfies them is one
linear program. Counterexamples and inputs that a hunt finds on its solution become constraints of the next one.

**Which outputs change.** To be safe is to be outside every unsafe polytope, by one of its rows. An output can help
where some row of the polytope names it. The program changes one output that can help with every unsafe polytope of the
violated properties, if there is one; of several those that most rows name are tried, and the one is taken that changes
fewest decisions. For ACAS Xu's phi-2 (COC is not maximal) that is COC. Otherwise outputs are added, the most useful
first, until each polytope has one. Where something is decided, an output counts the more, the closer it is to changing
the decision; how much more is best differs from network to network, and two ways are tried.

Minimising a sum of absolute values needs a variable and two rows for each of them; the dual program needs one column,
and has as many rows as there are weights and biases, some fifty for one output of a network of ACAS Xu. It is the dual
that is solved, and the change is read from its multipliers.

The program is the project's own; single-layer repair with exact constraints goes back to Goldberger et al. 2020 and to
Sotoudeh and Thakur 2021 (PRDNN).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.later import later
from birdnn.network import Network
from birdnn.neurons import hidden_layers
from birdnn.records import Progress, Tied, Watch
from birdnn.repair.aims import Aim
from birdnn.repair.hunting import aims_of, compared, difference, hunt, lacking, learn, repair_set
from birdnn.repair.importance import gap, importance
from birdnn.repair.jacobian import HELD, OutputLayer, Trained
from birdnn.repair.protocol import Evidence, RepairTask
from birdnn.sample import evaluate, uniform
from birdnn.spec import Polytope

optimize, sparse = later("scipy.optimize"), later("scipy.sparse")

_PRICE = 100.0
_HOLD, _FIRMER, _FIRMEST = 1e-4, 2.0, 1.0
_MOST_ALTERNATIVES = 3

Matrix: TypeAlias = npt.NDArray[np.float64]
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
        steps: programs for one candidate at most.
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


def least_absolute(
    features: Matrix, weights: Matrix, rows: Matrix, wanted: Matrix, *, hold: float = _HOLD, seconds: float = np.inf
) -> Matrix | None:
    """The changes ``d`` of one or several outputs, (outputs, k), that cost least.

    The cost is ``sum_j sum_r weights[j, r] * |d[r] @ features[j]|``, with ``_PRICE`` times the weights' sum for each
    unit by which ``sum(rows[i] * d) >= wanted[i]`` is missed, so that there always is an answer.

    Args:
        features: (points, k), what the last affine map reads, and 1.
        weights: (points, outputs), positive.
        rows: (constraints, outputs, k).
        wanted: (constraints,).
        hold: price of a change as such, as a share of what it costs at the mean of all points: the higher, the smaller
            the change, and the less it keeps.
        seconds: for the solver.

    Returns:
        None where the solver ends without a solution. What is not finite counts for nothing.
    """
    seen, asked = np.isfinite(features).all(1) & np.isfinite(weights).all(1), np.isfinite(rows).all((1, 2))
    features, weights = features[seen], weights[seen]
    rows, wanted = rows[asked & np.isfinite(wanted)], wanted[asked & np.isfinite(wanted)]
    outputs, k = rows.shape[1:]
    if not len(features) or not len(rows):
        return None
    # a change that no point sees costs a little as well, or nothing would bound it
    held = hold * weights.mean(1).sum() * np.maximum(np.abs(features).mean(0), 1e-6)
    absolute = sparse.block_diag([features.T] * outputs)
    equations = sparse.hstack(
        [sparse.csr_matrix(rows.reshape(len(rows), -1).T), absolute, sparse.identity(outputs * k)], format="csc"
    )
    limits = np.concatenate([weights.T.ravel(), np.tile(held, outputs)])
    prices = np.stack([np.zeros(len(rows)), np.full(len(rows), _PRICE * weights.sum())], 1)
    found = optimize.linprog(
        np.concatenate([-wanted, np.zeros(len(limits))]),
        A_eq=equations,
        b_eq=np.zeros(outputs * k),
        bounds=np.concatenate([prices, np.stack([-limits, limits], 1)]),
        method="highs",
        options={} if np.isinf(seconds) else {"time_limit": max(0.0, seconds)},
    )
    if found.status != 0 or not np.isfinite(found.eqlin.marginals).all():
        return None
    change: Matrix = -found.eqlin.marginals.reshape(outputs, k)
    return change


class LastLayer:
    """`Repairer` by the program above; keeps its hard inputs between candidates.

    Raises:
        MismatchError: the last affine map is no initialisers of its own, or no output can help.
    """

    def __init__(self, task: RepairTask, settings: LinearSettings) -> None:
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(task.seed)
        self.teacher = task.net.with_values({}).float().cpu().requires_grad_(False)
        self.trained, self.layer = require_last_layer(self.teacher)
        shares = settings.margin_share, settings.kept_margin_share
        samples = settings.region_points, settings.kept_points
        self.aims = aims_of(task, self.teacher, shares=shares, samples=samples, generator=self.generator)
        self.change = torch.zeros(len(self.trained), dtype=torch.float64)
        powers = settings.decision_powers[: 1 if task.decision == "none" else None]
        self.alternatives = [(outputs, power) for outputs in self._helpful() for power in powers]
        self._behaviour = self._seen()
        self.holds: dict[Way, float] = dict.fromkeys(self.alternatives, _HOLD)
        self.held: dict[Way, bool] = {}

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """Learn from `evidence`, then solve until no hunt finds an unsafe input; hands out a copy."""
        until = time.monotonic() + timeout_s
        student = self.trained.at(self.change)

        def over() -> bool:
            return self.task.over() or time.monotonic() > until

        learn(self.aims, evidence, student, self.generator, harder=self.settings.harder, over=over)
        hunt(self.aims, student, self.task.resample, self.generator, over)
        found = [(self._solved(way, until, watch), way) for way in self.alternatives]
        self.change, way = min(found, key=lambda pair: self._rank(self.trained.at(pair[0])))
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

    def _helpful(self) -> list[tuple[int, ...]]:
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
            if self.settings.biases_only:
                return [(i,) for i in alone]
            most = max(int(count[i]) for i in alone)
            equals: list[tuple[int, ...]] = [(i,) for i in alone if int(count[i]) == most]
            return equals[:_MOST_ALTERNATIVES]
        chosen: list[int] = []
        while open_ := [some for some in named if not bool(some[chosen].any())]:
            chosen.append(max(range(len(count)), key=lambda i: (sum(int(s[i]) for s in open_), int(count[i]))))
        return [tuple(sorted(chosen))]

    # --- the program

    def _solved(self, way: Way, until: float, watch: Watch) -> Tensor:
        """Programs and hunts in turn, until nothing lacks, or no change within the limit does: (parameters,)."""
        change, student = self.change, self.trained.at(self.change)
        for step in range(self.settings.steps):
            lack = lacking(self.aims, student)
            if lack <= 0 or self.held.get(way, False) or watch.stopped() or time.monotonic() > until:
                break
            news = f"program {step + 1}, worst input lacks {lack:.2g} of its margin"
            watch.update(Progress(phase="solving", done=step / self.settings.steps, detail=news))
            found = self._within(way, student, until)
            if found is None:
                break
            change, student = found, self.trained.at(found)
            hunt(self.aims, student, self.task.resample, self.generator, self.task.over)
        return change

    def _within(self, way: Way, student: Network, until: float) -> Tensor | None:
        """One program, with changes as cheap as the limit on them allows: the change, cut off where none is within.

        What is asked only grows from program to program, and so does the price of a change.
        """
        while True:
            found = self._program(way, student, until - time.monotonic())
            if found is None:
                return None
            reach = self.trained.reach(torch.zeros_like(found), found, self.task.max_change)
            if reach == 1 or self.holds[way] >= _FIRMEST or time.monotonic() > until:
                break
            self.holds[way] *= _FIRMER
        self.held[way] = reach < 1
        return reach * found

    def _program(self, way: Way, student: Network, seconds: float) -> Tensor | None:
        """One program: the change from the original, (parameters,)."""
        outputs, power = way
        parts = [part for aim in self.aims for part in self._constraints(aim, outputs, student)]
        if not parts:
            return None
        rows = torch.cat([row for row, _ in parts]).numpy()
        wanted = torch.cat([some for _, some in parts]).numpy()
        features, shares = self._behaviour
        weights = (shares[:, None] * self._importance(features, power))[:, list(outputs)]
        free = slice(-1, None) if self.settings.biases_only else slice(None)  # the last feature is 1
        found = least_absolute(
            features[:, free].numpy(), weights.numpy(), rows[..., free], wanted, hold=self.holds[way], seconds=seconds
        )
        if found is None:
            return None
        change, moved = torch.zeros_like(self.change), torch.from_numpy(found)
        if not self.settings.biases_only:
            change[self.layer.weight_at[list(outputs)]] = moved[:, :-1]
        change[self.layer.bias_at[list(outputs)]] = moved[:, -1]
        return change

    def _constraints(self, aim: Aim, outputs: tuple[int, ...], student: Network) -> Iterator[tuple[Tensor, Tensor]]:
        """What the region's hard points ask, polytope by polytope: rows (m, outputs, k) and wanted (m,).

        A polytope is left through the half-space that is nearest for the student, of those that name one of
        the outputs; a point asks for nothing where another half-space, which stays what it is, keeps it out anyway.
        """
        if not aim.goal.repair:
            return
        x = aim.hardest(self.settings.constraints, student, self.generator)
        if not len(x):
            return
        before, now, features = evaluate(self.teacher, x).double(), evaluate(student, x).double(), self._features(x)
        for polytope in aim.region.unsafe:
            helps = _names(polytope, outputs)
            if not bool(helps.any()):
                continue
            value = now @ polytope.a.T - polytope.b
            fixed = value.masked_fill(helps, -torch.inf).amax(1)
            asks = fixed < aim.margin
            row = value.masked_fill(~helps, -torch.inf).argmax(1)[asks]
            a = polytope.a[row]
            wanted = aim.margin - ((a * before[asks]).sum(1) - polytope.b[row])
            yield a[:, list(outputs), None] * features[asks, None], wanted

    def _features(self, x: Tensor) -> Tensor:
        """What the last affine map reads, and 1: (n, k) float64."""
        layers = hidden_layers(self.teacher)
        with torch.no_grad():
            read = self.teacher.observe(x.double(), (layers[-1].value,))[0] if layers else x.double()
        return torch.cat([read, torch.ones(len(x), 1, dtype=torch.float64)], 1)

    def _points(self) -> list[tuple[Tensor, float]]:
        """Inputs whose outputs are to change least, and what all of them count."""
        parts = []
        if self.task.domain is not None:
            parts.append((uniform(*self.task.domain, self.settings.domain_points, self.generator), 1.0))
        inside = [aim.positives.x[: self.settings.region_points] for aim in self.aims if aim.goal.violated]
        return [*parts, *((x, 1.0 / len(inside)) for x in inside if len(x))]

    def _seen(self) -> tuple[Tensor, Tensor]:
        """Features (n, k) of those inputs, and what each counts, (n,)."""
        parts = self._points() or [(aim.draw(self.generator), 1.0) for aim in self.aims]
        features = torch.cat([self._features(x) for x, _ in parts])
        weights = torch.cat([torch.full((len(x),), share / len(x), dtype=torch.float64) for x, share in parts])
        return features, weights

    def _importance(self, features: Tensor, power: float) -> Tensor:
        """How much each output counts there, (n, outputs) with mean 1."""
        y = features @ torch.cat([self.layer.weight, self.layer.bias[:, None]], 1).T
        clear = gap(y, self.task.decision)
        scale = max(float(clear.median()), 1e-12) if clear is not None else 1.0
        counts = importance(y, self.task.decision, scale=scale, floor=self.settings.decision_floor, power=power)
        return counts / counts.mean()

    def _rank(self, student: Network) -> tuple[bool, float]:
        """The smaller the better: does something lack, and how many decisions changed on fresh inputs.

        Where nothing is decided, the mean difference of outputs.
        """
        before, after = compared(self.task, self.aims, self.teacher, student)
        return lacking(self.aims, student) > 0, difference(before, after, self.task.decision)


def require_last_layer(net: Network) -> tuple[Trained, OutputLayer]:
    """The last affine map of a network, as parameters to train.

    Raises:
        MismatchError: it has none, or one without weights and biases of its own.
    """
    trained = Trained(net, 0)
    layer = trained.output_layer()
    if layer is None:
        told = "a linear program needs a last affine layer with weights and biases of its own"
        raise MismatchError(f"{told}; this network has none: use --optimiser pso or cmaes, or --method retrain")
    return trained, layer


def _names(polytope: Polytope, outputs: tuple[int, ...]) -> Tensor:
    """Which rows name one of the outputs, (rows,) bool."""
    return (polytope.a[:, list(outputs)] != 0).any(1)
