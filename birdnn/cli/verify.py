"""``birdnn verify``: does the property hold?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from birdnn.cli.failures import INTERRUPTED, command, complain
from birdnn.cli.options import (
    Counterexample,
    Json,
    Memory,
    Net,
    Props,
    Quiet,
    Seed,
    Timeout,
    Units,
    UnitsOption,
    command_line,
    require_writable,
)
from birdnn.cli.progress import TerminalWatch
from birdnn.cli.terminal import first_line, show

if TYPE_CHECKING:
    from birdnn.records import VerifyOutcome

STATUS = {"unsat": 0, "sat": 1, "unknown": 3, "timeout": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What the command line says."""

    net: Net
    prop: Props
    timeout: Timeout = None
    memory: Memory = None
    units: UnitsOption = Units.NORMALISED
    seed: Seed = 0
    counterexample: Counterexample = None
    json: Json = None
    quiet: Quiet = False


@command(VerifyOptions)
def verify(options: VerifyOptions) -> int:
    """Decide properties: falsify, then prove by complete search.

    The first line of output is the verdict in VNN-COMP's words: unsat (holds), sat (violated), unknown or timeout; for
    several properties the worst of them, the table has each. A sat comes with an input that violates the property,
    replayed through onnxruntime on the file as given.
    """
    require_writable((options.json, options.counterexample), (options.net, *options.prop))
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.pipeline import verify_files
        from birdnn.records import VerifySettings

        settings = VerifySettings(
            timeout_s=options.timeout,
            memory_gib=options.memory,
            units=options.units.value,
            seed=options.seed,
            command=command_line(),
        )
        outcome = verify_files(options.net, options.prop, settings=settings, watch=watch)
    return finish(outcome, json=options.json, counterexample=options.counterexample, quiet=options.quiet)


def finish(outcome: VerifyOutcome, *, json: Path | None, counterexample: Path | None, quiet: bool) -> int:
    """Print and write what was found; the exit status."""
    from birdnn.formats.files import write_bytes
    from birdnn.records import Violated
    from birdnn.report.json import competition_verdict, counterexample_text, verify_report, worst, write_report
    from birdnn.report.text import verify_summary

    deciding = worst([answer.verdict for answer in outcome.verdicts])
    first_line(competition_verdict(deciding))
    if json is not None:
        write_report(verify_report(outcome), json, write_bytes)
    if counterexample is not None and isinstance(deciding, Violated):
        write_bytes(counterexample, counterexample_text(deciding.witness).encode())
    if not quiet:
        show(lambda width: verify_summary(outcome, width))
    if outcome.interrupted:
        complain("interrupted")
        return INTERRUPTED
    return STATUS[competition_verdict(deciding)]
