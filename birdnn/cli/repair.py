"""``birdnn repair``: the main job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer

from birdnn.cli.began import BEGAN
from birdnn.cli.blocks import (
    ChosenBlocks,
    Compare,
    Epochs,
    FormulaOption,
    Radius,
    RepairBlock,
    Val,
)
from birdnn.cli.failures import command
from birdnn.cli.options import (
    TO_READ,
    AsName,
    Crosscheck,
    CrosscheckTimeout,
    Device,
    Json,
    Net,
    PropertyUnits,
    Quiet,
    Ray,
    Resume,
    Seed,
    Suite,
    Timeout,
    Verbose,
    defaults_of,
    parse_engines,
    request_of,
    require_input_files,
)
from birdnn.cli.progress import TerminalWatch
from birdnn.records import AnyRepair, BlockRequest, Decision, Method, OptimiserName, Pairing, Prefer, RepairRequest
from birdnn.rounding import Semantics

_DEFAULT = defaults_of(RepairRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOptions:
    """What the command line says."""

    PANELS: ClassVar[Mapping[str, Sequence[str]]] = {
        "What to repair": ("net", "prop", "keep", "points", "points_tolerance", "points_radius", "suite", "as_name",
                           "units", "as_many"),
        "What to keep": ("domain", "decision", "data", "test", "min_agreement", "max_mae", "max_difference",
                         "max_change", "no_ties"),
        "How": ("method", "prefer", "optimiser", "top", "alpha", "pairing", "device", "seed", "ray"),
        "Proofs and other engines": ("semantics", "samples", "crosscheck", "crosscheck_timeout"),
        "Limits": ("timeout", "resume"),
        "What is written and shown": ("out", "report", "json", "verbose", "quiet"),
        "With --method blocks": ("val", "block", "repair_block", "formula", "radius", "compare", "epochs"),
    }  # fmt: skip

    net: Net
    prop: Annotated[
        list[Path] | None,
        typer.Option(
            "--prop",
            metavar="FILE",
            help="A property to repair: .vnnlib, also with .gz, or a pattern: 'dir/*.vnnlib'. May be repeated.",
        ),
        TO_READ,
    ] = None
    keep: Annotated[
        list[Path] | None,
        typer.Option("--keep", metavar="FILE", help="A property that must stay true. May be repeated."),
        TO_READ,
    ] = None
    points: Annotated[
        list[Path] | None,
        typer.Option(
            "--points",
            metavar="CSV",
            help="Inputs with the decision or outputs wished for, to be put right; see above.",
        ),
    ] = None
    points_tolerance: Annotated[
        float | None,
        typer.Option(
            "--points-tolerance",
            metavar="T",
            help="How far outputs may be from those wished for, where the file has no column tolerance.",
        ),
    ] = None
    points_radius: Annotated[
        float,
        typer.Option(
            "--points-radius",
            metavar="R",
            help="Measure generalisation on neighbours this close in each input (network units).",
        ),
    ] = _DEFAULT.points_radius
    suite: Suite = None
    as_name: AsName = None
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain",
            metavar="FILE|property",
            help="The whole input domain: .toml with lower, upper, or .vnnlib. The word 'property': that of --prop.",
        ),
    ] = None
    decision: Annotated[
        Decision | None,
        typer.Option(
            "--decision",
            help="Which output decides; else the suite says it, or the properties, where they compare outputs.",
        ),
    ] = None
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="auto: the output layer first, more if that keeps too little. retrain: weights, so that bad points "
            "imitate good ones (--pairing). finetune: as --optimiser says. blocks: the architecture and weights "
            "of one block of a classifier, by labelled examples (--data, --val).",
        ),
    ] = _DEFAULT.method
    min_agreement: Annotated[
        float | None,
        typer.Option(
            "--min-agreement",
            metavar="SHARE",
            help="Share of decisions that has to be kept; less is status 3. Default: 0.99; auto aims at 0.999.",
        ),
    ] = None
    max_mae: Annotated[
        float | None,
        typer.Option(
            "--max-mae",
            metavar="D",
            help="How far outputs may move, by their mean absolute difference; more is status 3. Default: 5 % of their "
            "mean size; auto aims at 1 %.",
        ),
    ] = None
    prefer: Annotated[
        Prefer,
        typer.Option(
            "--prefer",
            help="What decides between auto's proved candidates: decisions that are kept, or outputs that are close.",
        ),
    ] = _DEFAULT.prefer
    optimiser: Annotated[
        OptimiserName,
        typer.Option(
            "--optimiser",
            help="Of finetune. lp: least change of the last layer; pso, cmaes: scale responsible neurons; "
            "bias: shift one output, a control to compare with.",
        ),
    ] = _DEFAULT.optimiser
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="K", help="How many neurons pso and cmaes modify. Default: 10, or all of fewer."),
    ] = None
    alpha: Annotated[
        float,
        typer.Option(
            "--alpha",
            metavar="A",
            help="What preserving counts against healing for pso and cmaes.",
        ),
    ] = _DEFAULT.alpha
    pairing: Annotated[Pairing, typer.Option("--pairing", help="Which good behaviour a bad point imitates.")] = (
        _DEFAULT.pairing
    )
    max_difference: Annotated[
        float | None,
        typer.Option(
            "--max-difference",
            metavar="D",
            help="No output may differ from the original's by more, over the reals and anywhere in the domain: proved, "
            "or no success.",
        ),
    ] = None
    max_change: Annotated[
        float,
        typer.Option(
            "--max-change",
            metavar="F",
            help="A layer's values may move by F times their size at most (Euclidean norms).",
        ),
    ] = _DEFAULT.max_change
    no_ties: Annotated[
        bool,
        typer.Option(
            "--no-ties", help="Never tie outputs to each other, the last resort where a proof is out of reach."
        ),
    ] = False
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the result. Default: ./NAME.birdnn")
    ] = None
    timeout: Timeout = None
    resume: Resume = None
    ray: Ray = None
    units: PropertyUnits = _DEFAULT.units
    report: Annotated[
        bool,
        typer.Option("--report", help="Write the safety report, report.html, as well; localise the defect for it."),
    ] = False
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            metavar="N",
            help="Fresh points to look at after the proofs, of each proved property, also of those that apply and were "
            "not asked for. Default: a million of each that was asked for.",
        ),
    ] = None
    semantics: Annotated[
        Semantics | None,
        typer.Option(
            "--semantics",
            help="What a proof speaks about: the network over the reals, or as executed in float32, sums in any order. "
            "Default: float32 for a chain of layers in float32, else real.",
        ),
    ] = None
    as_many: Annotated[
        bool,
        typer.Option(
            "--as-many-as-possible",
            help="Prove as many properties as possible: one that cannot be repaired does not cost the others.",
        ),
    ] = False
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="NPZ|CSV",
            help="Inputs on which behaviour is measured and candidates are compared, perhaps with the right decision: "
            "x, y, or x_0.., decision. "
            "With --method blocks labelled examples (.npz), to learn from.",
        ),
    ] = None
    val: Val = None
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="NPZ|CSV", help="The same, held out: looked at once, in the end."),
    ] = None
    block: ChosenBlocks = None
    repair_block: RepairBlock = None
    formula: FormulaOption = None
    radius: Radius = None
    compare: Compare = False
    epochs: Epochs = None
    device: Device = _DEFAULT.device
    crosscheck: Crosscheck = None
    crosscheck_timeout: CrosscheckTimeout = _DEFAULT.crosscheck_timeout_s
    seed: Seed = _DEFAULT.seed
    json: Json = None
    verbose: Verbose = False
    quiet: Quiet = False


def _parse_domain(said: str | None) -> Path | Literal["property"] | None:
    """The word, else a file; one of that name is ``./property``."""
    if said == "property":
        return "property"
    return None if said is None else Path(said)


def _named_files(options: RepairOptions) -> list[Path]:
    """Every file and folder that was named."""
    several = (*(options.prop or ()), *(options.keep or ()), *(options.points or ()), options.data, options.test)
    return [Path(said) for said in (options.net, *several, options.domain, options.suite, options.out) if said]


def _request_of(options: RepairOptions, **more: object) -> RepairRequest:
    engines, domain = parse_engines(options.crosscheck), _parse_domain(options.domain)
    return request_of(RepairRequest, options, crosscheck=engines, domain=domain, **more)


def _finish_page(outcome: AnyRepair, *, wanted: bool) -> None:
    """The safety report beside `repair.json`, where it is wanted and there is something to report."""
    if wanted and outcome.report is not None:
        from birdnn.cli.finish import result_is_on_disk
        from birdnn.cli.reporting import make_report

        with result_is_on_disk(outcome):
            make_report(Path(outcome.report), ("html",), None)


def _repair_by_blocks(options: RepairOptions) -> int:
    """``--method blocks``; the exit status."""
    for name, path in (("--data", options.data), ("--val", options.val)):
        if path is None:
            told = f"--method blocks learns from examples: give {name} FILE.npz"
            raise typer.BadParameter(told, param_hint=name)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish_blocks import finish_repair_blocks
        from birdnn.formats.files import require_writable
        from birdnn.formats.partition import read_blocks
        from birdnn.pipeline.repairing_blocks import repair_blocks

        files = (options.net, options.data, options.val, options.test)
        require_writable((options.json,), [path for path in files if path is not None])
        chosen = read_blocks(options.block or ())
        blocks = request_of(BlockRequest, options, chosen=chosen, block=options.repair_block)
        request = _request_of(options, blocks=blocks, decision="argmax", data=None, test=None)
        outcome = repair_blocks(request, watch=watch, began=BEGAN.get())
        _finish_page(outcome, wanted=request.report)
    return finish_repair_blocks(outcome, json=options.json, quiet=options.quiet)


@command(RepairOptions)
def repair(options: RepairOptions) -> int:
    """Repair a network, prove the repair, and measure what else changed.

    The result is the same file with other weights, NAME.repaired.onnx, and repair.json beside it; with --report also
    report.html. Where no repair is found the best attempt is kept as NAME.attempt.onnx; where nothing is violated no
    network is written. Ctrl-C once stops and keeps the best so far.

    A file of points has a header, x_0,x_1,decision or x_0,x_1,y_0,y_1,tolerance, and one row for each input: the
    decision is the index of an output, or its name where a suite gives it one. Decisions need to know which output
    decides: --decision, or the suite.

    What else changes is measured on the domain and on inputs of yours (--data; --test is looked at once, in the end):
    x of an .npz, with y for what is right, or CSV with x_0,x_1 and perhaps decision. Without either it is measured on
    what is at hand: surroundings of the points, what lies between them, the hull of the regions. Status 0 is for a
    repair that is proved and keeps its behaviour as well as asked for (--min-agreement, --max-mae); one that is proved
    and does not, or of which nobody can say it, or that loses what was proved before, has status 3.

    With --method blocks the network is a convolutional classifier, and labelled examples say what it ought to do: those
    of --data that it gets wrong are repaired, the others preserved. The most suspicious block (localize --blocks)
    becomes a mixture of operations, keeps the best and is trained, all else frozen. Nothing is proved by that: status 3
    is a repair as far as the examples see, 1 none.
    """
    if options.method == "blocks":
        return _repair_by_blocks(options)
    if not options.prop and not options.points and options.suite is None:
        told = "say what to repair: --prop FILE, --points CSV, or --suite TOML"
        raise typer.BadParameter(told, param_hint="--prop")
    require_input_files(options)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish import finish_repair
        from birdnn.formats.files import require_writable
        from birdnn.pipeline.repairing import repair_files

        request = _request_of(options)
        require_writable((options.json,), _named_files(options))
        outcome = repair_files(request, watch=watch, began=BEGAN.get())
        _finish_page(outcome, wanted=request.report)
    return finish_repair(outcome, json=options.json, quiet=options.quiet, verbose=options.verbose)
