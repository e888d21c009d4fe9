"""Numbers that options take: the same in the shell and in Python, and each number has its range."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import birdnn
from birdnn.api.options import OPTIONS, checked_options
from birdnn.cli.app import app
from birdnn.cli.options import recorded_name
from birdnn.records.ranges import _RANGES, out_of_range, range_of
from tests.cli.conftest import Call


def _commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(_commands(typer.main.get_command(app)))
SHELL = [
    (words, option.name)
    for words, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and option.type_descriptor.annotation in (float, int)
]
"""Command, option: of all whose values are numbers."""


def _kinds(hint: Any) -> set[type]:
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    return {hint} if isinstance(hint, type) else {kind for part in get_args(hint) for kind in _kinds(part)}


PYTHON = [
    (kind, name)
    for kind, options in OPTIONS.items()
    for name, hint in get_type_hints(options).items()
    if _kinds(hint) & {int, float}
]


@pytest.mark.parametrize(("words", "option"), SHELL)
def test_the_shell_says_what_is_expected(words: tuple[str, ...], option: str, call: Call) -> None:
    """Before any file is looked at, of every option that is a number."""
    known = range_of(words[-1], recorded_name(option))
    assert known is not None
    command = COMMANDS[words]
    typed = next(of.opts[0] for of in command.params if of.name == option)
    places = ["x" for of in command.params if of.param_type_name == "argument" and of.required]
    needed = [
        word for of in command.params if of.param_type_name == "option" and of.required for word in (of.opts[0], "x")
    ]
    net = ["--net", "x"] if any("--net" in of.opts for of in command.params) and "--net" not in needed else []
    done = call(*words, *places, *needed, *net, f"{typed}=-1")
    assert done.status == 2
    told = " ".join(done.err.replace("│", " ").split())
    assert typed in told
    assert f"{known.words} is expected, not -1" in told


@pytest.mark.parametrize(("kind", "option"), PYTHON)
def test_each_number_of_the_calls_has_a_range(kind: str, option: str) -> None:
    assert range_of(kind, option) is not None


def test_each_range_is_of_an_option() -> None:
    used = {recorded_name(option) for _, option in SHELL} | {option for _, option in PYTHON}
    assert set(_RANGES) == used


VALUES = -math.inf, -1.0, 0.0, 1e-3, 0.5, 1.0, 2.0, 2.0**63, math.inf, math.nan


@given(place=st.sampled_from(PYTHON), value=st.sampled_from(VALUES))
def test_a_call_refuses_what_the_shell_refuses(place: tuple[str, str], value: float) -> None:
    kind, option = place
    if int in _kinds(get_type_hints(OPTIONS[kind])[option]):  # type: ignore[index]
        if not math.isfinite(value) or value % 1:
            return  # no whole number, which both refuse as they read it
        value = int(value)
    beside = {"optimiser": "pso", "method": "finetune"} if option in ("top", "alpha") and kind == "repair" else {}
    beside |= {"crosscheck": ("onnxruntime",)} if option == "crosscheck_timeout_s" else {}
    points = {"points": ("p",)} if option.startswith("points_") else {}
    said = {option: value, **beside}
    if out_of_range(kind, {option: value}) is None:
        checked_options(kind, said, **points)  # type: ignore[arg-type]
    else:
        with pytest.raises(birdnn.InputError, match=f"{option} is .* is expected"):
            checked_options(kind, said, **points)  # type: ignore[arg-type]


def test_the_checker_asks_for_a_leaf_at_least() -> None:
    with pytest.raises(birdnn.InputError, match="sample is 0; a whole number of at least 1 is expected"):
        birdnn.check("net.onnx", "p.vnnlib", "c.json.gz", sample=0)
