"""What one stage tells the next: verdicts, counterexamples, samples, the change, progress.

Records are immutable and hold no behaviour beyond reading themselves. `Proved`, `Violated` and `Unknown` are three
types, so that nothing but a finished proof can be mistaken for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from birdnn.boxes import Boxes

ARITHMETIC = "float64, rounding not accounted for"


@runtime_checkable
class Replay(Protocol):
    """Runs the network as its file says, outside torch.

    Attributes:
        name: who runs it, e.g. ``"onnxruntime"``.
    """

    @property
    def name(self) -> str:
        """See above."""

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
        """Outputs, shape (outputs,), in the file's type, at the point ``x``, shape (inputs,)."""


UnknownReason = Literal["timeout", "memory", "boxes", "interrupted", "precision"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A counterexample that was replayed.

    Attributes:
        x: float32 values inside the exact input box, network units.
        y: the outputs that `replayed_by` gave.
        replayed_by: who ran the network, e.g. ``("onnxruntime",)``.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    replayed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """No point of any region is unsafe: every box of a complete cover has a positive bound."""

    boxes: int
    arithmetic: str = ARITHMETIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Violated:
    """Some point is unsafe, and here it is."""

    witness: Witness
    boxes: int
    arithmetic: str = "exact property on replayed outputs"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unknown:
    """Neither proved nor violated.

    Attributes:
        reason: what ended the search. ``"precision"``: a box too small to cut stays undecided.
        boxes: how many were examined.
        undecided: boxes that were still open, hardest first, at most a few thousand of them.
        open_boxes: how many were open in all.
    """

    reason: UnknownReason
    boxes: int
    undecided: Boxes | None = None
    open_boxes: int = 0
    arithmetic: str = ARITHMETIC


Verdict: TypeAlias = Proved | Violated | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """News from a running stage.

    Attributes:
        phase: what is being done, e.g. ``"proving prop_8"``.
        done: share of the work in 0..1 where it is known.
        left_s: expected seconds to the end, where known.
        detail: one short remark, e.g. ``"12,000 boxes, 340 open"``.
    """

    phase: str
    done: float | None = None
    left_s: float | None = None
    detail: str = ""


@runtime_checkable
class Watch(Protocol):
    """Someone who follows a long computation and may stop it."""

    def update(self, news: Progress) -> None:
        """Take the news; must return quickly and never raise."""

    def stopped(self) -> bool:
        """True once the user asked to stop; long loops look at it several times a second."""


@dataclass(frozen=True, slots=True)
class Unwatched:
    """The `Watch` of someone who waits in silence."""

    def update(self, news: Progress) -> None:
        """Ignore the news."""

    def stopped(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleSet:
    """Points of an input region with the network's outputs there.

    Attributes:
        x: shape (points, inputs), network units.
        y: shape (points, outputs).
        margin: signed margin of the property, shape (points,); not positive means unsafe.
    """

    x: Tensor
    y: Tensor
    margin: Tensor

    def __len__(self) -> int:
        return self.x.shape[0]

    def where(self, mask: Tensor) -> SampleSet:
        """The points at which ``mask`` is true."""
        return SampleSet(x=self.x[mask], y=self.y[mask], margin=self.margin[mask])


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialiserChange:
    """How far one initialiser moved: number of changed values, sum and maximum of the absolute differences."""

    name: str
    count: int
    size: int
    l1: float
    linf: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Behaviour kept over a set of points (domain.md, section 3).

    Attributes:
        decision_agreement: share of points with the same decision; None where no decision rule is known.
        mae: mean absolute difference of the outputs.
        n: number of points.
    """

    decision_agreement: float | None
    mae: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawdown:
    """Share of a property's points that satisfied it before and violate it now.

    Attributes:
        name: the property.
        share: newly violating points over points that satisfied the property before.
        n: number of points that satisfied it before.
    """

    name: str
    share: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``hits`` of ``n``; a share is quoted only from 100 points on."""

    hits: int
    n: int
    by_proof: bool = field(default=False)

    @property
    def share(self) -> float | None:
        """``hits / n``, 1.0 by proof, or None where n is below 100."""
        if self.by_proof:
            return 1.0
        return self.hits / self.n if self.n >= 100 else None


# --- what a command asks for and what it gets back (pipeline fills these, report reads them) -------------------------

Units = Literal["normalised", "raw"]
Decision = Literal["argmin", "argmax", "none"]
Pairing = Literal["input", "output", "projection"]
Guarantee = Literal["proved", "pac", "violated", "unknown"]
RepairResult = Literal["proved", "sampled", "violated", "nothing_to_repair"]
Role = Literal["goal", "keep", "suite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the command ran on; ``memory_gib`` is None where the system does not say."""

    system: str
    cpu: str
    cores: int
    threads: int
    memory_gib: float | None
    device: str = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """The options of ``verify`` and ``falsify``.

    Attributes:
        timeout_s: limit for all properties together, reading included; None: no limit.
        memory_gib: limit for the open boxes of the search; None: the engine's own.
        units: what the property speaks; ``"raw"`` needs a network that brings its scaling (NNet, or known to a suite).
        seed: of every random draw.
        command: the command line, for the record.
    """

    timeout_s: float | None = None
    memory_gib: float | None = None
    units: Units = "normalised"
    seed: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyVerdict:
    """One property's answer; `path` is absolute, `sha256` of the file, `text` one line that says what must hold."""

    name: str
    path: str
    sha256: str
    text: str
    verdict: Verdict
    solve_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOutcome:
    """What ``verify`` or ``falsify`` found, one answer for each property in the order asked.

    Attributes:
        wall_s: from the start of reading to the last answer; `solve_s` without reading, summed over properties.
        interrupted: the user stopped it; later properties are `Unknown` with reason ``"interrupted"``.
        notes: what was inferred and what a user should know, one sentence each.
    """

    net: str
    net_sha256: str
    verdicts: tuple[PropertyVerdict, ...]
    wall_s: float
    solve_s: float
    settings: VerifySettings
    versions: Mapping[str, str]
    machine: Machine
    interrupted: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRequest:
    """Everything that ``repair``'s command line says; paths as given, None where the user said nothing.

    Attributes:
        props: properties to repair; may be empty where `suite` names those that apply.
        keep: properties that must stay true.
        suite: a suite file, or the name of one that is installed (``"acasxu"``).
        as_name: which network of the suite this is, e.g. ``"N2,9"``; None: recognised by content.
        domain: a property file whose input boxes are the domain; None: from the suite or the NNet header.
        decision: None: from the suite, otherwise ``"none"``.
        out: folder for the result; None: ``./NAME.birdnn``.
        timeout_s: limit for everything; None: no limit.
        command: the command line, for the record.
    """

    net: Path
    props: tuple[Path, ...] = ()
    keep: tuple[Path, ...] = ()
    suite: str | None = None
    as_name: str | None = None
    domain: Path | None = None
    decision: Decision | None = None
    method: str = "retrain"
    pairing: Pairing = "projection"
    out: Path | None = None
    timeout_s: float | None = None
    units: Units = "normalised"
    seed: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyOutcome:
    """One property before and after a repair.

    Attributes:
        role: ``"goal"`` to be repaired, ``"keep"`` named to stay true, ``"suite"`` taken from the suite.
        before, after: the guarantee on the original and on the repaired file as read back; `after` equals `before`
            where no network was written.
        verify_s: seconds that the last verification (of the repaired network, if there is one) took.
        boxes: boxes of that verification.
        arithmetic: what `after` speaks about.
        counterexamples: replayed witnesses on the original file, a few of them.
        remaining: a replayed witness on the repaired file where `after` is ``"violated"``.
    """

    name: str
    path: str
    sha256: str
    text: str
    role: Role
    before: Guarantee
    after: Guarantee
    verify_s: float
    boxes: int
    arithmetic: str = ARITHMETIC
    counterexamples: tuple[Witness, ...] = ()
    remaining: Witness | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The declared input domain, network units, and where it comes from, e.g. ``"suite acasxu"``."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteMatch:
    """A suite that knows the network.

    Attributes:
        name: the suite, e.g. ``"acasxu"``.
        entry: the network there, e.g. ``"N2,9"``.
        by: how it was found: ``"content"`` (sha256 of the weights) or ``"--as"``.
        applicable: names of all properties that are meant to hold.
        not_named: those of them that the user did not ask for.
    """

    name: str
    entry: str
    by: Literal["content", "--as"]
    applicable: tuple[str, ...]
    not_named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOutcome:
    """What ``repair`` did; every figure is measured on the file as written, on points drawn after it was frozen.

    Attributes:
        result: ``"proved"`` only if every property is; ``"sampled"``: none is violated as far as sampling sees;
            ``"violated"``: no repair found, `out` is the best attempt; ``"nothing_to_repair"``: `out` is None.
        out: absolute path of the repaired network.
        report: absolute path of ``repair.json``.
        fidelity: None where the domain is unknown; `fidelity_note` then says why.
        region_fidelity: property name -> fidelity over its region's points that did not violate.
        drawdown: one entry for each applicable property.
        efficacy, generalisation: None where there was nothing to count.
        regressions: names of applicable properties that were proved before and are not now.
        change: only initialisers that differ.
        repair_s, verify_s, sample_s: seconds in each stage; `wall_s` of everything.
        rounds: repair-verify rounds done.
        interrupted: the user stopped it; `out` is the best attempt so far.
        timed_out: ``--timeout`` ended it.
        notes: what was inferred and what a user should know, one sentence each.
    """

    result: RepairResult
    request: RepairRequest
    net: str
    net_sha256: str
    out: str | None
    out_sha256: str | None
    report: str | None
    properties: tuple[PropertyOutcome, ...]
    fidelity: Fidelity | None
    fidelity_note: str
    region_fidelity: Mapping[str, Fidelity]
    drawdown: tuple[Drawdown, ...]
    efficacy: Rate | None
    generalisation: Rate | None
    regressions: tuple[str, ...]
    change: tuple[InitialiserChange, ...]
    domain: Domain | None
    decision: Decision
    suite: SuiteMatch | None
    repair_s: float
    verify_s: float
    sample_s: float
    wall_s: float
    rounds: int
    versions: Mapping[str, str]
    machine: Machine
    interrupted: bool = False
    timed_out: bool = False
    notes: tuple[str, ...] = ()
