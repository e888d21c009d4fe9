"""``birdnn check``: is a certificate a proof?"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from birdnn.cli.failures import INTERRUPTED, command, complain
from birdnn.cli.options import Json, Net, Props, Quiet, Seed, command_line
from birdnn.cli.progress import TerminalWatch
from birdnn.cli.terminal import first_line, show

if TYPE_CHECKING:
    from rich.table import Table

    from birdnn.certify.check import Accepted, Answer


class Arithmetic(StrEnum):
    """What the checker computes in."""

    FLOAT64 = "float64"
    EXACT = "exact"


def _count(value: int | None) -> int | None:
    if value is not None and value < 1:
        raise typer.BadParameter("a positive number is expected")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What the command line says."""

    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="A .certificate.json.gz file.")]
    net: Net
    prop: Props
    arithmetic: Annotated[
        Arithmetic, typer.Option("--arithmetic", help="float64 accounts for its rounding; exact has none.")
    ] = Arithmetic.FLOAT64
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", metavar="N", callback=_count, help="All leaves in float64, and N of them in exact arithmetic."
        ),
    ] = None
    seed: Seed = 0
    json: Json = None
    quiet: Quiet = False


class _Stopped(Exception):
    """The user pressed Ctrl-C."""


@command(CheckOptions)
def check(options: CheckOptions) -> int:
    """Check a certificate by a program that shares no code with the prover.

    The first line of output is "accepted: ..." with what was checked, or "rejected: ..." with the reason. A
    counterexample is checked in exact arithmetic and run through onnxruntime.
    """
    started = time.monotonic()
    try:
        with TerminalWatch(quiet=options.quiet) as watch:
            from birdnn.certify.check import Rejected
            from birdnn.formats.files import require_writable

            require_writable((options.json,), (options.net, options.certificate, *options.prop))
            try:
                accepted, replayed = _checked(options, watch)
            except Rejected as error:
                return _rejected(options, error.reason, time.monotonic() - started)
    except _Stopped:
        complain("interrupted; nothing is known about the certificate")
        return INTERRUPTED
    line = accepted.line() + _replay_remark(accepted, replayed)
    first_line(f"accepted: {line}")
    if options.json is not None:
        _write(options, accepted, replayed, line, time.monotonic() - started)
    if not options.quiet:
        show(lambda width: _table(accepted))
    return 0


def _checked(options: CheckOptions, watch: TerminalWatch) -> tuple[Accepted, list[bool | None]]:
    """What the checker says, and for each counterexample whether onnxruntime agrees.

    Raises:
        Rejected: the certificate proves nothing.
    """
    from birdnn.certify import check as checker
    from birdnn.records import Progress

    def seen(phase: str, done: int, total: int) -> None:
        if watch.stopped():
            raise _Stopped
        watch.update(Progress(phase=f"checking {phase}", done=done / total, detail=f"{done:,} of {total:,} nodes"))

    settings = checker.Settings(arithmetic=options.arithmetic.value, sample=options.sample, seed=options.seed)
    accepted = checker.check(options.net, options.prop, options.certificate, settings, seen)
    replayed = [None if a.input is None else _replay(options.net, a) for a in accepted.answers]
    for answer, runs in zip(accepted.answers, replayed, strict=True):
        if runs is False:
            where = f"proof of {Path(answer.path).name}"
            raise checker.Rejected(f"{where}: the input does not violate the property when onnxruntime runs it")
    return accepted, replayed


def _replay(net: Path, answer: Answer) -> bool:
    """Does the counterexample violate on the file as it is?"""
    import numpy as np

    from birdnn.crosscheck.onnxruntime import OnnxReplay
    from birdnn.formats import read_property
    from birdnn.formats.files import read_bytes
    from birdnn.formats.onnx import MAX_BYTES

    x = np.array(answer.input, dtype=np.float32)
    y = OnnxReplay(read_bytes(net, MAX_BYTES))(x)
    return read_property(answer.path).violated(x.tolist(), y.tolist())


def _replay_remark(accepted: Accepted, replayed: Sequence[bool | None]) -> str:
    if not any(replayed):
        return ""
    only = any(runs and not answer.exactly for answer, runs in zip(accepted.answers, replayed, strict=True))
    return ", onnxruntime alone: in exact arithmetic the input does not violate" if only else ", onnxruntime"


def _rejected(options: CheckOptions, reason: str, wall_s: float) -> int:
    first_line(f"rejected: {reason}")
    if options.json is not None:
        _write(options, None, (), reason, wall_s)
    return 1


def _write(
    options: CheckOptions, accepted: Accepted | None, replayed: Sequence[bool | None], said: str, wall_s: float
) -> None:
    from birdnn.formats.files import write_bytes
    from birdnn.report.json import write_report
    from birdnn.report.schema import CheckedModel, CheckReport

    answers = zip(accepted.answers, replayed, strict=True) if accepted else ()
    report = CheckReport(
        command=shlex.join(command_line()),
        outcome="accepted" if accepted else "rejected",
        reason=None if accepted else said,
        checked=said if accepted else None,
        net=str(options.net),
        certificate=str(options.certificate),
        semantics=accepted.semantics if accepted else None,
        assumptions=accepted.assumptions if accepted else {},
        arithmetic=options.arithmetic.value,
        sample=options.sample,
        seed=options.seed,
        properties=[
            CheckedModel(
                file=answer.path,
                verdict=answer.verdict,
                leaves=answer.leaves,
                sampled=answer.sampled,
                exactly=answer.exactly if answer.verdict == "violated" else None,
                replayed=runs,
            )
            for answer, runs in answers
        ],
        wall_s=wall_s,
    )
    write_report(report, options.json or Path(), write_bytes)


def _table(accepted: Accepted) -> Table:
    from birdnn.report.tables import add_fact, facts_grid

    grid = facts_grid()
    for answer in accepted.answers:
        said = f"proved, {answer.leaves:,} leaves" if answer.verdict == "proved" else "violated"
        add_fact(grid, Path(answer.path).name, said)
    add_fact(grid, "semantics", accepted.semantics)
    for name, error in accepted.assumptions.items():
        add_fact(grid, "assumption", f"the runtime's {name} errs by at most {error:g}")
    return grid
