"""The safety report: the outcome of a repair, and what an assessor asks about it.

`outcome` is `repair.json`, unchanged but for what an earlier version did not write and the files still say. Everything
else is derived from it, from the certificate, and from the hashes of the files as found. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from birdnn.records.published import Said, publishes
from birdnn.records.repairs import AnyRepair

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
PageVerdict = Literal["proved", "proved as it was", "not proved", "violated", "engines disagree", "files differ"]
Tone = Literal["good", "warn", "bad"]
Weight = Literal["stop", "open", "assumption", "note"]


@publishes("FileModel", "role name path recorded_sha256 found_sha256 state")
@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFile:
    """A file that the evidence is about."""

    role: FileRole
    name: str
    path: Annotated[str, Said("Where it was when the repair ended, or where it lies now.")]
    recorded_sha256: str
    found_sha256: Annotated[str | None, Said("When the report was made; null where it is missing.")]
    state: FileState


@publishes(
    "SummaryModel",
    "verdict tone word headline explanation scope asked violated_before proved_after changed "
    "changeable initialisers watched watched_points first",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The first page."""

    verdict: PageVerdict
    tone: Tone
    word: Annotated[str, Said("What `headline` begins with.", absent="")] = ""
    headline: Annotated[str, Said("The result in words and figures, as the terminal says it.")]
    explanation: str
    scope: Annotated[
        str, Said("What the proofs are about and what they leave out; which of them the certificate covers.", absent="")
    ] = ""
    asked: Annotated[int, Said("Properties that were to be proved.")] = 0
    violated_before: int = 0
    proved_after: int = 0
    changed: Annotated[int, Said("Values that differ, of initialisers that both networks have.")]
    changeable: Annotated[int, Said("Values of the initialisers in which some differ.")]
    initialisers: Annotated[int, Said("How many these are.")]
    watched: Annotated[int, Said("Properties of which drawdown was measured.")] = 0
    watched_points: Annotated[int | None, Said("The fewest points of any of them; null where there is none.")] = None
    first: Annotated[tuple[str, ...], Said("What to read before anything else: the weightiest residual risks.")]


@publishes("InputRangeModel", "name text unit lower upper network_lower network_upper")
@dataclass(frozen=True, slots=True, kw_only=True)
class InputRange:
    """One edge of an input box."""

    name: str
    text: str
    unit: Annotated[str, Said("Empty where nobody says it: then the values are in network units.")]
    lower: Annotated[float, Said("Raw units where the scaling is known, else network units; to nine digits.")]
    upper: float
    network_lower: float
    network_upper: float


@publishes("StatedRegionModel", "inputs unsafe")
@dataclass(frozen=True, slots=True, kw_only=True)
class RegionInWords:
    """A box of inputs in raw units, and in words what must not come out of it."""

    inputs: tuple[InputRange, ...]
    unsafe: Annotated[tuple[str, ...], Said("Any one of these is unsafe.")]


@publishes("StatedPropertyModel", "name text role sha256 regions raw")
@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyInWords:
    """A property as a person reads it."""

    name: str
    text: str
    role: Literal["goal", "keep", "suite"]
    sha256: str
    regions: tuple[RegionInWords, ...]
    raw: Annotated[bool, Said("Are `lower` and `upper` in raw units?")]


@publishes("ValueModel", "name unit value network")
@dataclass(frozen=True, slots=True, kw_only=True)
class ShownValue:
    """One input or output of a counterexample."""

    name: str
    unit: str
    value: Annotated[float, Said("Raw units where the scaling is known, else network units.")]
    network: float


@publishes("DefectModel", "property inputs outputs decides replayed_by exactly file")
@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A counterexample in raw units."""

    property: str
    inputs: tuple[ShownValue, ...]
    outputs: tuple[ShownValue, ...]
    decides: Annotated[str | None, Said("The output that decides; null without a decision rule.")]
    replayed_by: tuple[str, ...]
    exactly: Annotated[
        bool | None, Said("Does the function over the reals violate too? Null where nobody could tell.", absent=None)
    ] = None
    file: Annotated[Literal["before", "after"], Said("The network that it breaks.")]


@publishes("MovedModel", "initialiser index before after difference")
@dataclass(frozen=True, slots=True, kw_only=True)
class MovedValue:
    """A value that was changed."""

    initialiser: str
    index: tuple[int, ...]
    before: float
    after: float
    difference: float


@publishes("ProofFactsModel", "property verdict regions leaves")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFacts:
    """What the certificate holds about one property."""

    property: str
    verdict: Literal["proved", "violated"]
    regions: int
    leaves: int


@publishes("CertificateFactsModel", "tool semantics assumptions network_sha256 proofs")
@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """Read from the certificate's file; what it proves is for `birdnn check` to say."""

    tool: str
    semantics: Literal["real", "float32"]
    assumptions: Mapping[str, float]
    network_sha256: str
    proofs: tuple[ProofFacts, ...]


@publishes("RiskModel", "weight topic text")
@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """What the evidence does not settle.

    `stop`: do not use before it is cleared up. `open`: not settled. `assumption`: the proof rests on it. `note`: known,
    and to be judged by those who know the system.
    """

    weight: Weight
    topic: str
    text: str


@publishes("OfferedModel", "source asks offered evidence section")
@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What a standard or guidance asks for, and where this report has something to offer."""

    source: str
    asks: str
    offered: Literal["offered", "in part", "not offered"]
    evidence: str
    section: int


@publishes("CommandModel", "purpose command kind")
@dataclass(frozen=True, slots=True, kw_only=True)
class CommandToType:
    """A command and what it does.

    Attributes:
        purpose: in words.
        command: as it is typed.
        kind: what it runs: a counterexample without birdnn, the checker alone, or birdnn.
    """

    purpose: str
    command: str
    kind: Annotated[
        Literal["replay", "check", "birdnn"], Said("What it runs: neither, the checker alone, or birdnn.")
    ] = "birdnn"


@publishes(
    "SafetyReport",
    "kind birdnn made author reviewer summary files domain properties defects moved certificate risks mapping commands "
    "added outcome",
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyReport:
    """What `birdnn report --format json` writes; the other formats say the same."""

    kind: Annotated[Literal["safety report"], Said(absent="safety report")] = "safety report"
    birdnn: Annotated[str, Said("Version that made the report; `outcome.versions` has the one that repaired.")]
    made: Annotated[
        str, Said("Day of the report, ISO 8601, UTC; of SOURCE_DATE_EPOCH where that is set.", absent="")
    ] = ""
    author: Annotated[str | None, Said("Who hands it over, as told.", absent=None)] = None
    reviewer: Annotated[str | None, Said("Who is to judge it, as told.", absent=None)] = None
    summary: Summary
    files: tuple[EvidenceFile, ...]
    domain: Annotated[tuple[InputRange, ...], Said("The declared input domain; empty where there is none.")] = ()
    properties: tuple[PropertyInWords, ...] = ()
    defects: tuple[Defect, ...] = ()
    moved: Annotated[tuple[MovedValue, ...], Said("The values that moved most, over all initialisers, at most 15.")]
    certificate: Annotated[CertificateFacts | None, Said("Null where there is none, or it cannot be read.")]
    risks: tuple[Risk, ...]
    mapping: tuple[Offered, ...] = ()
    commands: tuple[CommandToType, ...]
    added: Annotated[tuple[str, ...], Said("What the outcome lacked and the files as recorded say.")]
    outcome: AnyRepair
