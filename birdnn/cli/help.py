"""How help is shown: a flag has no type, and that goes for ``--help`` as well."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command."""

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


_OF_TYPER = "install_completion", "show_completion"


def _without_type(option: Any) -> Any:
    if option is not None:
        option.metavar = ""
    return option
