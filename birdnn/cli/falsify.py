"""``birdnn falsify``: look for a counterexample only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from birdnn.cli.began import BEGAN
from birdnn.cli.failures import command
from birdnn.cli.loading import without_garbage_collection
from birdnn.cli.options import (
    Counterexample,
    Device,
    Json,
    Nets,
    PropertyUnits,
    Props,
    Quiet,
    Seed,
    Timeout,
    defaults_of,
    parse_networks,
    request_of,
    require_input_files,
)
from birdnn.cli.progress import TerminalWatch
from birdnn.records import VerifySettings

_DEFAULT = defaults_of(VerifySettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class FalsifyOptions:
    """What the command line says."""

    net: Nets
    prop: Props
    timeout: Timeout = None
    units: PropertyUnits = _DEFAULT.units
    seed: Seed = _DEFAULT.seed
    device: Device = _DEFAULT.device
    counterexample: Counterexample = None
    json: Json = None
    quiet: Quiet = False


@command(FalsifyOptions)
def falsify(options: FalsifyOptions) -> int:
    """Look for a counterexample, and never prove anything.

    Without --timeout ten rounds of attack on each property, with it as many as fit. The first line of output is sat
    (a counterexample was found and replayed), unknown or timeout.
    """
    nets = parse_networks(options.net)
    require_input_files(options)
    files = [nets] if isinstance(nets, Path) else [*nets.values()]
    with TerminalWatch(quiet=options.quiet) as watch:
        with without_garbage_collection():
            from birdnn.cli.finish import finish_verify
            from birdnn.formats.files import require_writable
            from birdnn.pipeline.deciding import falsify_files
            from birdnn.pipeline.relating import falsify_related

        require_writable((options.json, options.counterexample), (*files, *options.prop))
        settings = request_of(VerifySettings, options)
        began = BEGAN.get()
        if isinstance(nets, Path):
            outcome = falsify_files(nets, options.prop, settings=settings, watch=watch, began=began)
        else:
            outcome = falsify_related(nets, options.prop, settings=settings, watch=watch, began=began)
    return finish_verify(outcome, json=options.json, counterexample=options.counterexample, quiet=options.quiet)
