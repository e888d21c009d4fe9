"""What `compare` asks for and gets back. A is the network before, B the one after; differences are B - A."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from birdnn.records.facts import Machine, ScaledQuantity, SuiteMatch, Units
from birdnn.records.results import Domain, Guarantee, Role
from birdnn.records.stages import Decision, Drawdown, Fidelity, InitialiserChange, Rate, Witness
from birdnn.records.statements import Interval
from birdnn.rounding import Semantics

Matching = Literal["graph", "layers", "none"]
Became = Literal["kept", "lost", "gained", "violated in both", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """Everything that ``compare``'s command line says.

    Attributes:
        before, after: A and B.
        props, keep, suite, as_name, domain, decision, units: as for ``repair``; properties are decided on both.
        samples: uniform points of the domain; a quarter of them in each property's region.
        bound_s: seconds for a proved bound of the difference; 0: none.
        timeout_s: limit for everything; None: no limit.
        command: the command line, for the record.
    """

    before: Path
    after: Path
    props: tuple[Path, ...] = ()
    keep: tuple[Path, ...] = ()
    suite: str | None = None
    as_name: str | None = None
    domain: Path | Literal["property"] | None = None
    decision: Decision | None = None
    samples: int = 400_000
    bound_s: float = 10.0
    timeout_s: float | None = None
    units: Units = "normalised"
    seed: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Points at which A decides for one output and B for another."""

    before: int
    after: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How alike A and B behave on uniform points of one place.

    Attributes:
        place: ``"domain"``, or a property's name for the points of its region.
        fidelity: over the points at which A violates none of the properties; None where there is no such point.
        agreement: confidence interval of the share with the same decision; None without a decision rule.
        mae: the same of the mean absolute difference.
        per_output: mean absolute difference of each output, on the same points.
        n: how many points were drawn in all.
        transitions: how decisions changed, the most frequent first.
        drawdown: of a property's region: newly violating points among those that satisfied it in A.
        healed: of those that violated it in A, how many satisfy it in B; None where there was none.
    """

    place: str
    fidelity: Fidelity | None
    agreement: Interval | None = None
    mae: Interval | None = None
    per_output: tuple[float, ...] = ()
    n: int = 0
    transitions: tuple[Transition, ...] = ()
    drawdown: Drawdown | None = None
    healed: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """An input at which A and B are far apart, as the engines that replay the files find.

    Attributes:
        place: where it was looked for.
        x: the input, network units, float32 values.
        before, after: outputs of A and B.
        size: what was to be made large: the absolute difference of output `output`; for a change of decision the
            lesser of how much A prefers its choice to B's and B its own to A's.
        output: None for a change of decision.
        decided: the outputs that decide in A and B; None without a decision rule.
        replayed_by: who ran A, and who ran B.
    """

    place: str
    x: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]
    size: float
    output: int | None
    decided: tuple[int, int] | None
    replayed_by: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedApart:
    """No input of a place has an output differ by more than this.

    Attributes:
        upper: for each output; infinity where nothing is known.
        method: whose bounds; `arithmetic`: which arithmetic, and what they speak about.
        boxes: into how many the place was cut; `seconds` it took.
        complete: no box could lower a bound by much, given what was found.
    """

    place: str
    upper: tuple[float, ...]
    method: str
    arithmetic: str
    boxes: int
    seconds: float
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChange:
    """One initialiser that differs; `layer` counts weighted layers from 1, 0 is before the first."""

    layer: int
    change: InitialiserChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """How the two graphs and their numbers differ.

    Attributes:
        matching: ``"graph"``: the same operations on numbers of the same names; ``"layers"``: other graphs that compute
            layers of the same form; ``"none"``: neither, and no parameter of one corresponds to one of the other.
        statements: how they differ, one sentence each.
        changes: what differs, from input to output; `parameters` is the number of values of A, `compared` that of those
            that were compared.
        same_file: both files hold the same bytes.
    """

    matching: Matching
    statements: tuple[str, ...]
    changes: tuple[LayerChange, ...]
    parameters: int
    compared: int
    same_file: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyComparison:
    """One property on both networks.

    Attributes:
        before, after: the guarantee on A and on B.
        became: what that means; ``"lost"`` only with a counterexample, ``"gained"`` only with a proof.
        witness_before, witness_after: replayed counterexamples.
        seconds, boxes: of both verifications.
        arithmetic: what the answers on A and on B speak about.
    """

    name: str
    path: str
    sha256: str
    text: str
    role: Role
    before: Guarantee
    after: Guarantee
    became: Became
    seconds: tuple[float, float]
    boxes: tuple[int, int]
    arithmetic: tuple[str, str]
    witness_before: Witness | None = None
    witness_after: Witness | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOutcome:
    """What ``compare`` found.

    Attributes:
        before, after: absolute paths of A and B; `before_sha256`, `after_sha256` of the files.
        likeness: the domain first, where it is known, then each property's region.
        apart: the worst found: for each output, and the clearest change of decision.
        proved_apart: bounds of the difference, for the domain and each region; `bound_note` says why there are none.
        properties: those that were decided, on both.
        inputs, outputs: what they mean; empty where nobody knows.
        semantics: what proofs of properties speak about.
        regressions: names of properties that were proved for A and are not for B.
        notes: what was inferred and what a user should know, one sentence each.
        disagreement: a point found contradicts a bound or a proof; empty where none does.
        timed_out: ``--timeout`` cut something short.
    """

    request: CompareRequest
    before: str
    after: str
    before_sha256: str
    after_sha256: str
    structure: Structure
    likeness: tuple[Likeness, ...]
    apart: tuple[Apart, ...]
    proved_apart: tuple[ProvedApart, ...]
    bound_note: str
    properties: tuple[PropertyComparison, ...]
    regressions: tuple[str, ...]
    semantics: Semantics
    domain: Domain | None
    decision: Decision
    suite: SuiteMatch | None
    inputs: tuple[ScaledQuantity, ...]
    outputs: tuple[ScaledQuantity, ...]
    wall_s: float
    versions: Mapping[str, str]
    machine: Machine
    interrupted: bool = False
    timed_out: bool = False
    notes: tuple[str, ...] = ()
    disagreement: str = ""
