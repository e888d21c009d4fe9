"""What a repair command asks for, once its files are read: the properties and their roles, the domain, the decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.formats.suite import Entry, Suite, hull, read_domain
from birdnn.pipeline.facts import assumption_notes, require_semantics, semantics_of
from birdnn.pipeline.load import Loaded, load_network, load_property, statement
from birdnn.pipeline.points import load_points, points_statement
from birdnn.records import Decision, Domain, RepairRequest, Role, SuiteMatch
from birdnn.rounding import Semantics
from birdnn.spec import Polytope, Property, Region

Known = tuple[Suite, Entry]

UNKNOWN_DOMAIN = "not measured: domain unknown, give --domain"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One property of a repair; `role` is None for one that applies to the network and was not asked about.

    `radius` is how far the neighbours lie on which points generalise, for a property that stands for points.
    """

    prop: Property
    path: str
    text: str
    role: Role | None
    radius: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """A repair command with everything read.

    Attributes:
        subjects: the properties that were asked about, then the applicable ones that were not.
        corners: of the domain, (inputs,) float64 each; None where nobody knows it.
        domain: the same as a record.
        semantics: what a proof speaks about.
    """

    request: RepairRequest
    loaded: Loaded
    subjects: tuple[Subject, ...]
    corners: tuple[Tensor, Tensor] | None
    domain: Domain | None
    decision: Decision
    semantics: Semantics
    suite: SuiteMatch | None
    notes: tuple[str, ...]


def read_plan(request: RepairRequest, *, loaded: Loaded | None = None, aimless: bool = False) -> Plan:
    """Read every file that the request names.

    Args:
        request: what is asked.
        loaded: the network, where it has been read.
        aimless: no property need be named.

    Raises:
        InputError: a file is unusable, a property does not fit, or the suite does not know the network.
    """
    loaded = loaded or load_network(request.net)
    semantics = semantics_of(loaded.net, request.semantics)
    known = known_network(loaded, request.suite, request.as_name)
    by_name = request.suite is not None and request.as_name is not None
    if known is not None:
        loaded = replace(loaded, known=known)  # the suite that was named also says the scaling
    decision = request.decision or (known[0].decision if known is not None else "none")
    subjects = _named(request, loaded) + _points(request, loaded, decision)
    _require_distinct(subjects)
    if known is not None:
        subjects += _applicable(known, subjects, "suite" if request.suite is not None else None)
    if not aimless and not any(subject.role in ("goal", "suite") for subject in subjects):
        raise MismatchError("nothing says what to repair: name a property, points, or a suite that knows the network")
    for subject in subjects:
        subject.prop.require_sizes(loaded.net.n_inputs, loaded.net.n_outputs)
        require_semantics(subject.prop, semantics)
    corners, source = _domain(request, loaded, subjects)
    match = None
    if known is not None:
        missing = tuple(subject.prop.name for subject in subjects if subject.role is None)
        match = SuiteMatch(
            name=known[0].name,
            entry=known[1].name,
            by="--as" if by_name else "content",
            applicable=known[1].applicable,
            not_named=missing,
        )
    return Plan(
        request=request,
        loaded=loaded,
        subjects=tuple(subjects),
        corners=corners,
        domain=None if corners is None else _record(corners, source),
        decision=decision,
        semantics=semantics,
        suite=match,
        notes=(*_notes(loaded, match, subjects), *assumption_notes(loaded.net, semantics)),
    )


def known_network(loaded: Loaded, suite_name: str | None, as_name: str | None) -> Known | None:
    """The suite and entry that know a network: by its content, or because the user says so.

    Raises:
        FormatError: the suite cannot be read.
        MismatchError: it has no such entry, or does not know the network.
    """
    if suite_name is None:
        return loaded.known
    suite = Suite.load(suite_name)
    if as_name is not None:
        return suite, suite.entry(as_name)
    entry = suite.recognise(loaded.net)
    if entry is None:
        raise MismatchError(f"suite {suite.name!r} does not know this network; say which it is with --as NAME")
    return suite, entry


def _named(request: RepairRequest, loaded: Loaded) -> list[Subject]:
    found: list[Subject] = []
    roles: tuple[tuple[Role, tuple[Path, ...]], ...] = (("goal", request.props), ("keep", request.keep))
    for role, paths in roles:
        for path in paths:
            prop = load_property(path, loaded, request.units)
            found.append(Subject(prop=prop, path=str(path.resolve()), text=worded(loaded.known, prop), role=role))
    return found


def _points(request: RepairRequest, loaded: Loaded, decision: Decision) -> list[Subject]:
    found = []
    for path in request.points:
        prop = load_points(path, loaded, decision, request.points_tolerance, request.units)
        text = points_statement(prop)
        found.append(Subject(prop=prop, path=str(path.resolve()), text=text, role="goal", radius=request.points_radius))
    return found


def _require_distinct(subjects: list[Subject]) -> None:
    names = [subject.prop.name for subject in subjects]
    for name in names:
        if names.count(name) > 1:
            raise MismatchError(f"two properties are called {name!r}; results could not be told apart")


def worded(known: Known | None, prop: Property) -> str:
    """What a property is about: in the suite's words where it is one of the suite's that applies to the network."""
    if known is None:
        return statement(prop)
    suite, entry = known
    if prop.name not in entry.applicable or prop.name not in suite.texts:
        return statement(prop)
    return suite.texts[prop.name] if _same(prop, suite.property(prop.name)) else statement(prop)


def _applicable(known: tuple[Suite, Entry], named: list[Subject], role: Role | None) -> list[Subject]:
    suite, entry = known
    found = []
    for name in entry.applicable:
        prop = suite.property(name)
        twins = [subject.prop for subject in named if subject.prop.name == name]
        if any(_same(twin, prop) for twin in twins):
            continue
        if twins:  # a file of the user's that says something else under the same name
            prop = replace(prop, name=f"{name} of suite {suite.name}")
        text = suite.texts.get(name, statement(prop))
        found.append(Subject(prop=prop, path=str(prop.path or ""), text=text, role=role))
    return found


def _formula(polytope: Polytope) -> frozenset[tuple[tuple[Fraction, ...], float, bool]]:
    return frozenset((row.coefficients, round(float(row.bound), 6), row.strict) for row in polytope.rows)


def _same(one: Property, other: Property) -> bool:
    """Do two properties say the same, up to the rounding of bounds in files (1e-6)?"""

    def alike(a: Region, b: Region) -> bool:
        corners = ((a.lower, b.lower), (a.upper, b.upper))
        boxes = all(torch.allclose(x, y, rtol=0, atol=1e-6) for x, y in corners)
        return boxes and {_formula(p) for p in a.unsafe} == {_formula(p) for p in b.unsafe}

    if len(one.regions) != len(other.regions):
        return False
    return all(any(alike(a, b) for b in other.regions) for a in one.regions)


def _domain(
    request: RepairRequest, loaded: Loaded, subjects: list[Subject]
) -> tuple[tuple[Tensor, Tensor] | None, str]:
    if request.domain == "property":
        goals = [s.prop for s in subjects if s.role == "goal"] or [s.prop for s in subjects if s.role == "suite"]
        if not goals:
            raise MismatchError("--domain property: no property was named that could be the domain")
        lower, upper = zip(*(hull(prop) for prop in goals), strict=True)
        names = ", ".join(prop.name for prop in goals)
        return (torch.stack(lower).amin(0), torch.stack(upper).amax(0)), f"the input regions of {names}"
    if request.domain is not None:
        corners = read_domain(request.domain)
        if len(corners[0]) != loaded.net.n_inputs:
            have = f"{len(corners[0])} inputs; the network has {loaded.net.n_inputs}"
            raise MismatchError(f"the domain {request.domain} has {have}")
        return corners, str(request.domain)
    if loaded.known is not None:
        return loaded.known[0].domain(), f"suite {loaded.known[0].name}"
    if loaded.nnet is not None:
        return loaded.nnet.domain(), "the NNet header"
    return None, ""


def _record(corners: tuple[Tensor, Tensor], source: str) -> Domain:
    lower, upper = (tuple(float(v) for v in side) for side in corners)
    return Domain(lower=lower, upper=upper, source=source)


def _notes(loaded: Loaded, match: SuiteMatch | None, subjects: list[Subject]) -> tuple[str, ...]:
    said = []
    if match is not None and match.by == "content":
        said.append(f"The weights are those of {match.entry} in suite {match.name}.")
    if match is not None and match.not_named:
        others = ", ".join(match.not_named)
        said.append(f"Other properties apply to it and were watched, not repaired: {others}; --suite repairs all.")
    if loaded.nnet is not None:
        said.extend(line for subject in subjects for line in loaded.nnet.warnings(subject.prop))
    return tuple(said)
