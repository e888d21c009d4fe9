"""Which options count beside which others: what the command line refuses, the Python calls refuse, too.

An option that would change nothing is refused wherever it is said, for whoever says it expects that it does. A rule
names options as requests do; in its words ``{method}`` stands for how the option is written where it was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Said = Mapping[str, Any]
"""Option -> value, of those that were said: an absent one, None, False and an empty list say nothing."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Options that count only where others say so.

    Attributes:
        options: each of them.
        counts: do they, beside what was said?
        told: why not.
    """

    options: Sequence[str]
    counts: Callable[[Said], bool]
    told: str


def _method_is_one_of(*names: str) -> Callable[[Said], bool]:
    # Who says no method has the default, `auto`.
    return lambda said: said.get("method", "auto") in names


def _is_searched(said: Said) -> bool:
    return said.get("method") == "finetune" and said.get("optimiser") in ("pso", "cmaes")


def _is_any_said(*names: str) -> Callable[[Said], bool]:
    return lambda said: any(name in said for name in names)


def _is_none_said(*names: str) -> Callable[[Said], bool]:
    return lambda said: not any(name in said for name in names)


_SCOPE = Needs(["as_name"], _is_any_said("suite"), "names a network of a suite: say which with {suite}")
_ENGINES = Needs(
    ["crosscheck_timeout_s"], _is_any_said("crosscheck"), "is the limit of engines: say which with {crosscheck}"
)
_BY_PROPERTIES = "auto", "retrain", "finetune"
_OF_PROPERTIES = (
    *("min_agreement", "max_mae", "max_change", "max_difference", "no_ties", "as_many", "resume", "ray"),
    *("units", "semantics", "samples", "crosscheck_timeout_s", "as_name", "points_tolerance", "points_radius"),
)
"""Options of `repair` that count only where properties are repaired."""

RULES: Mapping[str, Sequence[Needs]] = {
    "verify": [
        Needs(
            ["ray"], lambda said: said.get("bound", "own") == "own", "shares proofs by our own bounds only, {bound=own}"
        ),
        _ENGINES,
    ],
    "estimate": [_SCOPE],
    "localize": [
        Needs(
            ["data", "block", "formula", "radius", "examples", "device"],
            _is_any_said("blocks"),
            "is an option of {blocks}",
        ),
        Needs(
            ["props", "suite", "as_name"],
            _is_none_said("blocks"),
            "{blocks} judges by examples, {data}; properties are for neurons",
        ),
        _SCOPE,
    ],
    "compare": [_SCOPE],
    "plot": [
        Needs(["prove_s"], _is_none_said("certificate"), "draws boxes of a new proof, {certificate} those of a file"),
        Needs(["certificate"], _is_none_said("prove_s"), "draws boxes of a file, {prove_s} those of a new proof"),
        _SCOPE,
    ],
    "bench": [
        Needs(["warm"], _is_none_said("as_repairs"), "is not for {as_repairs}: repairs run in a process each"),
        Needs(["ray"], _is_none_said("warm"), "is for other machines, not for {warm}"),
        Needs(["warm"], _is_none_said("ray"), "is for processes of this machine, not for {ray}"),
        Needs(["keep", "method"], _is_any_said("as_repairs"), "is an option of {as_repairs}"),
    ],
    "rule": [_SCOPE],
    "relate": [_SCOPE],
    "repair": [
        # Before the rules of single methods: of a repair by blocks this is the reason, whichever option is meant.
        Needs(
            ["props", "keep", "points", "suite", "domain", "crosscheck"],
            _method_is_one_of(*_BY_PROPERTIES),
            "{method=blocks} learns from examples; repair first, then verify the repaired network",
        ),
        Needs(_OF_PROPERTIES, _method_is_one_of(*_BY_PROPERTIES), "is no option of {method=blocks}"),
        Needs(
            ["val", "block", "repair_block", "formula", "radius", "compare", "epochs"],
            _method_is_one_of("blocks"),
            "is an option of {method=blocks}",
        ),
        Needs(["prefer"], _method_is_one_of("auto"), "is an option of {method=auto}"),
        Needs(["optimiser"], _method_is_one_of("finetune"), "is an option of {method=finetune}"),
        Needs(
            ["top", "alpha"],
            _is_searched,
            "is an option of {method=finetune} with {optimiser=pso} or {optimiser=cmaes}",
        ),
        Needs(["pairing"], _method_is_one_of("auto", "retrain"), "is an option of {method=retrain}"),
        Needs(["points_tolerance", "points_radius"], _is_any_said("points"), "is an option of {points}"),
        _SCOPE,
        _ENGINES,
    ],
}
"""Command -> its rules; the first that is broken is told."""


def idle_options(command: str, said: Said, among: Container[str]) -> Mapping[str, str]:
    """The options that would change nothing beside the others.

    Args:
        command: which command.
        said: its options.
        among: which of them may be idle; once one is, the others are judged as if it had not been said.

    Returns:
        Each of them -> why, in the words of the rule, in the order of the rules.
    """
    # By identity, not by truth: 0 and 0.0 were said.
    spoken = {name: value for name, value in said.items() if not (value is None or value is False or value in ((), []))}
    idle: dict[str, str] = {}
    for rule in RULES.get(command, ()):
        for option in rule.options:
            if option in spoken and option in among and not rule.counts(spoken):
                del spoken[option]
                idle[option] = rule.told
    return idle


def first_objection(command: str, said: Said) -> tuple[str, str] | None:
    """The first option that would change nothing beside the others, and why in words; None where each one counts."""
    return next(iter(idle_options(command, said, said).items()), None)


def rule_in_words(told: str, write: Callable[[str, str], str]) -> str:
    """The words of a rule, each option written by ``write(name, value)``; the value is empty where none is meant."""
    # Not `str.format`: the shell writes `--method auto` and Python `method="auto"`, so a field has a value as well.
    return re.sub(r"\{(\w+)=?(\w*)\}", lambda found: write(found[1], found[2]), told)
