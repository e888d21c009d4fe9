"""From what a request says to the repair method that does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from birdnn.bounds.batch import FEW_INPUTS
from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.pipeline.case import Case, Subject
from birdnn.pipeline.judging import FULL
from birdnn.pipeline.localising import responsible_neurons
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import AIM, LEAST, Method, OptimiserName, RepairRequest
from birdnn.repair import (
    AllLayers,
    CommonRamp,
    Finetune,
    LastLayer,
    Repairer,
    RepairTask,
    Retrain,
    RetrainSettings,
    SlopeTraining,
    require_last_layer,
    top_of,
)
from birdnn.verify.compared import without_tail


def front_of(case: Case) -> Network:
    """What is trained: the network, without a softmax at its end where all subjects only compare its outputs.

    What such an operator reads has gradients where it has none any more, and is affine in the last weights.
    """
    if case.related or not case.subjects:  # slopes are those of the outputs themselves
        return case.loaded.net
    regions = tuple(region for subject in case.subjects for region in subject.prop.regions)
    # one property of all regions: the tail goes only where none of them needs it
    together = replace(case.subjects[0].prop, regions=regions)
    return without_tail(case.loaded.net, together, "real")


def with_method(request: RepairRequest, net: Network, front: Network) -> RepairRequest:
    """The request with the number of neurons that its method modifies.

    A method that is unknown, or that the network has no place for, is refused before any work.

    Raises:
        MismatchError: saying what to give instead.
    """
    for word, known, said in (("method", Method, request.method), ("optimiser", OptimiserName, request.optimiser)):
        if said not in get_args(known):
            raise MismatchError(f"{word} {said!r} is unknown; known: {', '.join(get_args(known))}")
    if not 0 <= request.alpha <= 1:
        raise MismatchError(f"alpha {request.alpha:g} is no share: give a number from 0 to 1")
    # here, before any search, so that a number that the network has not is refused at once
    if request.ranks_neurons:
        return replace(request, top=top_of(net, request.top))
    if request.method == "finetune":
        require_last_layer(front.copy().float().cpu())
    return request


def require_method_for(case: Case, request: RepairRequest) -> None:
    """See that the method that was named can do something about what is asked.

    Raises:
        MismatchError: a query relates two inputs, which one method is about.
    """
    if case.related and request.method not in ("auto", "retrain"):
        query = case.related[0]
        told = "relates two inputs, which one layer cannot repair: leave --method out, or say retrain"
        raise MismatchError(f"{query.path}: {told}")


_RARE = 2e-3  # share of inputs that newly violate some property, for which minutes of training are no remedy
_FEW_ROUNDS = 2  # of a method that changes one layer, where proofs ask for other layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A repair method in turn.

    Attributes:
        name: as reports print it, e.g. ``"finetune:lp"``.
        make: the method, ready for its first candidate.
        rounds: candidates at most.
        last_resort: only where nothing was proved by the others.
        growth: of the work on a proof from the first candidate to a later one, at most so many times.
        content: what a proved candidate has to keep that no other method is tried after this one. `AIM` is stricter
            than what a repair has to keep: as long as there are methods left it is worth asking for more.
        drawdown: of such a candidate, at most.
    """

    name: str
    make: Callable[[], Repairer]
    rounds: int
    last_resort: bool = False
    growth: float = math.inf
    content: tuple[float, float] = AIM
    drawdown: float = 0.0


def stages(
    request: RepairRequest, case: Case, task: RepairTask, broken: Sequence[Subject], settings: RepairSettings
) -> list[Stage]:
    """The methods to be tried, in order; one, unless the request leaves the choice to us.

    Args:
        request: which method.
        case: of the command.
        task: what is to be repaired.
        broken: the properties that are not proved on the original.
        settings: effort.
    """

    if task.slopes:
        # no other method knows of slopes, and what keeps none of them right is no candidate
        trained = Stage(
            name="retrain, slopes", make=lambda: SlopeTraining(task, settings.slopes), rounds=settings.rounds
        )
        # what it keeps is hardly ever kept by training, which takes minutes
        ramp = Stage(
            name="common ramp",
            make=lambda: CommonRamp(task, settings.ramp),
            rounds=settings.rounds,
            content=LEAST,
            drawdown=_RARE,
        )
        # a ramp keeps decisions, and moves what outputs are
        return [ramp, trained] if request.method == "auto" and request.prefer == "decisions" else [trained]

    def retrain(how: RetrainSettings) -> Repairer:
        return Retrain(task, replace(how, pairing=request.pairing))

    def finetune() -> Repairer:
        match request.optimiser:
            # no ranking: they change a whole layer, whichever neurons are responsible
            case "lp" | "bias" as optimiser:
                return LastLayer(task, replace(settings.linear, biases_only=optimiser == "bias"))
            case optimiser:
                # when the stage begins, not before: other stages need no localisation
                ranking = responsible_neurons(
                    case, broken, seed=request.seed, settings=settings.localize, over=task.over
                )
                said = replace(settings.finetune, optimiser=optimiser, top=request.top, alpha=request.alpha)
                return Finetune(task, said, ranking)

    def tied(name: str, how: RetrainSettings, rounds: int) -> Stage:
        # a stage of its own, which `Candidates.search` passes over once something is proved without ties
        tying = replace(how, ties=True)
        return Stage(name=f"{name}, ties allowed", make=lambda: retrain(tying), rounds=rounds, last_resort=True)

    ties = task.may_tie and not request.no_ties
    rounds = settings.rounds_before_ties if ties else settings.rounds
    early = settings.early_rounds
    bounded = [Stage(name="retrain, all layers", make=lambda: AllLayers(task, settings.all_layers), rounds=early)]
    # where few inputs vary boxes are cut by inputs, and no training on bounds is needed to prove them
    bounded = bounded if _proved_by_signs(task) else []
    last = Stage(name="retrain", make=lambda: retrain(settings.retrain), rounds=rounds)
    resort = [tied("retrain", settings.retrain, settings.rounds)] if ties else []
    # the method that was named, and no other; training on bounds is a way to retrain
    if request.method == "retrain":
        return [*bounded, last, *resort]
    if request.method == "finetune":
        return [Stage(name=request.method_name, make=finetune, rounds=settings.rounds)]
    # first, as it moves outputs least
    linear = Stage(name="finetune:lp", make=lambda: LastLayer(task, settings.linear), rounds=early)
    name, how = "retrain, output layer", settings.output_layer
    local = Stage(name=name, make=lambda: retrain(how), rounds=min(early, rounds))
    begin = [replace(linear, rounds=_FEW_ROUNDS) if bounded else linear, *bounded]
    if len(case.asked) > FULL and bounded:  # one layer for so many asks is little, and its programs are large
        begin = [*bounded, replace(linear, rounds=1)]
    found = [*begin, local, last, *([tied(name, how, early)] if ties else []), *resort]
    # a candidate of another method is cheaper to prove than one of this that takes so much
    # the last stage alone may go on without a limit of its own: nothing cheaper follows
    return [*(replace(stage, growth=settings.early_growth) for stage in found[:-1]), found[-1]]


def _proved_by_signs(task: RepairTask) -> bool:
    """Are proofs about boxes in which many inputs vary, and no splits of inputs make bounds tight?"""
    return max(goal.prop.varying for goal in task.goals) > FEW_INPUTS
