"""``birdnn localize``: which neurons are responsible?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from birdnn.cli.failures import command
from birdnn.cli.options import (
    AsName,
    Json,
    Net,
    Quiet,
    Seed,
    Suite,
    Units,
    UnitsOption,
    command_line,
    require_picture,
    require_scope,
)
from birdnn.cli.progress import TerminalWatch


class Form(StrEnum):
    """How responsibility is computed."""

    MEAN = "mean"
    SUM = "sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalizeOptions:
    """What the command line says."""

    net: Net
    prop: Annotated[
        list[Path] | None,
        typer.Option("--prop", metavar="FILE", help="A violated property: .vnnlib, also with .gz. May be repeated."),
    ] = None
    suite: Suite = None
    as_name: AsName = None
    form: Annotated[
        Form, typer.Option("--form", help="Difference of means over their spread, or the paper's difference of sums.")
    ] = Form.MEAN
    top: Annotated[int, typer.Option("--top", metavar="K", help="How many neurons to name.")] = 10
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw layers by neurons: .svg or .png.")
    ] = None
    units: UnitsOption = Units.NORMALISED
    seed: Seed = 0
    json: Json = None
    quiet: Quiet = False


@command(LocalizeOptions)
def localize(options: LocalizeOptions) -> int:
    """Name the hidden neurons that behave differently where a property is violated.

    Violating inputs come from uniform sampling and, where they are rare, from an attack. The ranking is checked on
    other violating inputs: how many still violate when the top k neurons are fixed to their mean over satisfying
    inputs, and how many with k random neurons. Where no violating input is found there is nothing to localise: status 0
    as well.
    """
    return localised(options)


def localised(options: LocalizeOptions) -> int:
    """The command on its options; `birdnn plot responsibility` is the same with a picture that has to be."""
    if not options.prop and options.suite is None:
        raise typer.BadParameter("say what is violated: --prop FILE, or --suite TOML", param_hint="--prop")
    require_scope(options.suite, options.as_name)
    if options.picture is not None:
        require_picture(options.picture)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish import finish_localize
        from birdnn.formats.files import require_writable
        from birdnn.pipeline import localize_files
        from birdnn.records import LocalizeRequest

        require_writable((options.json, options.picture), (options.net, *(options.prop or ())))
        request = LocalizeRequest(
            net=options.net,
            props=tuple(options.prop or ()),
            suite=options.suite,
            as_name=options.as_name,
            form=options.form.value,
            top=options.top,
            units=options.units.value,
            seed=options.seed,
            command=command_line(),
        )
        outcome = localize_files(request, watch=watch)
    return finish_localize(outcome, json=options.json, picture=options.picture, quiet=options.quiet)
