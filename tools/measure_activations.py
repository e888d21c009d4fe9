"""How far runtimes' float32 functions are from exact ones, over all values: ``python -m tools.measure_activations``.

`birdnn.operators` assumes a bound of it. The reference is float64; its own error is below 1e-15.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch

from birdnn.formats.onnx import layers_to_onnx
from birdnn.operators import OPERATORS

CHUNK = 1 << 22
FUNCTIONS = {op: row.function for op, row in OPERATORS.items() if row.function is not None}
NAMES = {function.kind: op for op, function in FUNCTIONS.items() if function.float32_error is not None}
EXACT: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": lambda z: torch.where(z > 0, z, torch.expm1(z.clamp(max=0))),
}


def main() -> None:
    """Print the largest absolute error of each function and runtime, and where it is."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--every", type=int, default=1, help="look at every n-th value only")
    every = arguments.parse_args().every
    runs = {(kind, "onnxruntime"): _onnx(op) for kind, op in NAMES.items()}
    runs |= {(kind, "torch"): _torch(EXACT[kind]) for kind in NAMES}
    worst = dict.fromkeys(runs, (0.0, 0.0))
    for first in range(0, 1 << 32, CHUNK * every):
        bits = np.arange(first, min(first + CHUNK * every, 1 << 32), every, dtype=np.uint64).astype(np.uint32)
        z = bits.view(np.float32)
        z = z[np.isfinite(z)]
        for kind in NAMES if len(z) else ():
            exact = EXACT[kind](torch.from_numpy(z.astype(np.float64))).numpy()
            for name in ("onnxruntime", "torch"):
                error = np.abs(runs[kind, name](z).astype(np.float64) - exact)
                if kind == "elu":
                    error[z > 0] = 0.0  # there it is the identity
                at = int(error.argmax())
                worst[kind, name] = max(worst[kind, name], (float(error[at]), float(z[at])))
    for (kind, name), (most, place) in worst.items():
        assumed = FUNCTIONS[NAMES[kind]].float32_error or 0.0
        print(f"{kind:8} {name:12} {most:.3g} at {place:.9g}; assumed {assumed:g}")
        if not most <= assumed:
            raise SystemExit(f"{name}'s {kind} errs by more than is assumed")


def _onnx(op: str) -> Callable[[np.ndarray], np.ndarray]:
    """One activation between two identities, which change nothing."""
    one = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    model = layers_to_onnx([one, one], op, alpha=1.0)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda z: np.asarray(session.run(None, {"X": z[:, None]})[0])[:, 0]


def _torch(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda z: function(torch.from_numpy(z)).numpy()


if __name__ == "__main__":
    main()
