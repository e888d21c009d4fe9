"""Retraining by behaviour imitation.

Violating inputs imitate the closest behaviour that the property allows; all other inputs, inside the property's regions
and in the whole domain, imitate the original network itself. Outputs that are close to changing the decision count
more. What is sought is the least change of behaviour that gives every known hard input the margin it needs, by
Gauss-Newton steps: linearise, solve exactly, look for inputs that are still close to unsafe, add them, repeat. On the
networks of ACAS Xu two or three rounds of a second each replace the hundreds of gradient steps of the paper's loop, and
keep an order of magnitude more of the decisions.

Source: Liang et al. 2023 (BIRDNN), arXiv:2305.03365: targets and the two-sided objective. Hard constraints, the
projection, the weights by decision and the solver are ours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.metrics import decisions
from birdnn.network import Network
from birdnn.records import Decision, Pairing, Progress, Tied, Watch
from birdnn.records.limits import OutOfTime, Over, require_time
from birdnn.repair.aims import Aim, Demand
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
from birdnn.repair.least_change import LeastChange
from birdnn.repair.protocol import Evidence, RepairTask
from birdnn.repair.tie import Tie, contested_share, tie_demands, tie_equations, tying_change
from birdnn.sample import draw_uniform, evaluate
from birdnn.spec import Polytope

_SCALE_POINTS = 1 << 14
# shares of a step; of those that leave equally much lacking the longest is taken
_LENGTHS = (1.0, 0.5, 0.25, 0.1)
_FIRMER = 4.0
# inputs between two looks at the clock
_PART = 256
# what an output counts for deciding anywhere at all, beside any importance
_DECIDES = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainSettings:
    """How a network is retrained.

    Attributes:
        pairing: whose behaviour a violating input imitates.
        parameters: train the last initialisers of the network, up to this many values.
        domain_points, region_points, kept_points: inputs on which behaviour is measured: from the domain, from each
            region of a violated property, and of each other one.
        ridges: how strongly parameters are held, as shares of the metric's mean diagonal; all are tried at first.
        decision_floor, decision_power: an output counts (distance / typical gap + floor) ** -power, where the distance
            is how far it is from changing the decision, and the typical gap the median one of the two best outputs.
        margin_share: margin to reach in a violated property's regions, as a share of the median margin of its
            satisfying points; `kept_margin_share` for properties that hold.
        harder: factor on the margin after a search that could not finish.
        constraints: inputs of each region that constrain one step, the closest to unsafe and a random choice.
        steps: Gauss-Newton steps for one candidate at most, with each ridge that is tried.
        ties: after a search that could not finish, outputs may be tied (`birdnn.repair.tie`), where
            `RepairTask.may_tie`.
        tied_decisions, tied_outputs: at the price of so many changed decisions in the domain, as a share, and of so
            much mean absolute change, as a share of the outputs' mean absolute value.
        tied_in_regions: the same share of decisions among the inputs of each region that satisfy its property.
        tied_margin_share: margin of a tie, as a share of the same median: it costs no decision and shortens the proof.
    """

    pairing: Pairing = "projection"
    parameters: int = 3000
    domain_points: int = 6000
    region_points: int = 1500
    kept_points: int = 375
    ridges: tuple[float, ...] = (2e-3,)
    decision_floor: float = 0.1
    decision_power: float = 1.5
    margin_share: float = 0.02
    kept_margin_share: float = 0.02
    harder: float = 2.0
    constraints: int = 800
    steps: int = 10
    ties: bool = False
    tied_decisions: float = 5e-4
    tied_in_regions: float = 0.01
    tied_outputs: float = 0.02
    tied_margin_share: float = 0.25


class Retrain:
    """`Repairer` by behaviour imitation; keeps its metric and its hard inputs between candidates."""

    def __init__(self, task: RepairTask, settings: RetrainSettings) -> None:
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(task.seed)
        self.teacher = task.teacher()
        self.trained = Trained(self.teacher, settings.parameters)
        self.aims = self._make_aims()
        self.change = torch.zeros(len(self.trained), dtype=torch.float64)
        self.scale = self._output_scale()
        self.ridge = settings.ridges[0]
        self._untried = settings.ridges
        # made with the first step, for the time it takes: a candidate may need none
        self._metric: tuple[Tensor, Tensor] | None = None
        self._solver: LeastChange | None = None
        self.layer = self.trained.output_layer()
        self.tied: dict[str, list[Tie]] = {}
        self.held = False
        self._over: Over = task.over

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """Learn from `evidence`, then step until no hunt finds an unsafe input; hands out a copy."""
        self._over = self.task.ends(time.monotonic() + timeout_s, watch)
        self.held = False
        self._learn_evidence(evidence)
        self._tie_outputs(evidence)
        if self._untried:
            # how far first order reaches differs from network to network: try each, keep what changes least
            tried, start = [], self.change  # the original, or what the ties make of it
            for ridge in self._untried:
                self.ridge, self.change, self._solver = ridge, start, None
                tried.append((*self._step_until_safe(watch), ridge))
            self._untried = ()
            # what lacks nothing first, then what changes least
            _, _, self.change, self.ridge = min(tried, key=lambda found: found[:2])
            self._solver = None
        else:
            _, _, self.change = self._step_until_safe(watch)
        return self.snapshot()

    def _step_until_safe(self, watch: Watch) -> tuple[bool, float, Tensor]:
        """Step until nothing lacks: does something lack still, how much behaviour changed, the change."""
        self._hunt_hard_inputs()
        # a step beyond where first order holds makes things worse: the best so far is handed out, not the last
        lack, best = self._worst_lack(self.change), self.change
        for step in range(self.settings.steps):
            if lack <= 0 or self._over():
                break
            news = f"step {step + 1}, worst input lacks {lack:.2g} of its margin"
            watch.update(Progress(phase="imitating", done=step / self.settings.steps, detail=news))
            try:
                self._gauss_newton_step()
            except OutOfTime:
                break
            self._hunt_hard_inputs()
            now = self._worst_lack(self.change)
            if now < lack:
                lack, best = now, self.change
        before, after = compared_outputs(self.task, self.aims, self.teacher, self.trained.at(best))
        return lack > 0, behaviour_difference(before, after, self.task.decision), best

    def snapshot(self) -> Network:
        """The network as it is now, in the data types of the original."""
        return self.task.net.with_values(self.trained.values(self.change))

    def negatives(self) -> dict[str, Tensor]:
        """The repair set: property name -> inputs that violated it when the region was characterised."""
        return repair_set(self.aims)

    def remarks(self) -> tuple[str, ...]:
        """Whether the change was held back."""
        return (HELD.format(self.task.max_change),) if self.held else ()

    def ties(self) -> tuple[Tied, ...]:
        """The outputs that follow others."""
        return tuple(dict.fromkeys(tie.record(name) for name, ties in self.tied.items() for tie in ties))

    def _make_aims(self) -> list[Aim]:
        s = self.settings
        shares, samples = (s.margin_share, s.kept_margin_share), (s.region_points, s.kept_points)
        return aims_of(self.task, self.teacher, shares=shares, samples=samples, generator=self.generator)

    # --- what counts as behaviour

    def _output_scale(self) -> float:
        """Differences of outputs count relative to this: the median gap of the two best, else the outputs' spread."""
        x = self._domain_points(_SCALE_POINTS)
        y = evaluate(self.teacher, x if len(x) else torch.cat([aim.positives.x for aim in self.aims]))
        clear = decision_gap(y, self.task.decision)
        scale = float(clear.median()) if clear is not None and len(clear) else 0.0
        return scale if scale > 0 else max(float((y - y.mean(0)).abs().mean()) if len(y) else 1.0, 1e-12)

    def _output_importance(self, y: Tensor) -> Tensor:
        """How much each output counts, (n, outputs)."""
        s = self.settings
        return output_importance(
            y, self.task.decision, scale=self.scale, floor=s.decision_floor, power=s.decision_power
        )

    def _domain_points(self, count: int) -> Tensor:
        """Of the domain, and of the user's data: inputs where behaviour counts, whatever regions there are."""
        parts = [torch.empty(0, self.task.net.n_inputs)]
        if self.task.domain is not None:
            parts.append(draw_uniform(*self.task.domain, count, self.generator))
        if self.task.data is not None:
            parts.append(some_of(self.task.data, count, self.generator))
        return torch.cat(parts)

    def _build_metric(self) -> tuple[Tensor, Tensor]:
        """The metric over domain and regions, and the pull of the corrected negatives."""
        size = len(self.trained)
        # float32: what its rounding takes of definiteness, the ridge of `LeastChange` gives back
        metric, pull = torch.zeros(size, size), torch.zeros(size, dtype=torch.float64)
        lessons: list[tuple[Tensor, Aim | None, float]] = [
            (self._domain_points(self.settings.domain_points), None, 1.0)
        ]
        lessons += [(aim.draw(self.generator), aim, 1.0 if aim.goal.violated else 0.3) for aim in self.aims]
        for x, owner, weight in lessons:
            for part in torch.split(x, _PART):
                require_time(self._over)
                self._add_to_metric(metric, pull, part, owner, weight / max(1, len(x)))
        return metric.double(), pull

    def _add_to_metric(self, metric: Tensor, pull: Tensor, x: Tensor, aim: Aim | None, weight: float) -> None:
        """Account for the inputs ``x``, each with ``weight``, in place."""
        y = evaluate(self.teacher, x)
        wanted = y if aim is None else aim.targets(x, y, self.settings.pairing)
        share = self._output_importance(y) * (weight / y.shape[1])
        # in the rows themselves, so that their product is the sum of weight times J^T J
        root = share.sqrt() / self.scale
        # at the original: the metric is made once, and all change is counted from there
        rows = self.trained.rows(torch.zeros_like(self.change), x, torch.diag_embed(root))
        metric.addmm_(rows.T, rows)
        pull += (rows.T @ ((wanted - y) * root).flatten()).double()

    # --- what is demanded

    def _learn_evidence(self, evidence: Evidence) -> None:
        student = self.snapshot().float()
        learn_evidence(self.aims, evidence, student, self.generator, harder=self.settings.harder, over=self._over)

    # --- what is tied

    def _tie_outputs(self, evidence: Evidence) -> None:
        """Tie outputs where a proof was out of reach and behaviour hardly changes by it.

        First for the unsafe polytopes that known inputs come close to, after the next failure for all of the property.
        """
        if self.layer is None or not (self.settings.ties and self.task.may_tie):
            return
        for name in evidence.undecided:
            found = self._flattest_ties(name, everything=name in self.tied)
            if not found:
                continue
            ties = {**self.tied, name: found}
            change = tying_change(_flat_ties(ties), self.layer, len(self.trained))
            if change is None or self._would_compete(found) or not self._is_affordable(change):
                continue
            if self.trained.reach(torch.zeros_like(change), change, self.task.max_change) < 1:
                self.held = True  # cut off on its way it would be no tie
                continue
            self.tied, self.change, self._solver = ties, change, None

    def _flattest_ties(self, name: str, *, everything: bool) -> list[Tie]:
        """One tie for each unsafe polytope, of those in question."""
        aims = [aim for aim in self.aims if aim.name == name]
        x = torch.cat([self._domain_points(_SCALE_POINTS), *(aim.draw(self.generator) for aim in aims)])
        if not len(x):
            return []
        y = evaluate(self.teacher, x)
        counts = self._output_importance(y).mean(0).double()
        chosen = decisions(y, self.task.decision)
        if chosen is not None:  # an output that decides is no follower, however far it mostly is from it
            counts += _DECIDES * torch.nn.functional.one_hot(chosen, y.shape[1]).double().mean(0)
        share = self.settings.tied_margin_share
        return [
            Tie.of(p, y, max(aim.margin, share * aim.typical), counts)
            for aim in aims
            for p in self._polytopes_in_question(aim, everything)
        ]

    def _polytopes_in_question(self, aim: Aim, everything: bool) -> list[Polytope]:
        return [p for p in aim.region.unsafe if p.rows] if everything else aim.close(self.teacher)

    def _decision_rules(self) -> tuple[Decision, ...]:
        """Which output decides, by every rule that has to agree."""
        return (self.task.decision,) if self.task.rule_told else ("argmin", "argmax")

    def _would_compete(self, ties: list[Tie]) -> bool:
        """Would a tie bind outputs that contend for the decision: in the domain, or where regions are all right?"""
        before, _ = compared_outputs(self.task, self.aims, self.teacher, self.teacher)
        places = [(before, self.settings.tied_decisions)]
        # a domain is wide: what only competes within a region hardly shows in it
        places += [(aim.positives.y, self.settings.tied_in_regions) for aim in self.aims]
        rules, named = self._decision_rules(), {tie.outputs for tie in ties}
        return any(
            contested_share(y, outputs, rule) > most for y, most in places for outputs in named for rule in rules
        )

    def _is_affordable(self, change: Tensor) -> bool:
        """Do the decisions and outputs stay what they are, nearly, over the domain and where regions are all right?"""
        s, student = self.settings, self.trained.at(change)
        before, after = compared_outputs(self.task, self.aims, self.teacher, student)
        moved = float((before - after).abs().mean() / before.abs().mean().clamp(min=1e-30))
        inside = [(aim.positives.y, evaluate(student, aim.positives.x)) for aim in self.aims]
        return moved <= s.tied_outputs and all(
            behaviour_difference(before, after, rule) <= s.tied_decisions
            and all(behaviour_difference(y, z, rule) <= s.tied_in_regions for y, z in inside)
            for rule in self._decision_rules()
        )

    def _make_solver(self) -> LeastChange:
        """The solver for the present ridge and ties."""
        if self._metric is None:
            self._metric = self._build_metric()
        ties = _flat_ties(self.tied)
        if self.layer is None or not ties:
            return LeastChange(*self._metric, ridge=self.ridge)
        size = len(self.trained)
        return LeastChange(
            *self._metric,
            ridge=self.ridge,
            equations=tie_equations(ties, self.layer, size),
            reference=tying_change(ties, self.layer, size),
        )

    def _hunt_hard_inputs(self) -> None:
        """Look for inputs that are close to unsafe now."""
        hunt_hard_inputs(self.aims, self.snapshot().float(), self.task.resample, self.generator, self._over)

    def _worst_lack(self, change: Tensor) -> float:
        return worst_lack(self.aims, self.trained.at(change))

    def _gauss_newton_step(self) -> None:
        """One Gauss-Newton step: constraints linearised at the network as it is, change counted from the original.

        The step is shortened to where the known hard inputs lack least; where no length helps, parameters are held
        more firmly from now on (Levenberg and Marquardt).
        """
        if self._solver is None:
            self._solver = self._make_solver()
        student = self.trained.at(self.change)
        rows, wanted = [], []
        if self.layer is not None and self.tied:
            # the equations keep a tied row constant; that it stays large enough is a demand like others
            constant, least = tie_demands(_flat_ties(self.tied), self.layer, len(self.trained))
            rows.append(constant)
            wanted.append(least)
        asked: list[Demand] = []
        for aim in self.aims:
            require_time(self._over)
            points = aim.hardest(self.settings.constraints, student, self.generator)
            asked += aim.demands(points, student, self.teacher, self.settings.pairing)
        if asked:
            # together: hundreds of regions ask for a point each
            x, direction = (torch.cat([getattr(demand, of) for demand in asked]) for of in ("x", "direction"))
            jacobian = self.trained.rows(self.change, x, direction[:, None]).double()
            rows.append(jacobian)
            # linearised here, for a change that is counted from the original
            wanted.append(torch.cat([demand.missing for demand in asked]).double() + jacobian @ self.change)
        if not rows:
            return
        towards = self._solver.solve(torch.cat(rows), torch.cat(wanted)) - self.change
        reach = self.trained.reach(self.change, towards, self.task.max_change)
        self.held, towards = self.held or reach < 1, reach * towards
        tried = [(self._worst_lack(self.change + length * towards), length) for length in _LENGTHS]
        lack, length = min(tried, key=lambda pair: (pair[0], -pair[1]))
        if lack >= self._worst_lack(self.change):
            self.ridge *= _FIRMER
            self._solver = None
        self.change = self.change + length * towards


def _flat_ties(ties: dict[str, list[Tie]]) -> list[Tie]:
    return [tie for some in ties.values() for tie in some]
