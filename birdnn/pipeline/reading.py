"""From files to a case: the properties and their roles, the domain, the rule by which an output decides."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.formats.inputs import Inputs, read_inputs
from birdnn.formats.suite import Suite, property_hull, read_domain
from birdnn.meaning import meaning_of
from birdnn.pipeline.case import Applicable, Asked, Case, Points, Related, Subject
from birdnn.pipeline.claims import assumption_notes, network_semantics, require_semantics, semantics_note
from birdnn.pipeline.load import (
    Loaded,
    header_notes,
    load_network,
    load_property,
    property_statement,
    scaling_of,
)
from birdnn.pipeline.points import load_points, points_statement
from birdnn.pipeline.recognising import Known, named_apart, network_notes, recognise_properties
from birdnn.pipeline.related import related_note, related_semantics, related_subject
from birdnn.pipeline.ruling import derived_rule
from birdnn.records import CaseFiles, Decision, Domain, Role, RuleBy, SuiteMatch
from birdnn.rounding import Semantics
from birdnn.spec import Property, regions_hull

AskedT = TypeVar("AskedT", bound=Asked)

UNKNOWN_DOMAIN = "not measured: domain unknown, give --domain"
"""Of the figures that speak about the domain; behaviour elsewhere is measured all the same."""


def read_case(
    files: CaseFiles,
    *,
    loaded: Loaded | None = None,
    aimless: bool = False,
    taken: tuple[str, ...] = (),
    relating: bool = False,
    repairing: bool = False,
) -> Case:
    """Read every file that is named.

    Args:
        files: what is asked.
        loaded: the network, where it has been read.
        aimless: no property need be named.
        taken: names that no property may have.
        relating: properties may relate inputs, see `birdnn.formats.read_property`.
        repairing: queries may relate the network to itself at two inputs.

    Raises:
        InputError: a file is unusable, a property does not fit, or the suite does not know the network.
    """
    loaded = loaded or load_network(files.net)
    known = known_network(loaded, files.suite, files.as_name)
    by_name = files.suite is not None and files.as_name is not None
    if known is not None:
        loaded = replace(loaded, known=known)  # the suite that was named also says the scaling
    decision = files.decision or (known[0].decision if known is not None else "none")
    # before names are told apart: what is the same property needs no second name
    queries = _read_related(files, loaded) if repairing else []
    own = _read_named(files, loaded, relating, but={Path(query.path) for query in queries})
    named, twice = _without_repeats([*own, *_read_points(files, loaded, decision)])
    named, renamed = _subjects_named_apart(named, taken)
    queries, apart = _subjects_named_apart(queries, (*taken, *(subject.prop.name for subject in named)))
    found = recognise_properties(known, [subject.prop for subject in named])
    named = [replace(s, text=found.worded(known, place, s.text)) for place, s in enumerate(named)]
    subjects: list[Subject] = [*named]
    # behind what was named, so that a name that a file has taken is not the suite's any more
    if known is not None:
        subjects += _applicable_subjects(known[0], found.missing, named, asked=files.suite is not None)
    asked = [subject for subject in subjects if isinstance(subject, Asked)]
    # properties to keep alone are no reason to change a network
    if not aimless and not any(subject.role in ("goal", "suite") for subject in (*asked, *queries)):
        raise MismatchError("nothing says what to repair: name a property, points, or a suite that knows the network")
    semantics = _semantics_of(files, loaded, subjects, queries)
    # once all properties are known: what nobody says is read from them
    decision, rule_by = _decision_rule(files, decision, [] if aimless else subjects)
    # after roles are known: a domain by properties is that of what is repaired
    corners, source = _domain_corners(files, loaded, [*asked, *queries])
    # last, for the file may have decisions, and needs the rule for them
    data, test = (_read_inputs_file(option, files, loaded, decision) for option in ("data", "test"))
    match = None if known is None else _suite_match(known, subjects, by_name=by_name)
    of_suite, remarks = _suite_notes(match), (*twice, *renamed, *apart, *found.notes)
    return Case(
        files=files,
        loaded=loaded,
        subjects=tuple(subjects),
        related=tuple(queries),
        corners=corners,
        domain=None if corners is None else _domain_record(corners, source),
        decision=decision,
        rule_by=rule_by,
        data=data,
        test=test,
        semantics=semantics,
        suite=match,
        notes=(
            *loaded.net.notes,
            *of_suite,
            *header_notes(loaded, [subject.prop for subject in subjects]),
            *remarks,
            *_rule_note(decision, rule_by),
            *(note for subject in subjects for note in subject.prop.notes),
            *(map(related_note, queries) if queries else semantics_note(loaded.net, semantics, files.semantics)),
            *assumption_notes(loaded.net, semantics),
        ),
        of_suite=of_suite,
        remarks=remarks,
    )


def _semantics_of(
    files: CaseFiles, loaded: Loaded, subjects: Sequence[Subject], queries: Sequence[Related]
) -> Semantics:
    """What proofs speak about; all subjects fit the network, and each is answered by such proofs."""
    semantics = network_semantics(loaded.net, files.semantics, [subject.prop for subject in subjects])
    if queries:
        semantics = related_semantics(queries[0].path, files.semantics)
    for subject in subjects:
        subject.prop.require_sizes(loaded.net.n_inputs, loaded.net.n_outputs)
        require_semantics(subject.prop, semantics)
    return semantics


def _suite_match(known: Known, subjects: Iterable[Subject], *, by_name: bool) -> SuiteMatch:
    suite, entry = known
    missing = tuple(subject.prop.name for subject in subjects if isinstance(subject, Applicable))
    by: Literal["--as", "content"] = "--as" if by_name else "content"
    return SuiteMatch(name=suite.name, entry=entry.name, by=by, applicable=entry.applicable, not_named=missing)


def asked_notes(case: Case, subjects: Sequence[Subject]) -> tuple[str, ...]:
    """What commands that only ask say: of the network, of what applies besides, of names; one sentence each."""
    by_name = case.suite is not None and case.suite.by == "--as"
    own = network_notes(case.loaded, [subject.prop for subject in subjects], by_name=by_name)
    return tuple(dict.fromkeys((*own, *case.remarks)))


def known_network(loaded: Loaded, suite_name: str | None, as_name: str | None) -> Known | None:
    """The suite and entry that know a network: by its content, or because the user says so.

    Raises:
        FormatError: the suite cannot be read.
        MismatchError: it has no such entry, or does not know the network.
    """
    # recognised by content when the network was read
    if suite_name is None:
        return loaded.known
    suite = Suite.load(suite_name)
    if as_name is not None:
        return suite, suite.entry(as_name)
    entry = suite.recognise(loaded.net)
    if entry is None:
        raise MismatchError(f"suite {suite.name!r} does not know this network; say which it is with --as NAME")
    return suite, entry


def _read_related(files: CaseFiles, loaded: Loaded) -> list[Related]:
    """The queries about the network at two inputs, each file once."""
    found = dict[Path, Related]()
    for role, paths in _roles(files):
        for path in paths:
            if path.resolve() not in found and (query := related_subject(path, loaded, role, files.units)) is not None:
                found[path.resolve()] = query
    return list(found.values())


def _roles(files: CaseFiles) -> tuple[tuple[Role, tuple[Path, ...]], ...]:
    return ("goal", files.props), ("keep", files.keep)


def _read_named(files: CaseFiles, loaded: Loaded, relating: bool, but: Container[Path]) -> list[Asked]:
    found: list[Asked] = []
    for role, paths in _roles(files):
        for path in paths:
            if path.resolve() in but:
                continue
            prop = load_property(path, loaded, files.units, relating=relating)
            found.append(Asked(prop=prop, path=str(path.resolve()), text=property_statement(prop), role=role))
    return found


def _read_points(files: CaseFiles, loaded: Loaded, decision: Decision) -> list[Points]:
    found = []
    for path in files.points:
        prop = load_points(path, loaded, decision, files.points_tolerance, files.units)
        text = points_statement(prop)
        found.append(Points(prop=prop, path=str(path.resolve()), text=text, role="goal", radius=files.points_radius))
    return found


def _without_repeats(subjects: Sequence[Asked]) -> tuple[list[Asked], tuple[str, ...]]:
    """Without those that say what an earlier one says, and a sentence about each."""
    found: dict[object, Asked] = {}
    notes = []
    # points and properties are never the same subject, whatever they say
    spans = [(type(s), *(tuple(side.tolist()) for side in property_hull(s.prop))) for s in subjects]
    for subject, span in zip(subjects, spans, strict=True):
        # what spans another box says something else; a great many points are slow to bring into normal form
        says = meaning_of(subject.prop) if spans.count(span) > 1 else subject.path
        first = found.setdefault((span, says), subject)
        if first is not subject:
            role = "repaired and kept by that" if first.role != subject.role else "treated once"
            again = "is named twice" if first.path == subject.path else f"says the same as {first.path}"
            notes.append(f"{subject.path} {again}: {role}, as {first.prop.name}.")
    return list(found.values()), tuple(notes)


def _subjects_named_apart(subjects: Sequence[AskedT], taken: tuple[str, ...]) -> tuple[list[AskedT], tuple[str, ...]]:
    """The subjects under names that no two of them share, and a sentence about each that got another one."""
    named = named_apart([subject.prop for subject in subjects], taken)
    return [_with_property(s, prop) for s, prop in zip(subjects, named.props, strict=True)], named.notes


def _with_property(subject: AskedT, prop: Property) -> AskedT:
    if isinstance(subject, Related):  # what is posed to networks is the relation's
        return replace(subject, prop=prop, relation=replace(subject.relation, prop=prop))
    return replace(subject, prop=prop)


def _applicable_subjects(
    suite: Suite, missing: Mapping[str, Property], named: Sequence[Subject], *, asked: bool
) -> list[Subject]:
    """Subjects for what the suite states and nobody named; called the suite's where a file took the name."""
    theirs = {subject.prop.name for subject in named}
    others = [
        replace(prop, name=f"{name} of suite {suite.name}") if name in theirs else prop
        for name, prop in missing.items()
    ]
    found: list[Subject] = []
    for name, prop in zip(missing, named_apart(others, theirs).props, strict=True):
        path, text = str(prop.path or ""), suite.texts.get(name, property_statement(prop))
        if asked:
            found.append(Asked(prop=prop, path=path, text=text, role="suite"))
        else:
            found.append(Applicable(prop=prop, path=path, text=text))
    return found


def _read_inputs_file(
    option: Literal["data", "test"], files: CaseFiles, loaded: Loaded, decision: Decision
) -> Inputs | None:
    """The file of --data or of --test.

    Raises:
        MismatchError: it says what is right, and nobody says which output decides.
    """
    path: Path | None = getattr(files, option)
    if path is None:
        return None
    names = [] if loaded.known is None else [quantity.name for quantity in loaded.known[0].outputs]
    found = read_inputs(path, loaded.net, names)
    if files.units == "raw":
        found = replace(found, x=scaling_of(loaded).normalised_inputs(found.x.double()).float())
    if found.y is not None and decision == "none":
        told = "says what is right, and nobody which output decides: give --decision argmin or argmax"
        raise MismatchError(f"--{option} {path}: {told}")
    return found


def _domain_corners(
    files: CaseFiles, loaded: Loaded, subjects: Sequence[Asked]
) -> tuple[tuple[Tensor, Tensor] | None, str]:
    if files.domain == "property":
        goals = [s for s in subjects if s.role == "goal"] or [s for s in subjects if s.role == "suite"]
        if not goals:
            raise MismatchError("--domain property: no property was named that could be the domain")
        # what is to be kept is not the domain: it may be about other inputs
        regions = [r for s in goals for r in (s.slope.regions if isinstance(s, Related) else s.prop.regions)]
        return regions_hull(regions), f"the input regions of {', '.join(s.prop.name for s in goals)}"
    if files.domain is not None:
        return fitting_domain(files.domain, loaded), str(files.domain)
    return declared_domain(loaded)


def fitting_domain(path: str | Path, loaded: Loaded) -> tuple[Tensor, Tensor]:
    """The corners that a file states, network units, as many numbers in each as the network has inputs.

    Raises:
        InputError: the file is no domain, or that of another network.
    """
    return _require_fits(read_domain(path), str(path), loaded)


def declared_domain(loaded: Loaded) -> tuple[tuple[Tensor, Tensor] | None, str]:
    """The corners that a suite or an NNet header states, network units, and which of them does; None without either.

    Raises:
        MismatchError: they are those of another network, as the user says which one it is.
    """
    if loaded.known is not None:
        source = f"suite {loaded.known[0].name}"
        return _require_fits(loaded.known[0].domain(), f"of {source}", loaded), source
    domain = None if loaded.nnet is None else loaded.nnet.domain()
    return domain, "" if domain is None else "the NNet header"


def _require_fits(corners: tuple[Tensor, Tensor], source: str, loaded: Loaded) -> tuple[Tensor, Tensor]:
    if len(corners[0]) != loaded.net.n_inputs:
        have = f"{len(corners[0])} inputs; the network has {loaded.net.n_inputs}"
        raise MismatchError(f"the domain {source} has {have}")
    return corners


def _domain_record(corners: tuple[Tensor, Tensor], source: str) -> Domain:
    lower, upper = (tuple(float(v) for v in side) for side in corners)
    return Domain(lower=lower, upper=upper, source=source)


def _decision_rule(files: CaseFiles, told: Decision, subjects: Sequence[Subject]) -> tuple[Decision, RuleBy]:
    """Which output decides, and who says so: what was told, else what the properties compare."""
    if files.decision is not None or told != "none":
        return told, "suite" if files.decision is None else "option"
    # not points: their unsafe sets are made from the rule, and would only repeat it
    derived = derived_rule([subject.prop for subject in subjects if not isinstance(subject, Points)])
    return derived, "nobody" if derived == "none" else "property"


def _rule_note(decision: Decision, rule_by: RuleBy) -> tuple[str, ...]:
    """Say a rule that nobody said."""
    if rule_by != "property":
        return ()
    told = f"Which output decides was read from how the properties compare them: {decision}"
    return (f"{told}; --decision says otherwise.",)


def _suite_notes(match: SuiteMatch | None) -> tuple[str, ...]:
    """What a suite that knows the network says of it."""
    said = []
    if match is not None and match.by == "content":
        said.append(f"The weights are those of {match.entry} in suite {match.name}.")
    if match is not None and match.not_named:
        others = ", ".join(match.not_named)
        said.append(f"Other properties apply to it and were watched, not repaired: {others}; --suite repairs all.")
    return tuple(said)
