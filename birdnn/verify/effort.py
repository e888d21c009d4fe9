"""How much work a network is: how hard to attack it, how many boxes to examine together, so that limits hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from birdnn.bounds.batch import FEW_INPUTS
from birdnn.bounds.compiled.bound import CompiledBound
from birdnn.bounds.graph import GraphBound
from birdnn.bounds.protocol import MarginBound
from birdnn.network import Network
from birdnn.sample.pieces import multiplications
from birdnn.verify.attack import AttackSettings

MANY = 16
"""Polytopes of which each is attacked however dear its bound is; of more, bounds say first which are worth one."""
AT_ONCE = 2e8
"""Multiplications of a bound that is worth having before any attack: a fraction of a second."""
FALSIFIER_ROUNDS = 10
"""Attacks on each input region where nothing is proved afterwards and no time limit says how many fit."""

_STEP = 5e9  # multiplications of one step on a CPU: a second or so
_DEVICE_STEP = 2e12  # of one on a graphics device, which has to be filled: seconds on one that is slow in float64
_FIRST = 2e9  # of the attack before a search: a fraction of a second
_ATTACK = 2e10  # of one of `falsify`, which grow
_HUNTS = 16 * _ATTACK  # of one hunt in all regions, and the most of one attack of `falsify`
_LEAST = 1e4  # an evaluation costs as much as so many, however small the network is
_ITEMS = 1 << 16  # boxes times polytopes of one step
_BENT_ENTRIES = 1 << 24  # with planes of a hundred bytes each on the boxes of one step: 1.6 GB
_FIRST_SHARE, _GROWTH = 1 / 50, 8  # of a whole attack, and how much harder the next ones are
_PATIENCE = 12.0  # compiled bounds leave most of `backward_box_work` out: so many times as much of it takes no longer


def batch_for(net: Network, device: str, polytopes: int = 1, bound: MarginBound | None = None) -> int:
    """How many boxes to examine together: many, but a step must not outlast a time limit by much."""
    work = backward_box_work(net) if bound is None else work_of_box(net, bound)
    bent = bound.bent_entries if isinstance(bound, GraphBound) else 0
    if device != "cpu":
        # a graphics device is idle until thousands of boxes fill it
        most = 1 << 14, 16 * _BENT_ENTRIES // max(1, bent), int(_DEVICE_STEP / work), 16 * _ITEMS // polytopes
    else:
        most = 256, _BENT_ENTRIES // max(1, bent), int(_STEP / work), _ITEMS // polytopes
    return max(1, min(most))


def work_of_box(net: Network, bound: MarginBound) -> float:
    """About how many multiplications the bounds of one box take, by a method."""
    if bound.name == "interval":
        # both ends of each value
        return 2.0 * multiplications(net)
    if isinstance(bound, GraphBound) and bound.n_inputs > FEW_INPUTS:  # the first box bounds neurons, later ones do not
        return 16.0 * (bound.settings.steps + 1) * multiplications(net)
    return backward_box_work(net)


def backward_box_work(net: Network) -> float:
    """About how many multiplications the bounds of one box take, by backward propagation to each neuron."""
    # each neuron's row passes all weights before it, here: all weights, which is too many by half or so
    weights = sum(value.numel() for value in net.values().values())
    rows = sum(net.size_of(node.output) for node in net.nodes if node.output in net.graph.dependent)
    return float(max(1, weights * rows))


def boxes_within(work: float, net: Network, bound: MarginBound) -> float:
    """How many boxes so many multiplications are worth, however fast or busy the machine is."""
    # one at least: no box at all would decide nothing, however much time there is
    return max(1.0, work / work_of_box(net, bound))


@dataclass(frozen=True, slots=True)
class Due:
    """An attack, and after how many boxes of a region it is worth what it costs."""

    boxes: float
    attack: AttackSettings


def attack_ladder(net: Network, bound: MarginBound, first: AttackSettings, whole: AttackSettings) -> tuple[Due, ...]:
    """Attacks on one polytope, from the first to a whole one: each is due once bounds have cost as much.

    Most regions are decided by few boxes, or by a few hundred points; who waits for neither loses little.
    """
    patience = _PATIENCE if isinstance(bound, CompiledBound) else 1.0
    found, evaluations = [Due(0.0, first)], first.evaluations
    while evaluations < whole.evaluations:
        evaluations = min(whole.evaluations, _GROWTH * evaluations)
        cost = patience * evaluations * _evaluation_cost(net)
        found.append(Due(boxes_within(cost, net, bound), AttackSettings(evaluations=evaluations)))
    return tuple(found)


def first_attack(net: Network, polytopes: int, whole: AttackSettings, device: str) -> AttackSettings:
    """The attack on so many polytopes together that comes before anything else: over before anybody waits for it."""
    share = whole.scaled(_FIRST_SHARE)
    return share if device != "cpu" else share.within(_FIRST / (_evaluation_cost(net) * max(1, polytopes)))


def attack_rounds(net: Network, polytopes: int, whole: AttackSettings, device: str) -> Iterator[AttackSettings]:
    """The attacks on so many polytopes together where nothing is proved, without end: each harder than those before."""
    work = _ATTACK
    while True:
        yield whole if device != "cpu" else whole.within(work / (_evaluation_cost(net) * max(1, polytopes)))
        work = min(_HUNTS, _GROWTH * work)


def hunt_effort(net: Network, polytopes: int, regions: int, attack: AttackSettings) -> AttackSettings:
    """How hard to look for hard inputs in one of some regions, again and again while a network is repaired."""
    work = min(_ATTACK, _HUNTS / max(1, regions))
    return attack.within(work / (_evaluation_cost(net) * max(1, polytopes)))


def _evaluation_cost(net: Network) -> float:
    """Of an evaluation, in multiplications."""
    return max(_LEAST, multiplications(net))
