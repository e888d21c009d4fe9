"""From what a request says to the repair method that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.pipeline.localising import responsible
from birdnn.pipeline.plan import Plan, Subject
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import Method, OptimiserName, RepairRequest
from birdnn.repair import (
    Finetune,
    LastLayer,
    Repairer,
    RepairTask,
    Retrain,
    require_last_layer,
    require_top,
)


def require_method(request: RepairRequest, net: Network) -> None:
    """Refuse, before any work, a method that is unknown or that the network has no place for.

    Raises:
        MismatchError: saying what to give instead.
    """
    for word, known, said in (("method", Method, request.method), ("optimiser", OptimiserName, request.optimiser)):
        if said not in get_args(known):
            raise MismatchError(f"{word} {said!r} is unknown; known: {', '.join(get_args(known))}")
    if not 0 <= request.alpha <= 1:
        raise MismatchError(f"alpha {request.alpha:g} is no share: give a number from 0 to 1")
    if request.method == "retrain":
        return
    if request.optimiser == "lp":
        require_last_layer(net.with_values({}).float().cpu())
    else:
        require_top(net, request.top)


def make_repairer(
    request: RepairRequest, plan: Plan, task: RepairTask, broken: Sequence[Subject], settings: RepairSettings
) -> Repairer:
    """The method that the request names; ``broken`` are the properties that are not proved on the original.

    Raises:
        MismatchError: no neuron can be held responsible for the violation.
    """
    if request.method == "retrain":
        return Retrain(task, replace(settings.retrain, pairing=request.pairing))
    if request.optimiser == "lp":
        return LastLayer(task, settings.linear)
    ranking = responsible(plan, broken, seed=request.seed, settings=settings.localize)
    said = replace(settings.finetune, optimiser=request.optimiser, top=request.top, alpha=request.alpha)
    return Finetune(task, said, ranking)
