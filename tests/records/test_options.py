"""Which options count beside which others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdnn.records.options import RULES, first_objection, idle_options, rule_in_words

EVERY = {option for rules in RULES.values() for rule in rules for option in rule.options}
"""All options of which there are rules."""


@pytest.mark.parametrize(
    ("option", "value", "beside", "missing"),
    [
        ("prefer", "outputs", {"method": "auto"}, {"method": "retrain"}),
        ("prefer", "outputs", {}, {"method": "finetune"}),
        ("optimiser", "lp", {"method": "finetune"}, {}),
        ("top", 3, {"method": "finetune", "optimiser": "pso"}, {"method": "finetune", "optimiser": "lp"}),
        ("alpha", 0.0, {"method": "finetune", "optimiser": "cmaes"}, {"method": "finetune"}),
        ("pairing", "input", {}, {"method": "finetune"}),
        ("pairing", "input", {"method": "retrain"}, {"method": "blocks"}),
        ("points_tolerance", 0.1, {"points": ("p.npz",)}, {}),
        ("points_radius", 0.1, {"points": ("p.npz",)}, {"points": ()}),
        ("as_name", "N1,1", {"suite": "acasxu"}, {"suite": None}),
        ("crosscheck_timeout_s", 5.0, {"crosscheck": ("onnxruntime",)}, {"crosscheck": []}),
        ("min_agreement", 0.0, {"method": "retrain"}, {"method": "blocks"}),
        ("samples", 0, {}, {"method": "blocks"}),
    ],
)
def test_an_option_of_a_repair_counts_beside_others(
    option: str, value: object, beside: dict[str, Any], missing: dict[str, Any]
) -> None:
    """0 was said; None and what is empty were not."""
    assert first_objection("repair", {option: value, **beside}) is None
    found = first_objection("repair", {option: value, **missing})
    assert found is not None
    assert found[0] == option


@pytest.mark.parametrize("nothing", [None, False, (), []])
def test_what_was_not_said_is_no_objection(nothing: object) -> None:
    for command in RULES.keys() - {"bench"}:
        assert first_objection(command, dict.fromkeys(EVERY, nothing) | {"method": "blocks"}) is None


@pytest.mark.parametrize("command", ["estimate", "localize", "compare", "plot", "repair"])
def test_a_network_of_a_suite_needs_the_suite(command: str) -> None:
    told = "names a network of a suite: say which with {suite}"
    assert first_objection(command, {"as_name": "N1,1"}) == ("as_name", told)
    assert first_objection(command, {"as_name": "N1,1", "suite": "acasxu"}) is None


def test_of_a_repair_by_blocks_that_is_the_reason() -> None:
    """Before what a single option lacks besides, here the engines."""
    said = {"method": "blocks", "crosscheck_timeout_s": 5.0}
    assert first_objection("repair", said) == ("crosscheck_timeout_s", "is no option of {method=blocks}")
    assert first_objection("verify", said) == (
        "crosscheck_timeout_s",
        "is the limit of engines: say which with {crosscheck}",
    )


def test_the_order_of_the_rules_decides_and_not_that_of_the_options() -> None:
    said = {"pairing": "input", "optimiser": "lp", "method": "blocks"}
    assert first_objection("repair", said) == ("optimiser", "is an option of {method=finetune}")


def test_only_those_asked_about_are_idle() -> None:
    said = {"prefer": "outputs", "pairing": "input", "method": "finetune"}
    assert idle_options("repair", said, {"prefer"}) == {"prefer": "is an option of {method=auto}"}
    assert list(idle_options("repair", said, said)) == ["prefer", "pairing"]
    assert idle_options("repair", said, ()) == {}


def test_of_two_ways_the_other_one_is_idle() -> None:
    said = {"prove_s": 1.0, "certificate": "c.json.gz"}
    assert list(idle_options("plot", said, {"prove_s"})) == ["prove_s"]
    assert list(idle_options("plot", said, {"certificate"})) == ["certificate"]
    assert list(idle_options("plot", said, said)) == ["prove_s"]
    assert first_objection("plot", said) == ("prove_s", "draws boxes of a new proof, {certificate} those of a file")


def test_beside_what_does_not_count_nothing_counts() -> None:
    """The limit of engines is one of `--crosscheck`, and that is no option of a repair by blocks."""
    said = {"method": "blocks", "points": "p.csv", "points_radius": 0.1}
    assert list(idle_options("repair", said, said)) == ["points", "points_radius"]


VALUES = {
    "method": st.sampled_from(["auto", "retrain", "finetune", "blocks"]),
    "optimiser": st.sampled_from(["lp", "pso", "cmaes"]),
    "bound": st.sampled_from(["own", "auto_lirpa"]),
}


@given(
    said=st.fixed_dictionaries({}, optional={name: st.just(1) for name in EVERY} | VALUES),
    command=st.sampled_from([*RULES]),
)
def test_what_is_left_counts(command: str, said: dict[str, Any]) -> None:
    idle = idle_options(command, said, said)
    assert first_objection(command, {name: value for name, value in said.items() if name not in idle}) is None


def test_a_command_without_rules_objects_to_nothing() -> None:
    assert first_objection("falsify", {"as_name": "N1,1"}) is None


def test_a_rule_writes_options_as_they_were_said() -> None:
    def shell(name: str, value: str) -> str:
        return f"--{name} {value}".strip()

    assert rule_in_words("is one of {method=finetune} with {optimiser=pso}", shell) == (
        "is one of --method finetune with --optimiser pso"
    )
    assert rule_in_words("say which with {suite}, {braces} kept, { } not", shell) == (
        "say which with --suite, --braces kept, { } not"
    )


def test_each_rule_names_options_only() -> None:
    """What its words name is what it is content with, or that beside which the option does not count."""
    for rules in RULES.values():
        for rule in rules:
            named: list[tuple[str, str]] = []
            rule_in_words(rule.told, lambda name, value, named=named: named.append((name, value)) or "")
            said = {name: value or "something" for name, value in named}
            assert said
            assert rule.counts(said) or rule.counts({}), rule.told
