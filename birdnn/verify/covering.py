"""A region covered by boxes whose bounds say that nothing unsafe is there, without an attack: of what no run shows."""

from __future__ import annotations

import time

import torch

from birdnn.bounds.protocol import MarginBound, Question
from birdnn.boxes import Boxes
from birdnn.records import ARITHMETIC, Progress, Proved, Unknown, UnknownReason, Watch
from birdnn.records.limits import OutOfTime
from birdnn.spec import Region
from birdnn.verify.bounding import root_of
from birdnn.verify.branching import cut_remains, take_batch
from birdnn.verify.settings import SearchSettings
from birdnn.verify.spread import smallest_edges
from birdnn.verify.work import examine

_BATCH = 256
_NEWS_EVERY_S = 0.2
_SHOWN = 4096
"""Of the boxes that are left open: those that were too small to cut, then those that were cut last."""


def cover_region(
    bound: MarginBound, region: Region, n_outputs: int, *, settings: SearchSettings, watch: Watch, phase: str
) -> Proved | Unknown:
    """Prove that no point of a region is in one of its unsafe polytopes, by bounds alone, within the limits.

    Args:
        bound: of rows on so many outputs; what these are is its business.
        region, n_outputs: see above.
        settings: time, memory, boxes, the smallest box.
        watch, phase: who is told what is done, and may stop it.
    """
    started, told, boxes, stuck = time.monotonic(), 0.0, 0, list[Boxes]()
    question = Question.of(region.unsafe, n_outputs, bound.device)
    stack, smallest = [root_of(bound, region)], smallest_edges(settings, region).to(bound.device)
    # within a step, too: one box of a wide network takes seconds
    bound.over = lambda: watch.stopped() or time.monotonic() - started > settings.timeout_s

    def limit() -> UnknownReason | None:
        if watch.stopped():
            return "interrupted"
        if time.monotonic() - started > settings.timeout_s:
            return "timeout"
        if boxes >= settings.max_boxes:
            return "boxes"
        return "memory" if sum(work.bytes for work in stack) > settings.memory_bytes else None

    while stack:
        reason = limit()
        if reason is None:
            batch = take_batch(stack, settings.batch or _BATCH)
            try:
                step = examine(bound, question, batch)
            except OutOfTime:
                # the batch stays open, and the next look at the limits ends the loop
                stack.append(batch)
                continue
            boxes += len(batch)
            halves, small = cut_remains(bound, step, smallest, None)
            stack, stuck = stack + halves, stuck + small
            if time.monotonic() - told > _NEWS_EVERY_S:
                told, waiting = time.monotonic(), sum(len(work) for work in stack)
                watch.update(Progress(phase=phase, detail=f"{boxes:,} boxes, {waiting:,} open"))
            continue
        return _unknown_verdict(reason, boxes, [*stuck, *(work.boxes for work in reversed(stack))])
    if stuck:
        return _unknown_verdict("precision", boxes, stuck)
    return Proved(boxes=boxes, arithmetic=ARITHMETIC["real"])


def _unknown_verdict(reason: UnknownReason, boxes: int, waiting: list[Boxes]) -> Unknown:
    left = Boxes.concatenate(waiting)
    return Unknown(
        reason=reason,
        boxes=boxes,
        open_boxes=len(left),
        arithmetic=ARITHMETIC["real"],
        undecided=left[:_SHOWN].to(torch.device("cpu")),
    )
