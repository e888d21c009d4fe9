"""What a campaign is about: instances and known verdicts, from CSV files as VNN-COMP writes them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from birdnn.errors import FormatError, MismatchError
from birdnn.formats.files import read_bytes
from birdnn.patterns import named_networks
from birdnn.printable import cell_text
from birdnn.reading import guarded_reader

MAX_BYTES = 1 << 26
NET_COLUMNS = "onnx", "network", "net", "model"
PROP_COLUMNS = "vnnlib", "property", "prop", "props", "spec"
_TIMEOUT_COLUMNS = "timeout", "timeout_s"
_KNOWN_COLUMNS = "verdict", "expected", "result"
_REPAIR_COLUMNS = "keep", "suite"

SAME_WORDS = {
    "unsat": "unsat", "holds": "unsat", "proved": "unsat", "verified": "unsat", "safe": "unsat", "valid": "unsat",
    "sat": "sat", "violated": "sat", "falsified": "sat", "unsafe": "sat", "invalid": "sat",
    "timeout": "timeout", "timed-out": "timeout", "run_instance_timeout": "timeout",
}  # fmt: skip
"""How tools spell a verdict -> VNN-COMP's word; any other word decides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One row.

    Attributes:
        line: where it stands in its file.
        nets: the network's absolute path without a name, or the paths of several with the names that the query has for
            them.
        props, keep: absolute paths; `props` may be empty where `suite` says what applies.
        onnx, vnnlib: short names of networks and properties, by which rows and other tools' tables are matched; of
            several with ``+`` between them.
        suite: a suite whose applicable properties are meant; empty for none.
        timeout_s: seconds for it.
        expected: the known verdict, ``sat`` or ``unsat``; empty where nobody knows.
    """

    line: int
    nets: tuple[tuple[str, Path], ...]
    props: tuple[Path, ...]
    onnx: str
    vnnlib: str
    timeout_s: float
    keep: tuple[Path, ...] = ()
    suite: str = ""
    expected: str = ""

    @property
    def name(self) -> str:
        """For people: both without extensions."""
        return f"{bare_names(self.onnx)} {bare_names(self.vnnlib)}"


def bare_stem(names: str) -> str:
    """Names of files, with ``+`` between them, without folders and the extensions of networks and properties."""
    return "+".join(bare_name(Path(name).name) for name in names.split("+"))


def bare_names(names: str) -> str:
    """The same with their folders."""
    return "+".join(map(bare_name, names.split("+")))


def bare_name(name: str) -> str:
    """The name without the extensions of networks and properties; folders stay, where they tell names apart."""
    for end in (".gz", ".onnx", ".nnet", ".vnnlib"):
        name = name.removesuffix(end)
    return name


@dataclass(frozen=True, slots=True)
class Lines:
    """The rows of a CSV file, each with its line; `columns` of its header, or of the default where it has none."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def fail(self, line: int, problem: str) -> FormatError:
        """An error that names the file and the line."""
        return FormatError(str(self.path), f"line {line}" if line else "", problem)

    def column(self, *names: str) -> int | None:
        """The index of the first of these columns that is there."""
        return next((self.columns.index(name) for name in names if name in self.columns), None)

    def required(self, *names: str) -> int:
        """The same; it must be there.

        Raises:
            FormatError: it is not.
        """
        found = self.column(*names)
        if found is None:
            told = f"no column {' or '.join(names)}; there are {', '.join(self.columns) or 'none'}"
            raise self.fail(1, told)
        return found


@guarded_reader
def read_lines(path: Path, default: tuple[str, ...], header: Iterable[str]) -> Lines:
    """A CSV file; its first row is a header where it holds one of the words `header`.

    Raises:
        FormatError: the file is missing or no text, holds no rows, or a row has another number of fields than the
            header (without one: than `default`, which may be cut).
    """
    data = read_bytes(path, MAX_BYTES)
    try:
        # spreadsheets begin a file with a byte order mark
        text = data.decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, tuple(cell_text(cell).strip() for cell in row)) for row in reader]
    except UnicodeDecodeError as error:
        raise FormatError(str(path), f"byte {error.start}", "not text in UTF-8") from None
    except csv.Error as error:
        raise FormatError(str(path), f"line {reader.line_num}", f"no CSV: {error}") from None
    rows = [(line, row) for line, row in rows if any(row)]
    columns = default
    if rows and set(header) & {cell.lower() for cell in rows[0][1]}:
        columns = tuple(cell.lower() for cell in rows.pop(0)[1])
    elif rows:
        columns = default[: max(1, len(rows[0][1]))]
    found = Lines(path, columns, tuple(rows))
    if not rows:
        raise found.fail(0, "holds no row")
    for line, row in rows:
        if len(row) != len(columns):
            raise found.fail(line, f"{len(columns)} fields are expected ({','.join(columns)}), not {len(row)}")
    return found


@guarded_reader
def read_instances(
    path: Path,
    *,
    timeout_s: float | None = None,
    repair: bool = False,
    known: Mapping[tuple[str, str], str] | None = None,
) -> list[Instance]:
    """The instances of a file, paths relative to it; a row that repeats an earlier one is left out.

    Without a header the columns are ``onnx,vnnlib,timeout``; a query about several networks has for ``onnx`` a list
    ``[('f', 'a.onnx'), ('g', 'b.onnx')]``, as in VNN-COMP. With a header, a known verdict may stand in ``verdict`` or
    ``expected``, and for repairs what must stay true in ``keep`` and a suite in ``suite``. Repairs may name several
    files in ``vnnlib`` and ``keep``, separated by ``;``.

    Args:
        path: the CSV file.
        timeout_s: seconds for every instance, whatever the file says.
        repair: the instances are repairs.
        known: known verdicts, see `read_known`; they take precedence over those of the file.

    Raises:
        FormatError: a row is malformed, or repeats another one with another limit.
    """
    lines = read_lines(path, ("onnx", "vnnlib", "timeout"), (*NET_COLUMNS, *PROP_COLUMNS))
    found = _named_instances([_instance_maker(lines, line, row, timeout_s, repair) for line, row in lines.rows])
    first: dict[tuple[str, str], Instance] = {}
    for instance in found:
        earlier = first.setdefault((instance.onnx, instance.vnnlib), instance)
        if (earlier.timeout_s, earlier.keep) != (instance.timeout_s, instance.keep):
            raise lines.fail(instance.line, f"the instance of line {earlier.line} again, with another limit or keep")
    if known is None:
        return list(first.values())
    return [replace(one, expected=_known_verdict(one, known) or one.expected) for one in first.values()]


def _known_verdict(one: Instance, known: Mapping[tuple[str, str], str]) -> str:
    """The known verdict, empty where there is none; see `read_known`."""
    short = known.get((bare_stem(one.onnx), bare_stem(one.vnnlib)), "")
    return short or known.get((_bare_path(one.onnx), _bare_path(one.vnnlib)), "")


def _instance_maker(
    lines: Lines, line: int, row: Sequence[str], timeout_s: float | None, repair: bool
) -> Callable[[Callable[[str], str]], Instance]:
    """One row, given how to shorten the names of its files."""
    nets = _networks(lines, line, row[lines.required(*NET_COLUMNS)], repair)
    prop = row[lines.required(*PROP_COLUMNS)]
    known = lines.column(*_KNOWN_COLUMNS)
    keep, suite = (
        row[index] if repair and (index := lines.column(name)) is not None else "" for name in _REPAIR_COLUMNS
    )
    props = [part.strip() for part in prop.split(";")] if repair else [prop]
    if not nets or (not all(props) and not suite):
        raise lines.fail(line, "the network and the property are expected, one of them is empty")
    folder = lines.path.resolve().parent
    limit = timeout_s if timeout_s is not None else _time_limit(lines, line, row)
    # later: whether names need their folders shows only when all rows are read
    return lambda shorten: Instance(
        line=line,
        nets=tuple((name, folder / net) for name, net in nets),
        props=tuple(folder / part for part in props if part),
        onnx="+".join(shorten(net) for _, net in nets),
        vnnlib="+".join(shorten(part) for part in props if part) or "suite",
        keep=tuple(folder / part.strip() for part in keep.split(";") if part.strip()),
        suite=suite,
        timeout_s=limit,
        expected=SAME_WORDS.get(row[known].lower(), "") if known is not None else "",
    )


def _networks(lines: Lines, line: int, text: str, repair: bool) -> list[tuple[str, str]]:
    """The path without a name, or paths with the names that a query has for them; none where the field is empty."""
    if not text.startswith("["):
        return [("", text)] if text else []
    try:
        pairs = [(name, str(path)) for name, path in named_networks(text)]
    except MismatchError:
        raise lines.fail(line, f"{text[:60]!r} is no list of pairs of a name and a network") from None
    if len(pairs) < 2:
        return [("", path) for _, path in pairs]
    if repair:
        raise lines.fail(line, f"{len(pairs)} networks; a repair is of one network")
    if len({name for name, _ in pairs}) < len(pairs):
        raise lines.fail(line, f"{text[:60]!r} names two networks alike")
    return pairs


def plain_networks(text: str) -> str:
    """The networks of a row of some table as ours have them: paths with ``+`` between them, without a query's names."""
    try:
        return "+".join(str(path) for _, path in named_networks(text)) if text.startswith("[") else text
    except MismatchError:
        return text


def _time_limit(lines: Lines, line: int, row: Sequence[str]) -> float:
    index = lines.column(*_TIMEOUT_COLUMNS)
    if index is None:
        raise lines.fail(line, "no column timeout: say --timeout S")
    try:
        value = float(row[index])
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise lines.fail(line, f"the limit {row[index]!r} is no positive number of seconds")
    return value


def _named_instances(makers: Sequence[Callable[[Callable[[str], str]], Instance]]) -> list[Instance]:
    """Instances under the bare names of their files, or where these do not tell them apart, under their paths."""

    def last(name: str) -> str:
        return Path(name).name

    short, long = [make(last) for make in makers], [make(str) for make in makers]
    # as many pairs of short names as of instances: then no short name stands for two of them
    different = {(a.onnx, a.vnnlib, b.onnx, b.vnnlib) for a, b in zip(short, long, strict=True)}
    return short if len(different) == len({names[:2] for names in different}) else long


@guarded_reader
def read_known(path: Path) -> dict[tuple[str, str], str]:
    """Known verdicts: (network, property) -> ``sat`` or ``unsat``; other words are left out.

    Names are without extensions and folders, but with folders where only these tell verdicts apart. What a table
    answers in two ways it does not answer.

    Raises:
        FormatError: the file has no columns for network, property and verdict.
    """
    lines = read_lines(path, ("onnx", "vnnlib", "verdict"), (*NET_COLUMNS, *PROP_COLUMNS))
    net, prop = lines.required(*NET_COLUMNS), lines.required(*PROP_COLUMNS)
    verdict = lines.required(*_KNOWN_COLUMNS)
    rows = [(plain_networks(row[net]), row[prop], SAME_WORDS.get(row[verdict].lower(), "")) for _, row in lines.rows]
    short = _agreed_verdicts((bare_stem(one), bare_stem(other), word) for one, other, word in rows)
    # what short names leave open, names with folders may tell apart
    unclear = [row for row in rows if (bare_stem(row[0]), bare_stem(row[1])) not in short]
    return short | _agreed_verdicts((_bare_path(one), _bare_path(other), word) for one, other, word in unclear)


def _agreed_verdicts(rows: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], str]:
    """Names -> the one verdict that all their rows have."""
    words: dict[tuple[str, str], set[str]] = {}
    for net, prop, word in rows:
        words.setdefault((net, prop), set()).add(word)
    return {names: min(found) for names, found in words.items() if found in ({"sat"}, {"unsat"})}


def _bare_path(name: str) -> str:
    """With its folders, written in one way."""
    return "+".join(bare_name(str(Path(each))) for each in name.split("+"))
