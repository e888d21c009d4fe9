"""Repairs by blocks to report: written, nothing found, cut short, without held-out examples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from birdnn.records import (
    Accuracy,
    BlockLocalisation,
    BlockRepair,
    BlockRequest,
    ExampleRepair,
    Examples,
    GraphChange,
    GraphNode,
    MethodResult,
    PlaceInBlock,
    Rate,
    SafetyReport,
    SuspiciousBlock,
)
from birdnn.report.headline import examples_in_words
from birdnn.report.risks_blocks import NOTHING_PROVED
from birdnn.report.safety import safety_report
from tests.report.outcomes import repair_outcome
from tests.report.pages import files

SIZES = {"repair": 3600, "validation": 1500, "test": 6000}
PATHS = {role: f"/e/{role}.npz" for role in SIZES}
GRAPH = GraphChange(
    nodes_gone=(GraphNode("/stem/conv/Conv", "Conv"),),
    nodes_new=(GraphNode("/stem/conv/Conv__0", "Conv"), GraphNode("/stem/conv/Conv", "Conv")),
    nodes_kept=1500,
    initialisers_gone={"stem.weight": (8, 1, 3, 3)},
    initialisers_new={"stem__kernel": (8, 1, 5, 5)},
    initialisers_changed=(),
    initialisers_kept=12,
    rest_kept=True,
)


def block(name: str, suspiciousness: float | None) -> SuspiciousBlock:
    return SuspiciousBlock(
        name=name,
        by="names",
        nodes=(f"/{name}/conv/Conv", f"/{name}/relu/Relu"),
        entry=(1, 8, 8),
        exit=(8, 8, 8),
        weights=1168,
        operations="Conv Relu",
        suspiciousness=suspiciousness,
    )


def accuracies(gained: int, lost: int) -> dict[str, Accuracy]:
    """Of a network that was right on 70 %; `gained` and `lost` held-out examples, as many in proportion of others."""
    found = {}
    for role, n in SIZES.items():
        repaired, broken = gained * n // SIZES["test"], lost * n // SIZES["test"]
        found[role] = Accuracy(right=n * 7 // 10 + repaired - broken, repaired=repaired, broken=broken, n=n)
    return found


def method(name: str, gained: int, lost: int, **changes: Any) -> MethodResult:
    made = MethodResult(
        name=name,
        changes=f"what {name} may",
        values=2080,
        epochs=12,
        seconds=2.5,
        accuracy=accuracies(gained, lost),
        decision_agreement=0.84,
        mae=0.5,
        out=f"/a/net.{name}.onnx",
    )
    return replace(made, **changes)


REPAIR = BlockRepair(
    localisation=BlockLocalisation(
        formula="ochiai",
        blocks=(block("stem", 0.432), block("layer1", 0.431), block("head", None)),
        failing=106,
        passing=150,
        near_failing=57,
        near_passing=43,
        radius=0.01,
    ),
    block="stem",
    why="the most suspicious",
    places=(
        PlaceInBlock(node="/stem/conv/Conv", before="3x3 convolution, 1 to 8", after="5x5 convolution, 1 to 8"),
        PlaceInBlock(node="/stem/other/Conv", before="3x3 convolution, 8 to 8", after="3x3 convolution, 8 to 8"),
    ),
    examples=tuple(
        Examples(role=role, path=PATHS[role], sha256=f"{role}0", n=n, failing=n * 3 // 10)  # type: ignore[arg-type]
        for role, n in SIZES.items()
    ),
    before=accuracies(0, 0),
    methods=(method("blocks", 650, 110), method("network", 900, 200)),
    graph=GRAPH,
)
"""A block with another architecture."""


def without_test(repair: BlockRepair = REPAIR) -> BlockRepair:
    """The same, where no held-out examples were given."""

    def less(found: Any) -> dict[str, Accuracy]:
        return {role: value for role, value in found.items() if role != "test"}

    methods = tuple(replace(entry, accuracy=less(entry.accuracy)) for entry in repair.methods)
    return replace(repair, examples=repair.examples[:2], before=less(repair.before), methods=methods)


def nothing_found(repair: BlockRepair = REPAIR) -> BlockRepair:
    """The same, where no candidate did better."""
    lost = method("blocks", 0, 0, out=None, values=0)
    return replace(repair, places=(), graph=None, methods=(lost,))


def block_outcome(repair: BlockRepair = REPAIR, **changes: Any) -> ExampleRepair:
    """The published outcome; without a network where `repair` has none."""
    base = repair_outcome()
    written = repair.graph is not None
    made = ExampleRepair(
        result="sampled" if written else "violated",
        request=replace(
            base.request, method="blocks", blocks=BlockRequest(data=base.request.net, val=base.request.net)
        ),
        net=base.net,
        net_sha256=base.net_sha256,
        out=base.out if written else None,
        out_sha256=base.out_sha256 if written else None,
        report=base.report,
        efficacy=Rate(hits=650, n=1080) if written else None,
        generalisation=None,
        change={},
        decision="argmax",
        repair_s=base.repair_s,
        wall_s=base.wall_s,
        versions=base.versions,
        machine=base.machine,
        notes=(NOTHING_PROVED,),
        blocks=repair,
    )
    changed = replace(made, **changes)
    return replace(changed, headline=examples_in_words(changed).headline)


def block_report(repair: BlockRepair = REPAIR, states: dict[str, str] | None = None, **changes: Any) -> SafetyReport:
    """A safety report on it."""
    made = block_outcome(repair, **changes)
    return safety_report(made, files(made, **(states or {})), None, version="0.1.0")
