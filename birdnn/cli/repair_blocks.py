"""``birdnn repair --method blocks``: the part of the command that speaks about labelled examples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from birdnn.cli.progress import TerminalWatch

if TYPE_CHECKING:
    from birdnn.cli.repair import RepairOptions


def require_no_blocks(options: RepairOptions) -> None:
    """Refuse options that would change nothing."""
    said = {
        "--data": options.data,
        "--val": options.val,
        "--test": options.test,
        "--block": options.block,
        "--repair-block": options.repair_block,
        "--formula": options.formula,
        "--radius": options.radius,
        "--compare": options.compare,
        "--epochs": options.epochs,
        "--device": options.device,
    }
    for name, value in said.items():
        if value:
            raise typer.BadParameter("is an option of --method blocks", param_hint=name)


def repair_by_blocks(options: RepairOptions, said: dict[str, Any]) -> int:
    """``--method blocks``; `said` has the fields of a request that all methods share."""
    if options.data is None or options.val is None:
        missing = "--data" if options.data is None else "--val"
        raise typer.BadParameter(f"--method blocks learns from examples: give {missing} FILE.npz", param_hint=missing)
    strange = {"--prop": options.prop, "--keep": options.keep, "--points": options.points, "--suite": options.suite}
    for name, value in {**strange, "--domain": options.domain, "--crosscheck": options.crosscheck}.items():
        if value:
            told = "--method blocks learns from examples; repair first, then verify the repaired network"
            raise typer.BadParameter(told, param_hint=name)
    with TerminalWatch(quiet=options.quiet) as watch:
        from birdnn.cli.finish_blocks import finish_repair_blocks
        from birdnn.formats.files import require_writable
        from birdnn.formats.partition import read_chosen
        from birdnn.pipeline import repair_blocks
        from birdnn.records import BlockRequest, RepairRequest

        files = [path for path in (options.net, options.data, options.val, options.test) if path is not None]
        require_writable((options.json,), files)
        blocks = BlockRequest(
            data=options.data,
            val=options.val,
            test=options.test,
            chosen=read_chosen(options.block or ()),
            formula="ochiai" if options.formula is None else options.formula.value,
            radius=options.radius,
            block=options.repair_block,
            compare=options.compare,
            epochs=30 if options.epochs is None else options.epochs,
            device="cpu" if options.device is None else options.device.value,
        )
        request = RepairRequest(**{**said, "blocks": blocks, "decision": "argmax"})
        outcome = repair_blocks(request, watch=watch)
        if request.report and outcome.report is not None:
            from birdnn.cli.reporting import made

            made(Path(outcome.report), ("html",), None)
    return finish_repair_blocks(outcome, json=options.json, quiet=options.quiet)
