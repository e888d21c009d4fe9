"""Records of block-level localisation and repair as the published models."""

from __future__ import annotations

from birdnn.records import (
    Accuracy,
    BlockLocalisation,
    BlockRepair,
    Examples,
    GraphChange,
    MethodResult,
    SuspiciousBlock,
)
from birdnn.report.schema_blocks import (
    AccuracyModel,
    BlockLocalisationModel,
    BlockMethodModel,
    BlockModel,
    BlockRepairModel,
    ExamplesModel,
    GraphChangeModel,
    NodeModel,
    PlaceModel,
    SuspiciousNeuronModel,
)


def examples_model(examples: Examples) -> ExamplesModel:
    """A file of examples as published."""
    return ExamplesModel(
        role=examples.role, file=examples.path, sha256=examples.sha256, n=examples.n, failing=examples.failing
    )


def block_localisation_model(found: BlockLocalisation) -> BlockLocalisationModel:
    """All blocks as published."""
    ranks = {block.name: rank for rank, block in enumerate(found.ranking(), 1)}
    return BlockLocalisationModel(
        formula=found.formula,
        failing=found.failing,
        passing=found.passing,
        near_failing=found.near_failing,
        near_passing=found.near_passing,
        radius=found.radius,
        blocks=[_block(block, ranks.get(block.name)) for block in found.blocks],
    )


def _block(block: SuspiciousBlock, rank: int | None) -> BlockModel:
    neurons = [
        SuspiciousNeuronModel(node=n.node, channel=n.channel, forward=n.forward, backward=n.backward)
        for n in block.neurons
    ]
    return BlockModel(
        name=block.name,
        by=block.by,
        nodes=list(block.nodes),
        operations=block.operations,
        entry=list(block.entry),
        exit=list(block.exit),
        weights=block.weights,
        rank=rank,
        suspiciousness=block.suspiciousness,
        forward=block.forward,
        backward=block.backward,
        neurons=neurons,
        layers=dict(block.layers),
    )


def accuracy_model(entry: Accuracy) -> AccuracyModel:
    """An accuracy as published."""
    return AccuracyModel(share=entry.share, right=entry.right, n=entry.n, repaired=entry.repaired, broken=entry.broken)


def block_repair_model(repair: BlockRepair) -> BlockRepairModel:
    """A repair by blocks as published."""
    return BlockRepairModel(
        block=repair.block,
        why=repair.why,
        places=[
            PlaceModel(node=place.node, before=place.before, after=place.after, shares=dict(place.shares))
            for place in repair.places
        ],
        localisation=block_localisation_model(repair.localisation),
        examples=[examples_model(entry) for entry in repair.examples],
        before={role: accuracy_model(entry) for role, entry in repair.before.items()},
        methods=[_method(entry) for entry in repair.methods],
        graph=None if repair.graph is None else graph_change_model(repair.graph),
    )


def graph_change_model(found: GraphChange) -> GraphChangeModel:
    """What differs between two files, as published."""
    gone, new = ([NodeModel(name=name, op=op) for name, op in nodes] for nodes in (found.nodes_gone, found.nodes_new))
    return GraphChangeModel(
        nodes_gone=gone,
        nodes_new=new,
        nodes_kept=found.nodes_kept,
        initialisers_gone={name: list(shape) for name, shape in found.initialisers_gone.items()},
        initialisers_new={name: list(shape) for name, shape in found.initialisers_new.items()},
        initialisers_changed=list(found.initialisers_changed),
        initialisers_kept=found.initialisers_kept,
        rest_kept=found.rest_kept,
    )


def _method(entry: MethodResult) -> BlockMethodModel:
    return BlockMethodModel(
        name=entry.name,
        changes=entry.changes,
        values=entry.values,
        epochs=entry.epochs,
        seconds=entry.seconds,
        accuracy={role: accuracy_model(value) for role, value in entry.accuracy.items()},
        decision_agreement=entry.kept.decision_agreement,
        mae=entry.kept.mae,
        architecture=dict(entry.architecture),
        finished=entry.finished,
        out=entry.out,
    )
