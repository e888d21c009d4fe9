"""Blocks of a classifier, localised and repaired by labelled examples."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import Unpack

from birdnn.api.asking import shown_path, temporary_store
from birdnn.api.loading import File, NetworkLike
from birdnn.api.options import LocalizeBlocksOptions, RepairBlocksOptions, checked_options
from birdnn.api.stored import Stored
from birdnn.pipeline.localising_blocks import localize_block_files
from birdnn.pipeline.repairing_blocks import repair_blocks as repair_block_files
from birdnn.records import (
    BlockLocalizeOutcome,
    BlockLocalizeRequest,
    BlockRequest,
    ExampleRepair,
    RepairRequest,
    Watch,
)

ExamplesLike: TypeAlias = File | tuple[npt.ArrayLike, npt.ArrayLike]
"""An ``.npz`` file of `x` and `y`, or both: inputs (n, *input shape), rounded to float32, and indices of
right classes (n,)."""

_OF_THE_METHOD = {field.name for field in fields(BlockRequest)}


def localize_blocks(
    net: NetworkLike, data: ExamplesLike, *, watch: Watch | None = None, **options: Unpack[LocalizeBlocksOptions]
) -> BlockLocalizeOutcome:
    """Which block of a convolutional classifier is behind what it gets wrong.

    Args:
        net: a file, or a loaded network, with an axis for batches of free size.
        data: examples of which the network gets some wrong.
        watch: follows the trials and may stop them.
        options: see `birdnn.api.options.LocalizeBlocksOptions`.

    Returns:
        The blocks with their suspiciousness; ``outcome.found.ranking()`` has the most suspicious first.

    Raises:
        InputError: a file is unusable, the examples do not fit, none fails or none passes, or there are no blocks.

    >>> import birdnn
    >>> birdnn.localize_blocks("demo.onnx", ([[0.0] * 5], [0]))
    Traceback (most recent call last):
    birdnn.errors.MismatchError: ... it has no convolution, so there is no block to repair; ...
    """
    said = checked_options("localize_blocks", options)
    with temporary_store() as stored:
        request = BlockLocalizeRequest(net=stored.network(net), data=_stored_examples(stored, "data", data), **said)
        outcome = localize_block_files(request, watch=watch)
    return replace(
        outcome,
        net=shown_path(stored, outcome.net),
        request=replace(
            request, net=Path(shown_path(stored, str(request.net))), data=Path(shown_path(stored, str(request.data)))
        ),
        examples=replace(outcome.examples, path=shown_path(stored, outcome.examples.path)),
    )


def repair_blocks(
    net: NetworkLike,
    data: ExamplesLike,
    val: ExamplesLike,
    *,
    out: File,
    test: ExamplesLike | None = None,
    watch: Watch | None = None,
    **options: Unpack[RepairBlocksOptions],
) -> ExampleRepair:
    """Repair one block of a convolutional classifier, architecture and weights together; nothing is proved.

    Args:
        net: a file, or a loaded network; it is not changed.
        data: examples to learn from: those that the network gets wrong are repaired, the others preserved.
        val: examples that say when to stop and which candidate is best.
        test: held-out examples, looked at once in the end.
        out: folder for the repaired network and ``repair.json``, and for what has no file of its own.
        watch: follows the repair and may stop it: the best network so far is kept.
        options: see `birdnn.api.options.RepairBlocksOptions`.

    Returns:
        What was done: ``outcome.blocks`` has the block, both architectures, and accuracies before and after.

    Raises:
        InputError: a file is unusable, the examples do not fit, none fails, or no block can be replaced.
        OutputError: the folder cannot be written, or holds something else under a name that is needed.
    """
    said = checked_options("repair_blocks", options)
    # one call, two records: what only this method knows, and what all repairs share
    asked = {name: said.pop(name) for name in list(said) if name in _OF_THE_METHOD}
    with Stored(Path(out)) as stored:
        request = RepairRequest(
            net=stored.network(net),
            method="blocks",
            blocks=BlockRequest(
                data=_stored_examples(stored, "data", data),
                val=_stored_examples(stored, "val", val),
                test=None if test is None else _stored_examples(stored, "test", test),
                **asked,
            ),
            decision="argmax",
            out=Path(out),
            **said,
        )
        return repair_block_files(request, watch=watch)


def _stored_examples(stored: Stored, name: str, given: ExamplesLike) -> Path:
    if not isinstance(given, tuple):
        return Path(given)
    x, y = given
    return stored.samples(name, np.asarray(x, dtype=np.float32), y)
