"""Block-level localisation and repair as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from birdnn.printable import readable
from birdnn.records import Accuracy, BlockLocalisation, BlockLocalizeOutcome, BlockRepair, ExampleRepair, Formula
from birdnn.report.risks_blocks import ROLES
from birdnn.report.tables import add_fact, add_notes, facts_grid, file_line, plain_table

_NARROW = 72
_WORDS: Mapping[Formula, str] = {"ochiai": "Ochiai", "tarantula": "Tarantula", "dstar": "D*"}


def shape_text(shape: tuple[int, ...]) -> str:
    """``16 x 8 x 8``."""
    return " x ".join(map(str, shape))


def share_text(share: float) -> str:
    """An accuracy in percent, to a tenth."""
    return f"{100 * share:.1f} %"


def blocks_table(found: BlockLocalisation, width: int) -> Table:
    """Blocks by rank, then what is not judged."""
    table = plain_table()
    for name, justify in (("rank", "right"), ("block", "left"), ("suspicious", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    wide = width >= _NARROW
    for name in ("forward", "backward", *(("weights",) if wide else ())):
        table.add_column(name, justify="right")
    if wide:
        table.add_column("from", overflow="fold")
        table.add_column("to", overflow="fold")
        table.add_column("neurons", overflow="fold")
    ranking = found.ranking()
    # Rank 0 stands for those that are not judged, which follow; it is shown as a dash.
    for rank, block in [*enumerate(ranking, 1), *((0, b) for b in found.blocks if b.suspiciousness is None)]:
        rated = block.suspiciousness is not None
        numbers = [f"{v:.2f}" for v in (block.forward, block.backward)] if rated else ["-", "-"]
        cells = [str(rank) if rated else "-", readable(block.name)]
        cells += [f"{block.suspiciousness:.3f}" if block.suspiciousness is not None else "-", *numbers]
        if wide:
            named = ", ".join(f"{readable(_short_node_name(n.node))} {n.channel}" for n in block.neurons)
            cells += [f"{block.weights:,}", shape_text(block.entry), shape_text(block.exit), named]
        table.add_row(*(Text(cell, "bold" if rank == 1 else "") for cell in cells))
    return table


def _short_node_name(node: str) -> str:
    """``/layer1/conv1/Conv`` is called conv1 inside its block."""
    parts = [part for part in node.split("/") if part]
    # Such paths are the exporter's (torch.onnx); other names have no parts to leave out.
    return parts[-2] if node.startswith("/") and len(parts) > 1 else node


def block_localize_summary(outcome: BlockLocalizeOutcome, width: int = 80) -> RenderableType:
    """The blocks by rank, and what they were judged by."""
    found = outcome.found
    ranking = found.ranking()
    title = Text("Interrupted before any block was tried.", "bold yellow")
    if ranking:
        title = Text(f"The most suspicious of {len(ranking)} blocks is {readable(ranking[0].name)}.", "bold")
    facts = facts_grid()
    _add_judging_facts(facts, found)
    add_fact(facts, "examples", f"{outcome.examples.path}: {outcome.examples.failing:,} of {outcome.examples.n:,} fail")
    add_fact(facts, "time", f"{outcome.wall_s:.1f} s")
    if outcome.interrupted:
        add_fact(facts, "note", "Interrupted: some blocks were not tried.")
    return Group(title, "", blocks_table(found, width), facts)


def _add_judging_facts(facts: Table, found: BlockLocalisation) -> None:
    near = found.near_failing + found.near_passing
    beside = f"; {found.near_failing:,} failing and {found.near_passing:,} passing neighbours" if near else ""
    within = f" within {found.radius:.3g} of each input" if near else ""
    add_fact(facts, "judged by", f"{found.failing:,} failing and {found.passing:,} passing examples{beside}{within}")
    add_fact(
        facts,
        "suspicious",
        "what it mends and what it harms when it alone follows its gradients, on examples not seen; a little less in "
        "a block of more weights; 0 to 1",
    )
    told = f"spectrum of its channels by {_WORDS[found.formula]}: activation status, gradients of weights; 0 to 1"
    add_fact(facts, "forward, backward", told)


def block_repair_summary(outcome: ExampleRepair, width: int = 80) -> RenderableType:
    """What became of the block, what it did to the examples, and how other methods fare."""
    repair = outcome.blocks
    parts: list[RenderableType] = [_headline(outcome), ""]
    if repair.places:
        parts += [_places_table(repair), ""]
    parts.append(_methods_table(repair, width))
    facts = facts_grid()
    add_fact(facts, "block", f"{repair.block}: {repair.why}")
    _add_judging_facts(facts, repair.localisation)
    for entry in repair.examples:
        add_fact(facts, ROLES[entry.role], f"{entry.path}: {entry.failing:,} of {entry.n:,} fail before")
    # Places are empty where no network was made, and then there is nothing to hold against the original.
    if repair.places and repair.methods:
        kept, n = repair.methods[0], repair.before["validation"].n
        same = "" if kept.decision_agreement is None else f"{100 * kept.decision_agreement:.2f} % same decision, "
        told = f"{same}mean absolute difference {kept.mae:.2g} of the outputs, n = {n:,} validation examples"
        add_fact(facts, "against the original", told)
    add_fact(facts, "time", f"{outcome.wall_s:.1f} s")
    add_notes(facts, outcome.notes)
    places = (("best attempt" if outcome.attempt else "repaired network", outcome.out), ("outcome", outcome.report))
    return Group(*parts, facts, *(file_line(name, path) for name, path in places if path is not None))


def _headline(outcome: ExampleRepair) -> Text:
    if outcome.result == "sampled":
        told = f"Block {readable(outcome.blocks.block)} repaired, as far as the examples see; nothing is proved."
        text = Text(told, "bold green")
    elif outcome.out is not None:
        text = Text("No repair: the best candidate was kept, and repairs none of the failing examples.", "bold red")
    else:
        early = "so far " if outcome.interrupted or outcome.timed_out else ""
        told = f"No repair found: {early}no candidate does better on the validation examples. No network was written."
        text = Text(told, "bold red")
    if outcome.interrupted:
        text.append(" Interrupted.", "bold yellow")
    elif outcome.timed_out:
        text.append(" The time limit ended it.", "bold yellow")
    return text


def _places_table(repair: BlockRepair) -> Table:
    table = plain_table()
    for name in ("place in the block", "before", "after"):
        table.add_column(name, overflow="fold")
    for place in repair.places:
        same = place.before == place.after
        after = Text("the same, other weights" if same else place.after, "" if same else "bold")
        table.add_row(Text(readable(place.node)), Text(readable(place.before)), after)
    return table


def _methods_table(repair: BlockRepair, width: int) -> Table:
    table = plain_table()
    table.add_column("accuracy", overflow="fold")
    roles = [entry.role for entry in repair.examples]
    for role in roles:
        table.add_column(ROLES[role], justify="right")
    if width >= _NARROW:
        for name in ("repaired", "broken", "free values", "time"):
            table.add_column(name, justify="right")
    table.add_row("before", *(_accuracy_cell(repair.before, role) for role in roles))
    # The file that judges, as everywhere (`judging_role`): figures of the others had a say in the result.
    last = roles[-1]
    for place, entry in enumerate(repair.methods):
        cells = [f"{entry.name}" + ("" if entry.finished else " (cut short)")]
        cells += [_accuracy_cell(entry.accuracy, role) for role in roles]
        if width >= _NARROW:
            mine = entry.accuracy[last]
            cells += [f"{mine.repaired:,}", f"{mine.broken:,}", f"{entry.values:,}", f"{entry.seconds:.1f} s"]
        table.add_row(*(Text(cell, "bold" if place == 0 else "") for cell in cells))
    return table


def _accuracy_cell(found: Mapping[str, Accuracy], role: str) -> str:
    return share_text(found[role].share) if role in found else "-"
