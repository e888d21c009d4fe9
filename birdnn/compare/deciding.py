"""Which properties hold on both networks, which were lost and which gained."""

from __future__ import annotations

import math

from birdnn.compare.pair import Pair
from birdnn.pipeline.case import Asked, Subject
from birdnn.pipeline.clock import Clock
from birdnn.pipeline.judging import Answer, Effort, decide
from birdnn.pipeline.load import Loaded
from birdnn.records import Became, Guarantee, Progress, PropertyComparison, Violated, Witness


def compare_guarantees(before: Guarantee, after: Guarantee) -> Became:
    """What two answers mean together; what is not known on both is undecided."""
    match before, after:
        case "proved", "proved":
            return "kept"
        case "proved", "violated":
            return "lost"
        case "violated", "proved":
            return "gained"
        case "violated", "violated":
            return "violated in both"
        case _:
            return "undecided"


def compared_properties(pair: Pair, clock: Clock) -> tuple[PropertyComparison, ...]:
    """Each property that was asked about, on both networks; all share what is left of the time."""
    asked = pair.case.asked
    questions = 2 * len(asked)
    found = []
    for subject in asked:
        answers = []
        for name, loaded in (("A", pair.before), ("B", pair.after)):
            clock.watch.update(Progress(phase=f"deciding {subject.prop.name} on {name}"))
            answers.append(_decide_on(pair, loaded, subject, clock, questions))
            questions -= 1
        found.append(_describe_property(subject, answers[0], answers[1]))
    return tuple(found)


def _decide_on(pair: Pair, loaded: Loaded, subject: Subject, clock: Clock, questions: int) -> Answer:
    # of what is left, for the questions that are left: a quick answer leaves its time to the others
    seconds = clock.left_s() / questions if math.isfinite(clock.timeout_s) else math.inf
    effort = Effort(boxes=math.inf, seconds=seconds, seed=pair.request.seed, semantics=pair.semantics)
    return decide(loaded, subject, clock, effort)


def _describe_property(subject: Asked, before: Answer, after: Answer) -> PropertyComparison:
    return PropertyComparison(
        name=subject.prop.name,
        path=subject.path,
        sha256=subject.prop.sha256,
        text=subject.text,
        role=subject.role,
        before=before.guarantee,
        after=after.guarantee,
        became=compare_guarantees(before.guarantee, after.guarantee),
        before_s=before.verify_s,
        after_s=after.verify_s,
        before_boxes=before.verdict.boxes,
        after_boxes=after.verdict.boxes,
        before_arithmetic=before.verdict.arithmetic,
        after_arithmetic=after.verdict.arithmetic,
        before_counterexample=_witness_of(before),
        after_counterexample=_witness_of(after),
    )


def _witness_of(answer: Answer) -> Witness | None:
    return answer.verdict.witness if isinstance(answer.verdict, Violated) else None
