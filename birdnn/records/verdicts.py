"""What ``verify`` and ``falsify`` are asked for and what they get back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from birdnn.errors import NotProvedError
from birdnn.records.crosschecks import BoundName, EngineAnswer
from birdnn.records.facts import AskedDevice, Machine, ProofSemantics, Units
from birdnn.records.proofs import CertificateFile
from birdnn.records.published import CommandLine, OrNull, Said, publishes
from birdnn.records.result import Result, in_a_line
from birdnn.records.stages import (
    CompetitionWord,
    OutcomeWord,
    Proved,
    Unknown,
    Verdict,
    Violated,
    Witness,
    competition_word,
    outcome_word,
    worst_verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySettings:
    """The options of ``verify`` and ``falsify``.

    Attributes:
        timeout_s: limit for all properties together, reading included; None: no limit.
        memory_gib: limit for the open boxes of the search; None: the engine's own.
        units: what the property speaks; ``"raw"`` needs a network that brings its scaling (NNet, or known to a suite).
        semantics: what a proof speaks about; None: the reals, or execution where a query is over float32.
        seed: of every random draw.
        device: where to attack and to prove.
        bound: whose bounds the proof rests on.
        crosscheck: engines that are asked the same question, `crosscheck_timeout_s` for each and property.
        certificate: file for what was decided; None: none.
        resume: folder where long proofs are kept, and gone on with.
        ray: address of a cluster whose nodes take on large proofs; None: none.
        command: the command line, for the record.
    """

    semantics: ProofSemantics | None = None
    certificate: Path | None = None
    resume: Path | None = None
    ray: str | None = None
    timeout_s: float | None = None
    memory_gib: float | None = None
    units: Annotated[Units, Said("What the property files speak; x and y are normalised.")] = "normalised"
    seed: int = 0
    device: AskedDevice = "auto"
    bound: Annotated[BoundName, Said("Whose bounds a proof rests on.")] = "own"
    crosscheck: tuple[str, ...] = ()
    crosscheck_timeout_s: float = 60.0
    command: CommandLine = ()


@publishes(
    "VerdictModel",
    "name file=path sha256 text outcome verdict=competition_verdict reason tried solve_s boxes "
    "open_boxes counterexample executed over_reals arithmetic engines",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyVerdict(Result):
    """One property's answer.

    Attributes:
        path: absolute; `sha256` of the file.
        engines: empty unless others were asked too; then our own answer comes first.
        notes: how the property was taken, one sentence each; the outcome's notes hold them.
    """

    name: str
    path: str
    sha256: str
    text: Annotated[str, Said("One line that says what the property is about.")]
    verdict: Verdict
    solve_s: float
    engines: Annotated[
        tuple[EngineAnswer, ...], Said("With --crosscheck: our own answer, then that of each engine.")
    ] = ()
    notes: tuple[str, ...] = ()

    @property
    def proved(self) -> bool:
        """Is the property proved?"""
        return isinstance(self.verdict, Proved)

    @property
    def outcome(self) -> OutcomeWord:
        """The verdict in our word."""
        return outcome_word(self.verdict)

    def told(self) -> str:
        """The verdict in a few words: ``prop_8: violated at [...]``, ``prop_2: unknown (timeout)``."""
        if self.counterexample is not None:
            return f"{self.name}: violated at {list(self.counterexample.x)}"
        return f"{self.name}: {self.outcome}" + (f" ({self.reason})" if self.reason else "")

    @property
    def competition_verdict(self) -> CompetitionWord:
        """The verdict in VNN-COMP's word."""
        return competition_word(self.verdict)

    @property
    def reason(
        self,
    ) -> Annotated[
        str | None,
        Said(
            "Why undecided: timeout, memory, boxes, interrupted, precision, not_found by attack alone, "
            "not_executed (violated at over_reals, by no run that was tried), or rejected (the checker does not accept "
            "the proof). Of a counterexample to semantics real that violates when run only: why nothing is decided "
            "over the reals."
        ),
    ]:
        """Why nothing is decided, here or over the reals."""
        match self.verdict:
            case Unknown():
                return self.verdict.reason
            case Violated():
                return self.verdict.undecided
        return None

    @property
    def tried(self) -> Annotated[str | None, Said("What falsification did, where the reason is not_found.")]:
        """See `Unknown`."""
        return (self.verdict.tried or None) if isinstance(self.verdict, Unknown) else None

    @property
    def open_boxes(self) -> Annotated[int, Said("Boxes left open by an undecided search.")]:
        """See `Unknown`."""
        return self.verdict.open_boxes if isinstance(self.verdict, Unknown) else 0

    @property
    def boxes(
        self,
    ) -> Annotated[int, Said("Boxes examined by branch and bound; 0 where falsification alone decided.")]:
        """See the verdict."""
        return self.verdict.boxes

    @property
    def counterexample(self) -> Witness | None:
        """Of a violation."""
        return self.verdict.witness if isinstance(self.verdict, Violated) else None

    @property
    def executed(
        self,
    ) -> Annotated[
        Witness | None,
        Said("Beside a proof over the reals: an input at which the network violates when it is run.", absent=None),
    ]:
        """See `Proved`."""
        return self.verdict.executed if isinstance(self.verdict, Proved) else None

    @property
    def over_reals(
        self,
    ) -> Annotated[
        tuple[float, ...] | None,
        Said("An input at which the function over the reals violates, and no run that was tried.", absent=None),
    ]:
        """See `Unknown`."""
        return (self.verdict.over_reals or None) if isinstance(self.verdict, Unknown) else None

    @property
    def arithmetic(self) -> Annotated[str, Said("Which arithmetic the answer speaks about.")]:
        """See the verdict."""
        return self.verdict.arithmetic


@publishes("NetworkFileModel", "name file=path sha256")
@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFile:
    """A network of a query about several.

    Attributes:
        name: the query's for it.
        path: absolute; `sha256` of the file.
    """

    name: str
    path: str
    sha256: str


@publishes(
    "VerifyReport",
    "command=settings.command outcome verdict interrupted wall_s solve_s boxes counterexample arithmetic "
    "semantics net net_sha256 networks property_sha256 properties=verdicts bound=settings.bound disagreement "
    "units=settings.units timeout_s=settings.timeout_s memory_gib=settings.memory_gib seed=settings.seed notes "
    "certificate versions machine",
    report=True,
)
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VerifyOutcome(Result):
    """What `birdnn verify --json` and `birdnn falsify --json` write.

    Where engines contradict each other, or the checker rejects a certificate of what was decided, `disagreement` says
    so, and `outcome` and `verdict` are unknown.
    For several properties `outcome` and `verdict` are the worst (violated, then unknown, then proved), `counterexample`
    the first one found, `solve_s` and `boxes` sums, `property_sha256` null; `properties` has each.

    Attributes:
        verdicts: one for each property in the order asked.
        wall_s: from the start of reading to the last answer.
        interrupted: the user stopped it; later properties are `Unknown` with reason ``"interrupted"``.
        notes: what was inferred and what a user should know, one sentence each.
        certificate: None where none was asked for or can be.
        networks: those of a query about several, empty where it is about one.
    """

    net: str
    net_sha256: str
    verdicts: tuple[PropertyVerdict, ...]
    wall_s: Annotated[float, Said("Reading included.")]
    solve_s: float
    settings: VerifySettings
    versions: Mapping[str, str]
    machine: Machine
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    disagreement: Annotated[OrNull, Said("Engines, or prover and checker, contradict each other.")] = ""
    certificate: CertificateFile | None = None
    networks: Annotated[
        tuple[NetworkFile, ...],
        Said(
            "Those of a query about several, whose inputs and outputs follow each other; net is the first.", absent=()
        ),
    ] = ()

    def __repr__(self) -> str:
        words = (f"{answer.name}: {answer.outcome}" for answer in self.verdicts)
        return in_a_line("VerifyOutcome", (*words, *(["engines disagree"] if self.disagreement else [])), self.wall_s)

    @property
    def proved(self) -> bool:
        """Is every property proved, and does nothing contradict it? Of none nothing is."""
        return not self.disagreement and bool(self.verdicts) and all(answer.proved for answer in self.verdicts)

    def raise_unless_proved(self) -> None:
        """For tests and pipelines: nothing where every property is proved.

        Raises:
            NotProvedError: one is not; the message names it, with the counterexample or the reason.
        """
        if not self.proved:
            told = [answer.told() for answer in self.verdicts if not answer.proved]
            # The statuses of the command line, the weightiest first: contradiction, violation, undecided.
            status = 6 if self.disagreement else 1 if any(isinstance(a.verdict, Violated) for a in self.verdicts) else 3
            raise NotProvedError("; ".join([*filter(None, [self.disagreement]), *told]) or "nothing was asked", status)

    @property
    def deciding(self) -> Verdict:
        """The verdict that speaks for all."""
        # Made anew each time: so no report can hold a summary that its answers do not bear out.
        return worst_verdict([answer.verdict for answer in self.verdicts])

    @property
    def semantics(self) -> ProofSemantics:
        """What proofs speak about."""
        return self.settings.semantics or "real"

    @property
    def outcome(self) -> OutcomeWord:
        """The result in our word."""
        # Two engines that contradict each other decide nothing, whatever ours says.
        return "unknown" if self.disagreement else outcome_word(self.deciding)

    @property
    def verdict(self) -> CompetitionWord:
        """The result in VNN-COMP's word."""
        return "unknown" if self.disagreement else competition_word(self.deciding)

    @property
    def boxes(self) -> int:
        """Of all properties."""
        return sum(answer.boxes for answer in self.verdicts)

    @property
    def counterexample(self) -> Witness | None:
        """Of the verdict that speaks for all."""
        return self.deciding.witness if isinstance(self.deciding, Violated) else None

    @property
    def arithmetic(self) -> str:
        """Of the verdict that speaks for all."""
        return self.deciding.arithmetic

    @property
    def property_sha256(self) -> str | None:
        """Of the one property."""
        # Of several there is none that speaks for all; each entry has its own.
        return self.verdicts[0].sha256 if len(self.verdicts) == 1 else None
