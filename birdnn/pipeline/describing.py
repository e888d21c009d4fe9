"""What a report needs beside verdicts: what inputs and outputs mean, and what else applies to the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from birdnn.formats.onnx import lifted_constants
from birdnn.formats.suite import Suite
from birdnn.pipeline.case import Case, Related, has_regions
from birdnn.pipeline.certifying import certificate_obstacle
from birdnn.pipeline.judging import Answer, Attempt
from birdnn.pipeline.load import Loaded, known_scaling
from birdnn.records import (
    ARITHMETIC,
    ApplicableOutcome,
    EngineAnswer,
    PacBound,
    PropertyOutcome,
    ScaledQuantity,
    StatedRegion,
    Unknown,
    Violated,
    Witness,
)

_SHOWN = 4  # names in a note


def scaled_quantities(loaded: Loaded) -> tuple[tuple[ScaledQuantity, ...], tuple[ScaledQuantity, ...]]:
    """What the inputs and the outputs mean: from the suite, else the scaling of an NNet file; empty without either."""
    # before the header: it has names and units, which no NNet file has
    if loaded.known is not None:
        return suite_quantities(loaded.known[0])
    scaling, outputs = known_scaling(loaded), range(loaded.net.n_outputs)
    if scaling is None:
        return (), ()
    both = zip(scaling.input_means, scaling.input_ranges, strict=True)
    inputs = tuple(ScaledQuantity(name=f"X_{i}", text="", unit="", mean=m, range=r) for i, (m, r) in enumerate(both))
    mean, span = scaling.output_mean, scaling.output_range
    return inputs, tuple(ScaledQuantity(name=f"Y_{i}", text="", unit="", mean=mean, range=span) for i in outputs)


def suite_quantities(suite: Suite) -> tuple[tuple[ScaledQuantity, ...], tuple[ScaledQuantity, ...]]:
    """What a suite says about inputs and outputs."""
    inputs, outputs = (
        # exact numbers: pages make raw values of exact limits with them
        tuple(
            ScaledQuantity(name=q.name, text=q.text, unit=q.unit, mean=Fraction(q.mean), range=Fraction(q.range))
            for q in side
        )
        for side in (suite.inputs, suite.outputs)
    )
    return inputs, outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a repair found out about properties, by their names.

    Attributes:
        before: the answer on the original.
        witnesses: replayed counterexamples of the original.
        sampled: what fresh points of the repaired file say.
        engines: what other engines say of the last answer.
    """

    before: Mapping[str, Answer]
    witnesses: Mapping[str, tuple[Witness, ...]] = field(default_factory=dict)
    sampled: Mapping[str, PacBound] = field(default_factory=dict)
    engines: Mapping[str, tuple[EngineAnswer, ...]] = field(default_factory=dict)


def property_outcomes(case: Case, found: Found, after: Mapping[str, Answer] | None) -> Iterator[PropertyOutcome]:
    """What became of the properties that were asked for; `after` is None where no network was written."""
    for subject in case.asked:
        name = subject.prop.name
        now = found.before[name] if after is None else after.get(name)
        verdict = None if now is None else now.verdict
        yield PropertyOutcome(
            name=name,
            path=subject.path,
            sha256=subject.prop.sha256,
            text=subject.text,
            role=subject.role,
            before=found.before[name].guarantee,
            after="unknown" if now is None else now.guarantee,
            verify_s=0.0 if now is None else now.verify_s,
            boxes=0 if verdict is None else verdict.boxes,
            arithmetic=ARITHMETIC[case.semantics] if verdict is None else verdict.arithmetic,
            counterexamples=found.witnesses.get(name, ()),
            sampled=found.sampled.get(name),
            engines=found.engines.get(name, ()),
            remaining=verdict.witness if after is not None and isinstance(verdict, Violated) else None,
            regions=tuple(map(StatedRegion.of, subject.prop.regions)) if has_regions(subject) else (),
            runs=tuple(net.name for net in subject.relation.networks) if isinstance(subject, Related) else (),
            reason=verdict.reason if isinstance(verdict, Unknown) else None,
            open_boxes=verdict.open_boxes if isinstance(verdict, Unknown) else 0,
        )


def applicable_outcomes(case: Case, found: Found, after: Mapping[str, Answer]) -> Iterator[ApplicableOutcome]:
    """What became of properties that nobody asked about."""
    for subject in case.applicable:
        name = subject.prop.name
        yield ApplicableOutcome(
            name=name,
            text=subject.text,
            before=found.before[name].guarantee,
            # None, not "unknown": of what was not looked at again nobody tried to know anything
            after=after[name].guarantee if name in after else None,
            sampled=found.sampled.get(name),
        )


def outcome_remarks(case: Case, before: Mapping[str, Answer], best: Attempt | None, *, as_many: bool) -> Iterator[str]:
    """What the verdicts of the named properties do not tell; ``best`` is None where no network was written."""
    others = [s.prop.name for s in case.applicable]
    # said where nothing was written too: it is about the original
    broken = [name for name in others if before[name].guarantee == "violated"]
    if broken:
        yield f"Applicable, not named and violated on the original: {', '.join(broken)}; --suite repairs all."
    if best is None:
        return
    after = best.answers
    if case.loaded.nnet is None and (raised := lifted_constants(case.loaded.net, case.loaded.path)):
        told = ", ".join(map(repr, raised[:_SHOWN])) + (f" and {n} more" if (n := len(raised) - _SHOWN) > 0 else "")
        yield f"The original's Constant nodes {told} are initialisers in the repaired file."
    if as_many:
        names = [s.prop.name for s in case.asked]
        was = sum(before[name].guarantee == "proved" for name in names)
        now = sum(name in after and after[name].guarantee == "proved" for name in names)
        yield f"Of {len(names)} properties {was} were proved before and {now} are now."
    unseen = [name for name in others if name not in after]
    if unseen:
        yield f"Not looked at again on the repaired network, for lack of time: {', '.join(unseen)}."
    if told := certificate_obstacle(best.loaded, case.files.units):
        copy = "" if best.loaded.nnet is None else "; the ONNX copy beside it can have one: verify --certificate"
        yield f"No certificate: {told}{copy}."
