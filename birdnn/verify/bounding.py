"""Which bounds a search takes, and what it begins with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch

from birdnn.bounds.compiled.bound import LARGE, CompiledBound, available
from birdnn.bounds.crown import CrownBound
from birdnn.bounds.graph import GraphBound
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.protocol import MarginBound
from birdnn.boxes import Boxes
from birdnn.chain import NotAChain
from birdnn.network import Network
from birdnn.spec import Region
from birdnn.verify.settings import SearchSettings
from birdnn.verify.work import Work

MakeBound: TypeAlias = Callable[[Network, SearchSettings], MarginBound]
"""Makes the bound method of a search, on the settings' device."""


def make_bound(net: Network, settings: SearchSettings) -> MarginBound:
    """The tightest bound method that the network's graph allows, in the form that is fastest for it."""
    device = torch.device(settings.device)
    small = sum(value.numel() for value in net.values().values()) < LARGE
    over_reals = settings.semantics == "real"
    graph = partial(GraphBound, net, device, settings.crown, settings.semantics, settings.record)
    of_graphs = over_reals or net.graph.batched  # a runtime's merged constants are followed in batches only
    if settings.many_inputs and of_graphs:
        bound = graph()
        # graphs are recorded over the reals only, and not with each operator: else a chain is tried, which may be
        if bound.record == settings.record:
            return bound
    try:
        # matrix products of a library are faster for large networks, and graphics devices have no loops
        if device.type == "cpu" and small and available():
            return CompiledBound(net, settings.crown, settings.semantics, settings.record)
        return CrownBound(net, device, settings.crown, settings.semantics, settings.record)
    except NotAChain:
        if of_graphs:
            return graph()
        return IntervalBound(net, device, settings.semantics)


def root_of(bound: MarginBound, region: Region) -> Work:
    """The whole box of a region, of which nothing is known."""
    boxes = Boxes(region.lower[None].to(bound.device), region.upper[None].to(bound.device))
    opened = torch.ones(1, len(region.unsafe), dtype=torch.bool, device=bound.device)
    return Work(boxes, opened, bound.root(1), torch.zeros(1, dtype=torch.int64, device=bound.device))
