"""Files: networks and properties, in and out."""

from __future__ import annotations

from birdnn.formats.onnx import read_onnx as read_network
from birdnn.formats.vnnlib import read_property

__all__ = ["read_network", "read_property"]
