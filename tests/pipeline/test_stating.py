"""Rules and relations in words as what they say, in their own units; `tests/cli/test_property.py` has the command."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from birdnn.errors import FormatError, MismatchError, SpecError
from birdnn.formats.relation import relation_of_query
from birdnn.formats.vnnlib import parse_property, query_in_text
from birdnn.meaning import meaning_of
from birdnn.pipeline.stating import restate_property, state_relation, state_rule, told_property
from birdnn.records import RelationRequest, RuleRequest
from birdnn.spec import Polytope, Property, Region, Row
from tests.pipeline.suites import Small, property_text, write_network, write_suite

HALF = "(<= X_0 0.5)"


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """Inputs a (raw: 2 x + 10) and b (4 x) from (-1, -2) to (3, 4), outputs left and right (8 y + 1)."""
    return write_suite(tmp_path, {"low": "(<= Y_0 -1.0)"})


@pytest.fixture
def rule(small: Small) -> Callable[..., Property]:
    """States a rule about the suite's network, which knows it."""

    def state(**asked: Any) -> Property:
        known = {"suite": str(small.folder / "small.toml"), "as_name": "n1"}
        return state_rule(RuleRequest(net=small.net, **known | asked))

    return state


def said(unsafe: str, *box: str) -> object:
    return meaning_of(parse_property(property_text(unsafe, "".join(f"(assert {each})" for each in box))))


INSIDE = ("(>= X_0 -1.0)", "(<= X_0 3.0)", "(>= X_1 -2.0)", "(<= X_1 4.0)")


# --- rules


def test_never_and_always_are_opposites(rule: Callable[..., Property]) -> None:
    """A property says what is unsafe; names are those of the suite, and places are names too."""
    unsafe = said("(> Y_0 1.5)", *INSIDE)
    for never in ("left > 1.5", "y0 > 1.5", "LEFT > 1.5"):
        assert meaning_of(rule(never=never)) == unsafe
    assert meaning_of(rule(always="left <= 1.5")) == unsafe
    for both in ({}, {"never": "left > 1", "always": "left > 1"}):
        with pytest.raises(SpecError, match="one of never and always"):
            rule(**both)


def test_conditions_cut_the_domain(rule: Callable[..., Property]) -> None:
    """As a rule, as ranges, of a domain that is a rule, ranges or a file; what says nothing cuts nothing."""
    wanted = said("(> Y_0 1.5)", "(>= X_0 0.5)", "(<= X_0 1.0)", *INSIDE[2:])
    for when in ("a in [0.5, 1]", {"a": (0.5, 1)}, {"x0": [0.5, 1.0]}, "0.5 <= x0 <= 1"):
        assert meaning_of(rule(never="left > 1.5", when=when)) == wanted
    assert meaning_of(rule(never="left > 1.5", when=" ")) == said("(> Y_0 1.5)", *INSIDE)
    point = said("(> Y_0 1.5)", "(= X_0 0.5)", *INSIDE[2:])
    assert meaning_of(rule(never="left > 1.5", when={"a": 0.5})) == point


def test_the_domain_that_is_said_goes_before_the_suites(rule: Callable[..., Property], small: Small) -> None:
    box = small.folder / "box.toml"
    box.write_text("lower = [0, 0]\nupper = [0.5, 0.25]\n")
    wanted = said("(> Y_0 1.5)", "(>= X_0 0.0)", HALF, "(>= X_1 0.0)", "(<= X_1 0.25)")
    domains = ("a in [0, 0.5], b in [0, 0.25]", {"a": (0, 0.5), "b": (0, 0.25)}, box, str(box))
    for domain in domains:
        assert meaning_of(rule(never="left > 1.5", domain=domain)) == wanted


def test_raw_units_are_exact(rule: Callable[..., Property]) -> None:
    """Of conditions, thresholds and the domain, which lies in the network's units whatever the rule speaks."""
    made = rule(never="left >= 13 and right < 1", when="a > 10.2", units="raw")
    (region,) = made.regions
    assert (region.exact_lower, region.exact_upper) == ((Fraction(1, 10), -2), (3, 4))
    assert (region.strict_lower, region.strict_upper) == ((True, False), (False, False))
    (polytope,) = region.unsafe
    assert polytope.holds((Fraction(3, 2), Fraction(-1, 8)))
    assert not polytope.holds((Fraction(3, 2), Fraction(0)))
    assert not polytope.holds((Fraction(1499, 1000), Fraction(-1)))


def test_a_third_of_a_unit_comes_back_exactly(small: Small) -> None:
    """The suite's domain, scaled there and back, is the very float64 that it was."""
    text = (small.folder / "small.toml").read_text()
    (small.folder / "small.toml").write_text(
        text.replace("upper = [3, 4]", "upper = [0.1, 4]").replace("range = 2", "range = 3")
    )
    request = RuleRequest(
        net=small.net, never="left > 13", units="raw", suite=str(small.folder / "small.toml"), as_name="n1"
    )
    (region,) = state_rule(request).regions
    assert float(region.exact_upper[0]) == region.exact_upper[0]
    assert float(region.exact_upper[0]) == pytest.approx(0.1, abs=1e-16)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"never": "left > 1"}, "never left > 1, inside the domain (suite small)"),
        ({"always": "left is max", "when": "a > 0"}, "always left is max, when a > 0, inside the domain (suite small)"),
        (
            {"never": "left > 1", "when": {"a": (0, 1), "b": 2}, "domain": "a in [0, 1]"},
            "never left > 1, when a in [0, 1], b = 2, inside the domain (a in [0, 1])",
        ),
        ({"never": "left > 9", "units": "raw"}, "never left > 9, inside the domain (suite small) (raw units)"),
    ],
)
def test_a_rule_is_kept_as_it_was_said(rule: Callable[..., Property], asked: dict[str, Any], text: str) -> None:
    made = rule(**asked, name="mine")
    assert made.name == "mine"
    assert text in " ".join(made.text.replace(";", " ").split())


def test_somebody_has_to_say_where_inputs_lie(small: Small) -> None:
    def state(**asked: Any) -> Property:
        return state_rule(RuleRequest(net=small.net, never="y0 > 1", **asked))

    with pytest.raises((SpecError, FormatError), match="bound"):
        state()
    with pytest.raises((SpecError, FormatError), match="bound"):
        state(when="x0 in [0, 1]")
    assert state(when="x0 in [0, 1], x1 in [0, 1]").regions[0].exact_upper == (1, 1)
    with pytest.raises(MismatchError, match="raw units need the network's scaling"):
        state(when="x0 in [0, 1], x1 in [0, 1]", units="raw")


def test_a_mistake_in_the_rule_is_told_before_one_in_the_domain(small: Small) -> None:
    with pytest.raises(SpecError, match="expected max or min"):
        state_rule(RuleRequest(net=small.net, never="y0 is mx", domain="none.toml"))


# --- relations


@pytest.fixture
def relation(small: Small) -> Callable[..., tuple[str, int]]:
    def state(**asked: Any) -> tuple[str, int]:
        return state_relation(RelationRequest(net=small.net, **{"domain": "x0 in [0, 1], x1 in [0, 2]"} | asked))

    return state


def violates(text: str, f: tuple[float, float], g: tuple[float, float]) -> bool:
    """Is it violated by runs at these inputs of a network that gives its inputs back?"""
    query = query_in_text(text, "")
    assert query is not None
    found = relation_of_query(query, text=text)
    variables = dict(zip(found.reads[0] + found.reads[1], (*f, *g), strict=True))
    if any(variables[place] != x for place, x in zip(found.reads[0], f, strict=True)):
        return False
    return found.prop.violated([variables[i] for i in range(len(variables))], [*f, *g])


def test_what_one_network_is_asked_at_two_inputs(relation: Callable[..., tuple[str, int]]) -> None:
    """Of the identity, whose first output grows with its first input, as fast as that."""
    step = (1.0, 0.5), (0.5, 0.5)
    for asked, broken in (
        ({"rising": "x0:y0"}, False),
        ({"falling": "x0:y0"}, True),
        ({"falling": " x0 : y0 ", "within": 0.25}, True),
        ({"falling": "x0:y0", "within": 0.75}, False),
        ({"falling": "x0:y1"}, False),
        ({"steepness": "x0:y0:0.5"}, True),
        ({"steepness": "x0:y0: 1"}, False),
    ):
        text, networks = relation(**asked)
        assert (networks, violates(text, *step)) == (1, broken), asked


def test_exchanged_inputs_exchange_outputs(relation: Callable[..., tuple[str, int]]) -> None:
    """Of the identity; where outputs stay in place they differ."""
    for asked, broken in (("x0:x1,y0:y1", False), ("x0:x1", True), (" x1 : x0 , y1:y0 ", False)):
        text, networks = relation(symmetric=asked, within=0.125)
        assert networks == 1
        query = query_in_text(text, "")
        assert query is not None
        found = relation_of_query(query, text=text)
        assert found.reads == ((0, 1), (1, 0))
        assert found.prop.violated([0.5, 1.0], [0.5, 1.0, 1.0, 0.5]) == broken


def test_two_networks_at_one_input(relation: Callable[..., tuple[str, int]]) -> None:
    """Nothing is told of the other one but that it has the same layers."""
    for asked, y, broken in (
        ({"within": 0.5}, (0.0, 1.0, 0.25, 1.0), False),
        ({"within": 0.25}, (0.0, 1.0, 0.25, 1.0), True),
        ({"same_decision": "greatest"}, (0.0, 1.0, 2.0, 1.0), True),
        ({"same_decision": "greatest"}, (0.0, 1.0, 0.5, 1.0), False),
        ({"same_decision": "least"}, (0.0, 1.0, 2.0, 1.0), True),
    ):
        text, networks = relation(**asked)
        query = query_in_text(text, "")
        assert query is not None
        found = relation_of_query(query, text=text)
        assert networks == 2
        assert found.reads[0] == found.reads[1]
        assert found.prop.violated([0.5, 1.0], y) == broken, asked
        assert found.prop.regions[0].exact_upper == (1, 2)


def test_which_decision_is_the_same(tmp_path: Path) -> None:
    """Of three outputs the greatest stays, and the least does not."""
    net = write_network(tmp_path / "three.onnx", ([[1], [1], [1]], [0, 0, 0]))
    for decides, broken in (("greatest", False), ("least", True)):
        text, _ = state_relation(RelationRequest(net=net, same_decision=decides, domain="x0 in [0, 1]"))  # type: ignore[arg-type]
        query = query_in_text(text, "")
        assert query is not None
        found = relation_of_query(query, text=text)
        assert found.prop.violated([0.5], [0.0, 1.0, 2.0, 1.0, 0.0, 2.0]) == broken


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "say one relation"),
        ({"rising": "x0:y0", "falling": "x0:y0"}, "say one relation"),
        ({"steepness": "x0:y0:1", "within": 1.0}, "say one relation"),
        ({"same_decision": "least", "within": 1.0}, "say one relation"),
        ({"rising": "y0:x0"}, "'y0:x0': an input and an output are expected, as in x0:y3"),
        ({"steepness": "x0:1"}, "'x0:1': an input and an output"),
        ({"steepness": "x0:y0:steep"}, "'steep' is no number"),
        ({"symmetric": "x0:x1"}, "symmetric needs within"),
        ({"symmetric": "x0:y1", "within": 1.0}, "'x0:y1': two inputs or two outputs are expected"),
        ({"symmetric": "x0:x1,", "within": 1.0}, "'': two inputs or two outputs are expected"),
        ({"symmetric": "z0:z1", "within": 1.0}, "'z0:z1': two inputs or two outputs are expected"),
        ({"within": 1.0, "domain": "x0 <= 1 or x0 >= 2, x1 in [0, 1]"}, "bound|one box"),
        (
            {"within": 1.0, "domain": "(x0 in [0, 1] or x0 in [2, 3]), x1 in [0, 1]"},
            "the domain of a relation is one box",
        ),
    ],
)
def test_relations_that_are_none(relation: Callable[..., tuple[str, int]], asked: dict[str, Any], words: str) -> None:
    with pytest.raises((SpecError, FormatError), match=words):
        relation(**asked)


# --- in another version, and in words


def test_what_a_version_cannot_say_is_refused() -> None:
    """Not rounded, and not said otherwise; both versions say a property of fractions."""
    row = Row((Fraction(1, 7),), Fraction(2, 3), strict=True)
    region = Region(
        exact_lower=(Fraction(1, 3),), exact_upper=(Fraction(1),), unsafe=(Polytope(rows=(row,), n_outputs=1),)
    )
    prop = Property(name="p", regions=(region,), n_inputs=1, n_outputs=1)
    for version in ("1.0", "2.0"):
        text = restate_property(prop, version)  # type: ignore[arg-type]
        assert meaning_of(parse_property(text)) == meaning_of(prop)
    with pytest.raises(SpecError, match=r"property 'p' .* VNN-LIB 1\.0"):
        restate_property(Property(name="p", regions=(region,), n_inputs=1, n_outputs=1, element="float32"), "1.0")


def test_a_property_is_told_beside_its_network(small: Small) -> None:
    mine, plain = small.prop("mine", "(<= Y_0 -1.0)"), small.prop("plain", "(>= Y_0 7.0)")
    alone = told_property(mine, None)
    assert (alone.statement, alone.inputs, alone.recognised) == ("1 input box, 1 unsafe output polytope", (), "")
    named = {"suite": str(small.folder / "small.toml"), "as_name": "n1"}
    told = told_property(mine, small.net, **named)
    assert (told.statement, told.recognised) == ("words of low", "low of suite small")
    assert [q.name for q in (*told.inputs, *told.outputs)] == ["a", "b", "left", "right"]
    assert told.notes[0] == "mine says what suite small calls low."
    other = told_property(plain, small.net, **named)
    assert (other.statement, other.recognised, other.notes) == (alone.statement, "", ())
    raw = told_property(small.prop("raw", "(<= Y_0 -7.0)", "(assert (= X_0 14.0))(assert (= X_1 4.0))"), small.net,
                        units="raw", **named)  # fmt: skip
    assert raw.prop.regions[0].exact_lower == (2, 1)
    with pytest.raises(MismatchError, match="raw units need the network, which brings its scaling: say --net FILE"):
        told_property(mine, None, units="raw")
