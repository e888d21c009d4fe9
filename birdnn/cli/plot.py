"""``birdnn plot``: pictures, each alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from birdnn.cli.failures import command
from birdnn.cli.help import Command, Group
from birdnn.cli.localize import LocalizeOptions, localize_neurons
from birdnn.cli.options import (
    TO_READ,
    AsName,
    Json,
    KnowingSuite,
    Net,
    PropertyUnits,
    Quiet,
    Seed,
    Suite,
    defaults_of,
    request_of,
    require_input_files,
    require_picture,
)
from birdnn.cli.progress import TerminalWatch
from birdnn.records import AskedView, Form, Geometry, LocalizeRequest, PlotRequest

_DEFAULT, _OF_LOCALIZE = defaults_of(PlotRequest), defaults_of(LocalizeRequest)

HELP = """Draw a picture, as .svg or .png: readable without colours, the same bytes for the same data.

Values of inputs are given and shown in raw units where a suite or an NNet header says the scaling (ACAS Xu: feet, \
radians, feet a second), otherwise in those of the network, whose inputs are then called x_0, x_1, ..."""

plot = typer.Typer(name="plot", cls=Group, help=HELP, no_args_is_help=True, rich_markup_mode="rich")


Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The picture: .svg or .png.")]
After = Annotated[
    Path | None,
    typer.Option("--after", metavar="FILE", help="The repaired network, drawn beside or over the first."),
    TO_READ,
]
Prop = Annotated[
    Path | None, typer.Option("--prop", metavar="FILE", help="A property: .vnnlib, also with .gz."), TO_READ
]
At = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="WHERE",
        help="Through which point: counterexample, middle (of the property's region), or NAME=VALUE for an input that "
        "is to be fixed; may be repeated. Default: a counterexample, or else the middle.",
    ),
]
XRange = Annotated[
    str | None, typer.Option("--x-range", metavar="LOW,HIGH", help="Of the first input, in the units of the picture.")
]
YRange = Annotated[str | None, typer.Option("--y-range", metavar="LOW,HIGH", help="Of the second input.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """What the command line says."""

    net: Net
    out: Out
    after: After = None
    prop: Prop = None
    x: Annotated[
        str | None,
        typer.Option("--x", metavar="INPUT", help="First input, by name or index. Default: what matters most."),
    ] = None
    y: Annotated[str | None, typer.Option("--y", metavar="INPUT", help="Second input.")] = None
    x_range: XRange = None
    y_range: YRange = None
    at: At = None
    view: Annotated[
        AskedView | None,
        typer.Option(
            "--view", metavar="VIEW", help="How far it goes: domain (default where it is known), region, violations."
        ),
    ] = None
    geometry: Annotated[
        Geometry | None,
        typer.Option("--geometry", help="encounter: seen from above, ownship in the middle. Default: as inputs allow."),
    ] = None
    cells: Annotated[int, typer.Option("--cells", metavar="N", help="Cells along the longer side.")] = _DEFAULT.cells
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", metavar="FILE", help="Draw the boxes of this proof of --prop."),
        TO_READ,
    ] = None
    prove: Annotated[
        float | None,
        typer.Option("--prove", metavar="S", help="Search for a proof for S seconds and draw its boxes."),
    ] = None
    decision: Annotated[
        Literal["argmin", "argmax"] | None,
        typer.Option("--decision", help="Which output decides, where no suite says it."),
    ] = None
    suite: KnowingSuite = None
    as_name: AsName = None
    units: PropertyUnits = _DEFAULT.units
    seed: Seed = _DEFAULT.seed
    json: Json = None
    quiet: Quiet = False


@command(MapOptions, "plot")
def plot_map(options: MapOptions) -> int:
    """Advisory map: what networks decide over two inputs.

    Where the property is violated is hatched, its input region outlined; with --certificate or --prove the boxes of a
    proof are drawn. ACAS Xu is seen from above, in feet. Before and after stand side by side with --after. What is
    hatched was evaluated in float32 at the middles of cells: a picture proves nothing.
    """
    ranges = _parse_range(options.x_range, "--x-range"), _parse_range(options.y_range, "--y-range")

    require_input_files(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.plotting import finish_plot
        from birdnn.pipeline.plotting import plot_map as drawn

        inputs = (options.net, options.after, options.prop, options.certificate)
        _require_writable(options.out, options.json, inputs)
        request = request_of(PlotRequest, options, x_range=ranges[0], y_range=ranges[1])
        outcome = drawn(request, watch=watch)
    return finish_plot(outcome, out=options.out, json=options.json, quiet=options.quiet)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions:
    """What the command line says."""

    net: Net
    out: Out
    prop: Annotated[Path, typer.Option("--prop", metavar="FILE", help="A property: .vnnlib, also with .gz."), TO_READ]
    after: After = None
    start: Annotated[
        str | None, typer.Option("--from", metavar="X,X,...", help="Where the line begins: a value for each input.")
    ] = None
    end: Annotated[str | None, typer.Option("--to", metavar="X,X,...", help="Where it ends.")] = None
    along: Annotated[
        str | None, typer.Option("--along", metavar="INPUT", help="Let this input vary alone, by name or index.")
    ] = None
    x_range: Annotated[
        str | None, typer.Option("--x-range", metavar="LOW,HIGH", help="With --along: from where to where.")
    ] = None
    at: At = None
    suite: KnowingSuite = None
    as_name: AsName = None
    units: PropertyUnits = _DEFAULT.units
    seed: Seed = _DEFAULT.seed
    json: Json = None
    quiet: Quiet = False


@command(LineOptions, "plot")
def plot_line(options: LineOptions) -> int:
    """The margin of a property along a line between two inputs.

    By default the line runs from the middle of the region through a counterexample and on to either side. Zero is
    marked; below it the property is violated, inside the shaded input region.
    """
    if (options.start is None) != (options.end is None):
        raise typer.BadParameter("a line has two ends: give both --from and --to", param_hint="--from")
    if options.start is not None and (options.along is not None or options.at):
        raise typer.BadParameter(
            "--from and --to say the whole line", param_hint="--along" if options.along else "--at"
        )
    if options.x_range is not None and options.along is None:
        raise typer.BadParameter("the range of which input? Say --along", param_hint="--x-range")
    start, end = _parse_numbers(options.start, "--from"), _parse_numbers(options.end, "--to")
    x_range = _parse_range(options.x_range, "--x-range")

    require_input_files(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.plotting import finish_plot
        from birdnn.pipeline.plotting import plot_line as drawn

        _require_writable(options.out, options.json, (options.net, options.after, options.prop))
        request = request_of(PlotRequest, options, x_range=x_range, start=start, end=end)
        outcome = drawn(request, watch=watch)
    return finish_plot(outcome, out=options.out, json=options.json, quiet=options.quiet)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsibilityOptions:
    """What the command line says."""

    net: Net
    out: Out
    prop: Annotated[
        list[Path] | None,
        typer.Option("--prop", metavar="FILE", help="A violated property: .vnnlib, also with .gz. May be repeated."),
        TO_READ,
    ] = None
    suite: Suite = None
    as_name: AsName = None
    form: Annotated[Form, typer.Option("--form", help="As of birdnn localize.")] = _OF_LOCALIZE.form
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="K", help="How many neurons to number. Default: 10, or all of fewer."),
    ] = None
    units: PropertyUnits = _DEFAULT.units
    seed: Seed = _DEFAULT.seed
    json: Json = None
    quiet: Quiet = False


@command(ResponsibilityOptions, "localize")
def plot_responsibility(options: ResponsibilityOptions) -> int:
    """Which hidden neurons are responsible: layers by neurons, as birdnn localize draws it.

    The table, the JSON and the exit statuses are those of birdnn localize.
    """
    return localize_neurons(
        LocalizeOptions(
            net=options.net,
            prop=options.prop,
            suite=options.suite,
            as_name=options.as_name,
            form=options.form,
            top=options.top,
            picture=options.out,
            units=options.units,
            seed=options.seed,
            json=options.json,
            quiet=options.quiet,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPictureOptions:
    """What the command line says."""

    result: Annotated[
        Path, typer.Argument(metavar="RESULT", help="What birdnn repair wrote: its folder, or the repair.json in it.")
    ]
    out: Out
    json: Json = None
    quiet: Quiet = False


@command(RepairPictureOptions)
def plot_progress(options: RepairPictureOptions) -> int:
    """The course of a repair: each candidate, what was proved of it, what it keeps and what it cost."""
    return _plot_repair(options, "progress")


@command(RepairPictureOptions)
def plot_change(options: RepairPictureOptions) -> int:
    """What a repair changed: for each initialiser how many values differ, and how far."""
    return _plot_repair(options, "change")


def _plot_repair(options: RepairPictureOptions, picture: Literal["progress", "change"]) -> int:
    from birdnn.cli.plotting import finish_repair_picture

    _require_writable(options.out, options.json, (options.result,))
    return finish_repair_picture(options.result, picture, options.out, options.json, quiet=options.quiet)


def _require_writable(out: Path, json: Path | None, inputs: tuple[Path | None, ...]) -> None:
    require_picture(out)
    from birdnn.formats.files import require_writable

    require_writable((out, json), [path for path in inputs if path is not None])


def _parse_range(said: str | None, option: str) -> tuple[float, float] | None:
    values = _parse_numbers(said, option)
    if values is None:
        return None
    if len(values) != 2 or not values[0] < values[1]:
        raise typer.BadParameter(
            f"{said!r}: two numbers are expected, the lower first, as in 0,60760", param_hint=option
        )
    return values[0], values[1]


def _parse_numbers(said: str | None, option: str) -> tuple[float, ...] | None:
    if said is None:
        return None
    try:
        values = tuple(float(part) for part in said.split(","))
    except ValueError:
        # refused below, in the same words as infinity
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise typer.BadParameter(f"{said!r}: numbers separated by commas are expected", param_hint=option)
    return values


for _name, _command in (
    ("map", plot_map),
    ("line", plot_line),
    ("responsibility", plot_responsibility),
    ("progress", plot_progress),
    ("change", plot_change),
):
    plot.command(_name, cls=Command)(_command)
