"""The pictures that belong to a repair: maps and lines through a counterexample of each property that was violated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from birdnn.errors import MismatchError
from birdnn.pipeline.case import Case, Points
from birdnn.pipeline.judging import Attempt
from birdnn.pipeline.mapping import advisory_map, covers_of, line_through, margin_line
from birdnn.pipeline.planes import Framing, Scene, most_influential, plane_of
from birdnn.pipeline.plotting import scene_of
from birdnn.records import AdvisoryMap, MarginLine, Proved, Witness
from birdnn.records.limits import Over, never
from birdnn.spec import Region

_MOST_INPUTS = 32  # a plane through an image tells nobody anything
_HARD_TO_SEE = 0.005  # of a map's cells


def repair_pictures(
    case: Case, best: Attempt, witnesses: Mapping[str, Sequence[Witness]], over: Over = never
) -> tuple[tuple[AdvisoryMap, ...], tuple[MarginLine, ...]]:
    """Maps and lines of the original and the repaired network, through each property's first counterexample.

    A map shows the domain, where it is known; where violations are too small to be seen there, another goes closer.
    Points, and networks of a great many inputs, have no picture.

    Args:
        best: the repaired network with its proofs, whose boxes are drawn.
        witnesses: property name -> replayed counterexamples of the original.
        over: ends it early.
    """
    maps: list[AdvisoryMap] = []
    lines: list[MarginLine] = []
    for subject in case.subjects:
        found = witnesses.get(subject.prop.name, ())
        # witnesses are of the original: a property that is not violated there has nothing to show
        if not found or isinstance(subject, Points) or case.loaded.net.n_inputs > _MOST_INPUTS:
            continue
        scene = scene_of(case.loaded, best.loaded, subject.prop, subject.text, case.loaded.known, case.decision)
        # a domain that the user declared is not in suite or header, where `scene_of` looks
        scene = scene if scene.domain is not None else replace(scene, domain=case.corners)
        region = next((r for r in subject.prop.regions if r.contains(found[0].x)), None)
        if region is not None and not over():
            maps += _draw_maps(scene, best, region, found, over)
        if region is not None and not over():
            lines += _draw_lines(scene, region, found[0])
    return tuple(maps), tuple(lines)


def _draw_maps(scene: Scene, best: Attempt, region: Region, found: Sequence[Witness], over: Over) -> list[AdvisoryMap]:
    axes = scene.encounter[:2] if scene.encounter is not None else most_influential(scene, region)
    if axes is None or scene.prop is None:
        return []
    answer = best.answers.get(scene.prop.name)
    covers = {}
    if answer is not None and isinstance(answer.verdict, Proved) and answer.verdict.proofs:
        covers[best.loaded.net.sha256] = covers_of(scene.prop, answer.verdict.proofs)
    drawn: list[AdvisoryMap] = []
    # the wide view first: where a repair matters is seen in it, and the closer one is drawn if it shows nothing
    for framing in (Framing(), Framing(view="violations")):
        try:
            plane = plane_of(scene, axes, found[0].x, "counterexample", framing)
        except MismatchError:  # the region is flat along an axis, and nobody knows the domain
            break
        drawn.append(advisory_map(scene, plane, marks=found[:1], covers=covers))
        if over() or drawn[0].panels[0].unsafe_share >= _HARD_TO_SEE:
            break
    return drawn


def _draw_lines(scene: Scene, region: Region, witness: Witness) -> list[MarginLine]:
    if scene.prop is None:
        return []
    try:
        start, end = line_through(scene, region, np.array(witness.x))
        return [margin_line(scene, scene.prop, start, end, mark=witness)]
    except MismatchError:  # a single point, or margins that are no numbers
        return []
