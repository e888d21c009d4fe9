"""Options that commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import MISSING, fields, replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from birdnn.cli.config import USED, did_you_mean
from birdnn.errors import FormatError, OutputError
from birdnn.patterns import named_network
from birdnn.records import AskedDevice, Units
from birdnn.records.options import first_objection, idle_options, rule_in_words
from birdnn.records.ranges import out_of_range

Options = TypeVar("Options", bound=Any)
"""A command's options: a frozen dataclass, see `birdnn.cli.failures.command`."""

PICTURES = (".svg", ".png")

FROM_FILE: ContextVar[frozenset[str]] = ContextVar("from_file", default=frozenset())
"""Fields of the running command's options that `birdnn.toml` says, and the command line does not."""

SAID: ContextVar[frozenset[str]] = ContextVar("said", default=frozenset())
"""Fields of the running command's options that somebody said: the command line, or `FROM_FILE`."""


def require_input_files(options: object) -> None:
    """See that there are the files that ``options`` name: who misspells one is told before anything heavy is loaded.

    Raises:
        FormatError: there is no such file.
    """
    for name, hint in get_type_hints(type(options), include_extras=True).items():
        if TO_READ in getattr(hint, "__metadata__", ()):
            value = getattr(options, name)
            for path in value if isinstance(value, list) else [value]:
                if path is not None:
                    _require_file(path)


def _require_file(path: Path) -> None:
    if not path.exists():
        raise FormatError(str(path), "", f"no such file{_similar_file_hint(path)}")


def parse_networks(said: Sequence[str]) -> Path | dict[str, Path]:
    """What ``--net`` says: the file of the one network, or files by the names that a query has for its networks.

    Raises:
        FormatError: there is no such file.
        BadParameter: one of several has no name, or a name stands there twice.
    """
    pairs = [named_network(text) for text in said]
    for _, path in pairs:
        _require_file(path)
    if len(pairs) == 1 and not pairs[0][0]:
        return pairs[0][1]
    names = [name for name, _ in pairs]
    if not all(names):
        told = "each of several networks needs the name that the query has for it: --net NAME=FILE"
        raise typer.BadParameter(told, param_hint="--net")
    if twice := [name for name in names if names.count(name) > 1]:
        raise typer.BadParameter(f"{twice[0]} is named twice", param_hint="--net")
    return dict(pairs)


def _similar_file_hint(path: Path) -> str:
    """What lies there under nearly the same name, as a question."""
    try:
        with os.scandir(path.parent) as entries:
            # difflib compares the name with each of them, slowly; and a folder may hold millions
            names = [entry.name for entry in islice(entries, 10_000)]
    except OSError:
        return ""
    return did_you_mean(path.name, names)


TO_READ = "to read"
"""Beside the type of an option whose files must be there: see `require_input_files`."""

Net = Annotated[
    Path, typer.Option("--net", metavar="FILE", help="The network: .onnx or .nnet, also with .gz."), TO_READ
]
Nets = Annotated[
    list[str],
    typer.Option(
        "--net",
        metavar="FILE",
        help="The network: .onnx or .nnet, also with .gz. Of a query about several networks NAME=FILE, for each.",
    ),
]
Props = Annotated[
    list[Path],
    typer.Option(
        "--prop",
        metavar="FILE",
        help="A property: .vnnlib, also with .gz, or a pattern: 'dir/*.vnnlib'. May be repeated.",
    ),
    TO_READ,
]
SUITES = "acasxu, hcas, vcas"
"""Those that are installed, as help names them."""

Suite = Annotated[
    str | None,
    typer.Option(
        "--suite", metavar="TOML", help=f"All properties that apply to the network: a suite's file, or one of {SUITES}."
    ),
]
KnowingSuite = Annotated[
    str | None,
    typer.Option(
        "--suite",
        metavar="TOML",
        help="What the network's inputs and outputs are called and how they are scaled: a suite's file, or one of "
        f"{SUITES}. Default: one of these that knows the network by its weights.",
    ),
]
AsName = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Which network of the suite this is, e.g. N2,9.")
]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="S", help="Seconds for everything together. Default: none."),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="DIR",
        help="Keep what long proofs have reached there, each minute and at a limit, and go on from what is there.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Have large proofs shared by the nodes of a Ray cluster: HOST:PORT, or auto for the one of this machine.",
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory",
        metavar="GIB",
        help="GiB that open boxes and a recorded proof may take. Default: 4.",
    ),
]


DEVICE_HELP = "Where to compute. auto: on a graphics device where one is there and the network is large, else the CPU."

Device = Annotated[AskedDevice, typer.Option("--device", help=DEVICE_HELP)]

PropertyUnits = Annotated[Units, typer.Option("--units", help="What the property files speak; see birdnn --help.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of every random draw; runs repeat with it.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result for programs there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="No progress, no table: one line of output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show every figure and what was tried, too.")]
Counterexample = Annotated[
    Path | None,
    typer.Option(
        "--counterexample", metavar="FILE", help="Where violated: write the first counterexample, as VNN-COMP does."
    ),
]


Crosscheck = Annotated[
    str | None,
    typer.Option(
        "--crosscheck",
        metavar="ENGINES",
        help="Ask others the same question: onnxruntime, auto_lirpa, marabou, separated by commas. A contradiction "
        "ends in status 6; birdnn doctor says what is installed.",
    ),
]
CrosscheckTimeout = Annotated[
    float,
    typer.Option("--crosscheck-timeout", metavar="S", help="Seconds for each engine and property."),
]


def parse_engines(said: str | None) -> tuple[str, ...]:
    """The engines of ``--crosscheck``, each once, in the order given."""
    from birdnn.crosscheck.engines import NAMES

    names = tuple(dict.fromkeys(name.strip().lower() for name in (said or "").split(",")))
    if said is None:
        return ()
    for name in names:
        if name not in NAMES:
            told = f"there is no engine {name!r}; known: {', '.join(NAMES)}"
            raise typer.BadParameter(told, param_hint="--crosscheck")
    return names


Certificate = Annotated[
    Path | None,
    typer.Option(
        "--certificate",
        metavar="FILE",
        help="Write what was decided as a certificate for birdnn check, and check it: NAME.certificate.json.gz.",
    ),
]


_FLAGS = {
    "as_name": "--as",
    "as_many": "--as-many-as-possible",
    "as_repairs": "--repair",
    "props": "--prop",
    "timeout_s": "--timeout",
    "crosscheck_timeout_s": "--crosscheck-timeout",
    "memory_gib": "--memory",
    "bound_s": "--bound",
    "prove_s": "--prove",
}
"""Options, as records name them, that are called otherwise on the command line."""

# of `verify` it is the name of a method, of `compare` seconds, whose field is called as they are recorded
_RECORDED = {typed[2:].replace("-", "_"): name for name, typed in _FLAGS.items() if name != "bound_s"}


def flag_of_option(name: str) -> str:
    """How an option is typed."""
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def recorded_name(field: str) -> str:
    """How records name an option, from its field in a command's options."""
    return _RECORDED.get(field, field)


def require_in_range(command: str, said: Mapping[str, Any]) -> None:
    """Refuse a number that an option does not take, in the words of the Python call; ``said``: field -> value.

    Raises:
        typer.BadParameter: there is one.
    """
    named = {recorded_name(field): value for field, value in said.items()}
    found = out_of_range(command, named)
    if found is not None:
        raise typer.BadParameter(f"{found[1]}, not {named[found[0]]:g}", param_hint=flag_of_option(found[0]))


def only_what_counts(command: str, options: Options) -> Options:
    """The options without those that would change nothing beside the others; who said such a one is told.

    What `birdnn.toml` says holds for each call in its folder, and is passed over in those where it does not count.

    Raises:
        typer.BadParameter: the command line says one, which the Python call refuses as well.
    """
    values = {recorded_name(name): getattr(options, name) for name in SAID.get()}
    idle = idle_options(command, values, {recorded_name(name) for name in FROM_FILE.get()})
    found = first_objection(command, {name: value for name, value in values.items() if name not in idle})
    if found is not None:
        told = rule_in_words(found[1], lambda name, value: f"{flag_of_option(name)} {value}".rstrip())
        raise typer.BadParameter(told, param_hint=flag_of_option(found[0]))
    unsaid = {entry.name: entry.default for entry in fields(options) if recorded_name(entry.name) in idle}
    return replace(options, **unsaid)


def defaults_of(record: type) -> Any:
    """What a request's fields are where nobody says them, by name: the defaults of the command line."""
    return SimpleNamespace(**{entry.name: entry.default for entry in fields(record) if entry.default is not MISSING})


def request_of(record: type[Options], options: object, **more: object) -> Options:
    """What the command line asks for.

    Args:
        record: what a command's request is: each field is what the option of its name says, and stays what it is
            without one where that says nothing.
        options: the command's options.
        more: fields of which no option says the value as it is.
    """
    known = {entry.name for entry in fields(record)}
    found: dict[str, Any] = {"command": command_line()} if "command" in known else {}
    for entry in fields(options):  # type: ignore[arg-type]
        name = entry.name if entry.name in known else recorded_name(entry.name)
        value = getattr(options, entry.name)
        if name in known and value is not None:
            found[name] = tuple(value) if isinstance(value, list) else value
    return record(**found | more)  # type: ignore[no-any-return]


def require_picture(out: Path) -> None:
    """Refuse a file that no picture can be written as."""
    if out.suffix.lower() not in PICTURES:
        raise OutputError(str(out), f"a picture is written as {' or '.join(PICTURES)}; name such a file")


def command_line() -> tuple[str, ...]:
    """The command as typed, for the record; with the file that said further options."""
    used = USED.get()
    said = () if used is None or "--config" in sys.argv else ("--config", str(used[0]))
    return ("birdnn", *said, *sys.argv[1:])
