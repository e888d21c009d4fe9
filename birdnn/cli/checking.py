"""What ``birdnn check`` does. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from birdnn.certify.check import Accepted, Answer, Rejected, Settings, check
from birdnn.cli.options import command_line
from birdnn.cli.terminal import first_line, show
from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.formats import read_property
from birdnn.formats.files import read_bytes, write_bytes
from birdnn.formats.onnx import MAX_BYTES
from birdnn.pipeline.certifying import Stopped, follow
from birdnn.records import Watch
from birdnn.report.json import write_report
from birdnn.report.schema import CheckedModel, CheckReport
from birdnn.report.tables import add_fact, facts_grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came out.

    Attributes:
        net, certificate: the files.
        settings: how it was checked.
        accepted: what the checker says; None where it rejected.
        replayed: for each answer, does onnxruntime agree with the counterexample? None where there is none.
        said: the first line after its first word.
    """

    net: Path
    certificate: Path
    settings: Settings
    accepted: Accepted | None
    replayed: tuple[bool | None, ...]
    said: str


def checked(
    net: Path,
    props: Sequence[Path],
    certificate: Path,
    how: tuple[Literal["float64", "exact"], int | None, int],
    watch: Watch,
) -> Found | None:
    """Check, and run counterexamples; None where the user interrupted. ``how``: arithmetic, sample, seed."""
    settings = Settings(arithmetic=how[0], sample=how[1], seed=how[2])
    try:
        accepted = check(net, props, certificate, settings, follow(watch))
        replayed = tuple(None if answer.input is None else _replay(net, answer) for answer in accepted.answers)
        line = accepted.line() + _replay_remark(accepted, replayed)
        return Found(
            net=net, certificate=certificate, settings=settings, accepted=accepted, replayed=replayed, said=line
        )
    except Rejected as error:
        reason = error.reason
        return Found(net=net, certificate=certificate, settings=settings, accepted=None, replayed=(), said=reason)
    except Stopped:
        return None


def _replay(net: Path, answer: Answer) -> bool:
    """True, as the counterexample violates on the file as it is.

    Raises:
        Rejected: it does not.
    """
    x = np.array(answer.input, dtype=np.float32)
    y = OnnxReplay(read_bytes(net, MAX_BYTES))(x)
    if not read_property(answer.path).violated(x.tolist(), y.tolist()):
        where = f"proof of {Path(answer.path).name}"
        raise Rejected(f"{where}: the input does not violate the property when onnxruntime runs it")
    return True


def _replay_remark(accepted: Accepted, replayed: Sequence[bool | None]) -> str:
    if not any(replayed):
        return ""
    only = any(runs and not answer.exactly for answer, runs in zip(accepted.answers, replayed, strict=True))
    return ", onnxruntime alone: in exact arithmetic the input does not violate" if only else ", onnxruntime"


def finish(found: Found, *, json: Path | None, quiet: bool, wall_s: float) -> int:
    """Print and write what was found; the exit status."""
    word = "accepted" if found.accepted else "rejected"
    first_line(f"{word}: {found.said}")
    if json is not None:
        write_report(_report(found, wall_s), json, write_bytes)
    if found.accepted is None:
        return 1
    if not quiet:
        accepted = found.accepted
        show(lambda width: _table(accepted))
    return 0


def _report(found: Found, wall_s: float) -> CheckReport:
    accepted = found.accepted
    answers = zip(accepted.answers, found.replayed, strict=True) if accepted else ()
    return CheckReport(
        command=shlex.join(command_line()),
        outcome="accepted" if accepted else "rejected",
        reason=None if accepted else found.said,
        checked=found.said if accepted else None,
        net=str(found.net),
        certificate=str(found.certificate),
        semantics=accepted.semantics if accepted else None,
        assumptions=accepted.assumptions if accepted else {},
        arithmetic=found.settings.arithmetic,
        sample=found.settings.sample,
        seed=found.settings.seed,
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


def _table(accepted: Accepted) -> Table:
    grid = facts_grid()
    for answer in accepted.answers:
        said = f"proved, {answer.leaves:,} leaves" if answer.verdict == "proved" else "violated"
        add_fact(grid, Path(answer.path).name, said)
    add_fact(grid, "semantics", accepted.semantics)
    for name, error in accepted.assumptions.items():
        add_fact(grid, "assumption", f"the runtime's {name} errs by at most {error:g}")
    return grid
