"""``birdnn verify``: does the property hold?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from birdnn.cli.began import BEGAN
from birdnn.cli.failures import command
from birdnn.cli.loading import without_garbage_collection
from birdnn.cli.options import (
    Certificate,
    Counterexample,
    Crosscheck,
    CrosscheckTimeout,
    Device,
    Json,
    Memory,
    Nets,
    PropertyUnits,
    Props,
    Quiet,
    Ray,
    Resume,
    Seed,
    Timeout,
    defaults_of,
    parse_engines,
    parse_networks,
    request_of,
    require_input_files,
)
from birdnn.cli.progress import TerminalWatch
from birdnn.records import BoundName, VerifySettings
from birdnn.rounding import Semantics

_DEFAULT = defaults_of(VerifySettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What the command line says."""

    net: Nets
    prop: Props
    timeout: Timeout = None
    memory: Memory = None
    units: PropertyUnits = _DEFAULT.units
    semantics: Annotated[
        Semantics | None,
        typer.Option(
            "--semantics",
            help="What a proof speaks about: the network over the reals, or as executed in float32, sums in any order. "
            "Default: real, or what a query of VNN-LIB 2.0 is over.",
        ),
    ] = None
    seed: Seed = _DEFAULT.seed
    device: Device = _DEFAULT.device
    bound: Annotated[
        BoundName,
        typer.Option(
            "--bound",
            help="Whose bounds prove: our own, whose rounding is accounted for, or those of auto_lirpa, whose rounding "
            "is not, and which leave no certificate.",
        ),
    ] = _DEFAULT.bound
    crosscheck: Crosscheck = None
    crosscheck_timeout: CrosscheckTimeout = _DEFAULT.crosscheck_timeout_s
    certificate: Certificate = None
    resume: Resume = None
    ray: Ray = None
    counterexample: Counterexample = None
    json: Json = None
    quiet: Quiet = False


@command(VerifyOptions)
def verify(options: VerifyOptions) -> int:
    """Decide properties: falsify, then prove by complete search.

    The first line of output is the verdict in VNN-COMP's words: unsat (holds), sat (violated), unknown or timeout; for
    several properties the worst of them, the table has each. A sat comes with an input that violates the property,
    replayed through onnxruntime on the file as given. Where engines contradict each other it is unknown, and the
    status 6.
    """
    asked = parse_engines(options.crosscheck)
    nets = parse_networks(options.net)
    require_input_files(options)
    files = [nets] if isinstance(nets, Path) else [*nets.values()]
    with TerminalWatch(quiet=options.quiet) as watch:
        with without_garbage_collection():
            from birdnn.cli.finish import finish_verify
            from birdnn.formats.files import require_writable
            from birdnn.pipeline.deciding import verify_files
            from birdnn.pipeline.relating import verify_related

        require_writable((options.json, options.counterexample, options.certificate), (*files, *options.prop))
        settings = request_of(VerifySettings, options, crosscheck=asked)
        began = BEGAN.get()
        if isinstance(nets, Path):
            outcome = verify_files(nets, options.prop, settings=settings, watch=watch, began=began)
        else:
            outcome = verify_related(nets, options.prop, settings=settings, watch=watch, began=began)
    return finish_verify(outcome, json=options.json, counterexample=options.counterexample, quiet=options.quiet)
