"""Replay on onnxruntime: what the network as a file answers, float32, on the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime


class OnnxReplay:
    """`Replay` of an ONNX model.

    Args:
        model: the file's bytes, unpacked (``.gz`` is the reader's business).

    Raises:
        onnxruntime errors: the runtime cannot load the model; the reader has refused such files before.
    """

    name = "onnxruntime"

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        first = self._session.get_inputs()[0]
        self._input = first.name
        self._shape = tuple(d if isinstance(d, int) and d > 0 else 1 for d in first.shape)
        self._dtype = np.float64 if first.type == "tensor(double)" else np.float32

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
        """Outputs at one point, in the model's type: (inputs,) -> (outputs,).

        Raises:
            ValueError: ``x`` has the wrong number of values.
        """
        if x.size != math.prod(self._shape):
            raise ValueError(f"expected {math.prod(self._shape)} input values, got {x.size}")
        (y,) = self._session.run(None, {self._input: x.astype(self._dtype).reshape(self._shape)})
        return np.asarray(y).reshape(-1)
