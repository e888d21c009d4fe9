"""``birdnn falsify``: look for a counterexample only."""

from __future__ import annotations

from dataclasses import dataclass

from birdnn.cli.began import BEGAN
from birdnn.cli.failures import command
from birdnn.cli.loading import loading
from birdnn.cli.options import (
    Counterexample,
    Device,
    DeviceOption,
    Json,
    Net,
    Props,
    Quiet,
    Seed,
    Timeout,
    Units,
    UnitsOption,
    command_line,
    require_there,
)
from birdnn.cli.progress import TerminalWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class FalsifyOptions:
    """What the command line says."""

    net: Net
    prop: Props
    timeout: Timeout = None
    units: UnitsOption = Units.NORMALISED
    seed: Seed = 0
    device: DeviceOption = Device.AUTO
    counterexample: Counterexample = None
    json: Json = None
    quiet: Quiet = False


@command(FalsifyOptions)
def falsify(options: FalsifyOptions) -> int:
    """Look for a counterexample, and never prove anything.

    Without --timeout ten rounds of attack on each property, with it as many as fit. The first line of output is sat
    (a counterexample was found and replayed), unknown or timeout.
    """
    require_there(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        with loading():
            from birdnn.cli.finish import finish_verify
            from birdnn.formats.files import require_writable
            from birdnn.pipeline.deciding import falsify_files
            from birdnn.records import VerifySettings

        require_writable((options.json, options.counterexample), (options.net, *options.prop))
        settings = VerifySettings(
            timeout_s=options.timeout,
            units=options.units.value,
            seed=options.seed,
            device=options.device.value,
            command=command_line(),
        )
        outcome = falsify_files(options.net, options.prop, settings=settings, watch=watch, began=BEGAN.get())
    return finish_verify(outcome, json=options.json, counterexample=options.counterexample, quiet=options.quiet)
