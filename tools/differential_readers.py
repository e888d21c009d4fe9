"""Do checker, prover and onnxruntime read the same files alike?

Run as ``python -m tools.differential_readers N [SEED]``: N texts, N models and N archives from the grammars of
`tools.odd_texts` and `tools.odd_models` go through both of our readers. A reader accepts or refuses; what two accept
must mean the same. There is a third voice for each: a text must mean what is left of it by the lexical rules of SMT-LIB
alone (`plain`; a text that breaks them is none for the checker), a model what onnxruntime computes. A model that the
checker accepts must run, unless onnxruntime has no kernel for the data type of its operators ("no kernel"). Prints a
table, and what differs.
"""

from __future__ import annotations

import re
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch

from birdnn.certify.check import files, network, statement
from birdnn.certify.check.exact import evaluate
from birdnn.certify.check.files import File, Rejected
from birdnn.certify.check.layers import Chain
from birdnn.certify.check.statement import Row, Statement
from birdnn.errors import BirdnnError
from birdnn.formats import onnx, vnnlib
from birdnn.formats.files import unpack_gzip
from birdnn.network import Network
from birdnn.spec import Property
from tools.odd_models import model
from tools.odd_texts import text

Outcome = Literal["both", "checker alone", "prover alone", "none", "no kernel", "different", "does not run"]
OUTCOMES: tuple[Outcome, ...] = (
    "both",
    "checker alone",
    "prover alone",
    "none",
    "no kernel",
    "different",
    "does not run",
)
WRONG: tuple[Outcome, ...] = ("different", "does not run")

TOLERANCE = 2e-5
"""Of a value in single precision, relative to the largest that may arise on the way."""


def compare_texts(source: str) -> Outcome:
    """What both readers of VNN-LIB make of a text, as sets of boxes with polytopes."""
    mine, theirs = _checked(source), _proved(source)
    if mine is None and theirs is None:
        return "none"
    rest = plain(source)
    said = [(found, reader) for found, reader in ((mine, _checked), (theirs, _proved)) if found is not None]
    if (mine and rest is None) or any(reader(rest) != found for found, reader in said if rest is not None):
        return "different"
    if mine is None or theirs is None:
        return "checker alone" if theirs is None else "prover alone"
    return "both" if mine == theirs else "different"


_LEXEME = re.compile(
    r"""[ \t\r\n]+ | ;[^\r\n]* | (?P<string>"(?:[^"]|"")*") | \|(?P<quoted>[^|\\]*)\|
      | (?P<word>[()]|[0-9A-Za-z~!@$%^&*_+=<>.?/:\#-]+) | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)


def plain(source: str) -> str | None:
    """A text without comments, quotes and what follows its answer; None where SMT-LIB 2.6 knows no such characters."""
    words: list[str] = []
    depth = 0
    for match in _LEXEME.finditer(source):
        if match["bad"]:
            return None
        quoted = match["quoted"]
        if quoted is not None:
            words.append(quoted if re.fullmatch("[A-Za-z][A-Za-z0-9_]*", quoted) else "quoted")
        elif match["string"] or match["word"]:
            words.append("string" if match["string"] else match["word"])
        depth += {"(": 1, ")": -1}.get(match["word"], 0)
        if words[-3:] in (["(", "exit", ")"], ["(", "check-sat", ")"]) and not depth:
            break
    return " ".join(words)


def _checked(source: str) -> set[Any] | None:
    found: Statement | None = None
    with suppress(BirdnnError, Rejected):
        found = statement.read_statement(File("it.vnnlib", source.encode("utf-8"), ""))
    if found is None:
        return None
    pairs = {(pair.lower, pair.upper, frozenset(row.normal() for row in pair.rows)) for pair in found.pairs}
    return pairs | {(found.n_inputs, found.n_outputs)}


def _proved(source: str) -> set[Any] | None:
    found: Property | None = None
    with suppress(BirdnnError):
        found = vnnlib.parse_property(source)
    if found is None:
        return None
    out: set[Any] = {(found.n_inputs, found.n_outputs)}
    for region in found.regions:
        lower = tuple(zip(region.exact_lower, region.strict_lower, strict=True))
        upper = tuple(zip(region.exact_upper, region.strict_upper, strict=True))
        for polytope in region.unsafe:
            rows = [Row(tuple(row.coefficients), row.bound, row.strict).normal() for row in polytope.rows]
            out.add((lower, upper, frozenset(rows)))
    return out


def compare_models(data: bytes) -> Outcome:
    """What both readers of ONNX make of a file, and what onnxruntime computes, at some points."""
    mine: Chain | None = None
    theirs: Network | None = None
    with suppress(BirdnnError, Rejected):
        mine = network.read_network(File("it.onnx", data, ""))
    with suppress(BirdnnError):
        theirs = onnx.network_from_onnx(data, check=False)
    if mine is None and theirs is None:
        return "none"
    run = _runtime(data)
    if run == "no kernel":
        return run
    if run is None:
        return "does not run" if mine else "none"  # the prover compares with onnxruntime, and refuses
    sizes = {chain.n_inputs for chain in (mine, theirs) if chain is not None}
    if len(sizes) != 1:
        return "different"
    for x in _points(sizes.pop(), Random(len(data))):
        found = _outputs(mine, theirs, run, x)
        if found is None:
            return "does not run" if mine else "none"
        values, allowed = found
        same = len({len(value) for value in values}) == 1
        if not same or not all((np.abs(value - values[0]) <= allowed).all() for value in values[1:]):
            return "different"
    return "both" if mine and theirs else "checker alone" if mine else "prover alone"


def _points(size: int, draw: Random) -> list[list[float]]:
    scales = (0.5, 3.0, 30.0)
    return [[float(np.float32(draw.gauss(0, scale))) for _ in range(size)] for scale in scales]


def _outputs(mine: Chain | None, theirs: Network | None, run: Callable[[list[float]], Any], x: list[float]) -> Any:
    """Outputs of all who have some, onnxruntime's first, and how far they may be apart; None where it cannot run."""
    values = [run(x)]
    if values[0] is None or not np.isfinite(values[0]).all():
        return None if values[0] is None else (values, 0.0)
    largest = max(1.0, *map(abs, x))
    if mine is not None:
        values.append(np.array([float(value) for value in evaluate(mine, [Fraction(v) for v in x])]))
        for layer in mine.layers:
            largest *= max(1.0, float(layer.peak))
    if theirs is not None:
        with torch.no_grad():
            kind = next(iter(theirs.values().values()), torch.zeros(1)).dtype
            values.append(theirs(torch.tensor([x], dtype=kind)).double().numpy().reshape(-1))
        largest = max(largest, float(np.abs(values[-1]).max())) if mine is None else largest
    return values, TOLERANCE * largest * (1 if mine is not None else 1e3)


def _runtime(data: bytes) -> Callable[[list[float]], Any] | Literal["no kernel"] | None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - its exceptions share no base class
        return "no kernel" if "NOT_IMPLEMENTED" in str(error) else None
    inputs, real = session.get_inputs(), {"tensor(float)": np.float32, "tensor(double)": np.float64}
    shapes = [[size if isinstance(size, int) and size > 0 else 1 for size in entry.shape] for entry in inputs]
    names = [entry.name for entry in session.get_outputs() if entry.type in real]

    def run(x: list[float]) -> Any:
        parts = np.split(np.array(x), np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
        try:
            fed = {
                entry.name: part.astype(real[entry.type]).reshape(shape)
                for entry, part, shape in zip(inputs, parts, shapes, strict=True)
            }
            return np.concatenate([np.asarray(out, dtype=np.float64).reshape(-1) for out in session.run(names, fed)])
        except Exception:  # noqa: BLE001 - its exceptions share no base class
            return None

    return run


def archive(draw: Random) -> bytes:
    """A gzip file of some members with something behind, before or within it."""
    out = b""
    for _ in range(draw.choice((1, 1, 1, 2))):
        kind = zlib.compressobj(draw.choice((0, 1, 9)), wbits=31)
        member = kind.compress(draw.randbytes(draw.choice((0, 3, 40)))) + kind.flush()
        flags = draw.choice((0, 0, 0, 8, 16, 4, 2, 32))  # name, comment, more, check of the header, reserved
        more = {8: b"name\0", 16: b"text\0", 4: b"\x02\0ab"}.get(flags, b"")
        out += member[:3] + bytes([flags]) + member[4:10] + more + member[10:]
    if draw.random() < 0.2:
        place = draw.randrange(2, len(out))
        out = out[:place] + bytes([draw.randrange(256)]) + out[place + 1 :]
    return draw.choice((out, out, out, out + bytes(8), out + b"x", out[: draw.randrange(3, len(out))]))


def compare_archives(stored: bytes) -> Outcome:
    """What both unpack."""
    mine: bytes | None = None
    theirs: bytes | None = None
    with suppress(BirdnnError):
        mine = files.unpack_gzip(stored, "it.gz", 1 << 20) or None
    with suppress(BirdnnError):
        theirs = unpack_gzip(stored, "it.gz", 1 << 20)
    if mine is None or theirs is None:
        return "checker alone" if mine else "prover alone" if theirs else "none"
    return "both" if mine == theirs else "different"


MATERIAL: dict[str, tuple[Callable[[Random], Any], Callable[[Any], Outcome]]] = {
    "texts": (text, compare_texts),
    "models": (model, compare_models),
    "archives": (archive, compare_archives),
}


def tally(make: Callable[[Random], Any], compare: Callable[[Any], Outcome], count: int, seed: int) -> Any:
    """How often each outcome came, and the material of the wrong ones."""
    found: Counter[Outcome] = Counter()
    wrong = []
    for number in range(count):
        material = make(Random(f"{seed}/{number}"))
        try:
            outcome = compare(material)
        except Exception:  # noqa: BLE001 - whoever dies of a file does not read it as the others do
            traceback.print_exc()
            outcome = "different"
        found[outcome] += 1
        if number % 1000 == 999:
            print(f"{number + 1}: {dict(found)}", file=sys.stderr, flush=True)
        if outcome in WRONG:
            wrong.append((number, outcome, material))
    return found, wrong


def main(arguments: list[str]) -> int:
    """Status 1 where readers differ."""
    count, seed = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    print(f"{'':8}{'all':>9}" + "".join(f"{name:>15}" for name in OUTCOMES))
    bad = 0
    for kind, (make, compare) in MATERIAL.items():
        begun = time.monotonic()
        found, wrong = tally(make, compare, count, seed)
        row = "".join(f"{found[name]:>15,}" for name in OUTCOMES)
        print(f"{kind:8}{count:>9,}{row}  ({time.monotonic() - begun:.0f} s)", flush=True)
        for number, outcome, material in wrong[:10]:
            print(f"  number {number}: {outcome}")
            print(f"    {_kept(material, seed, number) if kind == 'models' else ascii(material)}")
        bad += len(wrong)
    return 1 if bad else 0


def _kept(data: bytes, seed: int, number: int) -> Path:
    path = Path(f"differs-{seed}-{number}.onnx")
    path.write_bytes(data)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
