"""How help is shown: a flag has no type, and that goes for ``--help`` as well. What is said of a misspelt value."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from birdnn.cli.config import did_you_mean


class Command(TyperCommand):
    """A command."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """What the command line says; of a value that is no choice, the choice that was perhaps meant."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _choice_in_our_words(error.message)
            raise

    def get_help_option(self, ctx: Any) -> Any:
        """The option ``--help``, which nothing follows."""
        return _without_type(super().get_help_option(ctx))


class Group(TyperGroup):
    """A command that has commands."""

    def get_params(self, ctx: Any) -> Any:
        """Its options; those that install completion are typer's own."""
        return [_without_type(param) if param.name in _OF_TYPER else param for param in super().get_params(ctx)]

    def get_help_option(self, ctx: Any) -> Any:
        """The option ``--help``, which nothing follows."""
        return _without_type(super().get_help_option(ctx))


_NO_CHOICE = re.compile(r"(?:Value error, )?('(?P<said>.*)' is not one of (?P<known>'.*'))\.?")
"""How typer refuses what is no choice. Some versions put pydantic's kind of error before it; all have only the text."""


def _choice_in_our_words(message: str) -> str:
    found = _NO_CHOICE.fullmatch(message)
    if not found:
        return message
    return found[1] + did_you_mean(found["said"], re.findall("'([^']*)'", found["known"]))


_OF_TYPER = "install_completion", "show_completion"


def _without_type(option: Any) -> Any:
    if option is not None:
        option.metavar = ""
    return option
