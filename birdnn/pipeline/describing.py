"""What a report needs beside verdicts: what inputs and outputs mean, and what else applies to the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from birdnn.formats.onnx import lifted_constants
from birdnn.formats.suite import Suite
from birdnn.pipeline.case import Case
from birdnn.pipeline.certifying import certificate_obstacle
from birdnn.pipeline.judging import Answer, Attempt
from birdnn.pipeline.load import Loaded, known_scaling
from birdnn.pipeline.measuring import Measured
from birdnn.records import ApplicableOutcome, Drawdowns, PacBound, PropertyLocalisation, ScaledQuantity

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


def measured_fields(measured: Measured | None) -> dict[str, Any]:
    """The fields of an outcome that were measured; none were where no network was written."""
    if measured is None:
        nothing = dict.fromkeys(("fidelity", "efficacy", "generalisation"))
        note = "no network was written"
        none = dict.fromkeys(("behaviour", "neighbours"), ())
        return {**nothing, **none, "drawdown": Drawdowns(), "fidelity_note": note, "region_fidelity": {}}
    names = (
        *("fidelity", "fidelity_note", "region_fidelity", "behaviour"),
        *("drawdown", "efficacy", "generalisation", "neighbours"),
    )
    return {name: getattr(measured, name) for name in names}


def description_fields(
    case: Case,
    before: Mapping[str, Answer],
    after: Mapping[str, Answer],
    located: tuple[PropertyLocalisation, ...],
    sampled: Mapping[str, PacBound],
) -> dict[str, Any]:
    """The fields of an outcome that say what its properties and numbers are about."""
    inputs, outputs = scaled_quantities(case.loaded)
    others = tuple(
        ApplicableOutcome(
            name=subject.prop.name,
            text=subject.text,
            before=before[subject.prop.name].guarantee,
            # None, not "unknown": of what was not looked at again nobody tried to know anything
            after=after[subject.prop.name].guarantee if subject.prop.name in after else None,
            sampled=sampled.get(subject.prop.name),
        )
        for subject in case.applicable
    )
    return {"inputs": inputs, "outputs": outputs, "watched": others, "localisation": located}


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
