"""What relates a network to itself at two inputs: read as a subject of a case, decided by slopes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from birdnn.errors import MismatchError
from birdnn.formats.relation import read_relation
from birdnn.pipeline.case import Related
from birdnn.pipeline.load import Loaded, property_statement
from birdnn.pipeline.posing import Posed, pose_query, prove_by_slope, with_all_inputs
from birdnn.records import Role, Units, Unknown, Verdict, Violated, Watch
from birdnn.repair import SlopeGoal
from birdnn.rounding import Semantics
from birdnn.verify import SearchSettings, falsify
from birdnn.verify.relating import net_for_property

_NARROWEST = 1e-6
"""Of a region, for a box to be given up: an open proof is to say where all wrong slopes are, not the first of them."""
_FEW_BOXES = 40_000
"""For a candidate, of whose proof an end has to be in sight: those that end take a tenth of it, mostly."""


def related_subject(path: Path, loaded: Loaded, role: Role, units: Units) -> Related | None:
    """A query about several networks, all of which are the one to be repaired; None of any other property.

    Raises:
        FormatError: the file is no property.
        MismatchError: it is about different networks, its sizes are others, no statement about slopes implies it, or it
            is not about the reals in network units.
    """
    relation = read_relation(path)
    if relation is None:
        return None
    names = [net.name for net in relation.networks]
    if other := next((net.name for net in relation.networks[1:] if not net.equal), None):
        told = f"is about two networks, {names[0]} and {other}, and repair changes one; declare them equal"
        raise MismatchError(f"{path}: {told}: (declare-network {other} (equal-to {names[0]}) ...)")
    # refused, not ignored: what would be proved is another statement
    if relation.prop.element == "float32":
        raise MismatchError(f"{path}: is over float32, and what relates two inputs is decided over the reals only")
    if units != "normalised":
        raise MismatchError(f"{path}: relates two inputs, and is taken in network units: leave --units out")
    if relation.prop.vacuous:
        raise MismatchError(f"{path}: nothing is unsafe, so that there is nothing to repair: {relation.prop.vacuous}")
    posed = pose_query(path, relation, dict.fromkeys(names, loaded), "real")
    if posed.slope is None:
        told = "two inputs that differ in one coordinate and are ordered there, of a chain of layers"
        raise MismatchError(f"{path}: repair knows of slopes only, and this query has none: it takes {told}")
    return Related(
        prop=relation.prop,
        path=str(path.resolve()),
        text=property_statement(relation.prop),
        role=role,
        relation=relation,
        slope=posed.slope,
    )


def related_semantics(path: str, asked: Semantics | None) -> Semantics:
    """What proofs of a case with such a query speak about: all of them, for a case has one answer to that.

    Raises:
        MismatchError: runs were asked for.
    """
    if asked == "float32":
        raise MismatchError(f"{path}: relates two inputs, which is decided over the reals: leave --semantics out")
    return "real"


def slope_goal(subject: Related) -> SlopeGoal:
    """What a repair is after."""
    return SlopeGoal(name=subject.prop.name, direction=subject.slope.direction, regions=subject.slope.regions)


def related_note(subject: Related) -> str:
    """What a user should know of what is said of it."""
    told = "relates two inputs, so that all proofs speak about the reals; its own has no certificate"
    return f"{subject.prop.name} {told}, and neither samples nor other engines are asked about it."


def decide_related(subject: Related, loaded: Loaded, limits: SearchSettings, watch: Watch) -> Verdict:
    """Decide it for a network; an undecided verdict leaves boxes of its inputs, where slopes are open."""
    posed, joint = _pose_to(subject, loaded)
    if posed.slope is None:  # weights that no chain folds
        return Unknown(reason="precision", boxes=0)
    boxes = min(_FEW_BOXES, limits.max_boxes) if limits.give_up else limits.max_boxes
    limits = replace(limits, record=False, semantics="real", smallest_width=_NARROWEST, max_boxes=boxes)
    verdict = prove_by_slope(posed.slope, joint, posed.prop, limits, watch)
    return verdict if isinstance(verdict, Unknown) else with_all_inputs(verdict, posed.relation)


def attack_related(
    subject: Related, loaded: Loaded, limits: SearchSettings, watch: Watch, rounds: int
) -> Violated | Unknown:
    """Look for a counterexample on a network, by so many rounds of attack."""
    posed, joint = _pose_to(subject, loaded)
    limits = replace(limits, record=False, semantics="real")
    found = falsify(joint.net, posed.prop, settings=limits, replays=joint.replays, watch=watch, rounds=rounds)
    if isinstance(found, Unknown):
        return found
    # where runs violate by rounding alone nothing over the reals is refuted
    if found.witness.exactly is False:
        return Unknown(reason="not_found", boxes=0)
    shown = with_all_inputs(found, posed.relation)
    return shown if isinstance(shown, Violated) else Unknown(reason="not_found", boxes=0)


def _pose_to(subject: Related, loaded: Loaded) -> tuple[Posed, Loaded]:
    """The query posed to a network, and what is attacked: both runs side by side, and the inputs that they compare."""
    names = [net.name for net in subject.relation.networks]
    posed = pose_query(Path(subject.path), subject.relation, dict.fromkeys(names, loaded), "real")
    return posed, replace(posed.loaded, net=net_for_property(posed.loaded.net, posed.prop))
