"""What every search does with its open boxes, in one process or in many: take some, and cut what remains of them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from birdnn.bounds.protocol import MarginBound
from birdnn.boxes import Boxes
from birdnn.verify.recording import Recorder
from birdnn.verify.work import Step, Work, halve


def take_batch(stack: list[Work], wanted: int) -> Work:
    """Up to so many boxes from the end of the stack, which has some."""
    parts = []
    while stack and wanted > 0:
        top = stack.pop()
        if len(top) > wanted:
            stack.append(top[: len(top) - wanted])
            top = top[len(top) - wanted :]
        parts.append(top)
        wanted -= len(top)
    return parts[0] if len(parts) == 1 else Work.concatenate(parts)


def cut_remains(
    bound: MarginBound, step: Step, smallest: Tensor, recorder: Recorder | None
) -> tuple[list[Work], list[Boxes]]:
    """The halves of what remains, the next ones last, and boxes that are too small to cut; none is an empty list.

    Args:
        bound: the method that examined them.
        step: what became of a batch.
        smallest: edges of a box that is given up, shape (inputs,).
        recorder: numbers the halves.
    """
    on_input = step.left.edge < len(smallest)
    # edge by edge: one that is fixed at a decimal is as wide as that is rounded, and never below a share of nothing
    tiny = ((step.remains.boxes.widths() <= smallest) | ~step.remains.boxes.divisible()).all(1)
    # a box that is divided by a neuron gets no smaller, and yet nearer to a proof
    tiny &= on_input
    small = [step.remains.boxes[tiny]] if bool(tiny.any()) else []
    # hardest last: the stack's end is taken first, and hard boxes are where counterexamples are
    order = step.left.score.argsort(descending=True)
    order = order[~tiny[order]]
    if not len(order):
        return [], small
    remains = step.remains[order]
    edge = step.left.edge[order]
    halves = halve(bound, remains, edge)
    return [halves if recorder is None else replace(halves, node=recorder.cut(remains, halves, edge))], small
