"""``birdnn-vnnlib``: the command line that the VNN-LIB standard asks of a solver.

``--name`` and ``--version``, and what ``supports`` says of VNN-LIB itself, come without loading anything. Status 0
means that the question was answered, whatever the answer is; errors go to stderr and end in the statuses of ``birdnn``.

Source: VNN-LIB 2.0 standard, chapter "Solver command-line interface", https://www.vnnlib.org.
"""

from __future__ import annotations

import argparse
import ast
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from birdnn.errors import BirdnnError, MismatchError, OutputError, out_of_memory

if TYPE_CHECKING:
    from birdnn.formats.vnnlib2 import Query
    from birdnn.records import Witness

_BEGAN = time.monotonic()
"""About when the process started: a limit counts from here, not from when the modules are loaded."""

_CAPABILITIES = {
    "--onnx-opset-versions": "the least and the greatest",
    "--onnx-element-types": "of a query's tensors",
    "--onnx-operators": "one a line, each for all element types",
    "--vnnlib-versions": "the least and the greatest",
    "--hidden-node-theories": "NH: no hidden nodes",
    "--multiple-input-output-theories": "SIO: one input, one output",
    "--multiple-network-theories": "SNET: one network",
    "--multiple-node-comparison-theories": "SNC: no comparison of inputs with outputs",
    "--arithmetic-complexity-theories": "BND, OUTC for all element types; linear arithmetic is decided over real alone",
    "--optimised-disjunctive-reasoning": "false: queries become disjunctions of conjunctions",
    "--serialise-assignments": "true: see verify",
}
_ANSWERS = {
    "--onnx-element-types": ("real", "float32"),
    "--vnnlib-versions": ("1.0", "2.0"),
    "--hidden-node-theories": ("NH",),
    "--multiple-input-output-theories": ("SIO",),
    "--multiple-network-theories": ("SNET",),
    "--multiple-node-comparison-theories": ("SNC",),
    "--arithmetic-complexity-theories": ("BND", "OUTC"),
    "--optimised-disjunctive-reasoning": ("false",),
    "--serialise-assignments": ("true",),
}
_WORDS = {"timeout": "timed-out"}
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    try:
        status = run(arguments)
    except BirdnnError as error:
        print(f"birdnn-vnnlib: error: {error}", file=sys.stderr)
        status = error.exit_status
    except KeyboardInterrupt:
        print("birdnn-vnnlib: interrupted", file=sys.stderr)
        status = INTERRUPTED
    except Exception as error:
        if not out_of_memory(error):
            raise
        print("birdnn-vnnlib: memory ran out", file=sys.stderr)
        print("unknown")
        status = 0
    sys.exit(status)


def run(arguments: Sequence[str] | None = None, began: float = _BEGAN) -> int:
    """One command; its exit status.

    Args:
        arguments: those of the command line; None for the process's own.
        began: since when the time limit counts, on the monotonic clock.

    Raises:
        BirdnnError: the question cannot be answered.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.name:
        print("birdnn")
    elif options.version:
        print(_version())
    elif options.command == "supports":
        print("\n".join(_supported(options.capability)))
    elif options.command == "verify":
        return _verify(options, began)
    else:
        parser.error("a command is expected: verify or supports")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="birdnn-vnnlib", description="birdnn, as the VNN-LIB standard calls a solver."
    )
    parser.add_argument("--name", action="store_true", help="print the solver's name")
    parser.add_argument("--version", action="store_true", help="print its version")
    commands = parser.add_subparsers(dest="command", metavar="verify|supports")
    verify = commands.add_parser(
        "verify",
        help="is there an assignment that satisfies a query?",
        description="Prints sat, with the assignment, unsat, unknown or timed-out. An assignment of a VNN-LIB 1.0 "
        "query is printed as VNN-COMP does. A query over real asks about the function over the reals, one over float32 "
        "about the network as executed.",
    )
    verify.add_argument("query", type=Path, metavar="QUERY", help="a .vnnlib file, 1.0 or 2.0, also with .gz")
    verify.add_argument(
        "--network",
        action="append",
        metavar="NAME=FILE",
        help="the ONNX file of a network that the query declares; FILE alone where it declares one, or a list as in "
        "VNN-COMP's instances",
    )
    verify.add_argument("--timeout", type=_seconds, metavar="S", help="seconds from the start of the process")
    verify.add_argument(
        "--serialise-assignments", type=Path, metavar="DIR", help="write an assignment as ONNX tensors there instead"
    )
    verify.add_argument(
        "--as-executed",
        action="store_true",
        help="prove for execution in float32, where the network is in float32, also where the query is over real",
    )
    supports = commands.add_parser("supports", help="what can be asked?")
    asked = supports.add_mutually_exclusive_group(required=True)
    for capability, told in _CAPABILITIES.items():
        asked.add_argument(capability, action="store_const", dest="capability", const=capability, help=told)
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("a positive number of seconds is expected")
    return value


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("birdnn")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def _supported(capability: str) -> Sequence[str]:
    if capability == "--onnx-operators":
        from birdnn.operators import SUPPORTED

        return SUPPORTED
    if capability == "--onnx-opset-versions":
        from birdnn.formats.onnx import OPSETS

        return str(OPSETS.start), str(OPSETS.stop - 1)
    return _ANSWERS[capability]


def _verify(options: argparse.Namespace, began: float) -> int:
    from birdnn.formats import read_network
    from birdnn.formats.vnnlib import read_declared
    from birdnn.pipeline import verify_files
    from birdnn.pipeline.facts import semantics_of
    from birdnn.records import VerifySettings, Violated
    from birdnn.report.json import competition_verdict

    query = read_declared(options.query)
    net = network_file(options.network or (), query)
    semantics: Literal["real", "float32"] = "real" if query is None else query.element
    if options.as_executed:
        semantics = semantics_of(read_network(net), None if semantics == "real" else semantics)
    left_s = None if options.timeout is None else max(0.01, options.timeout - (time.monotonic() - began))
    settings = VerifySettings(timeout_s=left_s, semantics=semantics)
    (answer,) = verify_files(net, [options.query], settings=settings).verdicts
    word = competition_verdict(answer.verdict)
    lines = [_WORDS.get(word, word)]
    if isinstance(answer.verdict, Violated):
        lines += _found(answer.verdict.witness, query, options.serialise_assignments)
    print("\n".join(lines), flush=True)
    return 0


def network_file(said: Sequence[str], query: Query | None) -> Path:
    """The one network's file.

    Args:
        said: what ``--network`` says: ``NAME=FILE``, ``FILE``, or VNN-COMP's ``[('NAME', 'FILE')]``.
        query: what is asked, where it names its network.

    Raises:
        MismatchError: another number of networks than one, or one that the query does not declare.
    """
    pairs = [pair for text in said for pair in _pairs(text)]
    declared = query.network if query is not None else "NAME"
    if len(pairs) != 1:
        raise MismatchError(
            f"the query is about one network, and {len(pairs)} are given: say --network {declared}=FILE"
        )
    name, path = pairs[0]
    if name and query is not None and name != query.network:
        raise MismatchError(f"--network {name}: the query declares the network {query.network!r} and no other")
    return Path(path)


def _pairs(text: str) -> list[tuple[str, str]]:
    if text.startswith("["):
        try:
            return [(str(name), str(path)) for name, path in ast.literal_eval(text)]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise MismatchError(f"--network {text[:60]}: no list of pairs of a name and a file") from None
    name, equals, path = text.partition("=")
    return [(name, path)] if equals and name.isidentifier() else [("", text)]


def _found(witness: Witness, query: Query | None, folder: Path | None) -> list[str]:
    """The assignment as lines; none where it is written to a folder."""
    if folder is not None:
        _serialise(folder, query, witness)
        return []
    if query is None:
        from birdnn.report.json import counterexample_text

        return [counterexample_text(witness).rstrip("\n")]
    lines = []
    for tensor, values in ((query.input, witness.x), (query.output, witness.y)):
        lines.append(f"{tensor.name} {tensor.element} [{','.join(map(str, tensor.shape))}]")
        lines += [repr(value) for value in values]
    return lines


def _serialise(folder: Path, query: Query | None, witness: Witness) -> None:
    """Each tensor as ``NAME.pb``, all of them or none."""
    import numpy as np
    from onnx import numpy_helper

    from birdnn.formats.files import write_bytes

    named: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = [("X", (-1,), witness.x), ("Y", (-1,), witness.y)]
    if query is not None:
        tensors = query.input, query.output
        named = [(t.name, t.shape, v) for t, v in zip(tensors, (witness.x, witness.y), strict=True)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(str(folder), f"cannot be made: {error.strerror or error}") from None
    for name, shape, values in named:
        tensor = numpy_helper.from_array(np.array(values, dtype=np.float32).reshape(shape), name)
        write_bytes(folder / f"{name}.pb", tensor.SerializeToString())


if __name__ == "__main__":
    main()
