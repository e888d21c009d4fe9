"""``birdnn-vnnlib``: the command line that the VNN-LIB standard asks of a solver.

``--name`` and ``--version``, and what ``supports`` says of VNN-LIB itself, come without loading anything. Status 0
means that the question was answered, whatever the answer is; errors go to stderr and end in the statuses of ``birdnn``.

Source: VNN-LIB 2.0 standard, chapter "Solver command-line interface", https://www.vnnlib.org.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from birdnn.cli.statuses import INTERRUPTED, UNUSABLE
from birdnn.errors import BirdnnError, out_of_memory
from birdnn.printable import printable
from birdnn.version import installed_version

_BEGAN = time.monotonic()
"""About when the process started: a limit counts from here, not from when the modules are loaded."""

_CAPABILITIES = {
    "--onnx-opset-versions": "the least and the greatest",
    "--onnx-element-types": "of a query's tensors",
    "--onnx-operators": "one a line, each for all element types",
    "--vnnlib-versions": "the least and the greatest",
    "--hidden-node-theories": "NH: no hidden nodes",
    "--multiple-input-output-theories": "SIO: one input, one output",
    "--multiple-network-theories": "SNET, MENET, MINET, MNET: one network; several, equal, of the same layers, or any",
    "--multiple-node-comparison-theories": "SNC, MNC: inputs are compared with outputs over real alone",
    "--arithmetic-complexity-theories": "BND, OUTC for all element types; linear arithmetic is decided over real alone",
    "--optimised-disjunctive-reasoning": "false: queries become disjunctions of conjunctions",
    "--serialise-assignments": "true: see verify",
}
_ANSWERS = {
    "--onnx-element-types": ("real", "float32"),
    "--vnnlib-versions": ("1.0", "2.0"),
    "--hidden-node-theories": ("NH",),
    "--multiple-input-output-theories": ("SIO",),
    "--multiple-network-theories": ("SNET", "MENET", "MINET", "MNET"),
    "--multiple-node-comparison-theories": ("SNC", "MNC"),
    "--arithmetic-complexity-theories": ("BND", "OUTC"),
    "--optimised-disjunctive-reasoning": ("false",),
    "--serialise-assignments": ("true",),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status."""
    try:
        status = run(arguments)
    except BirdnnError as error:
        print(f"birdnn-vnnlib: error: {printable(str(error))}", file=sys.stderr)
        status = error.exit_status
    except KeyboardInterrupt:
        print("birdnn-vnnlib: interrupted", file=sys.stderr)
        status = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - uncaught it would leave with status 1, as if something were found
        status = _report_failure(error)
    sys.exit(status)


def _report_failure(error: Exception) -> int:
    """What nobody foresaw; the exit status."""
    if out_of_memory(error):
        print("birdnn-vnnlib: memory ran out", file=sys.stderr)
        # an answer as the standard has it, so that the status is 0
        print("unknown")
        return 0
    from birdnn.later import missing_package

    if told := missing_package(error):
        print(f"birdnn-vnnlib: error: {told}", file=sys.stderr)
        return UNUSABLE
    from birdnn.cli.failures import refused_by_system, report_own_fault

    return UNUSABLE if refused_by_system(error) else report_own_fault(error)


def run(arguments: Sequence[str] | None = None, began: float = _BEGAN) -> int:
    """One command; its exit status.

    Args:
        arguments: those of the command line; None for the process's own.
        began: since when the time limit counts, on the monotonic clock.

    Raises:
        BirdnnError: the question cannot be answered.
    """
    parser = _build_parser()
    options = parser.parse_args(arguments)
    if options.name:
        print("birdnn")
    elif options.version:
        print(installed_version())
    elif options.command == "supports":
        print("\n".join(_supported_values(options.capability)))
    elif options.command == "verify":
        from birdnn.cli.loading import without_garbage_collection

        with without_garbage_collection():
            from birdnn.cli.answering import answer_query  # takes seconds to load

        return answer_query(options, began)
    else:
        parser.error("a command is expected: verify or supports")
    return 0


def _build_parser() -> argparse.ArgumentParser:
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
    verify.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute; auto: on a graphics device where one is there and the network is large, else the CPU",
    )
    supports = commands.add_parser("supports", help="what can be asked?")
    asked = supports.add_mutually_exclusive_group(required=True)
    for capability, told in _CAPABILITIES.items():
        asked.add_argument(capability, action="store_const", dest="capability", const=capability, help=told)
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"a positive number of seconds is expected, not {text!r}")
    return value


def _supported_values(capability: str) -> Sequence[str]:
    if capability == "--onnx-operators":
        from birdnn.formats.rewriting import READ

        return READ
    if capability == "--onnx-opset-versions":
        from birdnn.formats.prepared import OPSETS

        return str(OPSETS.start), str(OPSETS.stop - 1)
    return _ANSWERS[capability]


if __name__ == "__main__":
    main()
