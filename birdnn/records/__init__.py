"""What one stage tells the next, and what a command asks for and gets back.

Records are immutable and hold no behaviour beyond reading themselves. `Proved`, `Violated` and `Unknown` are three
types, so that nothing but a finished proof can be mistaken for one.
"""

from __future__ import annotations

from birdnn.records.estimates import Device, EstimateOutcome, EstimateRequest, PropertyEstimate
from birdnn.records.results import (
    Decision,
    Domain,
    Guarantee,
    Machine,
    Pairing,
    PropertyOutcome,
    PropertyVerdict,
    RepairOutcome,
    RepairRequest,
    RepairResult,
    Role,
    SuiteMatch,
    Units,
    VerifyOutcome,
    VerifySettings,
)
from birdnn.records.stages import (
    ARITHMETIC,
    Drawdown,
    Fidelity,
    InitialiserChange,
    Progress,
    Proved,
    Rate,
    Replay,
    SampleSet,
    Unknown,
    UnknownReason,
    Unwatched,
    Verdict,
    Violated,
    Watch,
    Witness,
)
from birdnn.records.statements import EXECUTION, Interval, PacBound, RareEvent, Surrogate

__all__ = [
    "ARITHMETIC",
    "EXECUTION",
    "Decision",
    "Device",
    "Domain",
    "Drawdown",
    "EstimateOutcome",
    "EstimateRequest",
    "Fidelity",
    "Guarantee",
    "InitialiserChange",
    "Interval",
    "Machine",
    "PacBound",
    "Pairing",
    "Progress",
    "PropertyEstimate",
    "PropertyOutcome",
    "PropertyVerdict",
    "Proved",
    "RareEvent",
    "Rate",
    "RepairOutcome",
    "RepairRequest",
    "RepairResult",
    "Replay",
    "Role",
    "SampleSet",
    "SuiteMatch",
    "Surrogate",
    "Units",
    "Unknown",
    "UnknownReason",
    "Unwatched",
    "Verdict",
    "VerifyOutcome",
    "VerifySettings",
    "Violated",
    "Watch",
    "Witness",
]
