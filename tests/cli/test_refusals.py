"""What the command line refuses, the Python calls refuse, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

import birdnn
from birdnn.api import asking
from birdnn.cli.app import app
from birdnn.cli.bench import BenchOptions
from birdnn.cli.compare import CompareOptions
from birdnn.cli.config import _leaf_commands
from birdnn.cli.estimate import EstimateOptions
from birdnn.cli.falsify import FalsifyOptions
from birdnn.cli.fetch import FetchOptions
from birdnn.cli.localize import LocalizeOptions
from birdnn.cli.options import flag_of_option, recorded_name
from birdnn.cli.plot import LineOptions, MapOptions
from birdnn.cli.property import MakeOptions, RelateOptions
from birdnn.cli.repair import RepairOptions
from birdnn.cli.verify import VerifyOptions
from birdnn.pipeline import repairing
from birdnn.records import (
    BlockLocalizeRequest,
    BlockRequest,
    CompareRequest,
    EstimateRequest,
    FetchRequest,
    LocalizeRequest,
    PlotRequest,
    PropertyRepair,
    RelationRequest,
    RepairRequest,
    RuleRequest,
    VerifySettings,
)
from birdnn.records.options import RULES, first_objection
from tests.cli.conftest import Call
from tests.report.outcomes import repair_outcome

SAID = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["auto", "retrain", "finetune"]),
        "optimiser": st.sampled_from(["lp", "bias", "pso", "cmaes"]),
        "top": st.integers(1, 20),
        "alpha": st.sampled_from([0.0, 0.3, 1.0]),
        "pairing": st.sampled_from(["input", "output", "projection"]),
        "prefer": st.sampled_from(["decisions", "outputs"]),
        "suite": st.just("acasxu"),
        "as_name": st.just("N1,1"),
        "points_radius": st.just(0.2),
        "points_tolerance": st.just(0.1),
        "crosscheck": st.just(("onnxruntime",)),
        "crosscheck_timeout_s": st.just(5.0),
        "min_agreement": st.sampled_from([0.0, 0.9]),
        "units": st.sampled_from(["normalised", "raw"]),
        "samples": st.integers(0, 5),
        "no_ties": st.booleans(),
    },
)


def typed(said: dict[str, Any]) -> list[str]:
    """The same as the command line says it."""
    words: list[str] = []
    for name, value in said.items():
        if isinstance(value, bool):
            words += [flag_of_option(name)] if value else []
        else:
            words += [flag_of_option(name), ",".join(value) if isinstance(value, tuple) else str(value)]
    return words


@settings(max_examples=60)
@given(said=SAID)
def test_both_refuse_the_same(
    call: Call, net: Path, holds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    seen: list[RepairRequest] = []

    def stand_in(request: RepairRequest, **_: Any) -> PropertyRepair:
        seen.append(request)
        return repair_outcome(request=request)

    for module in (repairing, asking):  # both loaded before: what is put back is their own
        monkeypatch.setattr(module, "repair_files", stand_in)
    typed_in = call("repair", net, "--prop", holds, *typed(said))
    try:
        birdnn.repair(net, holds, out=tmp_path / "out", **said)
        told = ""
    except birdnn.InputError as error:
        told = str(error)
    assert bool(told) == (typed_in.status == 2), (said, told, typed_in.err)
    if not told:
        shell, python = seen
        for name in said:
            assert getattr(shell, name) == getattr(python, name), name
    assert (first_objection("repair", said) is not None) == bool(told)


COMMANDS: dict[str, tuple[type, Sequence[type]]] = {
    "verify": (VerifyOptions, [VerifySettings]),
    "falsify": (FalsifyOptions, [VerifySettings]),
    "estimate": (EstimateOptions, [EstimateRequest]),
    "localize": (LocalizeOptions, [LocalizeRequest, BlockLocalizeRequest]),
    "repair": (RepairOptions, [RepairRequest, BlockRequest]),
    "compare": (CompareOptions, [CompareRequest]),
    "plot": (MapOptions, [PlotRequest]),
    "plot line": (LineOptions, [PlotRequest]),
    "rule": (MakeOptions, [RuleRequest]),
    "relate": (RelateOptions, [RelationRequest]),
    "fetch": (FetchOptions, [FetchRequest]),
}
"""Command -> what it takes, and the records that its command line becomes."""

SHOWN = {"json", "quiet", "verbose", "html", "picture", "counterexample"}
"""Options of the command line alone: what is shown and written."""

BY_HAND = {
    "verify": {"net", "prop"},
    "falsify": {"net", "prop"},
    "localize": {"blocks", "block"},
    "repair": {"repair_block"},
    "plot": {"out"},
    "plot line": {"out"},
    "rule": {"out", "to"},
    "relate": {"out"},
}
"""Those that a command reads by itself."""


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_of_the_command_line_is_lost(command: str) -> None:
    """What no record takes would be read, and would change nothing."""
    options, records = COMMANDS[command]
    known = {entry.name for record in records for entry in fields(record)}
    lost = {e.name for e in fields(options) if e.name not in known and recorded_name(e.name) not in known}
    assert lost == BY_HAND.get(command, set()) | SHOWN & {entry.name for entry in fields(options)}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_has_the_defaults_of_the_record(command: str) -> None:
    options, records = COMMANDS[command]
    plain = {e.name: e.default for record in records for e in fields(record)}
    for entry in fields(options):
        recorded = entry.name if entry.name in plain else recorded_name(entry.name)
        if recorded in plain and entry.default not in (MISSING, None):
            assert entry.default == plain[recorded], entry.name


def test_every_rule_is_about_options_that_there_are() -> None:
    options = {command: found for command, (found, _) in COMMANDS.items()} | {"bench": BenchOptions}
    for command, rules in RULES.items():
        known = {recorded_name(entry.name) for entry in fields(options[command])}
        for rule in rules:
            assert known >= set(rule.options)
            asked = Asked()
            rule.counts(asked)
            assert known >= asked.names, "a rule looks for an option that no command line hands over"


class Asked(Mapping[str, Any]):
    """What was said, nothing, and which options a rule asked for."""

    def __init__(self) -> None:
        self.names = set[str]()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_every_rule_names_options_as_they_are_typed() -> None:
    """``--as-many`` was refused, which is called ``--as-many-as-possible``."""
    leaves = dict(_leaf_commands(typer.main.get_command(app)))
    places = {"rule": "property make", "relate": "property relate", "plot": "plot map"}
    for command, rules in RULES.items():
        typed = {word for parameter in leaves[places.get(command, command)].params for word in parameter.opts}
        for rule in rules:
            assert {flag_of_option(name) for name in rule.options} <= typed


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["verify", "--crosscheck-timeout", "60"], "--crosscheck-timeout"),
        (["repair", "--points-radius", "0.01"], "--points-radius"),
        (["repair", "--optimiser", "lp"], "--optimiser"),
        (["repair", "--formula", "ochiai"], "--formula"),
        (["localize", "--radius", "0"], "--radius"),
    ],
)
def test_what_is_said_counts_as_said_whatever_holds_without_it(
    call: Call, net: Path, holds: Path, words: list[str], name: str
) -> None:
    """An option with the value of its default was taken for one that nobody said."""
    told = call(words[0], net, "--prop", holds, *words[1:])
    assert told.status == 2
    assert f"Invalid value for {name}" in told.err
