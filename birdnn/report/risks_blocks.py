"""Residual risk of a repair by labelled examples, derived from the outcome: counts prove nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from birdnn.records import BlockRepair, ExampleRepair, ExampleRole, MethodResult, Risk, Weight
from birdnn.report.words import percent

NOTHING_PROVED = "Nothing is proved: the figures are counts over the examples of these files."
"""What `repair.json` notes of every repair by blocks."""

ROLES: Mapping[ExampleRole, str] = {"repair": "repair", "validation": "validation", "test": "held-out"}
"""Role of a file of examples -> what people call it."""


def judging_role(repair: BlockRepair) -> ExampleRole:
    """The file by which the repair is told: held-out examples, or those for validation where there are none."""
    # They come in the order repair, validation, test, the last of which may be missing.
    return repair.examples[-1].role


def example_risks(outcome: ExampleRepair) -> Iterator[Risk]:
    """All but those about files, the weightiest of each kind first."""
    yield from _ended_early(outcome)
    if outcome.out is not None and outcome.result != "sampled":
        told = "The network that was written repairs none of the failing examples that it learnt from."
        yield _risk("stop", "No repair", told)
    yield _risk(
        "open",
        "Nothing is proved",
        "The figures are counts over the examples of these files. They say nothing of any other input, and do not say "
        "that an example stays right under the least change of it.",
    )
    yield from _counted_risks(outcome)
    yield from _scope_risks(outcome)


def _risk(weight: Weight, topic: str, text: str) -> Risk:
    return Risk(weight=weight, topic=topic, text=text)


def _ended_early(outcome: ExampleRepair) -> Iterator[Risk]:
    left = "the network is the best candidate up to then" if outcome.out else "no candidate had done better up to then"
    if outcome.interrupted:
        yield _risk("open", "Interrupted", f"The user ended the command; {left}.")
    if outcome.timed_out:
        yield _risk("open", "Out of time", f"The time limit ended the command; {left}.")


def _counted_risks(outcome: ExampleRepair) -> Iterator[Risk]:
    """Of the examples that say most: which are wrong or broken, and whether they had a say."""
    repair = outcome.blocks
    role = judging_role(repair)
    name, before, ours = ROLES[role], repair.before[role], repair.methods[0].accuracy[role]
    if role != "test":
        told = (
            "There are none. Validation examples chose among candidates: figures over them are better than those "
            "over new examples would be. Keep a file that has no say, and give it with --test."
        )
        yield _risk("open", "No held-out examples", told)
    if outcome.out is None:
        if wrong := before.n - before.right:
            yield _risk("open", "Still wrong", f"The network gets {wrong:,} of {before.n:,} {name} examples wrong.")
        return
    if ours.broken:
        told = f"{ours.broken:,} of {ours.n:,} {name} examples were right before and are wrong now."
        yield _risk("open", "Broken examples", told)
    yield from _comparison_risks(repair)
    if wrong := ours.n - ours.right:
        was = before.n - before.right
        told = f"The repaired network gets {wrong:,} of {ours.n:,} {name} examples wrong, {was:,} before."
        yield _risk("open", "Still wrong", told)


def _comparison_risks(repair: BlockRepair) -> Iterator[Risk]:
    """Another way to repair that does better where one may choose: on the validation examples."""
    # Not on held-out examples: to choose a method by them would use them up.
    mine, others = repair.methods[0].accuracy["validation"], repair.methods[1:]
    best = max(others, key=lambda entry: entry.accuracy["validation"].right, default=None)
    if best is not None and (its := best.accuracy["validation"]).right > mine.right:
        told = (
            f"On the validation examples, which are there to choose by, {best.name} ({best.changes}) has "
            f"{percent(its.share)} right, this repair {percent(mine.share)}."
        )
        yield _risk("open", "Another way does better", told)


def _scope_risks(outcome: ExampleRepair) -> Iterator[Risk]:
    repair = outcome.blocks
    told = (
        "Whether the labels are right, and whether the examples stand for the inputs in operation, was not examined. "
        "What is rare in the files weighs little in the figures."
    )
    yield _risk("note", "Adequacy of the examples", told)
    if judging_role(repair) == "test":
        told = (
            "They had no say in this repair. Whoever chooses between networks by their figures gives them one; then "
            "another file is needed."
        )
        yield _risk("note", "Held-out examples", told)
    if outcome.out is not None:
        yield from _decided_otherwise(repair.methods[0], repair.before["validation"].n)
    if any(block.suspiciousness is not None for block in repair.localisation.blocks):
        told = "The ranking tells whose change serves the examples at hand best. It names suspects, no proven cause."
        yield _risk("note", "Localisation", told)
    for line in outcome.notes:
        if line != NOTHING_PROVED:
            yield _risk("note", "Noted by the repair", line)


def _decided_otherwise(ours: MethodResult, n: int) -> Iterator[Risk]:
    if ours.decision_agreement is not None and ours.decision_agreement < 1:
        told = (
            f"For {percent(1 - ours.decision_agreement)} of {n:,} validation examples the network decides otherwise "
            "than before, for better or worse."
        )
        yield _risk("note", "Changed decisions", told)
