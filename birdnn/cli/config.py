"""``birdnn.toml``: options that are said once, for repeated work and for continuous integration.

    net = "safety/controller.onnx"
    prop = ["safety/prop_1.vnnlib", "safety/prop_8.vnnlib"]
    timeout = 600

    [repair]
    keep = ["safety/prop_3.vnnlib"]
    domain = "property"

A key is an option without its dashes. One above all tables holds for every command that has such an option, one in a
command's table for that command; what the command line says comes first. Files are named from where `birdnn.toml` lies.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeAlias

from birdnn.errors import FormatError
from birdnn.patterns import named_network, network_word

NAME = "birdnn.toml"
MAX_BYTES = 1 << 20

Command: TypeAlias = Any
Parameter: TypeAlias = Any
"""Those of click, which some versions of typer have and others bring: they are taken as they come."""

_FILES = ("FILE", "DIR", "CSV", "NPZ")
"""What stands for a file in help."""

USED: ContextVar[tuple[Path, Mapping[str, Any]] | None] = ContextVar("used", default=None)
"""The file whose options hold, and what it says, as `options_from_file` has it."""


def options_from_file(path: Path, root: Command) -> dict[str, Any]:
    """What a file says, as click takes it: command -> parameter -> value.

    Raises:
        FormatError: it cannot be read, or a key is no option of a command.
    """
    said = _read_toml(path)
    if not said:
        return {}
    # what is not in a table is said for all commands that know it; a key that none knows is misspelt
    shared = {key: value for key, value in said.items() if not isinstance(value, dict)}
    commands = dict(_leaf_commands(root))
    everywhere = {name for command in commands.values() for name in _options_of_command(command)}
    for key in shared:
        _require_known(path, key, key, everywhere, "no command has such an option")
        if key == "out":
            raise FormatError(str(path), f"key {key}", "is another file for each command: say it in the table of one")
    tables = {name.split()[0] for name in commands}
    for key, value in said.items():
        if isinstance(value, dict):
            _require_known(path, key, key, tables, "there is no such command")
            _require_sub_commands(path, key, value, commands)
    found: dict[str, Any] = {}
    for name, command in commands.items():
        mine = _table_of_command(said, name)
        known = _options_of_command(command)
        for key, value in mine.items():
            if not isinstance(value, dict):
                _require_known(path, f"{name.replace(' ', '.')}.{key}", key, known, f"birdnn {name} has no such option")
        # click nests the defaults of sub-commands in those of their command
        place = found
        for word in name.split()[:-1]:
            place = place.setdefault(word, {})
        fitting = {key: value for key, value in shared.items() if key in known and _fits(path, known[key], value)}
        both = {**fitting, **mine}
        place[name.split()[-1]] = {
            known[key].name: _value_as_typed(path, known[key], value) for key, value in both.items() if key in known
        }
    return found


def _require_sub_commands(path: Path, name: str, table: Mapping[str, Any], commands: Iterable[str]) -> None:
    """See that a table of a command with sub-commands holds theirs, and nothing that none of them would see."""
    known = {words[1] for command in commands if (words := command.split())[0] == name and len(words) > 1}
    for key in table if known else ():
        _require_known(
            path, f"{name}.{key}", key, known, f"the sub-commands of birdnn {name} are {', '.join(sorted(known))}"
        )


def _read_toml(path: Path) -> Mapping[str, Any]:
    import tomllib  # for those who have such a file

    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(str(path), "", f"cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise FormatError(str(path), "", f"is larger than {MAX_BYTES >> 20} MiB; a few options are expected")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(str(path), "", f"no TOML: {error}") from None


def _leaf_commands(group: Command, before: str = "") -> Iterator[tuple[str, Command]]:
    """``"verify"``, ``"plot map"``, ... with their commands."""
    # by attribute and not by class: which click there is depends on typer
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaf_commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _options_of_command(command: Command) -> dict[str, Parameter]:
    """Option without its dashes -> parameter."""
    found: dict[str, Parameter] = {}
    for parameter in command.params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            # these are of one call, not of a folder
            if option.startswith("--") and option not in ("--help", "--json", "--quiet"):
                found[option[2:]] = parameter
    return found


def _table_of_command(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table: Any = said
    for word in name.split():
        table = table.get(word, {})
        if not isinstance(table, dict):
            return {}
    return table  # type: ignore[no-any-return]


def _require_known(path: Path, place: str, key: str, known: Iterable[str], problem: str) -> None:
    names = sorted(known)
    if key not in names:
        raise FormatError(str(path), f"key {place}", f"{problem}{did_you_mean(key, names)}")


def _value_as_typed(path: Path, parameter: Parameter, value: Any) -> Any:
    """A value as the command line would have it: files from the folder of `path`."""
    values = value if isinstance(value, list) else [value]
    told = str(parameter.metavar or "")
    if told in _FILES:
        values = [
            _from_folder(path.parent, str(each), named=parameter.name == "net" and bool(parameter.multiple))
            for each in values
        ]
    elif any(word in told for word in (*_FILES, "TOML")):  # or something else than a file
        values = [str(there) if (there := path.parent / str(each)).is_file() else each for each in values]
    if not _takes_value(parameter, value):
        raise FormatError(str(path), f"key {parameter.opts[0][2:]}", "takes one value, not a list")
    return values if parameter.multiple else values[0]


def _from_folder(folder: Path, said: str, *, named: bool) -> str:
    """A file as seen from here; one of several networks has its name before it, `NAME=FILE`."""
    name, file = named_network(said) if named and not (folder / said).exists() else ("", Path(said))
    return network_word(name, folder / file)


def _fits(path: Path, parameter: Parameter, value: Any) -> bool:
    """Is what a file says for all commands meant for this one? ``keep`` is a property here and a folder there."""
    if parameter.metavar == "DIR" and isinstance(value, str):
        place = path.parent / value
        if place.is_file() or (glob.has_magic(value) and not place.is_dir()):
            return False
    return _takes_value(parameter, value)


def _takes_value(parameter: Parameter, value: Any) -> bool:
    """Several properties are none for a command that takes one."""
    return bool(parameter.multiple) or not isinstance(value, list)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean timeout?"``, where something is spelt nearly so; else nothing."""
    import difflib  # for those who misspelt something

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""
