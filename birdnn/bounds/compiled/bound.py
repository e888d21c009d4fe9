"""`CrownBound` by compiled loops: the same bounds, several times as fast on networks that fit a processor's cache."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from birdnn.bounds.compiled import state
from birdnn.bounds.compiled.trees import (
    TOGETHER,
    as_splits,
    items_to_split,
    leave_out,
    postpone_trees,
    splittable,
    undecided_neurons,
)
from birdnn.bounds.crown import CrownBound, CrownSettings
from birdnn.bounds.protocol import BoundResult, Choices, Left, Question
from birdnn.boxes import Boxes
from birdnn.chain import Chain
from birdnn.network import Network
from birdnn.operators import activation_function
from birdnn.records import LEAF
from birdnn.records.limits import require_time
from birdnn.rounding import LOST64, Semantics

LARGE = 1_000_000
"""Weights of a network from which on matrix products of a library are faster than these loops."""

_LITTLE = 5e7
"""Multiplications so far that are not worth compiling anything: a few dozen milliseconds."""

_LOOK_S = 0.05
"""Seconds between two looks at the clock."""

_OF_A_LAYER = "factor", "executed", "peak", "largest", "smallest"


def available() -> bool:
    """Is there a compiler, and may it be used?"""
    return find_spec("numba") is not None and os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def prepare() -> tuple[bool, str]:
    """Have the loops ready, on disk where there is a place for it, if that takes a minute: are they, and what happened.

    Where they are not, torch bounds everything.
    """
    if not available():
        return False, "is not there, or NUMBA_DISABLE_JIT forbids it"
    began = time.monotonic()
    if _LOOPS.ready(wait=True) is None:
        return False, f"cannot compile here: {_LOOPS.failure}"
    if _LOOPS.found:
        return True, "compiled bounds are ready"
    where = "kept on disk"
    if not _LOOPS.on_disk():
        where = "for this time only: neither the package's folder nor Numba's cache (NUMBA_CACHE_DIR) can be written"
    return True, f"bounds were compiled in {time.monotonic() - began:.0f} s, {where}"


class CompiledBound(CrownBound):
    """See `CrownBound`, whose code bounds everything until the loops are compiled.

    That is once for each version and machine, beside the search, and takes half a minute. From then on results are a
    function of the batch: neither threads nor time change them.

    Args:
        net, settings, semantics, record: see `CrownBound`; it lives on the CPU.
        threads: how many boxes are bounded at the same time; default: as many as torch would use.
        always: all batches go through the loops, and the first one waits until they are compiled.
    """

    def __init__(
        self,
        net: Network | Chain,
        settings: CrownSettings | None = None,
        semantics: Semantics = "real",
        record: bool = False,
        threads: int | None = None,
        always: bool = False,
    ) -> None:
        super().__init__(net, torch.device("cpu"), settings, semantics, record)
        self.threads = threads or torch.get_num_threads()
        self._net = self._pack_net()
        self._rooms: dict[int, list[state.Scratch]] = {}
        # each neuron, and an item besides, has a row that goes through all weights at most
        self._weights = sum(layer.weight.numel() for layer in self._layer)
        self._work = float(self._weights * (self._neurons + 1))  # of a box, about
        self._always, self._asked = always, 0.0
        splits, inputs = self.settings.splits, int(self._net.shape[state.WIDTH, 0])
        # more inputs than that, and a model costs more than some boxes
        there = splits is not None and inputs <= splits.few and inputs + self._neurons < LEAF
        self._splits = splits if there and splittable(self._activation) else None

    def root(self, boxes: int) -> Tensor:
        """See `MarginBound.root`; where neurons are split, how many may be undecided stands in a last column."""
        known = super().root(boxes)
        return known if self._splits is None else torch.cat([known, known.new_full((boxes, 1), self._splits.few)], 1)

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`."""
        self._asked += len(boxes) * self._work
        loops = self._loops()
        if loops is None:
            return self._by_torch(question, boxes, opened, inherited)
        # the last column, where there is one, is not for the loops
        inherited, most = inherited[:, : 2 * self._neurons], inherited[:, 2 * self._neurons :]
        box, polytope = opened.nonzero(as_tuple=True)
        asked = state.Asked(
            lower=_contiguous(boxes.lower),
            upper=_contiguous(boxes.upper),
            # items stand box by box, as `nonzero` lists them: those of a box are a range
            first=np.concatenate([[0], np.cumsum(opened.sum(1).numpy())]),
            polytope=polytope.numpy(),
            a=_contiguous(question.a),
            b=_contiguous(question.b),
            closed=np.ascontiguousarray(question.closed.numpy()),
            inherited=_contiguous(inherited),
        )
        found, left = self._room_for(asked)
        settings = self.settings
        # whoever makes recorded bounds again takes default lines for inner neurons; rows that go one at a time through
        # weights that no cache holds cost more than halves do
        inner = 0 if self.record or self._weights > LARGE else settings.inner_steps
        effort = state.Effort(settings.steps, inner, settings.step_size, settings.decay, settings.hope, self._apart)

        def part(begin: int, end: int, room: state.Scratch, stop: Any) -> None:
            loops.bound(self._net, asked, found, left, effort, room, (begin, end), stop)

        self._run_in_parts(len(boxes), question.b.shape[1], part)
        # changed in place below, and a part of what the search handed in
        most = most.clone()
        closed = self._split_neurons(loops, asked, found, left, most)
        choices = splits = None
        if self.record:
            choices = Choices(torch.from_numpy(found.multipliers), torch.from_numpy(found.slopes))
            splits = as_splits(closed, self._neurons)
        lower, plane, minimum, known = map(torch.from_numpy, (found.lower, found.plane, found.minimum, found.known))
        known = torch.cat([known, most], 1)
        return BoundResult(box, polytope, lower, plane, minimum, known, choices, splits, self._left_of_boxes(left))

    def _split_neurons(
        self, loops: Any, asked: state.Asked, found: state.Found, left: state.Left, column: Tensor
    ) -> list[state.Closed]:
        """Prove items by splitting neurons, where few of them are undecided; ``column`` says how many, and is kept up
        to date."""
        split, n_rows = self._splits, asked.b.shape[1]
        if split is None:
            return []
        most, box = column[:, 0].numpy(), np.repeat(np.arange(len(column)), np.diff(asked.first))
        undecided = undecided_neurons(found)
        items = items_to_split(found, left, box, undecided, most)
        if not len(items):
            return []
        # one for each thread, found by the room that the thread has
        rooms = {id(room): state.tree_room(self._net, n_rows, split.few) for room in self._rooms_for(n_rows)}
        parts = []
        for begin in range(0, len(items), TOGETHER):
            some = items[begin : begin + TOGETHER]
            closed = state.closed_room(box[some], some, n_rows, split.few, split.nodes)

            def part(begin: int, end: int, room: state.Scratch, stop: Any, closed: state.Closed = closed) -> None:
                how = np.array([begin, end, split.steps, split.tried])
                loops.close(self._net, asked, found, room, rooms[id(room)], closed, how, stop)

            self._run_in_parts(len(some), n_rows, part)
            leave_out(left, closed)
            postpone_trees(closed, undecided, most)
            parts.append(closed)
        return parts

    def _left_of_boxes(self, left: state.Left) -> Left:
        """What is left of the boxes that stay open."""
        parent = np.flatnonzero(left.opened.any(1))
        of_boxes = left.lower, left.upper, left.opened, left.score, left.edge, left.suspicious
        lower, upper, *rest = (torch.from_numpy(each[parent]) for each in of_boxes)
        used = torch.from_numpy(left.used) if self.record else None
        opened, score, edge, suspicious = rest
        where, closed = torch.from_numpy(parent), torch.from_numpy(left.closed)
        return Left(closed, where, Boxes(lower, upper), opened, score, edge, suspicious, used)

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """See `CrownBound.sensitivity`."""
        loops = self._loops()
        if loops is None:
            return super().sensitivity(question, opened, inherited[:, : 2 * self._neurons])
        rows = _contiguous(opened.to(torch.float64) @ question.a.abs().sum(1))
        out = np.empty((len(opened), int(self._net.shape[state.WIDTH, 0])))
        room = self._rooms_for(question.b.shape[1])[0]
        loops.sensitivity(self._net, rows, _contiguous(inherited[:, : 2 * self._neurons]), room, out)
        return torch.from_numpy(out)

    def at_a_glance(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """`bound` of boxes after which there may be no others: of few the loops are not loaded, which takes longer."""
        few = not self._always and len(boxes) * self._work <= _LITTLE
        return (self._by_torch if few else self.bound)(question, boxes, opened, inherited)

    def _by_torch(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        known, most = inherited[:, : 2 * self._neurons], inherited[:, 2 * self._neurons :]
        result = super().bound(question, boxes, opened, known)
        return replace(result, inherited=torch.cat([result.inherited, most], 1))

    def _loops(self) -> Any:
        """The compiled loops, where they are ready and know all activations; nothing is compiled for a few boxes."""
        if any(activation.kind not in state.KINDS for activation in self._activation):
            return None
        return _LOOPS.ready(wait=self._always, compile_them=self._asked > _LITTLE)

    def _room_for(self, asked: state.Asked) -> tuple[state.Found, state.Left]:
        items, n_rows, (boxes, n_inputs) = len(asked.polytope), asked.b.shape[1], asked.lower.shape
        planes = n_rows + 1 if n_rows > 1 else 1
        kept = items if self.record else 0
        found = state.Found(
            known=np.empty(asked.inherited.shape),
            lower=np.empty(items),
            plane=np.empty((items, planes, n_inputs)),
            minimum=np.empty((items, planes)),
            multipliers=np.empty((kept, n_rows)),
            slopes=np.empty((kept, self._neurons), np.float32),
        )
        left = state.Left(
            lower=np.empty((boxes, n_inputs)),
            upper=np.empty((boxes, n_inputs)),
            opened=np.empty((boxes, len(asked.a)), np.bool_),
            closed=np.empty(items, np.bool_),
            used=np.empty((kept, planes), np.bool_),
            score=np.empty(boxes),
            edge=np.empty(boxes, np.int64),
            suspicious=np.empty(boxes, np.bool_),
        )
        return found, left

    def _run_in_parts(self, boxes: int, n_rows: int, part: Callable[[int, int, state.Scratch, Any], None]) -> None:
        """Call ``part`` for all boxes, a few at a time; raise `OutOfTime` as soon as it is over."""
        stop = np.zeros(1, np.int8)
        parts = iter(_shrinking_parts(boxes, self.threads))  # the threads share it

        def work(room: state.Scratch) -> None:
            for begin, end in parts:
                part(begin, end, room, stop)

        # compiled code holds no lock of Python's: threads are enough
        futures = [_LOOPS.pool(self.threads).submit(work, room) for room in self._rooms_for(n_rows)]
        left: set[Future[None]] = set(futures)
        try:
            while left:
                left = wait(left, timeout=_LOOK_S).not_done
                require_time(self.over)
        finally:
            # also where time is over: the threads write into arrays that the next call uses again
            stop[0] = 1
            wait(futures)
        for future in futures:
            # raises what a thread raised
            future.result()

    def _rooms_for(self, n_rows: int) -> list[state.Scratch]:
        if n_rows not in self._rooms:
            self._rooms[n_rows] = [state.scratch_room(self._net, n_rows) for _ in range(self.threads)]
        return self._rooms[n_rows]

    def _block_sizes(self, width: state.Integers) -> state.Integers:
        """The last row of `Net.shape`, of layers of these widths: here they are those of one network."""
        return np.zeros_like(width)

    def _pack_net(self) -> state.Net:
        layers, activations = self._layer, self._activation
        width = np.array([layers[0].weight.shape[1], *(len(layer.bias) for layer in layers)], np.int64)
        starts = [np.concatenate([[0], np.cumsum(sizes)]) for sizes in (width[1:] * width[:-1], width[1:])]
        kinds = np.zeros(len(width), np.int64)
        # what the loops do not know is bounded by torch, see `_loops`
        kinds[: len(activations)] = [state.KINDS.get(a.kind, -1) for a in activations]
        # negative: executions are not spoken of, and not even the smallest float32 is paid
        errors = [-1.0] * len(activations)
        if self.semantics == "float32":
            errors = [_least_error(a.kind, a.alpha) for a in activations]
        terms = [layer.terms for layer in layers]
        return state.Net(
            shape=np.stack([width, *starts, kinds, self._block_sizes(width)]),
            matrix=np.stack([_concatenate_flat(m) for m in ([x.weight for x in layers], [x.size for x in layers],
                                                [x.weight for x in terms])]),
            bias=np.stack([_concatenate_flat(x.bias for x in layers), _concatenate_flat(x.bias for x in terms)]),
            layer=np.array([[getattr(layer, name) for layer in layers] for name in _OF_A_LAYER], np.float64),
            activation=np.array([[a.alpha for a in activations], errors], np.float64),
            lost=LOST64,
            linear=self.linear,
        )  # fmt: skip


class _Loops:
    """The compiled loops of this process."""

    def __init__(self) -> None:
        self._warm = False
        self.failure = ""
        self.found = False  # on disk, by whoever compiled them
        self._module: Any = None
        self._compiling: threading.Thread | None = None
        self._pools: dict[int, ThreadPoolExecutor] = {}

    def pool(self, threads: int) -> ThreadPoolExecutor:
        """So many threads, which all bounds of the process share."""
        if threads not in self._pools:
            self._pools[threads] = ThreadPoolExecutor(threads, "bounds")
        return self._pools[threads]

    def ready(self, *, wait: bool = False, compile_them: bool = True) -> Any:
        """The module of them; None while they are compiled, which this begins where asked to, or is to ``wait``."""
        if self._warm:
            return self._module
        # imported here: to load Numba takes longer than the bounds of a few boxes
        if self._module is None:
            from birdnn.bounds.compiled import loops

            self._module = loops
            self.found = self.on_disk()
        # what is on disk is only read; nobody would be faster without it
        wait = wait or self.found
        if self._compiling is None and (wait or compile_them):
            self._compiling = threading.Thread(target=self._warm_up, name="compiling bounds", daemon=True)
            self._compiling.start()  # a daemon: nobody who ends waits for it
        if wait and self._compiling is not None:
            self._compiling.join()
        return self._module if self._warm else None

    def on_disk(self) -> bool:
        """Has this very code been compiled before?"""
        from birdnn.bounds.compiled.compiler import is_on_disk

        return all(
            is_on_disk(entrance) for entrance in (self._module.bound, self._module.close, self._module.sensitivity)
        )

    def _warm_up(self) -> None:
        """Compile, or read what was compiled; torch bounds everything where that fails."""
        try:
            self._bound_one()
        except Exception as error:  # noqa: BLE001 - whatever a compiler says about a machine that we do not know
            self.failure = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        else:
            self._warm = True

    def _bound_one(self) -> None:
        """Bound a box of a network of one neuron: types are all that counts."""
        one, two = np.ones(1), np.ones((1, 1))
        net = state.Net(
            shape=np.array([[1, 1, 1], [0, 1, 2], [0, 1, 2], [0, 0, 0], [0, 0, 0]]),
            matrix=np.ones((3, 2)),
            bias=np.zeros((2, 2)),
            layer=np.array([[0.0] * 2, [0.0] * 2, [1.0] * 2, [1e30] * 2, [0.0] * 2]),
            activation=np.array([[0.0], [-1.0]]),
            lost=LOST64,
            linear=False,
        )
        room = state.scratch_room(net, 1)
        first, polytope, known = np.array([0, 1]), np.array([0]), np.array([[-np.inf, np.inf]])
        asked = state.Asked(-two, two, first, polytope, np.ones((1, 1, 1)), np.zeros((1, 1)), np.ones(1, bool), known)
        slopes, yes = np.empty((1, 1), np.float32), np.ones((1, 1), bool)
        found = state.Found(known.copy(), one.copy(), np.empty((1, 1, 1)), two.copy(), two.copy(), slopes)
        left = state.Left(
            two.copy(), two.copy(), yes.copy(), yes[0].copy(), yes.copy(), one.copy(), first[:1].copy(), yes[0].copy()
        )
        effort, stop = state.Effort(1, 1, 0.5, 0.5, 4.0, 0.0), np.zeros(1, np.int8)
        self._module.bound(net, asked, found, left, effort, room, (0, 1), stop)
        self._module.sensitivity(net, two, known, room, two.copy())
        tree, nothing = state.tree_room(net, 1, 1), np.zeros(0, np.int64)
        closed = state.closed_room(nothing, nothing, 1, 1, 1)
        self._module.close(net, asked, found, room, tree, closed, np.zeros(4, np.int64), stop)


_LOOPS = _Loops()


def _least_error(kind: str, alpha: float) -> float:
    """What a float32 execution of an activation errs by at least, see `birdnn.bounds.rules.execution_error`."""
    _, function = activation_function(kind)
    return max(1.0, abs(alpha)) * (function.float32_error or 0.0)


def _shrinking_parts(boxes: int, threads: int) -> list[tuple[int, int]]:
    """Parts of a batch, ever smaller ones: boxes are not alike, and who is done takes the next part.

    Source: guided self-scheduling, Polychronopoulos and Kuck 1987, doi:10.1109/TC.1987.5009495.
    """
    ends = [0]
    while ends[-1] < boxes:
        ends.append(ends[-1] + -(-(boxes - ends[-1]) // (2 * threads)) if threads > 1 else boxes)
    return list(pairwise(ends))


def _contiguous(tensor: Tensor) -> state.Floats:
    # another layout or type would be another signature, and half a minute of compiling
    return np.ascontiguousarray(tensor.numpy(), np.float64)


def _concatenate_flat(tensors: Iterable[Tensor]) -> state.Floats:
    return np.concatenate([tensor.numpy().ravel() for tensor in tensors])
