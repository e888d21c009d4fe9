"""A case: a network, what is asked about it and what applies to it besides, where it is used, which output decides.

Every command works on one, made by `birdnn.pipeline.reading` from files. What is asked in which way is a type: a
property to prove (`Asked`), points with the answer wished for there (`Points`), a query that relates the network to
itself at two inputs (`Related`), and a property that applies to the network and that nobody asked about
(`Applicable`).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from birdnn.formats.inputs import Inputs
from birdnn.formats.relation import Relation
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.slopes import Slope
from birdnn.records import CaseFiles, Decision, Domain, Role, RuleBy, SuiteMatch
from birdnn.rounding import Semantics
from birdnn.spec import Property, Region


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """What a case is about: a property, the file that states it, and one line that says what it means."""

    prop: Property
    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked(Subject):
    """It is to be proved."""

    role: Role


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points(Asked):
    """Single inputs with the answer wished for; `radius` says how far their neighbours lie, on which they generalise.

    There is no region to draw inputs from, and no property's file for a certificate to speak about.
    """

    radius: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Related(Asked):
    """It relates the network to itself at two inputs, and a statement about slopes implies it.

    Its property is one of both runs' inputs and outputs, side by side: there is nothing of it to draw, or to evaluate
    the network at.

    Attributes:
        relation: what the query says.
        slope: the statement, about the original.
    """

    relation: Relation
    slope: Slope


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Applicable(Subject):
    """It is meant to hold for the network, and nobody asked about it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """Everything that is asked, read.

    Attributes:
        files: what was named, and how it was to be understood.
        subjects: what was asked about, then what applies besides; all of it is about one input at a time: inputs
            of its regions can be drawn and evaluated.
        related: what was asked about the network at two inputs. `asked` has it, `subjects` has not.
        corners: of the domain, (inputs,) float64 each; None where nobody knows it.
        domain: the same as a record.
        rule_by: who says `decision`.
        data, test: inputs to compare behaviour on.
        semantics: what a proof speaks about.
        notes: what was inferred and what a user should know, one sentence each.
        of_suite: those of them that only say what the suite knows.
        remarks: those that say what was made of names and of what was asked twice.
    """

    files: CaseFiles
    loaded: Loaded
    subjects: tuple[Subject, ...]
    related: tuple[Related, ...] = ()
    # beside `domain`, which is for the record: these are computed with
    corners: tuple[Tensor, Tensor] | None
    domain: Domain | None
    decision: Decision
    rule_by: RuleBy
    data: Inputs | None
    test: Inputs | None
    semantics: Semantics
    suite: SuiteMatch | None
    notes: tuple[str, ...]
    of_suite: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def asked(self) -> tuple[Asked, ...]:
        """What is to be proved."""
        return (*(subject for subject in self.subjects if isinstance(subject, Asked)), *self.related)

    @property
    def applicable(self) -> tuple[Applicable, ...]:
        """What applies besides."""
        return tuple(subject for subject in self.subjects if isinstance(subject, Applicable))

    @property
    def points(self) -> tuple[Points, ...]:
        """The points with an answer wished for."""
        return tuple(subject for subject in self.subjects if isinstance(subject, Points))

    @property
    def regions(self) -> tuple[tuple[str, tuple[Region, ...]], ...]:
        """The regions of inputs that something is said of, by the name of what says it."""
        own = [(subject.prop.name, subject.prop.regions) for subject in self.stated]
        return (*own, *((subject.prop.name, subject.slope.regions) for subject in self.related))

    @property
    def stated(self) -> tuple[Subject, ...]:
        """All but points: there are regions to draw from."""
        return tuple(subject for subject in self.subjects if has_regions(subject))


def has_regions(subject: Subject) -> bool:
    """Does it state something of regions of the network's own inputs, from which inputs can be drawn?"""
    return not isinstance(subject, Points | Related)
