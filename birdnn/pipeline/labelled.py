"""What block-level commands begin with: a classifier that has blocks, and labelled examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from birdnn.blocks import Block, require_blocks
from birdnn.errors import MismatchError
from birdnn.formats.labelled import Labelled, read_labelled
from birdnn.localize import SpectrumSettings, localize_blocks
from birdnn.network import Network
from birdnn.pipeline.device import device_for
from birdnn.pipeline.load import Loaded, load_network
from birdnn.records import (
    AskedDevice,
    BlockLocalisation,
    BlockLocalizeRequest,
    BlockRequest,
    Device,
    Examples,
    Progress,
    Watch,
)
from birdnn.repair.operations import slots_of
from birdnn.sample import evaluate

_RADIUS = 0.01
"""Of adversarial neighbours, as a share of the range of the examples' values."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Classifier:
    """A network with blocks.

    Attributes:
        loaded: as read.
        net: float32, on the device.
        device: where to compute.
        blocks: its partition.
    """

    loaded: Loaded
    net: Network
    device: Device
    blocks: tuple[Block, ...]


def load_classifier(path: Path, chosen: Mapping[str, Sequence[str]], asked: AskedDevice) -> Classifier:
    """Read a network and divide it into blocks.

    Raises:
        InputError: the file is unusable, it has no blocks, or the device is not there.
    """
    loaded = load_network(path)
    device = device_for(asked, loaded.net)
    # before blocks are looked for, whose messages would not say what is wrong
    if loaded.net.n_outputs < 2:
        raise MismatchError(f"{path}: one output is no classifier; a score for each class is expected")
    blocks = require_blocks(loaded.net, chosen)
    return Classifier(loaded=loaded, net=loaded.net.copy().float().to(device), device=device, blocks=blocks)


def load_examples(
    path: Path, net: Network, role: Literal["repair", "validation", "test"]
) -> tuple[Labelled, Examples, Tensor]:
    """Examples, the record of them, and which of them the network gets right, (n,) on the CPU.

    Raises:
        FormatError: the file is unusable.
    """
    found = read_labelled(path, net)
    # the greatest score decides: a classifier has no rule that could be said otherwise
    right = evaluate(net, found.x).argmax(1) == found.y
    record = Examples(
        role=role, path=str(path.resolve()), sha256=found.sha256, n=len(found), failing=int((~right).sum())
    )
    return found, record, right


def require_failing(examples: Examples) -> None:
    """See that there is something to repair, and something to preserve.

    Raises:
        MismatchError: the network gets all examples right, or all wrong.
    """
    if not examples.failing:
        told = f"too few failing examples: the network gets all {examples.n:,} right"
        raise MismatchError(f"{examples.path}: {told}; at least one that it gets wrong is needed")
    if examples.failing == examples.n:
        told = f"the network gets all {examples.n:,} examples wrong"
        needed = "at least one that it gets right is needed; are labels and scaling those that it was trained with?"
        raise MismatchError(f"{examples.path}: {told}; {needed}")


def require_apart(files: Sequence[Examples]) -> None:
    """See that what is learnt from does not say when to stop, nor either what became of the network.

    Raises:
        MismatchError: two files have the same content.
    """
    options = {"repair": "--data", "validation": "--val", "test": "--test"}
    seen: dict[str, Examples] = {}
    for file in files:
        # by content: a copy under another name would tell as little
        if (other := seen.setdefault(file.sha256, file)) is not file:
            told = f"has the same examples as {options[other.role]} {other.path}"
            needed = "give each role examples of its own, or its figures say nothing"
            raise MismatchError(f"{options[file.role]} {file.path}: {told}; {needed}")


def named_block(classifier: Classifier, name: str | None) -> tuple[Block | None, tuple[str, ...]]:
    """The block that the user names, if any, and the names of all that have a convolution that may be replaced.

    To be asked before blocks are judged, which takes long.

    Raises:
        MismatchError: there is none of that name, or no block, or not this one, has anything to replace.
    """
    blocks = {block.name: block for block in classifier.blocks}
    able = tuple(key for key, block in blocks.items() if slots_of(classifier.net, block.nodes))
    if not able:
        raise MismatchError(f"{classifier.loaded.path}: no block has a convolution that may be replaced")
    if name is not None and name not in blocks:
        raise MismatchError(f"--repair-block {name}: the network has no such block; it has {', '.join(blocks)}")
    if name is not None and name not in able:
        told = f"it has no convolution that may be replaced; {', '.join(able)} have"
        raise MismatchError(f"--repair-block {name}: {told}")
    return None if name is None else blocks[name], able


def judge_blocks(
    classifier: Classifier,
    examples: Labelled,
    asked: BlockLocalizeRequest | BlockRequest,
    *,
    seed: int,
    watch: Watch,
    top: int = 3,
    over: Callable[[], bool] | None = None,
) -> BlockLocalisation:
    """The suspiciousness of every block; ``over`` ends the trials early, else the user does.

    Raises:
        MismatchError: see `birdnn.localize.localize_blocks`.
    """
    device = next(iter(classifier.net.values().values())).device
    x, y = examples.x.to(device), examples.y.to(device)
    # of the values as they are: nobody says here how inputs were scaled
    radius = float(x.max() - x.min()) * _RADIUS if asked.radius is None else asked.radius

    def news(name: str, done: int, most: int) -> bool:
        watch.update(Progress(phase="judging blocks", done=done / most, detail=name))
        # False ends the trials
        return not (watch.stopped() if over is None else over())

    settings = SpectrumSettings(formula=asked.formula, examples=asked.examples, radius=radius, top=top)
    return localize_blocks(classifier.net, classifier.blocks, x, y, settings=settings, seed=seed, news=news)
