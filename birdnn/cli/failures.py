"""Errors as messages and exit statuses; nobody but a developer who asks sees a traceback."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from birdnn.cli.options import FROM_FILE, SAID, Options, only_what_counts, require_in_range
from birdnn.cli.statuses import INTERRUPTED, OWN_FAULT, UNDECIDED, UNUSABLE
from birdnn.errors import BirdnnError, out_of_memory
from birdnn.patterns import matching_files
from birdnn.printable import printable

DEBUG: ContextVar[bool] = ContextVar("debug", default=False)
"""Does the user want tracebacks? Set by the root command's option."""


def complain(message: str) -> None:
    """One message on stderr, one line of printable text whatever it quotes."""
    typer.echo(f"birdnn: {printable(message)}", err=True)


def report_interrupted(more: str = "") -> int:
    """Say that the user stopped the command, and what becomes of its work; the exit status."""
    complain(f"interrupted{more}")
    return INTERRUPTED


def command(options: type[Options], recorded: str = "") -> Callable[[Callable[[Options], int]], Callable[..., None]]:
    """Make a command of a function that takes a frozen dataclass of its options and returns its exit status.

    The dataclass's fields become the command line's options; errors become messages and exit statuses. Where it says
    ``PANELS``, title -> names of fields, help shows these together.

    Args:
        options: the dataclass.
        recorded: what records call the command, where that is not the function's name: whose ranges and rules hold.
    """
    panels = {name: title for title, names in getattr(options, "PANELS", {}).items() for name in names}
    hints = {
        name: _hint_for_help(hint, panels.get(name))
        for name, hint in get_type_hints(options, include_extras=True).items()
        if name != "PANELS"
    }
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(options)
    ]
    placed = _with_place_for_the_network(parameters, hints)
    hints[_CONTEXT] = typer.Context
    parameters.append(inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))

    def decorate(body: Callable[[Options], int]) -> Callable[..., None]:
        def run(**values: Any) -> None:
            context = values.pop(_CONTEXT)
            if placed:
                place, said = values.pop(_PLACE), values["net"]
                if get_args(get_args(hints["net"])[0])[0] == list[str]:
                    said = said or None  # several are said by their names, and one may be by its place
                    place = None if place is None else [str(place)]
                values["net"] = _chosen_network(context, place, said)
            sources = {name: _value_source(context, name) for name in values}
            FROM_FILE.set(frozenset(name for name, source in sources.items() if source == "DEFAULT_MAP"))
            SAID.set(frozenset(name for name, source in sources.items() if source not in ("", "DEFAULT")))
            # out here a wrong use is an error of click, which prints the usage and leaves with status 2
            name = recorded or body.__name__
            require_in_range(name, values)
            # a pattern of an option that does not count may match nothing
            raise typer.Exit(_status_of_run(lambda: body(_expand_patterns(only_what_counts(name, options(**values))))))

        run.__name__, run.__doc__ = body.__name__, _join_paragraphs(body.__doc__ or "")
        run.__annotations__ = hints
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _expand_patterns(options: Options) -> Options:
    """With the files that patterns name in place of these, where an option takes several."""

    def files(value: Any) -> Any:
        several = isinstance(value, list) and all(isinstance(part, Path) for part in value)
        return matching_files(value) if several else value

    said = {field.name: files(getattr(options, field.name)) for field in dataclasses.fields(options)}
    return dataclasses.replace(options, **said)


def _hint_for_help(hint: Any, panel: str | None) -> Any:
    """An option as help shows it: in its panel, and a flag without a type, for nothing follows it."""
    if get_origin(hint) is not Annotated:
        return hint
    of, *said = get_args(hint)
    # copies: commands share these objects, and each has panels of its own
    options = [copy.copy(part) if isinstance(part, OptionInfo) else part for part in said]
    for option in options:
        if isinstance(option, OptionInfo):
            option.rich_help_panel = panel
            option.metavar = "" if of is bool else option.metavar
    return Annotated[(of, *options)]


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


_PLACE, _CONTEXT = "network", "context"


def _with_place_for_the_network(parameters: list[inspect.Parameter], hints: dict[str, Any]) -> bool:
    """Let the network be said without ``--net``, where a command needs one and says nothing else by its place."""
    said = [part for hint in hints.values() for part in getattr(hint, "__metadata__", ())]
    index = next((i for i, p in enumerate(parameters) if p.name == "net" and p.default is p.empty), None)
    if index is None or any(isinstance(part, ArgumentInfo) for part in said):
        return False
    of = list[str] if get_args(hints["net"])[0] == list[str] else Path
    hints["net"] = Annotated[(of | None, *hints["net"].__metadata__)]
    parameters[index] = parameters[index].replace(default=None, annotation=hints["net"])
    place = typer.Argument(metavar="NETWORK", help="The network, as --net says it.", show_default=False)
    hints[_PLACE] = Annotated[Path | None, place]
    parameters.append(inspect.Parameter(_PLACE, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints[_PLACE]))
    return True


def _value_source(context: Any, name: str) -> str:
    """Where the value of an option comes from, by click's name for it: ``COMMANDLINE``, ``DEFAULT_MAP``, ..."""
    source = context.get_parameter_source(name)
    return "" if source is None else str(source.name)


def _chosen_network(context: Any, placed: Any, said: Any) -> Any:
    """The network of the command line, or several; what a configuration file says of it counts least."""
    # twice on the command line is a mistake; beside a file of options the place has the last word
    if placed is not None and said is not None and _value_source(context, "net") == "COMMANDLINE":
        both = " and ".join(str(each) for each in (*_as_list(placed), *_as_list(said)))
        raise typer.BadParameter(f"the network is said twice: {both}", param_hint="--net")
    found = placed or said
    if found is None:
        raise typer.BadParameter("is missing: which network?", param_hint="--net")
    return found


def _join_paragraphs(text: str) -> str:
    """A docstring whose lines are joined within paragraphs: the terminal breaks them, not the source."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _status_of_run(body: Callable[[], int]) -> int:
    try:
        return body()
    except BirdnnError as error:
        complain(f"error: {error}")
        if DEBUG.get():
            traceback.print_exc()
        return error.exit_status
    except KeyboardInterrupt:
        return report_interrupted()
    # typer's own ways to end a command, which are Exceptions too
    except (typer.Exit, typer.BadParameter):
        raise
    except Exception as error:  # noqa: BLE001 - the last place that can still say something useful
        if out_of_memory(error):
            return _no_memory()
        return UNUSABLE if refused_by_system(error) else report_own_fault(error)


def _no_memory() -> int:
    """Say that memory ran out: nothing is decided, and what was finished before is on disk."""
    complain("error: memory ran out; nothing is decided, and files finished so far are kept")
    complain("Free some memory or ask for less at once: fewer properties or --samples, a smaller network.")
    if DEBUG.get():
        traceback.print_exc()
    return UNDECIDED


def refused_by_system(error: Exception) -> bool:
    """Did the system refuse a file by name: too long a name, no right to it, a full disk? Says so, if it did."""
    # without a name it is nothing that the user could put right
    if not isinstance(error, OSError) or error.filename is None or error.strerror is None:
        return False
    complain(f"error: {os.fsdecode(error.filename)}: {error.strerror}")
    if DEBUG.get():
        traceback.print_exc()
    return True


def report_own_fault(error: Exception) -> int:
    """Say what happened and where the traceback of the error that is being handled is; the exit status."""
    complain(f"internal error: {type(error).__name__}: {str(error)[:300] or 'no message'}")
    if DEBUG.get():
        traceback.print_exc()
        return OWN_FAULT
    where = _saved_traceback()
    if where is None:
        traceback.print_exc()
    saved = f" The traceback is in {where}." if where else ""
    complain(f"This is a defect of birdnn, not of your files.{saved}")
    complain("Please report it with the traceback, the command line and, if you can share them, the inputs.")
    return OWN_FAULT


def _saved_traceback() -> Path | None:
    try:
        handle, name = tempfile.mkstemp(prefix="birdnn-", suffix=".traceback.txt")
        # arguments need not be UTF-8: names of files are bytes
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{' '.join(sys.argv)}\n{traceback.format_exc()}")
    except OSError:
        return None
    return Path(name)
