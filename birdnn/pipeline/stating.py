"""A rule in words as a property of a network: its names, its domain and its units are those that the network has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from birdnn.decimals import parse_number
from birdnn.errors import FormatError, MismatchError, SpecError
from birdnn.formats import read_property
from birdnn.formats.dnf import And, Formula, Term, compare_terms, negated
from birdnn.formats.relation_text import (
    decision_query,
    equivalence_query,
    monotone_query,
    steepness_query,
    symmetry_query,
)
from birdnn.formats.rules import Names, parse_rule, ranges_formula, rule_property
from birdnn.formats.vnnlib import parse_property
from birdnn.formats.vnnlib_text import Version, property_text
from birdnn.meaning import meaning_of
from birdnn.pipeline.describing import scaled_quantities
from birdnn.pipeline.load import (
    Loaded,
    header_notes,
    load_network,
    load_property,
    property_statement,
    scaling_of,
)
from birdnn.pipeline.reading import declared_domain, fitting_domain, known_network
from birdnn.pipeline.recognising import recognise_properties
from birdnn.records import ConditionsLike, RelationRequest, RuleRequest, ToldProperty, Units
from birdnn.spec import Property, Scaling


def state_rule(request: RuleRequest) -> Property:
    """The property, in network units.

    Raises:
        InputError: a file cannot be read, the rule cannot, or nobody says between which values an input lies.
    """
    loaded, names = _load_with_names(request)
    # before the domain: of two mistakes that in the rule is told first
    unsafe = _unsafe_formula(request, names)
    scaling = scaling_of(loaded) if request.units == "raw" else None
    domain, within = _domain_formula(request.domain, loaded, names, scaling)
    made = rule_property(
        request.name,
        when=_read_conditions(request.when, names, "when"),
        domain=domain,
        unsafe=unsafe,
        names=names,
        within=within,
        text=_rule_text(request, within),
    )
    # at the end, by the code that scales a property's file: a rule in raw units cannot differ from one
    return made if scaling is None else made.scaled(scaling)


def state_relation(request: RelationRequest) -> tuple[str, int]:
    """The query, and how many networks have to be given to decide it.

    Raises:
        InputError: a file cannot be read, a relation says nothing that there is, or nobody says where inputs lie.
    """
    loaded, names = _load_with_names(request)
    box, n = _box_of(request, loaded, names), loaded.net.n_outputs
    given = [
        name for name in ("same_decision", "rising", "falling", "steepness", "symmetric") if getattr(request, name)
    ]
    # to these `within` is a tolerance; alone it is a relation of its own
    tolerant = given in (["symmetric"], ["rising"], ["falling"])
    if len(given) + (request.within is not None and not tolerant) != 1:
        raise SpecError("say one relation: within, same-decision, rising, falling, steepness or symmetric")
    match given:
        case []:
            return equivalence_query(box, n, request.within or 0.0), 2
        case ["same_decision"]:
            return decision_query(box, n, request.same_decision or "least"), 2
        case ["symmetric"]:
            if request.within is None:
                raise SpecError("symmetric needs within: how far exchanged outputs may be apart")
            inputs, outputs = _read_exchanges(request.symmetric or "")
            return symmetry_query(box, n, inputs, outputs, request.within), 1
        case ["steepness"]:
            said, _, most = (request.steepness or "").rpartition(":")
            return steepness_query(box, n, *_read_place(said, request.steepness or ""), _read_number(most)), 1
        case [way]:
            said = str(getattr(request, way))
            tolerance = request.within or 0.0
            return monotone_query(box, n, *_read_place(said, said), rising=way == "rising", tolerance=tolerance), 1
    raise AssertionError(given)


def _load_with_names(request: RuleRequest | RelationRequest) -> tuple[Loaded, Names]:
    """The network, with what a suite knows of it, and what its inputs and outputs are called."""
    loaded = load_network(request.net)
    loaded = replace(loaded, known=known_network(loaded, request.suite, request.as_name))
    inputs, outputs = scaled_quantities(loaded)
    names = Names(
        n_inputs=loaded.net.n_inputs,
        n_outputs=loaded.net.n_outputs,
        inputs=[q.name for q in inputs],
        outputs=[q.name for q in outputs],
    )
    return loaded, names


def _box_of(request: RelationRequest, loaded: Loaded, names: Names) -> list[tuple[Fraction, Fraction]]:
    """Between which values each input lies."""
    domain, _ = _domain_formula(request.domain, loaded, names, None)
    # any output: a property has to say something of one, and only its box is wanted
    nothing = compare_terms("<=", Term({("Y", 0): Fraction(1)}, Fraction(0)), Term({}, Fraction(0)), 0)
    made = rule_property("domain", when=And(()), domain=domain, unsafe=nothing, names=names, within="", text="")
    if len(made.regions) != 1:
        raise SpecError("the domain of a relation is one box")
    region = made.regions[0]
    return list(zip(region.exact_lower, region.exact_upper, strict=True))


def _read_exchanges(said: str) -> tuple[dict[int, int], dict[int, int]]:
    """``x1:x2,y1:y2`` as which places are exchanged."""
    found: tuple[dict[int, int], dict[int, int]] = {}, {}
    for pair in said.split(","):
        one, _, other = (part.strip() for part in pair.partition(":"))
        if one[:1] != other[:1] or one[:1] not in ("x", "y") or not (one[1:].isdigit() and other[1:].isdigit()):
            raise SpecError(f"{pair.strip()!r}: two inputs or two outputs are expected, as in x1:x2")
        places = found[one[0] == "y"]
        places[int(one[1:])], places[int(other[1:])] = int(other[1:]), int(one[1:])
    return found


def _read_place(said: str, whole: str) -> tuple[int, int]:
    one, _, other = (part.strip() for part in said.partition(":"))
    if not (one[:1] == "x" and other[:1] == "y" and one[1:].isdigit() and other[1:].isdigit()):
        raise SpecError(f"{whole!r}: an input and an output are expected, as in x0:y3")
    return int(one[1:]), int(other[1:])


def _read_number(text: str) -> float:
    number = parse_number(text.strip(), 300)
    if number is None:
        raise SpecError(f"{text!r} is no number")
    return float(number)


def _unsafe_formula(request: RuleRequest, names: Names) -> Formula:
    match request.never, request.always:
        case (str() as never, None):
            return parse_rule(never, names)
        case (None, str() as always):
            # a property file says what is unsafe
            return negated(parse_rule(always, names))
    raise SpecError("say what must never come out, or what must always: one of never and always")


def _read_conditions(given: ConditionsLike, names: Names, what: str) -> Formula:
    if isinstance(given, str):
        return parse_rule(given, names) if given.strip() else And(())
    return ranges_formula(given, names, what)


def _domain_formula(
    given: ConditionsLike | Path | None, loaded: Loaded, names: Names, scaling: Scaling | None
) -> tuple[Formula, str]:
    """Between which values inputs lie, in the units of the rule, and who says so; empty where nobody does."""
    if isinstance(given, Mapping) or (isinstance(given, str) and any(sign in given for sign in "<>=[")):
        return _read_conditions(given, names, "domain"), _conditions_text(given)
    if given is None:
        # in network units, which are made into those of the rule below
        corners, whose = declared_domain(loaded)
    else:
        corners, whose = fitting_domain(given, loaded), Path(given).name
    if corners is None:
        return And(()), ""  # then `when` has to say it all
    parts: list[Formula] = []
    for relation, corner in zip((">=", "<="), corners, strict=True):
        for index, value in enumerate(corner.tolist()):
            end = Fraction(value)
            if scaling is not None:
                # exact: scaled back in the end, it is the very number that the domain says
                end = end * scaling.input_ranges[index] + scaling.input_means[index]
            parts.append(compare_terms(relation, Term({("X", index): Fraction(1)}, Fraction(0)), Term({}, end), 1))
    return And(tuple(parts)), whose


def _rule_text(request: RuleRequest, within: str) -> str:
    """The rule as a person says it, with the domain that cuts it."""
    said = f"always {request.always}" if request.never is None else f"never {request.never}"
    raw = " (raw units)" if request.units == "raw" else ""
    when = _conditions_text(request.when)
    inside = f", inside the domain ({within})" if within else ""
    return (f"{said}, when {when}" if when else said) + inside + raw


def _conditions_text(given: ConditionsLike) -> str:
    return given if isinstance(given, str) else ", ".join(_range_text(name, value) for name, value in given.items())


def _range_text(name: str, value: object) -> str:
    return f"{name} in [{value[0]}, {value[1]}]" if isinstance(value, tuple | list) else f"{name} = {value}"


def restate_property(
    prop: Property, version: Version, shapes: tuple[Sequence[int], Sequence[int]] | None = None
) -> str:
    """The text of a property in a version of VNN-LIB, once it was read back and says the same.

    Raises:
        SpecError: that version cannot say it.
    """
    text = property_text(prop, version, shapes=shapes)
    try:
        # by the reader, not by how the writer works: both would have to be wrong in the same way
        again = parse_property(text, name=prop.name)
    except FormatError as error:
        raise SpecError(f"property {prop.name!r} cannot be said in VNN-LIB {version}: {error.problem}") from None
    # exactly, not up to rounding
    if meaning_of(again) != meaning_of(prop):
        raise SpecError(f"property {prop.name!r} would say something else in VNN-LIB {version}")
    return text


def told_property(
    path: Path, net: Path | None, *, units: Units = "normalised", suite: str | None = None, as_name: str | None = None
) -> ToldProperty:
    """A property's file, seen beside its network, where one is given.

    Raises:
        InputError: a file cannot be read, or the property does not fit the network.
    """
    if net is None:
        if units == "raw":
            raise MismatchError("raw units need the network, which brings its scaling: say --net FILE")
        prop = read_property(path)
        return ToldProperty(prop=prop, statement=property_statement(prop))
    loaded = load_network(net)
    known = known_network(loaded, suite, as_name)
    loaded = replace(loaded, known=known)
    prop = load_property(path, loaded, units)
    found = recognise_properties(known, [prop])
    inputs, outputs = scaled_quantities(loaded)
    return ToldProperty(
        prop=prop,
        statement=found.worded(known, 0, property_statement(prop)),
        inputs=inputs,
        outputs=outputs,
        recognised=f"{found.names[0]} of suite {known[0].name}" if known is not None and found.names[0] else "",
        notes=(*found.notes, *prop.notes, *header_notes(loaded, [prop])),
    )
