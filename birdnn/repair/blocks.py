"""Block-level repair: what may change, from single layers to the architecture of a block.

The block becomes a mixture: in the place of each of its convolutions stands the sum of `birdnn.repair.operations`,
weighted by a softmax over architecture parameters, the convolution itself among them. Architecture parameters and
weights take turns, each on its own part of the examples (first-order bilevel optimisation). Then each place keeps one:
what weighs most, what weighs most besides the original, and each of these alone are trained for a while with the rest
of the network frozen, the best on the validation examples to the end.

The exact search space and schedule of the paper were not available to us: this is our own reading of it.

Source: Qi et al. 2023 (ArchRepair), ACM TOSEM; Liu et al. 2019 (DARTS), arXiv:1806.09055.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn

from birdnn.blocks import Block
from birdnn.graph import Node
from birdnn.network import Network
from birdnn.repair.operations import ORIGINAL, Operation, Original, Slot, kinds_for, slots_of
from birdnn.repair.training import Exam, Lesson, Score, TrainingSettings, model_outputs, train_model
from birdnn.sample.pieces import apply_in_memory
from birdnn.tail import Tail, value_at

Replacement = tuple[tuple[Node, ...], Mapping[str, Tensor]]
"""Nodes that stand for one, and their initialisers."""

# examples that show what a convolution reads and makes
_CALIBRATION = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSettings:
    """How blocks are repaired.

    Attributes:
        training: of everything that is fine-tuned.
        search_epochs: passes over the examples while the block is a mixture.
        architecture_rate: of Adam on architecture parameters.
        architecture_share: of the examples, what architecture parameters learn from.
        head_start: architecture parameter of the original convolution; the others start from 0.
        probation: epochs that each discrete architecture is trained before one is chosen, and each block's weights.
        tried: so many of the most suspicious blocks are trained before one is chosen.
    """

    training: TrainingSettings = field(default_factory=TrainingSettings)
    search_epochs: int = 6
    architecture_rate: float = 0.03
    architecture_share: float = 1 / 3
    head_start: float = 2.0
    probation: int = 4
    tried: int = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Data:
    """What a repair learns from and is judged by, on the network's device: inputs (n, inputs), right classes (n,)."""

    x: Tensor
    y: Tensor
    val_x: Tensor
    val_y: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockCandidate:
    """A changed network.

    Attributes:
        method: how it was made.
        values: initialisers that have other values.
        replaced: value of a node -> what stands in its place.
        architecture: name of each convolution that might have been replaced -> kind of its operation.
        score: on the validation examples.
        shares: the same -> weight of each kind at the end of the search; empty without one.
        epochs: that made it.
    """

    method: str
    values: Mapping[str, Tensor]
    replaced: Mapping[str, Replacement] = field(default_factory=lambda: MappingProxyType({}))
    architecture: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    score: Score
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: MappingProxyType({}))
    epochs: int = 0


News = Callable[[str, int, int, Score], bool]
"""Told what is trained, epochs done, epochs at most and the best score; False ends the training."""


class Mixture(nn.Module):
    """Every operation that fits a slot, weighted."""

    def __init__(self, slot: Slot, head_start: float) -> None:
        super().__init__()
        self.slot = slot
        self.kinds = (ORIGINAL, *kinds_for(slot))
        self.operations = nn.ModuleList([Original(slot), *(Operation(kind, slot) for kind in self.kinds[1:])])
        start = torch.zeros(len(self.kinds))
        # the network begins nearly as it was, and another operation has to earn its weight
        start[0] = head_start
        self.architecture = nn.Parameter(start)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in, h, w) -> (n, out, h', w')."""
        shares = self.architecture.softmax(0)
        return torch.stack([s * op(x) for s, op in zip(shares, self.operations, strict=True)]).sum(0)

    def shares(self) -> dict[str, float]:
        """Kind -> weight."""
        return dict(zip(self.kinds, self.architecture.detach().softmax(0).tolist(), strict=True))


class BlockRepairer:
    """Ways to change a classifier, all trained by the same loop on the same examples.

    Args:
        net: the classifier; its outputs are one score for each class.
        data: on the network's device.
        settings: see there.
        seed: of the order of examples.
        news: see there.
    """

    def __init__(self, net: Network, data: Data, settings: BlockSettings, seed: int, news: News) -> None:
        self.net, self.data, self.settings, self.news = net, data, settings, news
        self.seed = seed
        with torch.no_grad():
            self.teacher = model_outputs(net, data.x)
        self.right = self.teacher.argmax(1) == data.y
        self._over = False

    # --- weights alone

    def weights(
        self, method: str, start: str, names: Sequence[str], *, imitate: bool = False, epochs: int | None = None
    ) -> BlockCandidate:
        """Train some initialisers behind a value, everything else frozen; `epochs`, if given, to their end."""
        tail = Tail(self.net, start, names)
        lesson, exam = self._make_lesson(start, imitate=imitate), self._make_exam(start)
        settings = self.settings.training
        if epochs is not None:
            # whoever says how many compares at equal effort, which patience would cut short
            settings = replace(settings, epochs=epochs, patience=epochs)
        score, done = self._train_tail(method, tail, lesson, exam, settings)
        return BlockCandidate(method=method, values=tail.values(), score=score, epochs=done)

    def whole(self, method: str, *, imitate: bool = False, epochs: int | None = None) -> BlockCandidate:
        """Train all weights.

        With ``imitate`` failing examples learn what the network answers at the nearest example of their class that it
        gets right, and right ones what it answers there: the retraining of BIRDNN, on labelled examples.
        """
        names = [name for name in self.net.initialisers() if name in self.net.repairable]
        return self.weights(method, self.net.input_name, names, imitate=imitate, epochs=epochs)

    def promise(self, block: Block) -> Score:
        """How a block does on the validation examples when its weights alone have been trained for a while."""
        epochs = self.settings.probation
        return self.weights(f"{block.name} a little", block.entry, block.weights(self.net), epochs=epochs).score

    # --- architecture and weights

    def search(self, block: Block, known: BlockCandidate | None = None) -> Iterator[BlockCandidate]:
        """Candidates for one block, the architecture chosen first; the block as it is comes last, so as to compare.

        Args:
            block: with at least one convolution that may be replaced.
            known: the same block with other weights alone, where that has been tried.
        """
        slots = slots_of(self.net, block.nodes)
        lesson, exam = self._make_lesson(block.entry), self._make_exam(block.entry)
        mixture = self._search_mixtures(block, slots, lesson, exam)
        learnt = {slot.node.output: mixture[slot.node.output].shares() for slot in slots}
        shares = {slot.node.name: learnt[slot.node.output] for slot in slots}
        tried = []
        for architecture in _candidate_architectures(learnt):
            if self._over:
                break
            tail = self._discrete_tail(block, slots, architecture, mixture)
            named = ", ".join(dict.fromkeys(kind for kind in architecture.values() if kind != ORIGINAL))
            probation = replace(self.settings.training, epochs=self.settings.probation)
            score, epochs = self._train_tail(f"blocks ({named})", tail, lesson, exam, probation)
            tried.append((score, epochs, architecture, tail))
            # handed out before the next is trained: whoever ends the search has the best so far
            yield self._make_candidate(slots, architecture, tail, score, shares, epochs)
        if tried and not self._over:
            # trained on from where its probation ended
            _, before, architecture, tail = max(tried, key=lambda entry: entry[0])
            score, epochs = self._train_tail("blocks", tail, lesson, exam, self.settings.training)
            yield self._make_candidate(slots, architecture, tail, score, shares, before + epochs)
        if known is None and not self._over:
            known = self.weights("blocks", block.entry, block.weights(self.net))
        if known is not None:
            as_it_is = {slot.node.name: ORIGINAL for slot in slots}
            yield replace(known, method="blocks", architecture=as_it_is, shares=shares)

    def _search_mixtures(self, block: Block, slots: Sequence[Slot], lesson: Lesson, exam: Exam) -> dict[str, Mixture]:
        """The block's mixtures after the search: value of a convolution -> mixture."""
        mixtures = {slot.node.output: Mixture(slot, self.settings.head_start).to(lesson.x) for slot in slots}
        for slot in slots:
            x, wanted = self._slot_input_and_output(slot)
            for operation in mixtures[slot.node.output].operations:
                if isinstance(operation, Operation):
                    # before anything is trained: whatever the shares, what follows reads numbers of the kind it knows
                    operation.calibrate(x, wanted)
        tail = Tail(self.net, block.entry, self._weights_outside_slots(block, slots), mixtures)
        architecture = [mixture.architecture for mixture in mixtures.values()]
        # by identity: `==` of parameters compares their entries
        ours = {id(parameter) for parameter in architecture}
        weights = [p for p in tail.parameters() if p.requires_grad and id(p) not in ours]
        by_weights = torch.optim.Adam(weights, lr=self.settings.training.rate)
        # these betas as in DARTS
        by_architecture = torch.optim.Adam(architecture, lr=self.settings.architecture_rate, betas=(0.5, 0.999))
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(lesson), generator=generator)
        cut = int(len(order) * self.settings.architecture_share)
        # shares learn from examples that the weights have not seen, or they would prefer what learns by heart
        parts = [lesson.part(some) if len(some) else lesson for some in (order[cut:], order[:cut])]
        score = exam.score(tail)
        for number in range(self.settings.search_epochs):
            if not self._report_progress("searching", number, self.settings.search_epochs, score):
                break
            tail.train()
            self._take_turns(tail, parts, (by_weights, by_architecture), generator)
            score = exam.score(tail)
        return mixtures

    def _take_turns(
        self,
        tail: Tail,
        parts: Sequence[Lesson],
        optimisers: Sequence[torch.optim.Optimizer],
        generator: torch.Generator,
    ) -> None:
        """One pass: a step of the weights, then one of the architecture on its own examples."""
        s = self.settings.training

        def turn(part: Lesson, optimiser: torch.optim.Optimizer, places: Tensor) -> None:
            some = part.part(places)
            # of all parameters: `backward` gives gradients to both kinds, and only one of them steps now
            tail.zero_grad()
            weights = some.weights(s.failing_share)
            torch.autograd.backward(some.loss(tail(some.x), weights, s.keep))
            optimiser.step()

        steps = -(-len(parts[0]) // s.batch)
        # as many batches of the architecture's examples as the weights take steps; smaller ones, since these are fewer
        batches = [torch.randperm(len(part), generator=generator).tensor_split(min(steps, len(part))) for part in parts]
        for step in range(steps):
            for part, places, optimiser in zip(parts, batches, optimisers, strict=True):
                apply_in_memory(partial(turn, part, optimiser), places[step % len(places)])

    def _discrete_tail(
        self, block: Block, slots: Sequence[Slot], architecture: Mapping[str, str], mixtures: Mapping[str, Mixture]
    ) -> Tail:
        """The block with one operation in each place, as the search left it; the original ones start afresh."""
        chosen: dict[str, nn.Module] = {}
        for slot in slots:
            mixture, kind = mixtures[slot.node.output], architecture[slot.node.output]
            if kind == ORIGINAL:
                chosen[slot.node.output] = Original(slot).to(self.data.x)
                continue
            # a copy: several architectures may take the same operation
            operation = copy.deepcopy(mixture.operations[mixture.kinds.index(kind)])
            if not isinstance(operation, Operation):
                raise TypeError(f"{kind} is no operation")
            # its normalisation made a share of what a mixture made; alone it has to make what the original makes
            operation.calibrate(*self._slot_input_and_output(slot))
            chosen[slot.node.output] = operation
        return Tail(self.net, block.entry, self._weights_outside_slots(block, slots), chosen)

    def _make_candidate(
        self,
        slots: Sequence[Slot],
        architecture: Mapping[str, str],
        tail: Tail,
        score: Score,
        shares: Mapping[str, Mapping[str, float]],
        epochs: int,
    ) -> BlockCandidate:
        values, replaced = tail.values(), dict[str, Replacement]()
        for slot in slots:
            module = tail.slot(slot.node.output)
            if isinstance(module, Original):
                values |= module.values()
            elif isinstance(module, Operation):
                replaced[slot.node.output] = module.nodes()
        named = {slot.node.name: architecture[slot.node.output] for slot in slots}
        return BlockCandidate(
            method="blocks",
            values=values,
            replaced=replaced,
            architecture=named,
            score=score,
            shares=shares,
            epochs=epochs,
        )

    # --- what all have in common

    def _weights_outside_slots(self, block: Block, slots: Sequence[Slot]) -> list[str]:
        """The block's weights that are in no slot."""
        inside = {name for slot in slots for name in slot.node.inputs[1:]}
        return [name for name in block.weights(self.net) if name not in inside]

    def _train_tail(
        self, what: str, tail: Tail, lesson: Lesson, exam: Exam, settings: TrainingSettings
    ) -> tuple[Score, int]:
        """The best score, and how many epochs were done."""
        done = 0

        def epoch(number: int, best: Score) -> bool:
            nonlocal done
            done = number
            return self._report_progress(what, number, settings.epochs, best)

        generator = torch.Generator().manual_seed(self.seed)
        score = train_model(tail, lesson, exam, settings, generator, epoch=epoch)
        return score, done

    def _report_progress(self, what: str, done: int, most: int, score: Score) -> bool:
        # remembered: the end of one training is the end of all
        self._over = self._over or not self.news(what, done, most, score)
        return not self._over

    def _slot_input_and_output(self, slot: Slot) -> tuple[Tensor, Tensor]:
        """What a convolution reads and makes at some of the examples."""
        # evenly spaced: examples may lie in the file in order of their class
        x = self.data.x[:: max(1, len(self.data.x) // _CALIBRATION)]
        return value_at(self.net, slot.node.inputs[0], x), value_at(self.net, slot.node.output, x)

    def _make_lesson(self, start: str, *, imitate: bool = False) -> Lesson:
        teacher = self._imitated_outputs() if imitate else self.teacher
        x = value_at(self.net, start, self.data.x)
        return Lesson(x=x, y=self.data.y, teacher=teacher, right=self.right, imitate=imitate)

    def _make_exam(self, start: str) -> Exam:
        return Exam(x=value_at(self.net, start, self.data.val_x), y=self.data.val_y)

    def _imitated_outputs(self) -> Tensor:
        """Original outputs; of failing examples those at the nearest right one of their class."""
        wanted, right = self.teacher.clone(), self.right.nonzero()[:, 0]
        for place in (~self.right).nonzero()[:, 0].tolist():
            same = right[self.data.y[right] == self.data.y[place]]
            if len(same):
                nearest = (self.data.x[same] - self.data.x[place]).square().sum(1).argmin()
                wanted[place] = self.teacher[same[nearest]]
        return wanted


def _candidate_architectures(shares: Mapping[str, Mapping[str, float]]) -> list[dict[str, str]]:
    """What weighs most in each place, the best but the original in each, and each of these alone; no two alike."""
    most = {place: max(found, key=lambda kind: found[kind]) for place, found in shares.items()}
    other = {
        place: max((kind for kind in found if kind != ORIGINAL), key=lambda kind: found[kind])
        for place, found in shares.items()
    }
    alone = [{place: other[place] if place == one else ORIGINAL for place in shares} for one in shares]
    found: list[dict[str, str]] = []
    for architecture in (most, other, *alone):
        if architecture not in found and set(architecture.values()) != {ORIGINAL}:
            found.append(architecture)
    return found
