"""``birdnn estimate``: how much of a measure violates a property?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from birdnn.cli.failures import command
from birdnn.cli.options import (
    TO_READ,
    AsName,
    Device,
    Json,
    Net,
    PropertyUnits,
    Quiet,
    Seed,
    Suite,
    defaults_of,
    request_of,
    require_input_files,
)
from birdnn.cli.progress import TerminalWatch
from birdnn.records import EstimateRequest, Units

_DEFAULT = defaults_of(EstimateRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateOptions:
    """What the command line says."""

    net: Net
    prop: Annotated[
        list[Path] | None,
        typer.Option("--prop", metavar="FILE", help="A property: .vnnlib, also with .gz. May be repeated."),
        TO_READ,
    ] = None
    suite: Suite = None
    as_name: AsName = None
    measure: Annotated[
        str,
        typer.Option(
            "--measure",
            metavar="uniform|FILE",
            help="Inputs are drawn uniformly, or as a file says: samples (.csv, .npz), independent marginals (.toml).",
        ),
    ] = _DEFAULT.measure
    epsilon: Annotated[
        float | None,
        typer.Option(
            "--epsilon", metavar="E", help="The bound that is wanted; says how many samples. Default: 0.00001."
        ),
    ] = None
    delta: Annotated[
        float,
        typer.Option("--delta", metavar="D", help="Probability at most that any statement of the run is wrong."),
    ] = _DEFAULT.delta
    samples: Annotated[
        int | None,
        typer.Option("--samples", metavar="N", help="Draws for each property; with --anytime the most."),
    ] = None
    attempts: Annotated[
        int, typer.Option("--attempts", metavar="K", help="How many such runs, e.g. of candidates, share delta.")
    ] = _DEFAULT.attempts
    anytime: Annotated[
        bool, typer.Option("--anytime", metavar="", help="Stop as soon as the bound is reached, or known to be missed.")
    ] = False
    scenario: Annotated[
        bool, typer.Option("--scenario", metavar="", help="Also fit an affine function below the margin.")
    ] = False
    splitting: Annotated[
        bool, typer.Option("--splitting", metavar="", help="Also estimate very small probabilities by splitting.")
    ] = False
    units: PropertyUnits = _DEFAULT.units
    measure_units: Annotated[
        Units, typer.Option("--measure-units", help="What the measure's file speaks; see birdnn --help.")
    ] = _DEFAULT.measure_units
    seed: Seed = _DEFAULT.seed
    device: Device = _DEFAULT.device
    json: Json = None
    quiet: Quiet = False


@command(EstimateOptions)
def estimate(options: EstimateOptions) -> int:
    """Estimate how much of a measure of inputs violates each property, and state what the samples allow.

    The bound printed holds for the named measure with the confidence beside it, and says nothing about any one input:
    a measure can give a real defect next to no weight. Use verify for a proof.
    """
    if not options.prop and options.suite is None:
        raise typer.BadParameter("say what to estimate: --prop FILE, or --suite TOML", param_hint="--prop")
    require_input_files(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish import finish_estimate
        from birdnn.formats.files import require_writable
        from birdnn.pipeline.estimating import estimate_files

        request = request_of(EstimateRequest, options)
        named = (options.net, *request.props, options.suite, None if request.measure == "uniform" else request.measure)
        require_writable((options.json,), (Path(given) for given in named if given is not None))
        outcome = estimate_files(request, watch=watch)
    return finish_estimate(outcome, json=options.json, quiet=options.quiet)
