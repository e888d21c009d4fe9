"""What ``birdnn check`` prints. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from birdnn.certify.check import Accepted
from birdnn.cli.options import command_line
from birdnn.cli.terminal import first_line, show
from birdnn.formats.files import write_bytes
from birdnn.pipeline.checking import CheckOutcome
from birdnn.report.model import write_report
from birdnn.report.schema import CheckedModel, CheckReport
from birdnn.report.tables import add_fact, facts_grid
from birdnn.report.witnesses import HOLDS


def finish(found: CheckOutcome, *, json: Path | None, quiet: bool, wall_s: float) -> int:
    """Print and write what was found; the exit status."""
    word = "rejected" if found.accepted is None else "accepted"
    first_line(f"{word}: {found.said}")
    if json is not None:
        write_report(_report(found, wall_s), json, write_bytes)
    if found.accepted is None:
        return 1
    if not quiet:
        accepted, replayed = found.accepted, found.replayed
        show(lambda width: _table(accepted, replayed))
    return 0


def _report(found: CheckOutcome, wall_s: float) -> CheckReport:
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
                exactly=None if answer.input is None else answer.exactly,
                replayed=runs,
            )
            for answer, runs in answers
        ],
        wall_s=wall_s,
    )


def _table(accepted: Accepted, replayed: Sequence[bool | None]) -> Table:
    grid = facts_grid()
    for answer, runs in zip(accepted.answers, replayed, strict=True):
        leaves = "1 leaf" if answer.leaves == 1 else f"{answer.leaves:,} leaves"
        if answer.verdict == "proved":
            said = f"proved, {leaves}" + ("; in onnxruntime an input violates it" if runs else "")
        else:
            said = f"violated {HOLDS[answer.exactly]}"
        add_fact(grid, Path(answer.path).name, said)
    add_fact(grid, "semantics", accepted.semantics)
    for name, error in accepted.assumptions.items():
        add_fact(grid, "assumption", f"the runtime's {name} errs by at most {error:g}")
    return grid
