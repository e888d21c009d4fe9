"""``birdnn doctor``: which engines are there?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from birdnn.cli.failures import command
from birdnn.cli.options import Json, Quiet
from birdnn.cli.progress import TerminalWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """What the command line says."""

    tried: Annotated[
        bool,
        typer.Option("--try", metavar="", help="Ask each engine a small question; have bounds compiled that are not."),
    ] = False
    json: Json = None
    quiet: Quiet = False


@command(DoctorOptions)
def doctor(options: DoctorOptions) -> int:
    """Say which engines can be used here, in which versions, what is missing and how to get it.

    With --try each engine, the graphics device too, is asked a small question, which takes seconds, and bounds are
    compiled, once for each version: the first proofs need not wait for that. Without it nothing is said to work, only
    to be there. The status is 0 whatever is missing.
    """
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish_setup import finish_doctor
        from birdnn.formats.files import require_writable
        from birdnn.pipeline.diagnosing import examine_engines

        require_writable((options.json,), ())
        outcome = examine_engines(watch, tried=options.tried)
    return finish_doctor(outcome, json=options.json, quiet=options.quiet)
