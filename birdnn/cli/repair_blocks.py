"""``birdnn repair --method blocks``: the part of the command that speaks about labelled examples."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import typer

from birdnn.cli.began import BEGAN
from birdnn.cli.blocks import Formula
from birdnn.cli.progress import TerminalWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class ByExamples:
    """What the command line says for this method alone; None, False or an empty list where it says nothing."""

    data: Path | None
    val: Path | None
    test: Path | None
    block: list[str] | None
    repair_block: str | None
    formula: Formula | None
    radius: float | None
    compare: bool
    epochs: int | None

    def require_nothing(self) -> None:
        """Refuse options that would change nothing.

        Raises:
            typer.BadParameter: one was given.
        """
        for entry in fields(self):
            if entry.name in ("data", "test"):  # other methods measure on them
                continue
            said = getattr(self, entry.name)
            if said is not None and said is not False and said != []:  # a radius of 0 is said, too
                option = f"--{entry.name.replace('_', '-')}"
                raise typer.BadParameter("is an option of --method blocks", param_hint=option)


def repair_by_blocks(options: ByExamples, said: dict[str, Any], *, json: Path | None, quiet: bool) -> int:
    """``--method blocks``; `said` has the fields of a request that all methods share. The exit status."""
    if options.data is None or options.val is None:
        missing = "--data" if options.data is None else "--val"
        raise typer.BadParameter(f"--method blocks learns from examples: give {missing} FILE.npz", param_hint=missing)
    for name in ("prop", "keep", "points", "suite", "domain", "crosscheck"):
        # as the request names them: some options that may be repeated have a plural there
        if said.get(name) or said.get(f"{name}s"):
            told = "--method blocks learns from examples; repair first, then verify the repaired network"
            raise typer.BadParameter(told, param_hint=f"--{name}")
    with TerminalWatch(quiet=quiet) as watch:
        from birdnn.cli.finish_blocks import finish_repair_blocks
        from birdnn.formats.files import require_writable
        from birdnn.formats.partition import read_blocks
        from birdnn.pipeline.repairing_blocks import repair_blocks
        from birdnn.records import BlockRequest, RepairRequest

        files = [path for path in (said["net"], options.data, options.val, options.test) if path is not None]
        require_writable((json,), files)
        blocks = BlockRequest(
            data=options.data,
            val=options.val,
            test=options.test,
            chosen=read_blocks(options.block or ()),
            formula="ochiai" if options.formula is None else options.formula.value,
            radius=options.radius,
            block=options.repair_block,
            compare=options.compare,
            epochs=30 if options.epochs is None else options.epochs,
        )
        request = RepairRequest(**{**said, "blocks": blocks, "decision": "argmax"})
        outcome = repair_blocks(request, watch=watch, began=BEGAN.get())
        if request.report and outcome.report is not None:
            from birdnn.cli.finish import result_is_on_disk
            from birdnn.cli.reporting import make_report

            with result_is_on_disk(outcome):
                make_report(Path(outcome.report), ("html",), None)
    return finish_repair_blocks(outcome, json=json, quiet=quiet)
