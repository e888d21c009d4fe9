"""`repair --method blocks` on files: a new architecture and new weights for the most suspicious block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from birdnn.blocks import Block
from birdnn.errors import MismatchError
from birdnn.formats import network_kind, read_network
from birdnn.formats.differences import graph_change
from birdnn.formats.files import sha256, write_bytes
from birdnn.formats.labelled import Labelled
from birdnn.formats.onnx import network_from_onnx
from birdnn.formats.surgery import bytes_with_nodes
from birdnn.formats.together import Together
from birdnn.metrics import fidelity as kept_of
from birdnn.metrics import initialiser_changes
from birdnn.network import Network
from birdnn.pipeline.clock import Clock
from birdnn.pipeline.facts import machine, versions
from birdnn.pipeline.folder import ResultFolder
from birdnn.pipeline.labelled import (
    Classifier,
    judge_blocks,
    load_classifier,
    load_examples,
    named_block,
    require_apart,
    require_failing,
)
from birdnn.pipeline.settings import RepairSettings
from birdnn.records import (
    Accuracy,
    BlockLocalisation,
    BlockRepair,
    BlockRequest,
    ExampleRepair,
    Examples,
    MethodResult,
    PlaceInBlock,
    Progress,
    Rate,
    RepairRequest,
    RepairResult,
    Unwatched,
    Watch,
)
from birdnn.repair.blocks import BlockCandidate, BlockRepairer, BlockSettings, Data
from birdnn.repair.operations import ORIGINAL, Slot, slots_of
from birdnn.repair.training import Score
from birdnn.report.headline import examples_in_words
from birdnn.report.publish import write_record
from birdnn.report.risks_blocks import NOTHING_PROVED
from birdnn.sample import evaluate


def repair_blocks(
    request: RepairRequest,
    *,
    watch: Watch | None = None,
    settings: BlockSettings | None = None,
    began: float | None = None,
) -> ExampleRepair:
    """Repair one block of a classifier by labelled examples; the result lies in the request's folder.

    On interruption or at the time limit, which counts from now or since ``began`` on the monotonic clock, the best
    network so far is on disk.

    Raises:
        InputError: a file is unusable, the network has no blocks, no example fails, or the block cannot be replaced.
        OutputError: the folder cannot be written.
    """
    if request.blocks is None:
        raise MismatchError("--method blocks needs --data and --val: labelled examples as .npz")
    return _BlockRepair(request, request.blocks, watch or Unwatched(), settings, began).run()


@dataclass(frozen=True, slots=True, eq=False)
class _ExampleFile:
    """Examples, and what the original network answers there."""

    examples: Labelled
    record: Examples
    before: torch.Tensor

    def accuracy(self, after: torch.Tensor) -> Accuracy:
        """Of outputs (n, classes), against the original."""
        was, now = (y.argmax(1) == self.examples.y for y in (self.before, after))
        return Accuracy(
            right=int(now.sum()),
            repaired=int((now & ~was).sum()),
            broken=int((was & ~now).sum()),
            n=len(self.examples),
        )


class _BlockRepair:
    """One command."""

    def __init__(
        self,
        request: RepairRequest,
        asked: BlockRequest,
        watch: Watch,
        settings: BlockSettings | None,
        began: float | None,
    ) -> None:
        self.clock = Clock(timeout_s=RepairSettings().limit_of(request, began), watch=watch)
        self.request, self.asked, self.watch = request, asked, watch
        # before the folder is touched, as nothing can come of it
        if network_kind(request.net) != "onnx":
            raise MismatchError(f"{request.net}: blocks are repaired in ONNX files; an NNet file cannot hold them")
        self.folder = ResultFolder(request)
        self.folder.require_usable()
        self.replaced = self.folder.replaced()
        self._say(f"reading {request.net.name}")
        self.classifier: Classifier = load_classifier(request.net, asked.chosen, request.device)
        self.net = self.classifier.net
        self.files = [self._example_file(asked.data, "repair"), self._example_file(asked.val, "validation")]
        if asked.test is not None:
            self.files.append(self._example_file(asked.test, "test"))
        # of what is learnt from alone: nothing need be wrong in the other files
        require_failing(self.files[0].record)
        require_apart([file.record for file in self.files])
        # before blocks are judged, which takes minutes
        self.named, self.able = named_block(self.classifier, asked.block)
        base = settings or BlockSettings()
        self.settings = replace(base, training=replace(base.training, epochs=asked.epochs))
        self.methods: list[MethodResult] = []
        self.together = Together()

    def run(self) -> ExampleRepair:
        with self.folder.taken() as self.together:
            return self._repair_in_folder()

    def _repair_in_folder(self) -> ExampleRepair:
        examples, seed, over = self.files[0].examples, self.request.seed, self.clock.over
        found = judge_blocks(self.classifier, examples, self.asked, seed=seed, watch=self.watch, over=over)
        repairer = BlockRepairer(self.net, self._training_data(), self.settings, seed, self._report_training)
        begun = self.clock.now()
        block, why = self._choose_block(found, repairer)
        best, slots = self._search_candidates(repairer, block, begun)
        if self.asked.compare and not self.clock.over():
            self._compare_methods(repairer, block, found)
        return self._outcome(found, block, why, best, slots)

    # --- choosing

    def _choose_block(self, found: BlockLocalisation, repairer: BlockRepairer) -> tuple[Block, str]:
        """The block to repair, and why this one.

        The most suspicious ones are trained a little: what is to blame need not be what a repair can do most with.
        """
        blocks = {block.name: block for block in self.classifier.blocks}
        if self.named is not None:
            return self.named, "named by --repair-block"
        # ranks of the whole ranking, so that the user can find them in it
        ranked = {e.name: rank for rank, e in enumerate(found.ranking(), 1) if e.name in self.able}
        if not ranked:
            return blocks[self.able[0]], "the first that may be replaced: the command ended before blocks were judged"
        first, *others = list(ranked)[: self.settings.tried]
        told = "the most suspicious"
        if ranked[first] > 1:
            told += f" that may be replaced, rank {ranked[first]}"
        if not others or self.clock.over():
            return blocks[first], told
        # of all that are tried, the first too: a score alone says nothing
        scores = {name: repairer.promise(blocks[name]) for name in (first, *others)}
        best = max(scores, key=lambda name: scores[name])
        right = {name: f"{100 * score.accuracy:.1f} %" for name, score in scores.items()}
        how = f"{right[best]} of the validation examples right after a short training of its weights"
        if best == first:
            return blocks[first], f"{told}; {how}, the best of {len(scores)}"
        return blocks[best], f"rank {ranked[best]} by suspicion; {how}, {right[first]} by {first}, {told}"

    # --- repairing

    def _search_candidates(
        self, repairer: BlockRepairer, block: Block, begun: float
    ) -> tuple[BlockCandidate | None, tuple[Slot, ...]]:
        """The best candidate that does better than the original, on disk; None where there is none."""
        slots, start = slots_of(self.net, block.nodes), self._original_score()
        best, epochs = None, 0
        for candidate in repairer.search(block):
            epochs = max(epochs, candidate.epochs)
            # strictly: of equal candidates the earlier one costs no second writing
            if candidate.score > (start if best is None else best.score):
                best = candidate
                # at once, so that an interruption leaves it on the disk
                self._keep_better(self._candidate_bytes(candidate))
        # nothing was better: the original's values are told, with the time that it took
        kept = best or BlockCandidate(method="blocks", values={}, score=start, epochs=epochs)
        new = (tensors for _, tensors in kept.replaced.values())
        free = sum(value.numel() for tensors in (kept.values, *new) for value in tensors.values())
        self._book_method("blocks", f"architecture and weights of {block.name}", free, kept, begun)
        return best, slots

    def _compare_methods(self, repairer: BlockRepairer, block: Block, found: BlockLocalisation) -> None:
        """The same examples and training, other parts of the network."""
        layer = self._suspicious_layer(found, block)
        node = next(node for node in block.nodes if node.name == layer)
        names = [name for name in block.weights(self.net) if name in node.inputs[1:]]

        def ways() -> Iterator[tuple[str, str, BlockCandidate]]:
            yield (
                "block weights",
                f"weights of {block.name}",
                repairer.weights("block weights", block.entry, block.weights(self.net)),
            )
            yield "layer", f"weights of {layer}", repairer.weights("layer", block.entry, names)
            yield "network", "all weights", repairer.whole("network")
            # only here, when "network" has been booked: a generator goes on once its caller has measured
            longer = self._epochs_of_equal_time()
            yield "network longer", "all weights, as long as blocks took", repairer.whole("longer", epochs=longer)
            imitating = repairer.whole("imitation", imitate=True)
            yield "imitation", "all weights, towards right examples (BIRDNN)", imitating

        begun = self.clock.now()
        for name, changes, candidate in ways():
            free = sum(value.numel() for value in candidate.values.values())
            self._book_method(name, changes, free, candidate, begun)
            # anew for each way, what was measured and written left out
            begun = self.clock.now()
            if self.clock.over():
                break

    def _epochs_of_equal_time(self) -> int:
        """So many epochs of the whole network take as long as the repair did, the search and its trials included."""
        seconds = {entry.name: entry.seconds / max(1, entry.epochs) for entry in self.methods}
        return max(self.settings.training.epochs, round(self.methods[0].seconds / seconds["network"]))

    def _suspicious_layer(self, found: BlockLocalisation, block: Block) -> str:
        """The most suspicious convolution of the block that is repaired."""
        layers = next(entry.layers for entry in found.blocks if entry.name == block.name)
        return max(layers, key=lambda name: layers[name])

    def _original_score(self) -> Score:
        """What the original scores, so that nothing worse is handed out."""
        y = self.files[1].before
        labels = self.files[1].examples.y
        loss = float(torch.nn.functional.cross_entropy(y, labels))
        return Score(int((y.argmax(1) == labels).sum()), -loss, len(labels))

    def _candidate_bytes(self, candidate: BlockCandidate) -> bytes:
        return bytes_with_nodes(self.request.net, candidate.values, candidate.replaced)

    def _keep_better(self, data: bytes) -> None:
        """Put a better network in the place of the last one."""
        write_bytes(self.folder.draft, data, keep=self.request.net)
        self.folder.keep_draft()

    def _book_method(self, name: str, changes: str, values: int, candidate: BlockCandidate, begun: float) -> None:
        """Measure a candidate as its file is read back."""
        data = self._candidate_bytes(candidate)
        out = self.folder.network if name == "blocks" else self.folder.compared(name)
        # the repair lies in the folder as its best attempt already
        if name != "blocks":
            self.together.add(out, data)
        # from the bytes that are written: figures are those of the file
        net = self._read_network(data)
        answers = [evaluate(net, file.examples.x) for file in self.files]
        kept = kept_of(self.files[1].before, answers[1], "argmax")
        self.methods.append(
            MethodResult(
                name=name,
                changes=changes,
                values=values,
                epochs=candidate.epochs,
                seconds=self.clock.now() - begun,
                accuracy={f.record.role: f.accuracy(y) for f, y in zip(self.files, answers, strict=True)},
                decision_agreement=kept.decision_agreement,
                mae=kept.mae,
                architecture=candidate.architecture,
                finished=not self.clock.over(),
                out=str(out) if candidate.values or candidate.replaced else None,
            )
        )

    def _read_network(self, data: bytes) -> Network:
        return network_from_onnx(data).float()

    # --- small things

    def _example_file(self, path: Path, role: str) -> _ExampleFile:
        examples, record, _ = load_examples(path, self.net, role)  # type: ignore[arg-type]
        return _ExampleFile(examples, record, evaluate(self.net, examples.x))

    def _training_data(self) -> Data:
        device = self.classifier.device
        learnt, checked = (file.examples for file in self.files[:2])
        return Data(
            x=learnt.x.to(device), y=learnt.y.to(device), val_x=checked.x.to(device), val_y=checked.y.to(device)
        )

    def _report_training(self, what: str, done: int, most: int, score: Score) -> bool:
        detail = f"{100 * score.accuracy:.1f} % of the validation examples"
        self.watch.update(Progress(phase=f"training {what}", done=done / most, detail=detail))
        return not self.clock.over()

    def _say(self, phase: str) -> None:
        self.watch.update(Progress(phase=phase))

    # --- what is told

    def _outcome(
        self,
        found: BlockLocalisation,
        block: Block,
        why: str,
        best: BlockCandidate | None,
        slots: Sequence[Slot],
    ) -> ExampleRepair:
        healed = None
        if best is not None and self.methods:
            repaired = self.methods[0].accuracy["repair"].repaired
            healed = Rate(hits=repaired, n=self.files[0].record.failing)
        result: RepairResult = "sampled" if healed is not None and healed.hits else "violated"
        repair = BlockRepair(
            localisation=found,
            block=block.name,
            why=why,
            places=() if best is None else tuple(_place_in_block(slot, best) for slot in slots),
            examples=tuple(file.record for file in self.files),
            before={file.record.role: file.accuracy(file.before) for file in self.files},
            methods=self._named_methods(repaired=result == "sampled"),
            graph=None if best is None else graph_change(self.request.net, self.folder.attempt),
        )
        net = self.classifier.loaded.net
        # also beside networks that were compared alone: else what lies there would belong to nothing
        written = best is not None or self.request.report or bool(self.together.asked)
        report = str(self.folder.report) if written else None
        outcome = ExampleRepair(
            result=result,
            request=self.request,
            net=str(self.classifier.loaded.path),
            net_sha256=net.sha256,
            out=None,
            out_sha256=None,
            report=report,
            change={},
            decision="argmax",
            efficacy=healed,
            generalisation=self._held_out(),
            blocks=repair,
            wall_s=self.clock.wall_s(),
            repair_s=self.clock.wall_s(),
            versions=versions(),
            machine=machine(self.classifier.device),
            initialisers=net.repairable_sizes(),
            interrupted=self.watch.stopped(),
            timed_out=not self.watch.stopped() and self.clock.over(),
            notes=(NOTHING_PROVED, *(() if report is None else self.replaced)),
        )
        if best is not None:
            outcome = self._with_network(outcome)
        outcome = replace(outcome, headline=examples_in_words(outcome).headline)
        if outcome.report is not None:
            write_record(outcome, Path(outcome.report), self.together.add)
            self.folder.settle(self.together)
        return outcome

    def _named_methods(self, *, repaired: bool) -> tuple[MethodResult, ...]:
        """What was tried, the repair under the name that it gets."""
        if repaired or not self.methods or self.methods[0].out is None:
            return tuple(self.methods)
        return (replace(self.methods[0], out=str(self.folder.attempt)), *self.methods[1:])

    def _held_out(self) -> Rate | None:
        """Of the test examples that were wrong, those that are right now."""
        test = next((file for file in self.files if file.record.role == "test"), None)
        # of no wrong examples there is no share that could be healed
        if test is None or not self.methods or not test.record.failing:
            return None
        return Rate(hits=self.methods[0].accuracy["test"].repaired, n=test.record.failing)

    def _with_network(self, outcome: ExampleRepair) -> ExampleRepair:
        """The outcome with the network that was written: where it will be, and which values differ."""
        repaired = outcome.result == "sampled"
        before = read_network(self.request.net).initialisers()
        after = read_network(self.folder.attempt).initialisers()
        # a block of another architecture has initialisers that the original does not know
        common = {name: value for name, value in before.items() if name in after}
        return replace(
            outcome,
            out=str(self.folder.place(self.together, repaired=repaired)),
            out_sha256=sha256(self.folder.attempt.read_bytes()),
            attempt=not repaired,
            change=initialiser_changes(common, after),
        )


def _place_in_block(slot: Slot, best: BlockCandidate) -> PlaceInBlock:
    name, (before, after) = slot.node.name, slot.channels
    size = int(slot.weight.shape[2])
    groups = int(slot.node.attributes["group"])
    stride = f", stride {slot.stride}" if slot.stride > 1 else ""
    told = f"{size}x{size} convolution, {before} to {after}{stride}{f', {groups} groups' if groups > 1 else ''}"
    kind = best.architecture.get(name, ORIGINAL)
    shares: Mapping[str, float] = best.shares.get(name, {})
    return PlaceInBlock(
        node=name,
        before=told,
        after=told if kind == ORIGINAL else f"{WORDS[kind]}, {before} to {after}{stride}",
        shares=shares,
    )


WORDS = {
    "conv3x3": "3x3 convolution",
    "conv5x5": "5x5 convolution",
    "dilated3x3": "3x3 convolution, dilation 2",
    "separable3x3": "3x3 depthwise and 1x1 convolution",
    "maxpool3x3": "3x3 maximum and 1x1 convolution",
    "avgpool3x3": "3x3 mean and 1x1 convolution",
    "skip": "1x1 convolution of the input itself",
}
"""Operations for people."""
