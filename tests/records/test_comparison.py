"""What two networks have in common: in raw units, in numbers of parameters, in what became of properties."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from birdnn.records import Apart, InitialiserChange, LayerChange, ScaledQuantity, Structure
from birdnn.records.comparison import UNKNOWN_DOMAIN
from tests.compare.test_comparing import answered
from tests.report.test_comparison import OUTCOME


def apart(**changes: Any) -> Apart:
    made: dict[str, Any] = {
        "place": "domain",
        "x": (0.5, -0.25),
        "before": (1.0, 2.0, 3.0),
        "after": (1.5, 2.0, 3.0),
        "size": 0.5,
        "output": 0,
        "decided": (0, 1),
        "replayed_by": ("onnxruntime", "onnxruntime"),
    }
    return Apart(**(made | changes))


def scale(mean: str, of: str) -> ScaledQuantity:
    return ScaledQuantity(name="q", text="", unit="", mean=Fraction(mean), range=Fraction(of))


INPUTS = scale("100", "1000"), scale("0", "8")


def test_an_input_is_said_in_raw_units_exactly() -> None:
    """``raw = network * range + mean``, rounded once."""
    assert apart().scaled(INPUTS, ()).x_raw == (600.0, -2.0)
    tenth = apart(x=(0.1, 0.1)).scaled((scale("1/3", "1/7"), scale("0", "1")), ())
    assert tenth.x_raw == (float(Fraction(0.1) / 7 + Fraction(1, 3)), 0.1)


def test_what_nobody_scales_is_not_said() -> None:
    found = apart(x_raw=(1.0, 1.0), size_raw=1.0).scaled((), ())
    assert (found.x_raw, found.size_raw) == (None, None)


def test_without_a_change_of_decision_there_is_no_difference_to_scale() -> None:
    """Two outputs that share a scaling: `tests/report/test_comparison.py`."""
    outputs = scale("7", "10"), scale("7", "20")
    assert apart(output=1).scaled((), outputs).size_raw == 10.0
    assert apart(output=None, decided=None).scaled((), outputs).size_raw is None


def test_which_output_decides_is_null_without_a_rule() -> None:
    assert (apart().decided_before, apart().decided_after) == (0, 1)
    free = apart(decided=None)
    assert (free.decided_before, free.decided_after) == (None, None)


def change(count: int, l1: float, linf: float) -> LayerChange:
    return LayerChange(name="w", layer=1, change=InitialiserChange(count=count, size=8, l1=l1, linf=linf))


def structure(matching: Any, *changes: LayerChange) -> Structure:
    return Structure(matching=matching, statements=(), changes=changes, parameters=16, compared=16, same_file=False)


def test_parameters_are_counted_over_all_tensors() -> None:
    found = structure("layers", change(2, 0.5, 0.25), change(3, 0.25, 0.125))
    assert (found.same, found.changed, found.l1, found.linf) == (False, 5, 0.75, 0.25)
    assert found.changes[0].share == 0.25


def test_networks_are_the_same_only_where_parameters_were_compared() -> None:
    same, other = structure("graph"), structure("none")
    assert (same.same, same.changed, same.l1, same.linf) == (True, 0, 0, 0.0)
    assert (other.same, other.changed, other.l1, other.linf) == (False, None, None, None)


def test_an_outcome_is_that_of_its_parts() -> None:
    words = "kept", "lost", "gained", "violated in both", "undecided", "lost"
    found = replace(
        OUTCOME,
        properties=tuple(
            replace(answered(f"p{place}", "unknown", "unknown"), became=word) for place, word in enumerate(words)
        ),
    )
    assert (found.lost, found.gained) == (("p1", "p5"), ("p2",))
    assert (found.result, replace(found, structure=structure("graph")).result) == ("different", "same")


def test_a_domain_that_is_missing_is_said_to_be() -> None:
    assert OUTCOME.likeness_note == ""
    assert replace(OUTCOME, domain=None).likeness_note == UNKNOWN_DOMAIN
