"""``birdnn compare``: what does the second network do that the first did not?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from birdnn.cli.began import BEGAN
from birdnn.cli.failures import command
from birdnn.cli.options import (
    SUITES,
    TO_READ,
    AsName,
    Json,
    PropertyUnits,
    Quiet,
    Seed,
    Timeout,
    defaults_of,
    request_of,
    require_input_files,
)
from birdnn.cli.progress import TerminalWatch
from birdnn.records import CompareRequest, Decision

_DEFAULT = defaults_of(CompareRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """What the command line says."""

    before: Annotated[Path, typer.Argument(metavar="A", help="A network: .onnx or .nnet, also with .gz."), TO_READ]
    after: Annotated[Path, typer.Argument(metavar="B", help="Another with as many inputs and outputs."), TO_READ]
    prop: Annotated[
        list[Path] | None,
        typer.Option(
            "--prop", metavar="FILE", help="Decide this property on both: .vnnlib, also with .gz. May be repeated."
        ),
        TO_READ,
    ] = None
    keep: Annotated[
        list[Path] | None,
        typer.Option("--keep", metavar="FILE", help="The same, as repair has it. May be repeated."),
        TO_READ,
    ] = None
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite", metavar="TOML", help=f"Decide all that apply on both: a suite's file, or one of {SUITES}."
        ),
    ] = None
    as_name: AsName = None
    domain: Annotated[
        Path | None,
        typer.Option(
            "--domain",
            metavar="FILE|property",
            help="Where to compare: TOML with lower and upper, or a .vnnlib whose input boxes span it. The word "
            "'property': that of the properties. Default: from the suite or the NNet header.",
        ),
    ] = None
    decision: Annotated[
        Decision | None, typer.Option("--decision", help="Which output decides. Default: as the suite says, else none.")
    ] = None
    samples: Annotated[
        int,
        typer.Option("--samples", metavar="N", help="Points of the domain; a quarter of them in each region."),
    ] = _DEFAULT.samples
    bound_s: Annotated[
        float,
        typer.Option("--bound", metavar="S", help="Seconds for a proved bound of the difference; 0: none."),
    ] = _DEFAULT.bound_s
    timeout: Timeout = None
    units: PropertyUnits = _DEFAULT.units
    seed: Seed = _DEFAULT.seed
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the result as a page there.")] = (
        None
    )
    json: Json = None
    quiet: Quiet = False


@command(CompareOptions)
def compare(options: CompareOptions) -> int:
    """Compare two networks with the same inputs and outputs, of the same graph or not.

    How alike they decide and answer over the domain and in each property's region; the largest differences that a
    search finds, and where; a proved bound of the difference; what differs in the parameters; which properties are
    lost or gained. A is the network before, B the one after. Status 0 whatever is found.
    """
    require_input_files(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.comparing import finish_compare
        from birdnn.compare import compare_files
        from birdnn.formats.files import require_writable

        everywhere = options.domain == Path("property")
        request = request_of(CompareRequest, options, **{"domain": "property"} if everywhere else {})
        others = (options.domain, None if options.suite is None else Path(options.suite))
        inputs = (options.before, options.after, *request.props, *request.keep, *(path for path in others if path))
        require_writable((options.json, options.html), inputs)
        outcome = compare_files(request, watch=watch, began=BEGAN.get())
    return finish_compare(outcome, json=options.json, html=options.html, quiet=options.quiet)
