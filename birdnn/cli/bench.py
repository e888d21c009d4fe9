"""``birdnn bench``: verify or repair many instances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from birdnn.cli.failures import command
from birdnn.cli.help import Command
from birdnn.cli.options import PICTURES, Device, Json, Quiet, Seed, command_line
from birdnn.cli.progress import TerminalWatch
from birdnn.cli.repair import repair
from birdnn.cli.verify import verify
from birdnn.errors import OutputError
from birdnn.rounding import Semantics

METHODS = "auto", "retrain", "finetune:lp", "finetune:bias", "finetune:pso", "finetune:cmaes"
SUMMARIES = (".md", ".csv")
_OURS = "--net", "--prop", "--keep", "--suite", "--json", "--out", "--timeout", "--quiet", "-q", "--method"
_OURS_TOO = "--optimiser", "--seed", "--semantics", "--device", "--certificate", "--counterexample", "--ray"


def _known_method(value: str) -> str:
    if value not in METHODS:
        raise typer.BadParameter(f"one of {', '.join(METHODS)} is expected")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What the command line says."""

    instances: Annotated[
        Path,
        typer.Argument(
            metavar="INSTANCES.csv",
            help="Rows onnx,vnnlib,timeout; paths relative to the file. Of a query about several networks onnx is a "
            "list of names and files, as VNN-COMP writes it.",
        ),
    ]
    passed: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- OPTIONS]", help="Further options of verify or repair, after two dashes."),
    ] = None
    as_repairs: Annotated[
        bool, typer.Option("--repair", metavar="", help="Repair the instances instead of verifying them.")
    ] = False
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="CSV", help="The table; rows that are in it are kept. Default: ./NAME.bench.csv"),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="S", help="Seconds for each instance, whatever the file says."),
    ] = None
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", metavar="N", help="Processes at a time. Default: 1; with --ray all processors."),
    ] = None
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Run them on the nodes of a Ray cluster: HOST:PORT, or auto for the one of this machine.",
        ),
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            help="Threads of each. Default: the cores, by --jobs; with --ray 1.",
        ),
    ] = None
    memory_limit: Annotated[
        float | None,
        typer.Option(
            "--memory-limit",
            metavar="GIB",
            help="Kill a process whose resident memory, its children's included, grows beyond it. Default: 90 % of the "
            "machine's, divided by --jobs.",
        ),
    ] = None
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            metavar="S",
            help="Seconds after its limit at which a process is killed. Default: 15; with --repair 120, as repairs "
            "write files and have certificates checked after their search.",
        ),
    ] = None
    warm: Annotated[
        bool,
        typer.Option(
            "--warm", metavar="", help="Verify many in one process, and count the search alone, without the start."
        ),
    ] = False
    method: Annotated[
        str,
        typer.Option("--method", metavar="M", callback=_known_method, help=f"How to repair: {', '.join(METHODS)}."),
    ] = METHODS[0]
    semantics: Annotated[
        Semantics | None, typer.Option("--semantics", help="What proofs speak about; see verify and repair.")
    ] = None
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep what repairs write, in a folder for each.")
    ] = None
    verdicts: Annotated[
        Path | None,
        typer.Option("--verdicts", metavar="CSV", help="Known verdicts: columns onnx, vnnlib, verdict."),
    ] = None
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against",
            metavar="CSV",
            help="Another table to compare with: ours, VNN-COMP's, or with columns for instance, verdict and time. "
            "May be repeated.",
        ),
    ] = None
    summary: Annotated[
        Path | None, typer.Option("--summary", metavar="FILE", help="Write the figures: .md (with every row) or .csv.")
    ] = None
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw instances over seconds (cactus): .svg or .png.")
    ] = None
    retry: Annotated[
        bool, typer.Option("--retry", metavar="", help="Run instances without a result (error, crash) again.")
    ] = False
    device: Device = "auto"
    seed: Seed = 0
    json: Json = None
    quiet: Quiet = False


@command(BenchOptions)
def bench(options: BenchOptions) -> int:
    """Verify or repair many instances, each in a process that is killed when it exceeds its limits.

    Every finished instance is a row of the table, on disk at once; run the same command again to go on after Ctrl-C, a
    crash or a power cut: rows of the same instance, limit, options and version are not run again. A row whose files are
    unusable says so, and the campaign goes on. Status 0 means that every instance has a result, 6 that one contradicts
    a known verdict, another table or itself (a row "disagreement": engines, or prover and checker, do not agree).
    """
    _require_sense(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.campaign import REPAIR, VERIFY, Campaign, campaign_files
        from birdnn.cli.benching import finish_bench, read_asked_instances
        from birdnn.formats.files import require_writable

        table = options.out or Path(f"{options.instances.stem}.bench.csv")
        inputs = [path for path in (options.instances, options.verdicts, *(options.against or ())) if path]
        require_writable((options.json, options.summary, options.plot), (*inputs, table))
        require_writable((table,), inputs)
        instances, notes = read_asked_instances(
            options.instances, options.verdicts, timeout_s=options.timeout, repair=options.as_repairs
        )
        kind = REPAIR if options.as_repairs else VERIFY
        outcome = campaign_files(
            Campaign(kind=kind, instances=instances, table=table, **_campaign_fields(options)),
            source=options.instances,
            against=tuple(options.against or ()),
            command=command_line(),
            notes=notes,
            watch=watch,
        )
    return finish_bench(outcome, json=options.json, summary=options.summary, plot=options.plot, quiet=options.quiet)


def _campaign_fields(options: BenchOptions) -> dict[str, Any]:
    """The fields of the campaign, but for its instances and its table."""
    from birdnn.pipeline.facts import machine

    semantics = [] if options.semantics is None else ["--semantics", options.semantics]
    # said or not, the rows are the same, and `options` is what rows are recognised by
    if options.semantics == "real" and not options.as_repairs:
        semantics = []  # the default of verify
    device = [] if options.device == "auto" else ["--device", options.device]
    here, jobs, threads, share = machine(), options.jobs, options.threads, None
    if options.ray is None:  # else each node shares its own
        jobs = jobs or 1
        share = None if here.memory_gib is None else round(0.9 * here.memory_gib / jobs, 2)
        threads = threads or max(1, here.cores // jobs)
    return {
        "jobs": jobs or 0,
        "threads": threads or 1,
        "ray": options.ray,
        "warm": options.warm,
        "method": options.method,
        "options": (*semantics, *device, *(options.passed or ())),
        "seed": options.seed,
        "grace_s": options.grace,
        "memory_gib": options.memory_limit or share,
        "retry": options.retry,
        "keep": options.keep,
    }


def _require_sense(options: BenchOptions) -> None:
    """Refuse places of an unknown kind, and what processes would refuse."""
    for path, kinds in ((options.plot, PICTURES), (options.summary, SUMMARIES)):
        if path is not None and path.suffix.lower() not in kinds:
            raise OutputError(str(path), f"is written as {' or '.join(kinds)}; name such a file")
    _require_passed_options(tuple(options.passed or ()), as_repairs=options.as_repairs)


def _require_passed_options(passed: tuple[str, ...], *, as_repairs: bool) -> None:
    """Refuse now what every single process would refuse."""
    if passed and not passed[0].startswith("-"):
        told = (
            f"one file of instances is expected; options of verify or repair begin with a dash, {passed[0]!r} does not"
        )
        raise typer.BadParameter(told, param_hint="INSTANCES.csv")
    for word in passed:
        if word.partition("=")[0] in (*_OURS, *_OURS_TOO):
            raise typer.BadParameter(
                "is decided by bench for each instance, or is an option of its own", param_hint=word
            )
    # parsed as every process will parse them: a misspelt option is told once, and not in each row
    application = typer.Typer(add_completion=False)
    application.command(cls=Command)(repair if as_repairs else verify)
    needed = ["--net", "x", "--prop", "x"]
    try:
        typer.main.get_command(application).make_context("repair" if as_repairs else "verify", [*needed, *passed])
    except Exception as error:
        # click's errors of usage, by the class that they share: which click typer uses depends on its version
        if isinstance(error, typer.BadParameter) or not isinstance(error, typer.BadParameter.__bases__):
            raise
        raise typer.BadParameter(str(error), param_hint="[-- OPTIONS]") from None  # no option, or one without its value
