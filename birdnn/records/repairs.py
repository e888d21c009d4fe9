"""What became of a repair: one outcome of repairs by properties, one of repairs by examples, under a common head.

Both are published in one form, that of `repair.json`; what a kind does not have is empty there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from birdnn.errors import NotProvedError
from birdnn.records.behaviour import KeptAt, KeptWord, RuleBy, Tied
from birdnn.records.blocks import BlockRepair
from birdnn.records.facts import Machine, ProofSemantics, ScaledQuantity, SuiteMatch
from birdnn.records.localisation import PropertyLocalisation
from birdnn.records.maps import AdvisoryMap, MarginLine
from birdnn.records.preservation import Preservation
from birdnn.records.proofs import CertificateFile
from birdnn.records.published import OrNull, Said, publishes
from birdnn.records.result import Result, in_a_line
from birdnn.records.results import (
    ApplicableOutcome,
    Domain,
    Neighbours,
    PropertyOutcome,
    RepairRequest,
    RepairResult,
    Tried,
)
from birdnn.records.stages import Decision, Drawdowns, Fidelity, InitialiserChange, Rate


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RepairOutcome(Result):
    """What ``repair`` did, by properties (`PropertyRepair`) or by labelled examples (`ExampleRepair`).

    Every figure is measured on the file as written.

    Attributes:
        result: ``"proved"`` only if every property is; ``"sampled"``: none is violated as far as sampling sees, or
            examples are repaired; ``"violated"``: no repair found, `out` is the best attempt;
            ``"nothing_to_repair"``: `out` is None.
        report: absolute path of ``repair.json``.
        efficacy, generalisation: None where there was nothing to count.
        change: initialiser -> how far it moved, of those that differ.
        repair_s: seconds for making candidates; `wall_s` of everything.
        interrupted: the user stopped it; `out` is the best attempt so far.
        timed_out: ``--timeout`` ended it.
        notes: what was inferred and what a user should know, one sentence each.
    """

    result: RepairResult
    request: RepairRequest
    net: str
    net_sha256: str
    out: Annotated[
        str | None,
        Said(
            "Absolute path of the network that was written, NAME.repaired.* or, where `attempt` is true, "
            "NAME.attempt.*; null where none was."
        ),
    ]
    out_sha256: str | None
    report: str | None
    efficacy: Rate | None
    generalisation: Annotated[Rate | None, Said("Over regions; `neighbours` has it for points.")]
    change: Mapping[str, InitialiserChange]
    decision: Decision
    repair_s: float
    wall_s: float
    versions: Mapping[str, str]
    machine: Machine
    attempt: Annotated[bool, Said("The network in `out` is no repair, only the best attempt.", absent=False)] = False
    headline: Annotated[str, Said("The result in words and figures, as every report begins.", absent="")] = ""
    interrupted: bool = False
    timed_out: bool = False
    notes: tuple[str, ...] = ()
    initialisers: Annotated[
        Mapping[str, int], Said("How many values each that a repair may change has, in the file's order.", absent=dict)
    ] = field(default_factory=dict)

    @staticmethod
    def read_back(values: dict[str, Any]) -> RepairOutcome:
        """From the published fields, of the kind that they say; of the request there is what they say."""
        # The file does not name its kind; of a repair by examples `blocks` is never null.
        kind = PropertyRepair if values["blocks"] is None else ExampleRepair
        # The form allows null for the other kind's sake. The reverse is let pass: earlier versions named semantics
        # there.
        if kind is PropertyRepair and values["semantics"] is None:
            raise ValueError("semantics may be null for a repair by blocks only")
        if kind is ExampleRepair and values["properties"]:
            raise ValueError("a repair by blocks has no properties")
        # `method_name` wrote both as one word.
        method, _, optimiser = values["method"].partition(":")
        said = {name: values[name] for name in _OF_THE_REQUEST}
        # Null says that the method has no use for it: then the request keeps its default.
        said |= {name: values[name] for name in _WHERE_THEY_COUNT if values[name] not in (None, "")}
        said |= {"optimiser": optimiser} if optimiser else {}
        request = RepairRequest(net=Path(values["net"]), method=method, **said)
        # What the other kind has is there as well, as empty, and is no field of this one.
        own = {entry.name: values[entry.name] for entry in fields(kind) if entry.name in values}
        return kind(result=values["outcome"], request=request, report=None, **own)

    def __repr__(self) -> str:
        return in_a_line("RepairOutcome", filter(None, self._in_words()), self.wall_s)

    def _in_words(self) -> list[str]:
        return [self.result, Path(self.out or "").name]

    @property
    def proved(self) -> bool:
        """Is every property that was asked for proved, and does nothing contradict it? Never of a repair by examples.

        Of the network in `out`, or of the original where there was nothing to repair. It says nothing about what else
        changed: see `behaviour_kept` and `regressions`.
        """
        return False

    def raise_unless_proved(self) -> None:
        """For tests and pipelines: nothing where every property is proved.

        Raises:
            NotProvedError: one is not; the message names it.
        """
        if not self.proved:
            raise self._not_proved_error()

    def _not_proved_error(self) -> NotProvedError:
        return NotProvedError(f"the result is {self.result}", 1 if self.result == "violated" else 3)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PropertyRepair(RepairOutcome):
    """A repair by properties, or by points: what is proved of it, and what else changed.

    Figures are counted on points that were drawn after the network was frozen.

    Attributes:
        region_fidelity: property name -> fidelity over its region's points that did not violate.
        regressions: names of applicable properties that were proved before and are not now.
        verify_s, sample_s: seconds in these stages.
        rounds: repair-verify rounds done.
        certificate: of the repaired network; None where there can be none, as `notes` say.

    Raises:
        ValueError: its counterexamples are those of different networks.
    """

    properties: tuple[PropertyOutcome, ...]
    fidelity: Fidelity | None
    fidelity_note: Annotated[str, Said("Why `fidelity` is null; empty otherwise.")]
    region_fidelity: Mapping[str, Fidelity]
    drawdown: Drawdowns
    regressions: tuple[str, ...]
    domain: Domain | None
    semantics: Annotated[ProofSemantics, Said("Null for a repair by blocks, which proves nothing.")]
    suite: SuiteMatch | None
    verify_s: float
    sample_s: float
    rounds: int
    behaviour: Annotated[
        tuple[KeptAt, ...], Said("What is kept, for each place where it was measured.", absent=())
    ] = ()
    behaviour_kept: Annotated[
        KeptWord | None,
        Said("As well as asked for, at every place? Status 0 is for what is proved and kept.", absent=None),
    ] = None
    preservation: Annotated[
        Preservation | None, Said("Null where no domain is known, or no network was written.", absent=None)
    ] = None
    rule_by: Annotated[
        RuleBy | None,
        Said("Who says which output decides: the user, the suite, or the rows of the properties.", absent=None),
    ] = None
    ties: Annotated[tuple[Tied, ...], Said("Outputs that follow others now.", absent=())] = ()
    tried: tuple[Tried, ...] = ()
    stopped: Annotated[str, Said("Why no more candidates were tried; empty where none was.")] = ""
    neighbours: tuple[Neighbours, ...] = ()
    disagreement: Annotated[
        OrNull, Said("A sample violates what was proved, or engines contradict each other: the point, all answers.")
    ] = ""
    certificate: CertificateFile | None = None
    maps: Annotated[
        tuple[AdvisoryMap, ...],
        Said("What is decided around a counterexample of each violated property, before and after.", absent=list),
    ] = ()
    lines: Annotated[
        tuple[MarginLine, ...], Said("The margin along a line through each of these counterexamples.", absent=list)
    ] = ()
    watched: Annotated[
        tuple[ApplicableOutcome, ...], Said("Applicable properties that were not asked for.", absent=())
    ] = ()
    inputs: Annotated[
        tuple[ScaledQuantity, ...], Said("What the inputs mean; empty where nobody says it.", absent=())
    ] = ()
    outputs: Annotated[tuple[ScaledQuantity, ...], Said(absent=())] = ()
    localisation: Annotated[
        tuple[PropertyLocalisation, ...],
        Said("With --report: responsible neurons, for each asked property that was violated.", absent=()),
    ] = ()

    def __post_init__(self) -> None:
        # Pages show them side by side in one table, by the inputs of the first.
        found = [w for prop in self.properties for w in (*prop.counterexamples, prop.remaining) if w is not None]
        if len({(len(witness.x), len(witness.y)) for witness in found}) > 1:
            raise ValueError("counterexamples of one network have different numbers of inputs or outputs")

    @property
    def top(
        self,
    ) -> Annotated[int | None, Said("How many neurons were to be modified; null for methods that choose none.")]:
        """As the request says."""
        return self.request.top if self.request.ranks_neurons else None

    @property
    def alpha(
        self,
    ) -> Annotated[float | None, Said("What preserving counted against healing; null for methods without it.")]:
        """As the request says."""
        return self.request.alpha if self.request.ranks_neurons else None

    @property
    def pairing(self) -> Annotated[str, Said("Of `retrain`; empty for `blocks`, which pairs nothing.")]:
        """As the request says."""
        return self.request.pairing

    @property
    def max_change(
        self,
    ) -> Annotated[float | None, Said("How far a layer might move, as a share of its size.", absent=None)]:
        """As the request says."""
        return self.request.max_change

    @property
    def arithmetic(self) -> str:
        """Which arithmetic the answers speak about."""
        return "; ".join(dict.fromkeys(prop.arithmetic for prop in self.properties))

    def reservation(self) -> str:
        """What has to stand beside the result wherever it is said: ``"behaviour badly kept"``; empty: nothing."""
        return "" if self.behaviour_kept in (None, "kept") else f"behaviour {self.behaviour_kept}"

    def _in_words(self) -> list[str]:
        told = (f"{prop.name}: {prop.before}, then {prop.after}" for prop in self.properties)
        return [self.result, self.reservation(), Path(self.out or "").name, *told]

    @property
    def proved(self) -> bool:
        """See `RepairOutcome.proved`."""
        done = self.result in ("proved", "nothing_to_repair")
        # Each of the three by itself: a file that was edited, or a later finding, must not be called proved for its
        # result.
        asked = bool(self.properties) and all(prop.after == "proved" for prop in self.properties)
        return done and not self.disagreement and asked

    def _not_proved_error(self) -> NotProvedError:
        told = [f"{prop.name}: {prop.after}" for prop in self.properties if prop.after != "proved"]
        problem = "; ".join(filter(None, [self.disagreement, *told])) or f"the result is {self.result}"
        return NotProvedError(problem, 6 if self.disagreement else 1 if self.result == "violated" else 3)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExampleRepair(RepairOutcome):
    """A repair by labelled examples, `--method blocks`: counts over files of examples, nothing is proved."""

    blocks: Annotated[BlockRepair, Said("Of --method blocks; null for other methods.", absent=None)]

    @property
    def fidelity_note(self) -> str:
        """Where to look instead."""
        return "not measured over a domain: `blocks` has decisions and outputs kept on the validation examples"


AnyRepair: TypeAlias = PropertyRepair | ExampleRepair
"""Both kinds of outcome, for a ``match`` that has to tell them apart."""

publishes(
    "RepairReport",
    "command=request.command outcome=result interrupted timed_out method=request.method_name top alpha pairing rounds "
    "tried stopped properties fidelity fidelity_note region_fidelity drawdown efficacy generalisation neighbours "
    "regressions disagreement change initialisers maps lines semantics arithmetic repair_s verify_s sample_s wall_s "
    "timeout_s=request.timeout_s net net_sha256 out out_sha256 attempt domain decision rule_by headline behaviour "
    "behaviour_kept min_agreement=request.min_agreement max_mae=request.max_mae max_change "
    "max_difference=request.max_difference preservation no_ties=request.no_ties "
    "ties suite units=request.units seed=request.seed notes certificate versions machine watched inputs outputs "
    "localisation blocks",
    text="What `birdnn repair` writes: `repair.json` in the output folder, and `--json`.",
    report=True,
    kinds=(PropertyRepair, ExampleRepair),
)(RepairOutcome)

_OF_THE_REQUEST = "command", "timeout_s", "min_agreement", "max_mae", "max_difference", "no_ties", "units", "seed"
_WHERE_THEY_COUNT = "top", "alpha", "pairing", "max_change"
"""What a request says, and a method may have no use for."""
