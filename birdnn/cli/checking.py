"""What ``birdnn check`` prints. Loads what help must not wait for: import it inside a command."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from birdnn.cli.options import command_line
from birdnn.cli.terminal import print_first_line, show
from birdnn.formats.files import write_bytes
from birdnn.printable import counted
from birdnn.records import CheckOutcome
from birdnn.report.publish import write_record
from birdnn.report.tables import add_fact, facts_grid
from birdnn.report.witnesses import HOLDS


def finish_check(found: CheckOutcome, *, json: Path | None, quiet: bool, wall_s: float) -> int:
    """Print and write what was found; the exit status."""
    print_first_line(f"{found.outcome}: {found.said}")
    if json is not None:
        write_record(found, json, write_bytes, command=command_line(), wall_s=wall_s)
    if not found.accepted:
        return 1
    if not quiet:
        show(lambda width: _facts_table(found))
    return 0


def _facts_table(found: CheckOutcome) -> Table:
    grid = facts_grid()
    for answer in found.properties:
        leaves = counted(answer.leaves, "leaf", "leaves")
        if answer.verdict == "proved":
            said = f"proved, {leaves}" + ("; in onnxruntime an input violates it" if answer.replayed else "")
        else:
            said = f"violated {HOLDS[answer.exactly]}"
        add_fact(grid, Path(answer.path).name, said)
    add_fact(grid, "semantics", found.semantics or "")
    for name, error in found.assumptions.items():
        add_fact(grid, "assumption", f"the runtime's {name} errs by at most {error:g}")
    return grid
