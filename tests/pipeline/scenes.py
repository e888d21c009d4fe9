"""Small networks in memory, and scenes of them, for what pictures are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from birdnn.formats.onnx import network_from_layers
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.planes import Quantity, Scene
from birdnn.spec import Property

Layer = tuple[Sequence[Sequence[float]], Sequence[float]]


class Same:
    """A `Replay` that gives back its input; nothing that is drawn is replayed."""

    name = "same"

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return x


def loaded(*layers: Layer, name: str = "n", op: str = "Relu", digest: str = "") -> Loaded:
    """A network as read from NAME.onnx."""
    made = [(np.array(w, np.float32), np.array(b, np.float32)) for w, b in layers]
    net = network_from_layers(made, op)
    net.sha256 = digest or f"digest of {name}"
    return Loaded(net=net, path=Path(f"/{name}.onnx"), replays=(Same(),), nnet=None, known=None)


def linear(*rows: Sequence[float], bias: Sequence[float] | None = None, name: str = "n") -> Loaded:
    """Outputs that are sums of inputs."""
    return loaded((rows, [0.0] * len(rows) if bias is None else bias), name=name)


def scene(
    net: Loaded,
    prop: Property | None = None,
    *,
    after: Loaded | None = None,
    domain: tuple[Sequence[float], Sequence[float]] | None = None,
    **more: object,
) -> Scene:
    """A scene in network units, with the greatest output deciding."""
    corners = None if domain is None else tuple(torch.tensor(side, dtype=torch.float64) for side in domain)
    made = Scene(
        before=net,
        after=after,
        prop=prop,
        text="what is asked",
        decision="argmax",
        quantities=tuple(Quantity(input=i, name=f"x_{i}") for i in range(net.net.n_inputs)),
        outputs=tuple(f"y_{i}" for i in range(net.net.n_outputs)),
        domain=None,
        encounter=None,
    )
    return replace(made, domain=corners, **more)  # type: ignore[arg-type]
