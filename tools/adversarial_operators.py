"""Graphs of all operators that are read, also of those that become others or have interval bounds alone.

``python -m tools.adversarial_operators --networks 10000`` asks of them what `tools.adversarial_graphs` asks of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from tools.adversarial_graphs import MOVES, Draft, Drawn, Move, drawn, main

OPSET = 20
"""The first that has Gelu."""


def _signed(draft: Draft) -> None:
    draft.put(str(draft.rng.choice(["Neg", "Abs"])), [draft.live[-1][0]], draft.last)


def _extremes(draft: Draft) -> None:
    """With a number, with many, or with another value."""
    name, shape = draft.live[-1]
    op = str(draft.rng.choice(["Max", "Min"]))
    alike = [other for other, its in draft.live if its == shape]
    numbers = draft.constant(np.float32(draft.rng.choice([0, 0.5, -1])))
    others = [numbers, draft.constant(draft.terms(*draft.beside())), str(draft.rng.choice(alike))]
    draft.put(op, [name, *(others[k] for k in draft.rng.permutation(3)[: draft.rng.integers(1, 3)])], shape)


def _padding(draft: Draft) -> None:
    name, shape = draft.live[-1]
    mode = str(draft.rng.choice(["constant", "constant", "edge", "reflect"]))
    most = [0, *(min(2, side - 1) if mode == "reflect" else 2 for side in shape[1:])]
    pads = [int(draft.rng.integers(0, side + 1)) for side in (*most, *most)]
    inputs = [name, draft.constant(np.array(pads, np.int64))]
    if mode == "constant" and draft.chance(0.7):
        inputs.append(draft.constant(draft.terms()))
    rank = len(shape)
    padded = tuple(side + pads[axis] + pads[axis + rank] for axis, side in enumerate(shape))
    draft.put("Pad", inputs, padded, mode=mode)


def _parts(draft: Draft) -> None:
    """Two parts, one behind the other turned round or added to it."""
    name, shape = draft.live[-1]
    if shape[1] < 2:
        return
    size = shape[1] // 2
    made = [f"v{len(draft.nodes)}_{side}" for side in "ab"]
    sizes = draft.constant(np.array([size, shape[1] - size], np.int64))
    draft.nodes.append(helper.make_node("Split", [name, sizes], made, name=made[0], axis=1))
    if 2 * size == shape[1] and draft.chance(0.5):
        draft.put("Sum", [*made, made[0]], (1, size, *shape[2:]))
    else:
        draft.put("Concat", made[::-1], shape, axis=1)


def _picks(draft: Draft) -> None:
    name, shape = draft.live[-1]
    axis = int(draft.rng.integers(1, len(shape)))
    count = int(draft.rng.integers(1, 5))
    indices = draft.constant(draft.rng.integers(-shape[axis], shape[axis], count))
    draft.put("Gather", [name, indices], (*shape[:axis], count, *shape[axis + 1 :]), axis=axis)


def _repeats(draft: Draft) -> None:
    name, shape = draft.live[-1]
    counts = [1, *(int(v) for v in draft.rng.integers(1, 3, len(shape) - 1))]
    if draft.chance(0.5):
        repeated = tuple(side * count for side, count in zip(shape, counts, strict=True))
        draft.put("Tile", [name, draft.constant(np.array(counts))], repeated)
    else:
        wide = tuple(count if side == 1 else side for side, count in zip(shape, counts, strict=True))
        draft.put("Expand", [name, draft.constant(np.array(wide))], wide)


def _masks(draft: Draft) -> None:
    name, shape = draft.live[-1]
    alike = [other for other, its in draft.live if its == shape]
    other = draft.constant(draft.terms(*draft.beside())) if draft.chance(0.5) else str(draft.rng.choice(alike))
    mask = draft.constant(draft.rng.integers(0, 2, draft.beside()).astype(bool))
    draft.put("Where", [mask, *((name, other) if draft.chance(0.5) else (other, name))], shape)


def _reductions(draft: Draft) -> None:
    name, shape = draft.live[-1]
    count = int(draft.rng.integers(1, len(shape)))
    axes = sorted(int(axis) + 1 for axis in draft.rng.permutation(len(shape) - 1)[:count])
    reduced = tuple(1 if axis in axes else side for axis, side in enumerate(shape))
    op = str(draft.rng.choice(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"]))
    draft.put(op, [name, draft.constant(np.array(axes))], reduced)


def _slopes(draft: Draft) -> None:
    name, shape = draft.live[-1]
    op = str(draft.rng.choice(["PRelu", "PRelu", "Selu", "HardSigmoid"]))
    inputs = [name]
    if op == "PRelu":
        beside = draft.beside()
        inputs.append(draft.constant(draft.factors(*beside)))
    draft.put(op, inputs, shape)


def _transposed(draft: Draft) -> None:
    if len(draft.last) != 4:
        return
    rng, (_, channels, height, width) = draft.rng, draft.last
    kernel, strides = ([int(v) for v in rng.integers(1, 4, 2)] for _ in range(2))
    group = channels if draft.chance(0.2) else 1
    out = int(rng.integers(1, 4))
    inputs = [draft.live[-1][0], draft.constant(draft.factors(channels, out, *kernel))]
    if draft.chance(0.5):
        inputs.append(draft.constant(draft.terms(out * group)))
    sides = [(side - 1) * s + k for side, s, k in zip((height, width), strides, kernel, strict=True)]
    draft.put("ConvTranspose", inputs, (1, out * group, *sides), strides=strides, group=group)


def _products(draft: Draft) -> None:
    """Of two values: entries, a matrix with its own transpose, a quotient by what is positive."""
    name, shape = draft.live[-1]
    kind = draft.rng.integers(3)
    alike = [other for other, its in draft.live if its == shape]
    if kind == 0:
        draft.put("Mul", [name, str(draft.rng.choice(alike))], shape)
    elif kind == 1 and len(shape) == 3:
        draft.put("Transpose", [name], (1, shape[2], shape[1]), perm=[0, 2, 1])
        draft.put("MatMul", [name, draft.live[-1][0]], (1, shape[1], shape[1]))
    elif kind == 2:
        draft.put("Sigmoid", [str(draft.rng.choice(alike))], shape)
        draft.put("Div", [name, draft.live[-1][0]], shape)
    draft.power = 0


def _functions(draft: Draft) -> None:
    name, shape = draft.live[-1]
    op = str(draft.rng.choice(["Softplus", "Gelu", "HardSwish", "Sin", "Cos", "Erf", "Exp", "Sign", "Ceil", "Floor",
                               "Round", "Pow", "Softmax", "LogSoftmax", "LayerNormalization", "Log", "Sqrt", "Greater",
                               "GreaterOrEqual"]))  # fmt: skip
    inputs, options = [name], dict[str, Any]()
    if op in ("Log", "Sqrt"):
        draft.put("Softplus", inputs, shape)
        inputs = [draft.live[-1][0]]
    if op == "Pow":
        inputs.append(draft.constant(np.float32(draft.rng.choice([2, 3]))))
    if op.startswith("Greater"):  # one value where it is above a constant, another elsewhere
        inputs.append(draft.constant(draft.terms(*draft.beside())))
    if op == "Gelu":
        options["approximate"] = str(draft.rng.choice(["none", "tanh"]))
    if op == "LayerNormalization":
        inputs.append(draft.constant(draft.factors(shape[-1])))
    draft.put(op, inputs, shape, **options)
    if op.startswith("Greater"):
        other = str(draft.rng.choice([value for value, its in draft.live[:-1] if its == shape]))
        draft.put("Where", [draft.live[-1][0], name, other], shape)
        del draft.live[-2]  # truth values, which nothing else reads
    draft.power = 0


def _sums_so_far(draft: Draft) -> None:
    name, shape = draft.live[-1]
    axis = draft.constant(np.array(draft.rng.integers(1, len(shape))))
    exclusive, reverse = (int(v) for v in draft.rng.integers(0, 2, 2))
    draft.put("CumSum", [name, axis], shape, exclusive=exclusive, reverse=reverse)


def _sums_of_products(draft: Draft) -> None:
    """With a matrix along some axis, with what broadcasts beside it, or of one value alone."""
    name, shape = draft.live[-1]
    letters = "bijk"[: len(shape)]
    axis = int(draft.rng.integers(1, len(shape)))
    kind, rest = draft.rng.integers(4), letters.replace(letters[axis], "")
    if kind == 0:
        count = int(draft.rng.integers(1, 5))
        inputs = [name, draft.constant(draft.factors(count, shape[axis]))]
        made = letters.replace(letters[axis], "m")
        grown = (*shape[:axis], count, *shape[axis + 1 :])
        draft.put("Einsum", inputs, grown, equation=f"{letters},m{letters[axis]}->{made}")
    elif kind == 1:
        count = int(draft.rng.integers(1, 4))
        inputs = [draft.constant(draft.factors(count, *shape[1:])), name]
        draft.put("Einsum", inputs, (1, count), equation=f"m{letters[1:]},{letters}->bm")
    elif len(shape) == 2:
        return
    elif kind == 2:
        alike = str(draft.rng.choice([other for other, its in draft.live if its == shape]))
        kept = tuple(size for place, size in enumerate(shape) if place != axis)
        draft.put("Einsum", [name, alike], kept, equation=f"{letters},{letters}->{rest}")
        draft.power = 0
    else:
        kept = tuple(size for place, size in enumerate(shape) if place != axis)
        turned = rest[:1] + rest[:0:-1]
        draft.put("Einsum", [name], (*kept[:1], *kept[:0:-1]), equation=f"{letters}->{turned}")


def _other_sizes(draft: Draft) -> None:
    name, shape = draft.live[-1]
    if len(shape) != 4:
        return
    linear = sum(shape[2:]) >= 6 and draft.chance(0.6)
    by = [float(v) for v in draft.rng.choice([1, 2, 2, 4] if linear else [1, 1.5, 2, 3], 2)]
    sizes = tuple(int(side * growth) for side, growth in zip(shape[2:], by, strict=True))
    if linear and sum(side for side, growth in zip(shape[2:], by, strict=True) if growth != 1) < 6:
        return
    inputs = [name, "", draft.constant(np.array([1, 1, *by], np.float32))]
    kind = str(draft.rng.choice(["half_pixel", "asymmetric"]))
    mode = "linear" if linear else "nearest"
    draft.put("Resize", inputs, (*shape[:2], *sizes), mode=mode, coordinate_transformation_mode=kind)


MORE: tuple[tuple[Move, float], ...] = (
    *((move, weight / 2) for move, weight in MOVES),
    (_signed, 0.05),
    (_extremes, 0.06),
    (_padding, 0.05),
    (_parts, 0.05),
    (_picks, 0.05),
    (_repeats, 0.03),
    (_masks, 0.05),
    (_reductions, 0.05),
    (_slopes, 0.06),
    (_transposed, 0.06),
    (_products, 0.04),
)
MAPS: tuple[tuple[Move, float], ...] = (
    *((move, weight / 2) for move, weight in MORE),
    (_sums_so_far, 0.15),
    (_sums_of_products, 0.25),
    (_other_sizes, 0.15),
)
FUNCTIONS: tuple[tuple[Move, float], ...] = (*MORE, (_functions, 0.2))


def made(seed: int) -> Drawn:
    """The network of a seed; of each third, one with functions of whose executions nothing is claimed."""
    return drawn(seed, MORE if seed % 3 else FUNCTIONS, OPSET)


def mapped(seed: int) -> Drawn:
    """The network of a seed with maps along axes, see `birdnn.formats.maps`."""
    return drawn(seed, MAPS, OPSET)


if __name__ == "__main__":
    raise SystemExit(main(__doc__, made))
