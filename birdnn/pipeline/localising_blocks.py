"""`localize --blocks` on files: which block is behind what a classifier gets wrong."""

from __future__ import annotations

import time

from birdnn.errors import MismatchError
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.labelled import judge_blocks, load_classifier, load_examples, require_failing
from birdnn.records import BlockLocalizeOutcome, BlockLocalizeRequest, Progress, Unwatched, Watch


def localize_block_files(request: BlockLocalizeRequest, *, watch: Watch | None = None) -> BlockLocalizeOutcome:
    """Say how suspicious each block of a classifier is.

    Raises:
        InputError: a file is unusable, the network has no blocks, or no example fails, or none passes.
    """
    started, watch = time.monotonic(), watch or Unwatched()
    if request.top < 1:
        raise MismatchError(f"--top {request.top}: give the number of neurons to name in each block, at least 1")
    watch.update(Progress(phase=f"reading {request.net.name}"))
    classifier = load_classifier(request.net, request.chosen, request.device)
    examples, record, _ = load_examples(request.data, classifier.net, "repair")
    # before blocks are judged, which takes minutes: spectra need examples of both kinds
    require_failing(record)
    found = judge_blocks(classifier, examples, request, seed=request.seed, watch=watch, top=request.top)
    return BlockLocalizeOutcome(
        request=request,
        net=str(classifier.loaded.path),
        net_sha256=classifier.loaded.net.sha256,
        examples=record,
        found=found,
        wall_s=time.monotonic() - started,
        versions=versions(),
        machine=machine(classifier.device),
        interrupted=watch.stopped(),
    )
