"""Which options count beside which others: what the command line refuses, the Python calls refuse, too.

An option that would change nothing is refused wherever it is said, for whoever says it expects that it does. A rule
names options as requests do; in its words ``{method}`` stands for how the option is written where it was said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
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


_SCOPE = Needs(["as_name"], _is_any_said("suite"), "names a network of a suite: say which with {suite}")
_ENGINES = Needs(
    ["crosscheck_timeout_s"], _is_any_said("crosscheck"), "is the limit of engines: say which with {crosscheck}"
)
_BY_PROPERTIES = "auto", "retrain", "finetune"
_OF_PROPERTIES = (
    *("min_agreement", "max_mae", "max_change", "max_difference", "no_ties", "as_many", "resume", "ray"),
    *("units", "semantics", "samples", "crosscheck_timeout_s", "as_name"),
)
"""Options of `repair` that count only where properties are repaired."""

RULES: Mapping[str, Sequence[Needs]] = {
    "verify": [_ENGINES],
    "estimate": [_SCOPE],
    "localize": [
        Needs(
            ["data", "block", "formula", "radius", "examples", "device"],
            _is_any_said("blocks"),
            "is an option of {blocks}",
        ),
        Needs(
            ["props", "suite", "as_name"],
            lambda said: "blocks" not in said,
            "{blocks} judges by examples, {data}; properties are for neurons",
        ),
        _SCOPE,
    ],
    "compare": [_SCOPE],
    "plot": [_SCOPE],
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


def first_objection(command: str, said: Said, excused: Collection[str] = ()) -> tuple[str, str] | None:
    """The first option that would change nothing, and why in words; None where each one counts.

    Args:
        command: which command.
        said: its options.
        excused: those that were said for several commands at once: they count where they can.
    """
    # By identity, not by truth: 0 and 0.0 were said.
    spoken = {name: value for name, value in said.items() if not (value is None or value is False or value in ((), []))}
    for rule in RULES.get(command, ()):
        for option in rule.options:
            if option in spoken and option not in excused and not rule.counts(spoken):
                return option, rule.told
    return None


def rule_in_words(told: str, write: Callable[[str, str], str]) -> str:
    """The words of a rule, each option written by ``write(name, value)``; the value is empty where none is meant."""
    # Not `str.format`: the shell writes `--method auto` and Python `method="auto"`, so a field has a value as well.
    return re.sub(r"\{(\w+)=?(\w*)\}", lambda found: write(found[1], found[2]), told)
