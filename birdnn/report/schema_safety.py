"""The published model of the safety report: the outcome of a repair, and what an assessor asks about it.

`outcome` is `repair.json`, unchanged but for what an earlier version did not write and the files still say. Everything
else is derived from it, from the certificate, and from the hashes of the files as found. Nothing is measured here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from birdnn.report.model import SCHEMA_VERSION, Model, Readable
from birdnn.report.schema import RepairReport

FileRole = Literal[
    "network before",
    "network after",
    "property",
    "certificate",
    "outcome",
    "repair examples",
    "validation examples",
    "held-out examples",
]
FileState = Literal["as recorded", "differs", "missing"]
Tone = Literal["good", "warn", "bad"]
Weight = Literal["stop", "open", "assumption", "note"]


class FileModel(Model):
    """A file that the evidence is about."""

    role: FileRole
    name: Readable
    path: Readable = Field(description="Where it was when the repair ended, or where it lies now.")
    recorded_sha256: str
    found_sha256: str | None = Field(description="When the report was made; null where it is missing.")
    state: FileState


class SummaryModel(Model):
    """The first page."""

    verdict: Literal["proved", "proved as it was", "not proved", "violated", "engines disagree", "files differ"]
    tone: Tone
    word: Readable = Field(default="", description="What `headline` begins with.")
    headline: Readable = Field(description="The result in words and figures, as the terminal says it.")
    explanation: Readable
    asked: int = Field(description="Properties that were to be proved.")
    violated_before: int
    proved_after: int
    changed: int = Field(description="Values that differ, of initialisers that both networks have.")
    changeable: int = Field(description="Values of the initialisers in which some differ.")
    initialisers: int = Field(description="How many these are.")
    watched: int = Field(description="Properties of which drawdown was measured.")
    watched_points: int | None = Field(description="The fewest points of any of them; null where there is none.")
    first: list[Readable] = Field(description="What to read before anything else: the weightiest residual risks.")


class InputRangeModel(Model):
    """One edge of an input box."""

    name: Readable
    text: Readable
    unit: Readable = Field(description="Empty where nobody says it: then the values are in network units.")
    lower: float = Field(description="Raw units where the scaling is known, else network units; to nine digits.")
    upper: float
    network_lower: float
    network_upper: float


class StatedRegionModel(Model):
    """A box of inputs in raw units, and in words what must not come out of it."""

    inputs: list[InputRangeModel]
    unsafe: list[Readable] = Field(description="Any one of these is unsafe.")


class StatedPropertyModel(Model):
    """A property as a person reads it."""

    name: Readable
    text: Readable
    role: Literal["goal", "keep", "suite"]
    sha256: str
    regions: list[StatedRegionModel]
    raw: bool = Field(description="Are `lower` and `upper` in raw units?")


class ValueModel(Model):
    """One input or output of a counterexample."""

    name: Readable
    unit: Readable
    value: float = Field(description="Raw units where the scaling is known, else network units.")
    network: float


class DefectModel(Model):
    """A counterexample in raw units."""

    property: Readable
    inputs: list[ValueModel]
    outputs: list[ValueModel]
    decides: Readable | None = Field(description="The output that decides; null without a decision rule.")
    replayed_by: list[str]
    exactly: bool | None = Field(
        default=None, description="Does the function over the reals violate too? Null where nobody could tell."
    )
    file: Literal["before", "after"] = Field(description="The network that it breaks.")


class MovedModel(Model):
    """A value that was changed."""

    initialiser: Readable
    index: list[int]
    before: float
    after: float
    difference: float


class ProofFactsModel(Model):
    """What the certificate holds about one property."""

    property: Readable
    verdict: Literal["proved", "violated"]
    regions: int
    leaves: int


class CertificateFactsModel(Model):
    """Read from the certificate's file; what it proves is for `birdnn check` to say."""

    tool: Readable
    semantics: Literal["real", "float32"]
    assumptions: dict[str, float]
    network_sha256: str
    proofs: list[ProofFactsModel]


class RiskModel(Model):
    """What the evidence does not settle.

    `stop`: do not use before it is cleared up. `open`: not settled. `assumption`: the proof rests on it. `note`: known,
    and to be judged by those who know the system.
    """

    weight: Weight
    topic: str
    text: Readable


class OfferedModel(Model):
    """What a standard or guidance asks for, and where this report has something to offer."""

    source: str
    asks: str
    offered: Literal["offered", "in part", "not offered"]
    evidence: Readable
    section: int


class CommandModel(Model):
    """A command and what it does."""

    purpose: str
    command: Readable


class SafetyReport(Model):
    """What `birdnn report --format json` writes; the other formats say the same."""

    schema_version: Literal[1] = SCHEMA_VERSION
    tool: Literal["birdnn"] = "birdnn"
    kind: Literal["safety report"] = "safety report"
    birdnn: str = Field(description="Version that made the report; `outcome.versions` has the one that repaired.")
    summary: SummaryModel
    files: list[FileModel]
    domain: list[InputRangeModel] = Field(description="The declared input domain; empty where there is none.")
    properties: list[StatedPropertyModel]
    defects: list[DefectModel]
    moved: list[MovedModel] = Field(description="The values that moved most, over all initialisers, at most 15.")
    certificate: CertificateFactsModel | None = Field(description="Null where there is none, or it cannot be read.")
    risks: list[RiskModel]
    mapping: list[OfferedModel]
    commands: list[CommandModel]
    added: list[Readable] = Field(description="What the outcome lacked and the files as recorded say.")
    outcome: RepairReport
