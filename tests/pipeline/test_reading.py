"""From files to a case: roles, what is asked twice, the domain, and who says which output decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birdnn.errors import FormatError, MismatchError
from birdnn.pipeline.case import Case
from birdnn.pipeline.load import load_network
from birdnn.pipeline.reading import asked_notes, declared_domain, fitting_domain, known_network, read_case
from birdnn.records import CaseFiles
from tests.pipeline.suites import Small, write_network, write_suite

STATED = {"low": "(<= Y_0 -1.0)", "high": "(>= Y_1 5.0)"}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return write_suite(tmp_path, STATED)


@pytest.fixture
def low(small: Small) -> Path:
    return small.prop("mine", "(<= Y_0 -7.0)")


def case(small: Small, *props: Path, known: bool = False, **more: Any) -> Case:
    """As read; the suite is that of the user, or knows the network by its content (``known``)."""
    loaded = load_network(small.net)
    if known:
        loaded = replace(loaded, known=(small.suite, small.suite.entry("n1")))
    return read_case(CaseFiles(net=small.net, props=props, **more), loaded=loaded)


def suite_of(small: Small) -> str:
    return str(small.folder / "small.toml")


def subjects(found: Case) -> list[tuple[str, str]]:
    return [(s.prop.name, getattr(s, "role", "applies")) for s in found.subjects]


# --- who knows the network


def test_a_suite_is_named_or_knows_the_content(small: Small) -> None:
    loaded = load_network(small.net)
    assert known_network(loaded, None, None) is None
    entry = small.suite.entry("n1")
    before = replace(loaded, known=(small.suite, entry))
    assert known_network(before, None, None) == before.known
    for name in (None, "n1"):
        found = known_network(loaded, suite_of(small), name)
        assert found is not None
        assert (found[0].name, found[1].name) == ("small", "n1")
    with pytest.raises(MismatchError, match="suite 'small' knows no network 'n2'; it knows n1"):
        known_network(loaded, suite_of(small), "n2")
    other = load_network(write_network(small.folder / "other.onnx", ([[1, 0], [0, 2]], [0, 0])))
    with pytest.raises(MismatchError, match="suite 'small' does not know this network; say which it is with --as"):
        known_network(other, suite_of(small), None)
    found = known_network(other, suite_of(small), "n1")
    assert found is not None
    assert found[1].name == "n1"


# --- subjects


def test_roles_of_what_is_named(small: Small, low: Path) -> None:
    kept = small.prop("kept", "(>= Y_0 9.0)")
    assert subjects(case(small, low, keep=(kept,))) == [("mine", "goal"), ("kept", "keep")]


def test_what_the_suite_states_besides_applies_or_is_repaired(small: Small, low: Path) -> None:
    """Watched where the network was only recognised; repaired where the user named the suite."""
    watched = case(small, low, known=True)
    assert subjects(watched) == [("mine", "goal"), ("low", "applies"), ("high", "applies")]
    assert [s.text for s in watched.applicable] == ["words of low", "words of high"]
    assert watched.suite is not None
    assert (watched.suite.by, watched.suite.not_named) == ("content", ("low", "high"))
    assert watched.of_suite == (
        "The weights are those of n1 in suite small.",
        "Other properties apply to it and were watched, not repaired: low, high; --suite repairs all.",
    )
    asked = case(small, low, suite=suite_of(small), as_name="n1")
    assert subjects(asked) == [("mine", "goal"), ("low", "suite"), ("high", "suite")]
    assert asked.suite is not None
    assert (asked.suite.by, asked.suite.not_named) == ("--as", ())
    assert asked.of_suite == ()
    assert any("Taken as n1 in suite small (--as)." in note for note in asked_notes(asked, asked.asked))


def test_a_name_that_a_file_has_taken_is_not_the_suites(small: Small) -> None:
    liar = small.prop("low", "(>= Y_0 9.0)")
    found = case(small, liar, known=True)
    assert subjects(found) == [("low", "goal"), ("low of suite small", "applies"), ("high", "applies")]
    assert any("is not what suite small calls low" in note for note in found.remarks)


def test_what_is_asked_twice_is_treated_once(small: Small, low: Path) -> None:
    same = small.prop("same", "(<= (* 2.0 Y_0) -14.0)")
    other = small.prop("other", "(<= Y_0 -8.0)")
    found = case(small, low, same, low, other, keep=(low,))
    assert subjects(found) == [("mine", "goal"), ("other", "goal")]
    assert found.remarks == (
        f"{same} says the same as {low}: treated once, as mine.",
        f"{low} is named twice: treated once, as mine.",
        f"{low} is named twice: repaired and kept by that, as mine.",
    )


def test_two_files_of_one_name_are_told_apart(small: Small, low: Path) -> None:
    folder = small.folder / "elsewhere"
    folder.mkdir()
    other = folder / low.name
    other.write_text(low.read_text().replace("-7.0", "-8.0"))
    found = case(small, low, other)
    assert [name for name, _ in subjects(found)] == ["mine", "mine (2)"]
    assert found.remarks == (f"More than one property is called mine: mine (2) is that of {other}.",)
    taken = read_case(CaseFiles(net=small.net, props=(low,)), taken=("mine",))
    assert [name for name, _ in subjects(taken)] == ["mine (2)"]


def test_there_has_to_be_something_to_repair(small: Small, low: Path) -> None:
    """What is only kept is no reason; where nothing is to be repaired anyway none is needed."""
    for more in ({}, {"keep": (low,)}):
        with pytest.raises(MismatchError, match="nothing says what to repair"):
            case(small, known=True, **more)
        files = CaseFiles(net=small.net, **more)
        assert len(read_case(files, aimless=True).subjects) == len(more)


def test_properties_have_to_fit(small: Small, tmp_path: Path) -> None:
    wide = tmp_path / "wide.vnnlib"
    wide.write_text("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (= X_0 0.0))(assert (<= Y_0 0.0))")
    with pytest.raises(MismatchError, match=r"wide\.vnnlib: .*n1\.onnx"):
        case(small, wide)
    with pytest.raises(FormatError, match=r"none\.vnnlib"):
        case(small, tmp_path / "none.vnnlib")


# --- the domain


def test_nobody_knows_the_domain_of_a_plain_file(small: Small, low: Path) -> None:
    found = case(small, low)
    assert (found.corners, found.domain) == (None, None)
    assert declared_domain(load_network(small.net)) == (None, "")


def test_the_suites_domain_is_that_of_the_network(small: Small, low: Path) -> None:
    found = case(small, low, known=True)
    assert found.domain is not None
    assert (found.domain.lower, found.domain.upper, found.domain.source) == ((-1, -2), (3, 4), "suite small")


def test_a_domain_that_is_named_goes_before_the_suites(small: Small, low: Path) -> None:
    box = small.folder / "box.toml"
    box.write_text("lower = [0, 0]\nupper = [0.5, 0.25]\n")
    found = case(small, low, known=True, domain=box)
    assert found.domain is not None
    assert (found.domain.lower, found.domain.upper, found.domain.source) == ((0, 0), (0.5, 0.25), str(box))
    box.write_text("lower = [0, 0, 0]\nupper = [1, 1, 1]\n")
    with pytest.raises(MismatchError, match=r"box\.toml has 3 inputs; the network has 2"):
        fitting_domain(box, load_network(small.net))


def test_the_domain_by_properties_is_around_what_is_repaired(small: Small, low: Path) -> None:
    """Not around what is kept; nor around what the suite states, where something was named."""
    away = small.prop("away", "(<= Y_0 -7.0)", "(assert (= X_0 2.0))(assert (>= X_1 -3.0))(assert (<= X_1 0.5))")
    kept = small.prop("kept", "(<= Y_0 -7.0)", "(assert (= X_0 9.0))(assert (= X_1 9.0))")
    found = case(small, low, away, keep=(kept,), domain="property", suite=suite_of(small), as_name="n1")
    assert found.domain is not None
    assert (found.domain.lower, found.domain.upper) == ((0, -3), (2, 1))
    assert found.domain.source == "the input regions of mine, away"
    alone = case(small, keep=(kept,), domain="property", suite=suite_of(small), as_name="n1")
    assert alone.domain is not None
    assert (alone.domain.upper, alone.domain.source) == ((1, 1), "the input regions of low, high")
    files = CaseFiles(net=small.net, keep=(kept,), domain="property")
    with pytest.raises(MismatchError, match="--domain property: no property was named that could be the domain"):
        read_case(files, aimless=True)


# --- which output decides


def test_who_says_which_output_decides(small: Small, low: Path) -> None:
    compares = small.prop("compares", "(>= Y_0 Y_1)")
    for asked, decision, by in (
        (case(small, low), "none", "nobody"),
        (case(small, compares), "argmax", "property"),
        (case(small, compares, decision="argmin"), "argmin", "option"),
        (case(small, compares, decision="none"), "none", "option"),
        (case(small, low, known=True), "argmax", "suite"),
        (case(small, low, known=True, decision="argmin"), "argmin", "option"),
    ):
        assert (asked.decision, asked.rule_by) == (decision, by)
        assert any("Which output decides was read from" in note for note in asked.notes) == (by == "property")


def test_whoever_only_asks_has_no_rule_read_from_properties(small: Small) -> None:
    compares = small.prop("compares", "(>= Y_0 Y_1)")
    found = read_case(CaseFiles(net=small.net, props=(compares,)), aimless=True)
    assert (found.decision, found.rule_by) == ("none", "nobody")


# --- inputs to compare behaviour on


def test_right_decisions_need_a_rule(small: Small, low: Path) -> None:
    """By number, and by the suite's names; inputs alone need none."""
    data, bare = small.folder / "d.csv", small.folder / "bare.csv"
    data.write_text("x_0,x_1,decision\n0.5,0.25,right\n")
    bare.write_text("x_0,x_1\n0.5,0.25\n")
    found = case(small, low, known=True, data=data, test=bare)
    assert found.data is not None
    assert found.data.y is not None
    assert (found.data.x.tolist(), found.data.y.tolist()) == ([[0.5, 0.25]], [1])
    assert found.test is not None
    assert found.test.y is None
    assert case(small, low, data=bare).data is not None
    data.write_text("x_0,x_1,decision\n0.5,0.25,1\n")
    with pytest.raises(MismatchError, match=r"--test .*d\.csv: says what is right, and nobody which output decides"):
        case(small, low, test=data)
    assert case(small, low, test=data, decision="argmin").test is not None


def test_raw_inputs_are_scaled(small: Small) -> None:
    data = small.folder / "d.npz"
    np.savez(data, x=np.array([[12.0, 2.0]], np.float32))
    raw = small.prop("raw", "(<= Y_0 -7.0)", "(assert (= X_0 14.0))(assert (= X_1 4.0))")
    found = case(small, raw, known=True, units="raw", data=data)
    assert found.data is not None
    assert found.data.x.tolist() == [[1.0, 0.5]]
    (subject,) = found.asked
    assert subject.prop.regions[0].exact_lower == (2, 1)
    with pytest.raises(MismatchError, match="raw units need the network's scaling"):
        case(small, raw, units="raw", data=data)
