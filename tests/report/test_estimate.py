"""`estimate`'s table and JSON, and what `repair` says about its samples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from birdnn.records import (
    EstimateOutcome,
    EstimateRequest,
    Interval,
    Machine,
    PacBound,
    PropertyEstimate,
    RareEvent,
    Surrogate,
)
from birdnn.report.estimate import estimate_summary, quiet_line
from birdnn.report.publish import dumps
from birdnn.report.text import repair_summary
from tests.report.outcomes import WITNESS, prop, repair_outcome
from tests.report.test_text import drawn

MEASURE = "encounters of a year, conditioned on the region"


def bound(**changes: object) -> PacBound:
    values = {"measure": MEASURE, "epsilon": 7.6008e-6, "delta": 5e-4, "n": 1_000_000, "violations": 0}
    return PacBound(**{**values, **changes})  # type: ignore[arg-type]


def surrogate(lowest: float) -> Surrogate:
    return Surrogate(
        region=0, polytope=1, coefficients=(1.0, 2.0), constant=0.5, error=0.1, lowest=lowest, epsilon=1e-3,
        delta=1e-4, n=31_400,
    )  # fmt: skip


def entry(name: str, **changes: object) -> PropertyEstimate:
    values = {
        "name": name,
        "path": f"/p/{name}",
        "sha256": "ab",
        "text": "what must hold",
        "n": 1_000_000,
        "violations": 0,
        "interval": Interval(lower=0.0, upper=8.3e-6, confidence=0.9995),
        "bound": bound(),
        "asked": None,
        "reached": None,
        "sample_s": 0.5,
    }
    return PropertyEstimate(**{**values, **changes})  # type: ignore[arg-type]


RARE = RareEvent(
    measure=MEASURE, estimate=4e-7, repetitions=(4e-7, 0.0, 8e-7), log10_se=0.1, particles=9, evaluations=99
)
OUTCOME = EstimateOutcome(
    request=EstimateRequest(net=Path("n.onnx"), measure="m.toml", attempts=3, scenario=True),
    net="/n.onnx",
    net_sha256="cd",
    measure=MEASURE,
    properties=(
        entry("a", asked=1e-5, reached=True),
        entry(
            "b",
            asked=1e-6,
            reached=False,
            rare=RARE,
            surrogates=(surrogate(0.25), surrogate(-0.25)),
            violations=0,
            counterexample=WITNESS,
        ),
        entry("c", n=0, sample_s=0.0, bound=bound(anytime=True), violations=0, counterexample=WITNESS),
    ),
    wall_s=2.0,
    versions={"birdnn": "0"},
    machine=Machine(system="s", cpu="c", cores=1, threads=1, memory_gib=None),
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_and_claims_nothing_more(width: int) -> None:
    text = drawn(estimate_summary(OUTCOME, width), width)
    assert max(map(len, text.splitlines())) <= width
    assert "safe" not in text.lower()
    assert "proved" not in text.lower()


def test_every_statement_has_its_measure_and_its_confidence() -> None:
    text = " ".join(drawn(estimate_summary(OUTCOME, 120), 120).split())
    assert text.count(f"({MEASURE})") == 6
    assert "a at most 7.61e-06 of the measure" in text
    assert "confidence 99.95 %; 1e-05 was asked for and is reached" in text
    assert "1e-06 was asked for and not reached" in text
    assert "give or take a factor of 1.26 (2 of 3 repetitions found a violation); an estimate, no bound" in text
    assert "least value 0.25, positive all over the region" in text
    assert "least value -0.25, not positive all over the region" in text
    assert "confidence 99.95 %, whenever one stops" in text
    assert "found by splitting, replayed by onnxruntime" in text
    assert "found by an attack, replayed by onnxruntime" in text
    assert "99.90 % for all statements, shared by 3 properties, 3 attempts, bound and surrogate" in text


def test_one_line_for_programs() -> None:
    assert quiet_line(OUTCOME) == "a 0/1000000 <=7.61e-06; b 0/1000000 <=7.61e-06; c 0/0 <=7.61e-06"


def test_the_report_has_every_figure() -> None:
    found = json.loads(dumps(OUTCOME))
    first, second, third = found["properties"]
    assert (found["measure"], found["measure_file"], found["attempts"]) == (MEASURE, "m.toml", 3)
    assert first["samples_per_s"] == 2_000_000
    assert first["bound"]["epsilon"] == 7.6008e-6  # rounding is for readers
    assert second["splitting"]["repetitions"] == [4e-7, 0.0, 8e-7]
    assert second["surrogates"][0]["polytope"] == 1
    assert (third["rate"], third["samples_per_s"]) == (None, None)
    assert third["counterexample"]["x"] == list(WITNESS.x)


def test_a_repair_says_what_it_sampled_besides() -> None:
    two = repair_outcome(properties=(prop("a", sampled=bound()), prop("b", sampled=bound(violations=3))))
    text = " ".join(drawn(repair_summary(two, 120, verbose=True), 120).split())
    assert f"1,000,000 fresh points of each of a, b, {MEASURE}: violations: b: 3" in text
    one = repair_outcome(properties=(prop("a", sampled=bound()), prop("b")))
    text = " ".join(drawn(repair_summary(one, 120, verbose=True), 120).split())
    assert f"1,000,000 fresh points of a, {MEASURE}: no violation" in text
    short = " ".join(drawn(repair_summary(two, 120), 120).split())
    assert "1,000,000 fresh points of each property: violations: b: 3" in short
    assert "1,000,000 fresh points of a: no violation" in " ".join(drawn(repair_summary(one, 120), 120).split())
    first, second = one.properties
    assert first.sampled is not None
    assert (first.sampled.epsilon, second.sampled) == (7.6008e-6, None)
