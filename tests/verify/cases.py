"""Replays, watches and efforts for tests of the search."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from birdnn.bounds.protocol import Question
from birdnn.crosscheck.onnxruntime import OnnxReplay
from birdnn.formats.onnx import layers_to_onnx, network_from_onnx
from birdnn.network import Network
from birdnn.records import Progress
from birdnn.records.limits import never
from birdnn.spec import Property
from birdnn.verify import AttackSettings, SearchSettings
from birdnn.verify.bounding import make_bound, root_of
from birdnn.verify.treesize import boxes_below
from tests.bounds.builders import Layers

NO_ATTACK = AttackSettings(evaluations=1)
"""So that the search itself has to find what there is to find."""

SHORT_ATTACK = AttackSettings(evaluations=1000)


def effort(**changes) -> SearchSettings:
    """Settings that end soon."""
    return SearchSettings(**{"max_boxes": 200_000, "timeout_s": 60.0, "attack": NO_ATTACK, **changes})


class Engine:
    """A replay by a float32 network in torch; `shift` makes it one that disagrees."""

    def __init__(self, net: Network, shift: float = 0.0) -> None:
        self.name = "torch"
        self.net, self.shift, self.asked = net, np.float32(shift), 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.asked += 1
        with torch.no_grad():
            return self.net(torch.from_numpy(x)[None])[0].numpy() + self.shift


class Impatient:
    """A watch that asks to stop after it was looked at some number of times."""

    def __init__(self, patience: int) -> None:
        self.left, self.news = patience, []

    def update(self, news: Progress) -> None:
        self.news.append(news)

    def stopped(self) -> bool:
        self.left -= 1
        return self.left < 0


class Sleepy(Impatient):
    """A watch that takes its time, to make a search last."""

    def update(self, news: Progress) -> None:
        super().update(news)
        time.sleep(0.01)


def with_replay(layers: Layers | Sequence, op: str = "Relu", alpha: float | None = None) -> tuple[Network, OnnxReplay]:
    """A network, and onnxruntime on its file."""
    data = layers_to_onnx(layers, op, alpha=alpha)
    return network_from_onnx(data), OnnxReplay(data)


def estimate_boxes(net: Network, prop: Property, *, settings: SearchSettings, descents: int) -> float:
    """Estimated number of boxes of a complete proof, by descents from the root of each region."""
    bound, generator = make_bound(net, settings), torch.Generator().manual_seed(settings.seed)
    total = 0.0
    for region in prop.regions:
        question = Question.of(region.unsafe, prop.n_outputs, bound.device)
        work = root_of(bound, region)
        below = boxes_below(bound, question, work, descents=descents, generator=generator, over=never)
        assert below is not None
        total += below
    return total
