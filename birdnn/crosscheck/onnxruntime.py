"""Replay on onnxruntime: what the network as a file answers, float32, on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from birdnn.graph import Taken
from birdnn.labels import label_of_values
from birdnn.runtime import Session


class OnnxReplay(Session):
    """`Replay` of an ONNX model; the reader has refused before what onnxruntime cannot load."""

    name = "onnxruntime"


class LabelReplay:
    """`Replay` of an ONNX model that gives a label: the values whose greatest it is the place of.

    Both models are run. Where the label is not that of the values, the run is no evidence, and its outputs are NaN.

    Args:
        model: the file's bytes, as for `Session`.
        values: the same with these values as its outputs.
        taken: which of equal values the label is that of.
    """

    name = "onnxruntime"

    def __init__(self, model: bytes, values: bytes, taken: Taken) -> None:
        self._model, self._values, self._taken = Session(model), Session(values), taken

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """The values at one point: (inputs,) -> (values,)."""
        y, given = self._values(x), self._model(x)
        agree = given.size == 1 and int(given[0]) == label_of_values(y.tolist(), self._taken)
        return y if agree else np.full_like(y, np.nan)
