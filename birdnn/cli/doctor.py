"""``birdnn doctor``: which engines are there?"""

from __future__ import annotations

from dataclasses import dataclass

from birdnn.cli.failures import command
from birdnn.cli.options import Json, Quiet
from birdnn.cli.progress import TerminalWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """What the command line says."""

    json: Json = None
    quiet: Quiet = False


@command(DoctorOptions)
def doctor(options: DoctorOptions) -> int:
    """Say which engines can be used here, in which versions, what is missing and how to get it.

    Each engine of --crosscheck is asked a small question. Bounds are compiled, once for each version: the first proofs
    need not wait for that. The status is 0 whatever is missing.
    """
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish import finish_doctor
        from birdnn.formats.files import require_writable
        from birdnn.pipeline.doctoring import examine

        require_writable((options.json,), ())
        outcome = examine(watch)
    return finish_doctor(outcome, json=options.json, quiet=options.quiet)
