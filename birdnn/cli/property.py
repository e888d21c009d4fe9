"""``birdnn property``: properties from a line of words, in words, and in the other version of VNN-LIB."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from birdnn.cli.failures import command
from birdnn.cli.help import Command, Group
from birdnn.cli.options import (
    TO_READ,
    AsName,
    KnowingSuite,
    Net,
    Quiet,
    defaults_of,
    parse_networks,
    request_of,
    require_input_files,
)
from birdnn.records import RelationRequest, RuleRequest, Units

Version = Literal["1.0", "2.0"]
"""Of VNN-LIB."""

_DEFAULT = defaults_of(RuleRequest)

HELP = """Write a property from a line of words, say what one says, or convert it between versions of VNN-LIB.

A rule speaks about inputs x0, x1, ... and outputs y0, y1, ..., or by the names of a suite that knows the network:
y0 is max | y0 > 1.5 and y1 <= y2 | 0.8 <= y0 < 1 | 2*y0 - y1 > 0.5 or not (y2 is min)"""

property_ = typer.Typer(name="property", cls=Group, help=HELP, no_args_is_help=True, rich_markup_mode="rich")


Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The property: .vnnlib, also with .gz.")]
Prop = Annotated[Path, typer.Argument(metavar="PROPERTY", help="A property: .vnnlib, also with .gz."), TO_READ]
To = Annotated[Version, typer.Option("--to", help="Version of VNN-LIB.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeOptions:
    """What the command line says."""

    net: Net
    never: Annotated[
        str | None, typer.Option("--never", metavar="RULE", help="What must not come out, e.g. 'y0 is max'.")
    ] = None
    always: Annotated[
        str | None, typer.Option("--always", metavar="RULE", help="What must come out, instead of --never.")
    ] = None
    when: Annotated[
        str, typer.Option("--when", metavar="RULE", help="For which inputs, e.g. 'x0 > 0.8, x1 in [0, 0.5]'.")
    ] = _DEFAULT.when
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain",
            metavar="RULE|FILE",
            help="Between which values inputs lie that --when leaves free. Default: what a suite or NNet header says.",
        ),
    ] = None
    units: Annotated[Units, typer.Option("--units", help="Of the numbers here; the file has those of the network.")] = (
        _DEFAULT.units
    )
    suite: KnowingSuite = None
    as_name: AsName = None
    out: Out
    to: To = "1.0"
    quiet: Quiet = False


@command(MakeOptions, "rule")
def make(options: MakeOptions) -> int:
    """Write the property that a rule states, and say it in words.

    If input 0 is above 0.8 then output 0 must not be the largest: --when "x0 > 0.8" --never "y0 is max". Of a tie both
    rules speak as they are written: y0 is max holds where another output is as large.
    """
    require_input_files(options)
    from birdnn.cli.properties import finish_make
    from birdnn.formats.files import stem_and_kind

    request = request_of(RuleRequest, options, name=stem_and_kind(options.out)[0])
    return finish_make(request, options.out, options.to, quiet=options.quiet)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """What the command line says."""

    prop: Prop
    net: Annotated[
        Path | None,
        typer.Option(
            "--net", metavar="FILE", help="The network it is about: it has to fit, and gives names and units."
        ),
        TO_READ,
    ] = None
    units: Annotated[Units, typer.Option("--units", help="What the property speaks.")] = _DEFAULT.units


@command(ExplainOptions)
def explain(options: ExplainOptions) -> int:
    """Say in words what a property says: for which inputs, and what must not come out there.

    With --net it is compared with the network: sizes have to fit, inputs and outputs have their names, and a property
    that a suite states is recognised, whatever its file is called.
    """
    require_input_files(options)
    from birdnn.cli.properties import finish_explain

    return finish_explain(options.prop, options.net, options.units)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What the command line says."""

    prop: Prop
    net: Annotated[
        Path | None,
        typer.Option(
            "--net",
            metavar="FILE",
            help="The network, whose shapes version 2.0 declares. Default: flat tensors.",
        ),
        TO_READ,
    ] = None
    to: To
    out: Out


@command(ConvertOptions)
def convert(options: ConvertOptions) -> int:
    """Write a property in version 1.0 or 2.0 of VNN-LIB: it says the same, which is read back and compared."""
    require_input_files(options)
    from birdnn.cli.properties import finish_convert

    return finish_convert(options.prop, options.net, options.out, options.to)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelateOptions:
    """What the command line says."""

    net: Annotated[
        list[str],
        typer.Option(
            "--net",
            metavar="FILE",
            help="The network, or the first of two; or both, as birdnn verify takes them: --net f=FILE --net g=FILE.",
        ),
    ]
    within: Annotated[
        float | None,
        typer.Option(
            "--within",
            metavar="EPS",
            help="No output of the second network differs by EPS or more on the same input. With --rising, --falling "
            "and --symmetric: differences below EPS are none.",
        ),
    ] = None
    same_decision: Annotated[
        Literal["least", "greatest"] | None,
        typer.Option(
            "--same-decision", help="The same output is in front in both networks: the least, or the greatest."
        ),
    ] = None
    rising: Annotated[
        str | None,
        typer.Option("--rising", metavar="XI:YJ", help="Output J does not fall where input I grows, as in x0:y3."),
    ] = None
    falling: Annotated[
        str | None, typer.Option("--falling", metavar="XI:YJ", help="Output J does not rise where input I grows.")
    ] = None
    steepness: Annotated[
        str | None,
        typer.Option(
            "--steepness", metavar="XI:YJ:L", help="Output J changes by at most L times as much as input I does."
        ),
    ] = None
    symmetric: Annotated[
        str | None,
        typer.Option(
            "--symmetric",
            metavar="PAIRS",
            help="With these inputs exchanged these outputs are exchanged, up to less than --within: x1:x2,y1:y2.",
        ),
    ] = None
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain",
            metavar="RULE|FILE",
            help="Between which values inputs lie. Default: what a suite or NNet header says.",
        ),
    ] = None
    suite: KnowingSuite = None
    as_name: AsName = None
    out: Out
    quiet: Quiet = False


@command(RelateOptions)
def relate(options: RelateOptions) -> int:
    """Write a query of VNN-LIB 2.0 about two networks, or about one at two inputs.

    --within and --same-decision are about two networks: birdnn verify --net f=A.onnx --net g=B.onnx decides them. All
    others are about one network at two inputs: --net f=A.onnx is enough. The first network says where inputs lie.
    """
    first, second = _one_or_both(parse_networks(options.net))
    require_input_files(options)
    from birdnn.cli.properties import finish_relate

    request = request_of(RelationRequest, options, net=first)
    return finish_relate(request, second, options.out, quiet=options.quiet)


def _one_or_both(nets: Path | dict[str, Path]) -> tuple[Path, Path | None]:
    """The networks that a relation calls f and g.

    Raises:
        BadParameter: they have other names.
    """
    if isinstance(nets, Path):
        return nets, None
    if "f" not in nets or set(nets) - {"f", "g"}:
        raise typer.BadParameter("the query calls the networks f and g: --net f=FILE --net g=FILE", param_hint="--net")
    return nets["f"], nets.get("g")


property_.command("make", cls=Command)(make)
property_.command("relate", cls=Command)(relate)
property_.command("explain", cls=Command)(explain)
property_.command("convert", cls=Command)(convert)
