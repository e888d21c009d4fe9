"""An ONNX file in onnxruntime, as a function from all its inputs to all its outputs, both flat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class Session:
    """A model on the CPU, one thread, one sample at a time.

    What it reads are its inputs one after the other, in the order of the file, each flattened; what it gives are its
    outputs that hold floating-point numbers, likewise, or all where none does. So does VNN-LIB count them.

    Args:
        model: the file's bytes, unpacked, external data embedded.

    Attributes:
        n_inputs: of one sample, over all inputs.

    Raises:
        onnxruntime errors: it cannot load the model.
    """

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal alone: warnings would go to the stderr that progress is on
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = self._session.get_inputs()
        self._shapes = {
            # a symbolic size is one sample
            entry.name: tuple(size if isinstance(size, int) and size > 0 else 1 for size in entry.shape)
            for entry in inputs
        }
        outputs = self._session.get_outputs()
        self._outputs = [entry.name for entry in outputs if entry.type in _FLOATS] or [o.name for o in outputs]
        self._dtype = np.float64 if any(entry.type == "tensor(double)" for entry in inputs) else np.float32
        self.n_inputs = sum(math.prod(shape) for shape in self._shapes.values())

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Outputs at one point, in the model's type: (inputs,) -> (outputs,).

        Raises:
            ValueError: ``x`` has the wrong number of values.
            onnxruntime errors: it cannot run the model.
        """
        if x.size != self.n_inputs:
            raise ValueError(f"expected {self.n_inputs} input values, got {x.size}")
        flat, start, fed = x.astype(self._dtype).reshape(-1), 0, {}
        for name, shape in self._shapes.items():
            fed[name] = flat[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        return np.concatenate([np.asarray(value).reshape(-1) for value in self._session.run(self._outputs, fed)])
