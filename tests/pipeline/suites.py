"""A small suite on disk, with the network that it knows: two inputs, two outputs, raw units of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from birdnn.formats import read_network
from birdnn.formats.onnx import layers_to_onnx
from birdnn.formats.suite import Suite, content_key
from birdnn.network import weights_sha256

BOX = "(assert (>= X_0 0.0))(assert (<= X_0 1.0))(assert (>= X_1 0.0))(assert (<= X_1 1.0))"
DECLARED = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))


def property_text(unsafe: str, box: str = BOX) -> str:
    """A property of two inputs and two outputs, those of the unit square where nothing else is said."""
    return f"{DECLARED}\n{box}\n(assert {unsafe})\n"


@dataclass(frozen=True)
class Small:
    """Files of a suite called small: network n1 (``y = x``) and what it states."""

    folder: Path
    net: Path

    @property
    def suite(self) -> Suite:
        return Suite.load(self.folder / "small.toml")

    def prop(self, name: str, unsafe: str, box: str = BOX) -> Path:
        """A file of a property, not one of the suite's."""
        path = self.folder / "own" / f"{name}.vnnlib"
        path.parent.mkdir(exist_ok=True)
        path.write_text(property_text(unsafe, box))
        return path


def write_network(path: Path, *layers: tuple[Sequence[Sequence[float]], Sequence[float]]) -> Path:
    path.write_bytes(layers_to_onnx([(np.array(w, float), np.array(b, float)) for w, b in layers]))
    return path


def write_suite(folder: Path, stated: Mapping[str, str], decision: str = "argmax") -> Small:
    """The suite in a folder, with these properties: name -> unsafe outputs over the unit square.

    Inputs are called a (feet, ``raw = 2 x + 10``) and b (``raw = 4 x``), outputs left and right (``raw = 8 y + 1``).
    """
    net = write_network(folder / "n1.onnx", ([[1, 0], [0, 1]], [0, 0]))
    for name, unsafe in stated.items():
        (folder / f"{name}.vnnlib").write_text(property_text(unsafe))
    read = read_network(net)
    quantity = '{{ name = "{}", text = "it", unit = "{}", mean = {}, range = {} }}'
    inputs = [quantity.format("a", "ft", 10, 2), quantity.format("b", "", 0, 4)]
    outputs = [quantity.format("left", "", 1, 8), quantity.format("right", "", 1, 8)]
    properties = [f'{{ name = "{name}", file = "{name}.vnnlib", text = "words of {name}" }}' for name in stated]
    known = f'name = "n1", weights_sha256 = "{weights_sha256(read)}", content_key = "{content_key(read)}"'
    names = ", ".join(f'"{name}"' for name in stated)
    (folder / "small.toml").write_text(
        f'suite = "small"\ndecision = "{decision}"\n'
        f"inputs = [{', '.join(inputs)}]\noutputs = [{', '.join(outputs)}]\nproperties = [{', '.join(properties)}]\n"
        f"networks = [{{ {known}, properties = [{names}] }}]\n"
        "[domain]\nlower = [-1, -2]\nupper = [3, 4]\n"
    )
    return Small(folder, net)
