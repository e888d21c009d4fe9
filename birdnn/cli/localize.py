"""``birdnn localize``: which neurons, or which blocks, are responsible?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from birdnn.cli.blocks import ChosenBlocks, Data, FormulaOption, Radius
from birdnn.cli.failures import command
from birdnn.cli.options import (
    DEVICE_HELP,
    TO_READ,
    AsName,
    Json,
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
from birdnn.records import AskedDevice, BlockLocalizeRequest, Form, LocalizeRequest

_DEFAULT = defaults_of(LocalizeRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalizeOptions:
    """What the command line says."""

    PANELS: ClassVar[Mapping[str, Sequence[str]]] = {
        "With --blocks": ("data", "block", "formula", "radius", "examples", "device")
    }

    net: Net
    prop: Annotated[
        list[Path] | None,
        typer.Option("--prop", metavar="FILE", help="A violated property: .vnnlib, also with .gz. May be repeated."),
        TO_READ,
    ] = None
    suite: Suite = None
    as_name: AsName = None
    form: Annotated[
        Form, typer.Option("--form", help="Difference of means over their spread, or the paper's difference of sums.")
    ] = _DEFAULT.form
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            metavar="K",
            help="How many neurons to name: by default 10, or all of fewer; with --blocks in each, by default 3.",
        ),
    ] = None
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw layers by neurons: .svg or .png.")
    ] = None
    blocks: Annotated[
        bool, typer.Option("--blocks", help="Judge the blocks of a classifier by labelled examples, --data; see below.")
    ] = False
    data: Data = None
    block: ChosenBlocks = None
    formula: FormulaOption = None
    radius: Radius = None
    examples: Annotated[
        int | None,
        typer.Option("--examples", metavar="N", help="Look at so many failing ones at most. Default: 150."),
    ] = None
    device: Annotated[AskedDevice | None, typer.Option("--device", help=DEVICE_HELP)] = None
    units: PropertyUnits = _DEFAULT.units
    seed: Seed = _DEFAULT.seed
    json: Json = None
    quiet: Quiet = False


@command(LocalizeOptions)
def localize(options: LocalizeOptions) -> int:
    """Name the hidden neurons that behave differently where a property is violated.

    Violating inputs come from uniform sampling and, where they are rare, from an attack. The ranking is checked on
    other violating inputs: how many still violate when the top k neurons are fixed to their mean over satisfying
    inputs, and how many with k random neurons. Where no violating input is found there is nothing to localise: status 0
    as well.

    With --blocks a classifier's blocks are ranked instead, by labelled examples that it gets right and wrong and by
    adversarial neighbours of these: by what becomes of them when one block alone follows the gradients of its weights.
    What its channels do on both kinds is told besides. Parts without convolutions are listed and not judged.
    """
    if options.blocks:
        return _localize_blocks(options)
    return localize_neurons(options)


def localize_neurons(options: LocalizeOptions) -> int:
    """The command on its options; `birdnn plot responsibility` is the same with a picture that has to be."""
    if not options.prop and options.suite is None:
        raise typer.BadParameter("say what is violated: --prop FILE, or --suite TOML", param_hint="--prop")
    if options.picture is not None:
        require_picture(options.picture)
    require_input_files(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish import finish_localize
        from birdnn.formats.files import require_writable
        from birdnn.pipeline.localising import localize_files

        require_writable((options.json, options.picture), (options.net, *(options.prop or ())))
        request = request_of(LocalizeRequest, options)
        outcome = localize_files(request, watch=watch)
    return finish_localize(outcome, json=options.json, picture=options.picture, quiet=options.quiet)


def _localize_blocks(options: LocalizeOptions) -> int:
    """``--blocks``."""
    if options.data is None:
        raise typer.BadParameter("say what the network gets wrong: --data FILE.npz", param_hint="--data")
    if options.picture is not None:
        require_picture(options.picture)
    require_input_files(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish_blocks import finish_localize_blocks
        from birdnn.formats.files import require_writable
        from birdnn.formats.partition import read_blocks
        from birdnn.pipeline.localising_blocks import localize_block_files

        require_writable((options.json, options.picture), (options.net, options.data))
        request = request_of(BlockLocalizeRequest, options, chosen=read_blocks(options.block or ()))
        outcome = localize_block_files(request, watch=watch)
    return finish_localize_blocks(outcome, json=options.json, picture=options.picture, quiet=options.quiet)
