"""How much work a network is: how hard to attack it, how many boxes to examine together, so that limits hold."""

from __future__ import annotations

from birdnn.network import Network
from birdnn.verify.attack import AttackSettings

FALSIFIER_ROUNDS = 10
"""Attacks on each input region where nothing is proved afterwards and no time limit says how many fit."""

_STEP = 5e9  # multiplications of one step on a CPU: a second or so
_ATTACK = 2e10  # of an attack before a search


def batch_for(net: Network, device: str) -> int:
    """How many boxes to examine together: many, but a step must not outlast a time limit by much."""
    if device != "cpu":
        return 4096
    weights = sum(value.numel() for value in net.values().values())
    rows = sum(net.size_of(node.output) for node in net.nodes if node.output in net.graph.dependent)
    return max(1, min(256, int(_STEP / max(1, weights * rows))))


def attack_for(net: Network, polytopes: int, attack: AttackSettings, device: str) -> AttackSettings:
    """How hard to attack a region before a search: not so hard that bounds would not get their turn."""
    if device != "cpu":
        return attack
    return attack.within(_ATTACK / (multiplications(net) * max(1, polytopes)))


def multiplications(net: Network) -> int:
    """About how many there are in one evaluation."""
    total = 1
    for node in net.nodes:
        if node.output not in net.graph.dependent:
            continue
        constant = [net.value(name) for name in node.inputs if name not in net.graph.dependent]
        if node.op == "Conv" and constant:
            total += net.size_of(node.output) * constant[0][0].numel()
        else:
            total += max([net.size_of(node.output), *(value.numel() for value in constant)])
    return total
