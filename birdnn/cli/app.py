"""The application: commands put together, and the help that teaches.

Nothing here or in the command modules imports torch before a command runs: help must come at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from birdnn.cli.bench import bench
from birdnn.cli.check import check
from birdnn.cli.compare import compare
from birdnn.cli.config import NAME, USED, options_from_file
from birdnn.cli.cores import spare_busy_cores
from birdnn.cli.doctor import doctor
from birdnn.cli.estimate import estimate
from birdnn.cli.failures import DEBUG, complain
from birdnn.cli.falsify import falsify
from birdnn.cli.fetch import fetch
from birdnn.cli.help import Command, Group
from birdnn.cli.localize import localize
from birdnn.cli.plot import plot
from birdnn.cli.property import property_
from birdnn.cli.repair import repair
from birdnn.cli.report import report
from birdnn.cli.verify import verify
from birdnn.errors import BirdnnError
from birdnn.version import installed_version

HELP = """Find where a neural network breaks a property, repair it, prove the repair.

A network (ONNX or NNet) and properties (VNN-LIB) go in, .gz of each as well. A property file describes what is \
[bold]unsafe[/]: [cyan]sat[/] means violated, [cyan]unsat[/] means that the property holds.

[bold]Examples[/]

Does the property hold? The first line of output is the verdict:
[cyan]birdnn verify --net net.onnx --prop prop_8.vnnlib --timeout 116[/]

How much of the inputs break it, with 99.9 % confidence?
[cyan]birdnn estimate --net net.onnx --prop prop_8.vnnlib --epsilon 1e-5 --delta 1e-3[/]

Repair one property, keep another true, write to ./net.birdnn/:
[cyan]birdnn repair --net net.onnx --prop prop_8.vnnlib --keep prop_1.vnnlib[/]

Repair an ACAS Xu network against all that applies to it:
[cyan]birdnn repair --net ACASXU_2_9.onnx --suite acasxu --json result.json[/]

Which neurons behave differently where it is violated, as a table and a picture:
[cyan]birdnn localize --net net.onnx --prop prop_8.vnnlib --picture neurons.svg[/]

Repair the most suspicious block of an image classifier by labelled examples, compare with fine-tuning:
[cyan]birdnn repair --net net.onnx --method blocks --data repair.npz --val val.npz --test test.npz --compare[/]

What does the repaired network do that the first did not?
[cyan]birdnn compare net.onnx net.birdnn/net.repaired.onnx --suite acasxu --as N2,9 --html compare.html[/]

Make the report for those who have to judge a repair, or have repair --report make it:
[cyan]birdnn report net.birdnn --format html,sarif[/]

What is decided before and after, where it is wrong, what the proof covers, as a picture:
[cyan]birdnn plot map --net net.onnx --after net.repaired.onnx --prop prop_8.vnnlib --out map.svg[/]

Check a proof by a second, independent program:
[cyan]birdnn check --net net.repaired.onnx --prop prop_8.vnnlib net.certificate.json.gz[/]

Ask other verifiers the same question, and which of them are installed:
[cyan]birdnn verify --net net.onnx --prop prop_8.vnnlib --crosscheck auto_lirpa,marabou,onnxruntime[/]
[cyan]birdnn doctor[/]

Networks to try things on, with checksums; the first is installed with birdnn:
[cyan]birdnn fetch demo[/]
[cyan]birdnn fetch acasxu[/]

Verify a benchmark's instances, four at a time; the same command goes on after an interruption:
[cyan]birdnn bench instances.csv --jobs 4 --out results.csv --plot cactus.svg[/]

[bold]Units[/]

A property must speak the network's units. ACAS Xu's ONNX files and the usual VNN-LIB properties are normalised; NNet \
headers and the tables in papers are raw (feet, radians). With a property in raw units say [cyan]--units raw[/]. \
Mixing them answers another question, and nothing will tell you.

[bold]Output[/]

Answers and tables go to standard output, progress and complaints to standard error. With [cyan]--quiet[/] there is \
one line of output and no progress.

[bold]Exit statuses[/]

  0  proved; nothing to repair; check accepts; bench has all rows; or done
  1  violated; check: rejected; no repair found (the best attempt is kept)
  2  wrong use of the command line
  3  undecided: timeout or unknown; repaired but not proved
  4  bad input: file, format, operator, what does not fit; fetch: no internet
  5  our own fault
  6  two engines disagree, or a sample violates what was proved: stop and look
130  interrupted; the best result so far is on disk
"""

app = typer.Typer(
    name="birdnn",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"birdnn {installed_version()}")
        raise typer.Exit()


@app.callback(help=HELP)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", metavar="", help="Show tracebacks of unexpected errors.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help=f"Options that hold unless others are given. Default: {NAME}, if it is there.",
        ),
    ] = None,
) -> None:
    DEBUG.set(debug)
    spare_busy_cores()
    _apply_configuration(context, config)


def _apply_configuration(context: Any, said: Path | None) -> None:
    """Take options from a file, where one is named or lies here."""
    # a worker runs one command after the other in this process
    USED.set(None)
    path = said or Path(NAME)
    if said is None and not path.is_file():
        return
    try:
        options = options_from_file(path, context.command)
    except BirdnnError as error:
        complain(f"error: {error}")
        raise typer.Exit(error.exit_status) from None
    if not options:
        return
    context.default_map = options
    USED.set((path, options))
    complain(f"options of {path} hold where the command line says nothing else")


for _command in (verify, check, falsify, estimate, localize, repair, compare, report, bench, fetch, doctor):
    app.command(cls=Command)(_command)
app.add_typer(plot)
app.add_typer(property_)
