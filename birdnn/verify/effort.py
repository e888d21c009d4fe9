"""How much work a network is: how hard to attack it, how many boxes to examine together, so that limits hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.protocol import MarginBound
from birdnn.network import Network
from birdnn.sample.pieces import multiplications
from birdnn.verify.attack import AttackSettings

MANY = 16
"""Polytopes, over all regions, of which each gets a whole attack; of more, bounds say first which are worth one."""
AT_ONCE = 1e9
"""Multiplications of a bound that is worth having before any attack: a fraction of a second."""
FALSIFIER_ROUNDS = 10
"""Attacks on each input region where nothing is proved afterwards and no time limit says how many fit."""

_STEP = 5e9  # multiplications of one step on a CPU: a second or so
_DEVICE_STEP = 2e12  # of one on a graphics device, which has to be filled: seconds on one that is slow in float64
_ATTACK = 2e10  # of an attack before a search
_HUNTS = 16 * _ATTACK  # of one hunt in all regions
_LEAST = 1e4  # an evaluation costs as much as so many, however small the network is
_ITEMS = 1 << 16  # boxes times polytopes of one step
_LADDER = (
    {"samples": 1 / 16, "generations": 1 / 5, "population": 1 / 8, "elite": 1 / 8, "starts": 1 / 6, "steps": 1 / 4},
    {"samples": 1 / 4, "generations": 1 / 4, "starts": 1 / 2, "steps": 1 / 2},
)  # shares of an attack; the first finds 43 of the 47 violations of the ACAS Xu instances, the second 46
_PATIENCE = 12.0  # compiled bounds leave most of `box_work` out: so many times as much of it takes no longer


def batch_for(net: Network, device: str, polytopes: int = 1) -> int:
    """How many boxes to examine together: many, but a step must not outlast a time limit by much."""
    if device != "cpu":
        return max(1, min(1 << 14, int(_DEVICE_STEP / box_work(net)), 16 * _ITEMS // polytopes))
    return max(1, min(256, int(_STEP / box_work(net)), _ITEMS // polytopes))


def box_work(net: Network) -> float:
    """About how many multiplications the bounds of one box take, by backward propagation."""
    weights = sum(value.numel() for value in net.values().values())
    rows = sum(net.size_of(node.output) for node in net.nodes if node.output in net.graph.dependent)
    return float(max(1, weights * rows))


def boxes_within(work: float, net: Network, bound: MarginBound) -> float:
    """How many boxes so many multiplications are worth, however fast or busy the machine is."""
    return max(1.0, work / (2 * multiplications(net) if bound.name == "interval" else box_work(net)))


@dataclass(frozen=True, slots=True)
class Due:
    """An attack, and after how many boxes of a region it is worth what it costs."""

    boxes: float
    attack: AttackSettings


def ladder(net: Network, bound: MarginBound, whole: AttackSettings) -> tuple[Due, ...]:
    """Attacks on one polytope, up to the whole one: each is due once bounds have cost as much, the first one at once.

    Most regions are decided by few boxes, or by a few hundred points; who waits for neither loses little.
    """
    patience = _PATIENCE if isinstance(bound, CompiledBound) else 1.0
    steps = [*(whole.scaled(shares) for shares in _LADDER), whole]
    costs = [patience * step.evaluations * max(_LEAST, multiplications(net)) for step in steps]
    boxes = [0.0, *(boxes_within(cost, net, bound) for cost in costs[1:])]
    return tuple(Due(*step) for step in zip(boxes, steps, strict=True))


def attack_for(net: Network, polytopes: int, attack: AttackSettings, device: str) -> AttackSettings:
    """How hard to attack a region before a search: not so hard that bounds would not get their turn."""
    if device != "cpu":
        return attack
    return _shorter(attack, polytopes).within(_ATTACK / (max(_LEAST, multiplications(net)) * max(1, polytopes)))


def hunt_for(net: Network, polytopes: int, regions: int, attack: AttackSettings) -> AttackSettings:
    """How hard to look for hard inputs in one of some regions, again and again while a network is repaired."""
    work = min(_ATTACK, _HUNTS / max(1, regions))
    short = _shorter(attack, polytopes * regions)
    return short.within(work / (max(_LEAST, multiplications(net)) * max(1, polytopes)))


def _shorter(attack: AttackSettings, polytopes: int) -> AttackSettings:
    """Fewer rounds where polytopes are many: however few points a round has, it takes its millisecond."""
    if polytopes <= MANY:
        return attack
    share = MANY / polytopes
    generations, steps = max(2, int(share * attack.generations)), max(4, int(share * attack.steps))
    return replace(attack, generations=min(attack.generations, generations), steps=min(attack.steps, steps))
