"""Replay on onnxruntime: what the network as a file answers, float32, on the CPU."""

from __future__ import annotations

from birdnn.runtime import Session


class OnnxReplay(Session):
    """`Replay` of an ONNX model; the reader has refused before what onnxruntime cannot load."""

    name = "onnxruntime"
