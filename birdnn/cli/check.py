"""``birdnn check``: is a certificate a proof?"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from birdnn.cli.failures import command, complain
from birdnn.cli.options import TO_READ, Json, Nets, Props, Quiet, Seed, parse_networks, require_input_files
from birdnn.cli.progress import TerminalWatch
from birdnn.cli.statuses import INTERRUPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What the command line says."""

    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="A .certificate.json.gz file."), TO_READ]
    net: Nets
    prop: Props
    arithmetic: Annotated[
        Literal["float64", "exact"],
        typer.Option("--arithmetic", help="float64 accounts for its rounding; exact has none."),
    ] = "float64"
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", help="All leaves in float64, and N of them in exact arithmetic."),
    ] = None
    seed: Seed = 0
    json: Json = None
    quiet: Quiet = False


@command(CheckOptions)
def check(options: CheckOptions) -> int:
    """Check a certificate by a program that shares no code with the prover.

    The first line of output is "accepted: ..." with what was checked, or "rejected: ..." with the reason. A
    counterexample is checked in exact arithmetic and run through onnxruntime.
    """
    started = time.monotonic()
    nets = parse_networks(options.net)
    require_input_files(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.certify.check import Settings
        from birdnn.cli.checking import finish_check
        from birdnn.formats.files import require_writable
        from birdnn.pipeline.checking import Stopped, check_files

        inputs = [nets] if isinstance(nets, Path) else [*nets.values()]
        require_writable((options.json,), (*inputs, options.certificate, *options.prop))
        settings = Settings(arithmetic=options.arithmetic, sample=options.sample, seed=options.seed)
        found = None
        with suppress(Stopped):
            found = check_files(nets, options.prop, options.certificate, settings=settings, watch=watch)
    if found is None:
        complain("interrupted; nothing is known about the certificate")
        return INTERRUPTED
    return finish_check(found, json=options.json, quiet=options.quiet, wall_s=time.monotonic() - started)
