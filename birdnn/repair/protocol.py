"""What every repair method is given and gives back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.network import Network
from birdnn.records import Decision, Device, Tied, Watch
from birdnn.records.limits import Over, never
from birdnn.spec import Property, Region

Resample: TypeAlias = Callable[[Network, Region, torch.Generator, bool], Tensor]
"""Inputs of a region that are close to unsafe for a network, (m, inputs) float32; the flag asks for thorough effort."""


def no_room(region: Region) -> float:
    """Where a proof loses nothing."""
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A property and its part in a repair.

    Attributes:
        prop: the property.
        repair: it must hold afterwards. Otherwise it must only not become worse: points that satisfied it stay so.
        violated: the original violates it; such a goal gets most of the samples.
    """

    prop: Property
    repair: bool
    violated: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlopeGoal:
    """A statement about how fast outputs change along one input, which has to hold afterwards.

    Attributes:
        name: of the property that it implies.
        direction: number of the input.
        regions: of inputs; unsafe are rows on outputs, which are zero, and behind them their slopes.
    """

    name: str
    direction: int
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RepairTask:
    """What is to be repaired.

    Attributes:
        net: the original.
        front: what is trained and looked at instead, with the same initialisers: the original without an operator at
            its end that changes nothing in what the goals ask (a softmax, where outputs are compared); None: itself.
        goals: properties, in any order.
        slopes: statements about slopes; one of the methods can do something about them.
        domain: corners of the input domain, (inputs,) float64 each; None where nobody knows it.
        decision: which output decides.
        rule_told: the user or a suite says so; otherwise it is a guess, and what rests on it must hold by either rule.
        resample: finds inputs close to unsafe.
        room: by how much a proof in a region falls short of the margin there, however much effort it makes.
        max_change: how far a layer may move, as a share of its size, see `Trained.reach`; every method keeps to it.
        max_difference: how far an output may be from the original's, anywhere in the domain, network units. A proof
            decides; a method may use it to come closer, as the linear program does.
        seed: of every random draw.
        device: where to train what pays there; what is handed out lies where `net` does.
        data: inputs whose behaviour is to be kept, (n, inputs) float32; None where the user gave none.
        over: must everything end now? A method that is still being made raises `OutOfTime` then.
    """

    net: Network
    goals: tuple[Goal, ...]
    domain: tuple[Tensor, Tensor] | None
    decision: Decision
    resample: Resample
    room: Callable[[Region], float] = no_room
    rule_told: bool = True
    max_change: float = math.inf
    max_difference: float = math.inf
    seed: int = 0
    device: Device = "cpu"
    front: Network | None = None
    data: Tensor | None = None
    over: Over = never
    slopes: tuple[SlopeGoal, ...] = ()

    def teacher(self) -> Network:
        """What a repair begins with and imitates, float32 on the CPU, without gradients."""
        # a copy: `float` and `requires_grad_` change a network in place
        return (self.front or self.net).copy().float().cpu().requires_grad_(False)

    def ends(self, until: float, watch: Watch) -> Over:
        """Has a candidate to be handed out now, which is due by ``until`` on `time.monotonic`'s clock?"""
        return lambda: watch.stopped() or self.over() or time.monotonic() > until

    @property
    def may_tie(self) -> bool:
        """Can a tie be judged at all: is it known what decides, between several outputs, and where that counts?"""
        return self.domain is not None and self.decision != "none" and self.net.n_outputs > 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What a verification of the last candidate told, one entry for each property that is not yet proved.

    Attributes:
        points: counterexamples, property name -> (m, inputs) float32.
        undecided: boxes that the search left open, property name -> boxes.
        too_far: it could not be proved that the candidate is as close to the original as it has to be.
    """

    points: dict[str, Tensor] = field(default_factory=dict)
    undecided: dict[str, Boxes] = field(default_factory=dict)
    too_far: bool = False


@runtime_checkable
class Repairer(Protocol):
    """A repair method in the loop with a verifier."""

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """The next candidate, made from what was learnt about the last one; within ``timeout_s`` seconds."""

    def negatives(self) -> dict[str, Tensor]:
        """The repair set: property name -> inputs that violated it on the original, (m, inputs) float32."""

    def remarks(self) -> tuple[str, ...]:
        """What a user has to know of the last candidate beyond figures, one sentence each."""

    def ties(self) -> tuple[Tied, ...]:
        """The outputs that the last candidate has tied."""
