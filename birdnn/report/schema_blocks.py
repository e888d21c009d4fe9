"""The published models of block-level localisation and repair. See `birdnn.report.schema`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from birdnn.report.model import Model, Readable

FormulaName = Literal["ochiai", "tarantula", "dstar"]
Role = Literal["repair", "validation", "test"]


class ExamplesModel(Model):
    """A file of labelled examples."""

    role: Role = Field(description="What it is for; test examples are looked at once, in the end.")
    file: Readable
    sha256: str
    n: int
    failing: int = Field(description="How many of them the original network gets wrong.")


class SuspiciousNeuronModel(Model):
    """One channel of a convolution."""

    node: Readable
    channel: int
    forward: float = Field(description="Suspiciousness by its activation status, 0 to 1.")
    backward: float = Field(description="By the gradients of its weights.")


class BlockModel(Model):
    """One block, in the order from input to output."""

    name: Readable
    by: Literal["names", "structure", "user"] = Field(description="What drew its borders.")
    nodes: list[Readable]
    operations: str
    entry: list[int] = Field(description="Shape of what it reads, for one example.")
    exit: list[int]
    weights: int = Field(description="Values that a repair may change.")
    rank: int | None = Field(description="Null for a part without convolutions, which is not judged.")
    suspiciousness: float | None = Field(
        description="0 to 1, by what becomes of the examples when it alone follows its gradients, a little less in a "
        "block of more weights; null where not tried."
    )
    forward: float = Field(description="Mean suspiciousness of its neurons, by activation status.")
    backward: float
    neurons: list[SuspiciousNeuronModel] = Field(description="The most suspicious ones.")
    layers: dict[str, float] = Field(description="Each convolution's mean suspiciousness.")


class BlockLocalisationModel(Model):
    """All blocks, and what they were judged by."""

    formula: FormulaName
    failing: int
    passing: int
    near_failing: int = Field(description="Adversarial neighbours that the network gets wrong.")
    near_passing: int
    radius: float = Field(description="Of the neighbours, network units.")
    blocks: list[BlockModel]


class AccuracyModel(Model):
    """Right examples of one file."""

    share: float
    right: int
    n: int
    repaired: int = Field(description="Wrong before, right now.")
    broken: int = Field(description="Right before, wrong now.")


class BlockMethodModel(Model):
    """One way to repair: the same examples, the same training, another part of the network free to change."""

    name: Readable
    changes: Readable
    values: int = Field(description="How many values it was free to change.")
    epochs: int
    seconds: float
    accuracy: dict[str, AccuracyModel] = Field(description="Role of a file -> accuracy.")
    decision_agreement: float | None = Field(description="With the original, over the validation examples.")
    mae: float = Field(description="Mean absolute difference of the outputs, over the same.")
    architecture: dict[str, str]
    finished: bool = Field(description="False where the time limit or the user ended it.")
    out: Readable | None = Field(description="Absolute path of its network; null where it changed nothing.")


class PlaceModel(Model):
    """A convolution of the repaired block."""

    node: Readable
    before: str
    after: str
    shares: dict[str, float] = Field(description="Weight of each operation at the end of the search.")


class NodeModel(Model):
    """A node of an ONNX graph."""

    name: Readable
    op: Readable


class GraphChangeModel(Model):
    """What differs between the two ONNX files, compared byte by byte; a node that differs is gone and new."""

    nodes_gone: list[NodeModel]
    nodes_new: list[NodeModel]
    nodes_kept: int
    initialisers_gone: dict[str, list[int]] = Field(description="Name -> shape.")
    initialisers_new: dict[str, list[int]] = Field(description="Name -> shape.")
    initialisers_changed: list[Readable] = Field(description="In both files, with other bytes.")
    initialisers_kept: int
    rest_kept: bool = Field(description="Are inputs, outputs, operator sets, metadata and all else the same?")


class BlockRepairModel(Model):
    """Of `birdnn repair --method blocks`: the block, both architectures, and what other methods do."""

    block: Readable
    why: Readable = Field(description="How the block was chosen.")
    places: list[PlaceModel]
    localisation: BlockLocalisationModel
    examples: list[ExamplesModel] = Field(min_length=1)
    before: dict[str, AccuracyModel] = Field(description="Of the original; role of a file -> accuracy.")
    methods: list[BlockMethodModel] = Field(
        min_length=1, description="The repair first, then what it is compared with."
    )
    graph: GraphChangeModel | None = Field(
        default=None, description="What differs in the file that was written; null where none was."
    )

    @model_validator(mode="after")
    def _each_file_is_counted(self) -> Self:
        roles = {entry.role for entry in self.examples}
        for counted in (self.before, *(method.accuracy for method in self.methods)):
            if lacking := roles - counted.keys():
                raise ValueError(f"no accuracy on the {min(lacking)} examples")
        return self
