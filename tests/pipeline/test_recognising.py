"""Which property is which, and what its name says wrongly; `tests/cli/test_recognising.py` asks it of commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.formats import read_property
from birdnn.pipeline.load import load_network
from birdnn.pipeline.recognising import Known, Recognised, named_apart, network_notes, recognise_properties
from birdnn.spec import Property
from tests.bounds.builders import half_space, make_property
from tests.pipeline.suites import Small, write_suite

BASE = make_property([0.0], [1.0], half_space([1.0], 0.0))


@pytest.fixture
def small(tmp_path: Path) -> Small:
    """Two properties, the second under two names."""
    return write_suite(tmp_path, {"low": "(<= Y_0 -1.0)", "high": "(>= Y_1 5.0)", "also": "(>= Y_1 5.0)"})


def known(small: Small) -> Known:
    return small.suite, small.suite.entry("n1")


def recognised(small: Small, *paths: Path) -> Recognised:
    return recognise_properties(known(small), [read_property(path) for path in paths])


def test_without_a_suite_nothing_is_recognised() -> None:
    found = recognise_properties(None, [BASE, BASE])
    assert (found.names, found.missing, found.notes) == (("", ""), {}, ())
    assert found.worded(None, 0, "as given") == "as given"


def test_what_nobody_asked_about_is_missing(small: Small) -> None:
    """In the suite's order; of one thing that it states twice, the name that was not chosen."""
    assert list(recognised(small).missing) == ["low", "high", "also"]
    found = recognised(small, small.folder / "low.vnnlib")
    assert (found.names, list(found.missing), found.notes) == (("low",), ["high", "also"], ())
    other = recognised(small, small.prop("mine", "(>= Y_0 7.0)"))
    assert (other.names, list(other.missing), other.notes) == (("",), ["low", "high", "also"], ())


def test_the_suites_words_are_for_what_the_suite_states(small: Small) -> None:
    found = recognised(small, small.prop("mine", "(<= Y_0 -1.0)"), small.prop("own", "(>= Y_0 7.0)"))
    assert [found.worded(known(small), place, "as given") for place in (0, 1)] == ["words of low", "as given"]


def test_one_thing_under_two_names_has_that_of_the_file(small: Small) -> None:
    for name in ("high", "also"):
        found = recognised(small, small.prop(name, "(>= Y_1 5.0)"))
        assert (found.names, found.notes) == ((name,), ())
    # one of no such name has the first
    assert recognised(small, small.prop("mine", "(>= Y_1 5.0)")).names == ("high",)


def test_names_that_say_something_else_are_told(small: Small) -> None:
    mine = small.prop("mine", "(<= Y_0 -1.0)")
    assert recognised(small, mine).notes == ("mine says what suite small calls low.",)
    swapped = small.prop("high", "(<= Y_0 -1.0)")
    assert recognised(small, swapped).notes == ("high says what suite small calls low, not what it calls high.",)
    liar = small.prop("low", "(>= Y_0 7.0)")
    assert recognised(small, liar).notes == (
        f"low ({liar}) is not what suite small calls low: they say different things.",
    )


def test_what_is_rounded_is_recognised_and_said(small: Small) -> None:
    near, exact = small.prop("near", "(<= Y_0 -1.00000001)"), small.folder / "high.vnnlib"
    found = recognised(small, near, exact)
    assert found.names == ("low", "high")
    assert "Up to the rounding of numbers (by at most 1e-08) near is as suite small states it." in found.notes
    both = recognised(small, near, small.prop("off", "(>= Y_1 5.0000004)"))
    assert "Up to the rounding of numbers (by at most 4e-07) near, off are as suite small states it." in both.notes
    assert recognised(small, small.prop("far", "(<= Y_0 -1.01)")).names == ("",)


def test_what_is_inferred_of_a_network(small: Small) -> None:
    loaded = load_network(small.net)
    assert network_notes(loaded, []) == tuple(loaded.net.notes)
    there = replace(loaded, known=known(small))
    props = [read_property(small.folder / "low.vnnlib"), read_property(small.prop("mine", "(>= Y_1 5.0)"))]
    assert network_notes(there, props)[len(loaded.net.notes) :] == (
        "The weights are those of n1 in suite small.",
        "Properties of the suite that apply to it and were not asked: also.",
        "mine says what suite small calls high.",
    )
    told = network_notes(there, props, by_name=True)
    assert "Taken as n1 in suite small (--as)." in told
    assert not any("weights" in note for note in told)


# --- names


def files(names: Sequence[tuple[str, str]]) -> list[Property]:
    """Properties by name and content; those of no content have no file."""
    return [replace(BASE, name=name, sha256=content, path=f"/{content}/{name}.vnnlib") for name, content in names]


@given(
    st.lists(st.tuples(st.sampled_from(["p", "q", "p (2)", "p (3)"]), st.sampled_from("abc")), max_size=8),
    st.sets(st.sampled_from(["p", "p (2)", "r"])),
)
def test_no_two_have_one_name(asked: list[tuple[str, str]], taken: set[str]) -> None:
    """Unless they are one file; nobody has a name that is taken, and only the name changes."""
    given_ = files(asked)
    found = named_apart(given_, taken)
    owners: dict[str, str] = {}
    for before, after in zip(given_, found.props, strict=True):
        assert owners.setdefault(after.name, after.sha256) == after.sha256
        assert after.name not in taken
        assert after.name.startswith(before.name)
        assert (after.sha256, after.regions) == (before.sha256, before.regions)
    # the first of a name keeps it, if it can
    for place, before in enumerate(given_):
        if before.name not in taken and before.name not in {prop.name for prop in found.props[:place]}:
            assert found.props[place].name == before.name
    assert len(set(found.notes)) == len(found.notes)
    assert bool(found.notes) == any(a.name != b.name for a, b in zip(given_, found.props, strict=True))


def test_whose_name_was_changed_is_said_once() -> None:
    found = named_apart(files([("p", "a"), ("p", "b"), ("p", "b")]))
    assert [prop.name for prop in found.props] == ["p", "p (2)", "p (2)"]
    assert found.notes == ("More than one property is called p: p (2) is that of /b/p.vnnlib.",)


def test_properties_without_a_file_are_never_the_same() -> None:
    one, other = replace(BASE, name="p"), replace(BASE, name="p")
    assert [prop.name for prop in named_apart([one, other]).props] == ["p", "p (2)"]
    assert [prop.name for prop in named_apart([one, one]).props] == ["p", "p"]
