"""Bounds by auto_LiRPA (Xu et al. 2020, arXiv:2002.12920): IBP, CROWN and alpha-CROWN that others wrote.

Of its interface only what versions 0.3 and 0.7 share is used. It traces the network from plain calls
(`birdnn.crosscheck.traceable`), propagates by its own rules, and shares no code with ours. All arithmetic is float64,
its rounding is not accounted for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from birdnn.bounds.protocol import BoundResult, Question
from birdnn.boxes import Boxes
from birdnn.crosscheck.engines import engine_named, load_engine, require
from birdnn.crosscheck.traceable import ENGINE, Traceable
from birdnn.errors import EngineError
from birdnn.network import Network
from birdnn.records.limits import Over, never, require_time

BoundMethod = Literal["IBP", "CROWN", "CROWN-Optimized"]
"""As auto_LiRPA spells them; the last one is alpha-CROWN."""

ARITHMETIC = "float64 in auto_LiRPA, rounding not accounted for"

_AGREEMENT = 1e-9
"""Relative difference that summing in another order may make between the traced network and ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoLirpaSettings:
    """Effort.

    Attributes:
        method: for every box.
        optimise: alpha-CROWN besides, for batches of at most so many boxes that the first method leaves open. It costs
            20 to 200 times what CROWN does: for the root it pays, later bisecting pays more.
        iterations: of alpha-CROWN.
    """

    method: BoundMethod = "CROWN"
    optimise: int = 1
    iterations: int = 20


class AutoLirpaBound:
    """`MarginBound` by auto_LiRPA; the best single row of each polytope.

    Args:
        net: a network that `Traceable` can say.
        device: where the tensors live.
        settings: effort.

    Raises:
        EngineError: auto_LiRPA is not installed, or does not take this network.
    """

    name = "auto_lirpa"
    record = False

    def __init__(self, net: Network, device: torch.device, settings: AutoLirpaSettings | None = None) -> None:
        self.device = device
        self.over: Over = never
        self.settings = settings or AutoLirpaSettings()
        self.version = require(ENGINE)
        self._engine: Any = load_engine(engine_named(ENGINE), self.version)
        self._net, self._shape, self._inputs = net, Traceable(net).shape, net.n_inputs
        # alpha-CROWN of 0.3 confuses the boxes of a batch where windows have slopes of their own
        self._optimise = 0 if any(node.op == "MaxPool" for node in net.nodes) else self.settings.optimise
        self._modules: dict[str, Any] = {}
        # traced now: what it does not take is refused before any work
        self._module_for(self.settings.method)

    def root(self, boxes: int) -> Tensor:
        """Nothing known of how bounds depend on inputs: ones, shape (boxes, inputs)."""
        return torch.ones(boxes, self._inputs, dtype=torch.float64, device=self.device)

    def bound(self, question: Question, boxes: Boxes, opened: Tensor, inherited: Tensor) -> BoundResult:
        """See `MarginBound.bound`; ``inherited`` becomes the weight of each input in the open rows."""
        del inherited
        lower, plane = self._bound_rows(self.settings.method, question, boxes)
        box, polytope = opened.nonzero(as_tuple=True)
        best, row = lower[box, polytope].max(1)
        weight = (plane.abs().amax(2) * opened[..., None]).sum(1)
        planes = plane[box, polytope, row][:, None]
        minimum = best[:, None]
        if self.settings.method != "CROWN-Optimized":
            best = self._optimise_open(question, boxes, (box, polytope), best)
        return BoundResult(box, polytope, best, planes, minimum, weight)

    def sensitivity(self, question: Question, opened: Tensor, inherited: Tensor) -> Tensor:
        """The coefficients of the inputs in the last linear bounds; all alike where there were none."""
        del question, opened
        return torch.where((inherited > 0).any(1, keepdim=True), inherited, torch.ones_like(inherited))

    def _optimise_open(self, question: Question, boxes: Boxes, items: tuple[Tensor, Tensor], best: Tensor) -> Tensor:
        """Improve the bounds of what is still open, where the boxes are few."""
        box, polytope = items
        # alpha-CROWN is dear: what plain bounds exclude is not asked again
        still = ~question.excluded(best, polytope)
        if not bool(still.any()) or len(boxes) > self._optimise:
            return best
        chosen, place = torch.unique(box[still], return_inverse=True)
        lower, _ = self._bound_rows("CROWN-Optimized", question, boxes[chosen])
        best = best.clone()
        # both are bounds, and the better one is not always the dearer
        best[still] = torch.maximum(best[still], lower[place, polytope[still]].amax(1))
        return best

    def _bound_rows(self, method: BoundMethod, question: Question, boxes: Boxes) -> tuple[Tensor, Tensor]:
        """Lower bounds of all rows, (boxes, polytopes, rows), and their planes, (boxes, polytopes, rows, inputs)."""
        require_time(self.over)
        n, parts, rows = len(boxes), *question.b.shape
        # a matrix of rows is folded into the last layer, and bounded tighter than outputs one by one
        c = question.a.flatten(0, 1).expand(n, -1, -1).contiguous()
        module = self._module_for(method)
        shape = (n, *self._shape)
        perturbation = self._engine.PerturbationLpNorm(
            norm=float("inf"), x_L=boxes.lower.reshape(shape), x_U=boxes.upper.reshape(shape)
        )
        x = self._engine.BoundedTensor(boxes.centres().reshape(shape), perturbation)
        asked: dict[str, Any] = {}
        if method == "CROWN":
            # of the other methods no coefficients are read: their planes stay zero, and cut nothing
            asked = {"return_A": True, "needed_A_dict": {module.output_name[0]: [module.input_name[0]]}}
        with _in_double():
            answer = module.compute_bounds(x=(x,), C=c, method=method, bound_upper=False, **asked)
        lower = answer[0].detach().reshape(n, parts, rows) - question.b
        lower = lower.where(lower.isfinite(), torch.nan)  # clipping would take an overflow for a distance
        plane = torch.zeros(n, parts * rows, self._inputs, dtype=torch.float64, device=self.device)
        if asked:
            plane = _dense_coefficients(answer[2], module, plane)
        return lower, plane.reshape(n, parts, rows, self._inputs)

    def _module_for(self, method: str) -> Any:
        """The traced network; alpha-CROWN has one of its own, for it leaves slopes behind that CROWN trips over."""
        kind = "optimised" if method == "CROWN-Optimized" else "plain"
        if kind not in self._modules:
            self._modules[kind] = self._trace_network()
        return self._modules[kind]

    def _trace_network(self) -> Any:
        plain = Traceable(self._net).to(self.device).eval()
        options = {
            "conv_mode": "matrix",
            "sparse_features_alpha": False,
            "sparse_spec_alpha": False,
            "optimize_bound_args": {"iteration": self.settings.iterations},
        }
        generator = torch.Generator().manual_seed(0)
        # traced with one and tried with all three: what took a batch of one for a constant is found out
        points = torch.rand(3, *self._shape, generator=generator, dtype=torch.float64).to(self.device)
        try:
            with _in_double():
                module = self._engine.BoundedModule(plain, points[:1], bound_opts=options, device=self.device)
                found = module(points)
        except EngineError:
            raise
        except Exception as error:
            told = f"version {self.version} does not take this network ({type(error).__name__}: {error})"
            raise EngineError(ENGINE, told) from error
        wanted = self._net.copy().to(device=self.device, dtype=torch.float64)(points.flatten(1))
        if not torch.allclose(found.detach(), wanted.detach(), rtol=_AGREEMENT, atol=_AGREEMENT):
            raise EngineError(ENGINE, f"version {self.version} traces another network than the file holds")
        return module


def _dense_coefficients(found: Any, module: Any, nothing: Tensor) -> Tensor:
    """Those of the linear lower bounds, dense, shaped as `nothing`; `nothing` where a version keeps them otherwise."""
    a = found[module.output_name[0]][module.input_name[0]]["lA"]
    return a.detach().reshape(nothing.shape) if isinstance(a, Tensor) and a.numel() == nothing.numel() else nothing


@contextmanager
def _in_double() -> Iterator[None]:
    """Tensors that auto_LiRPA makes without saying a type become float64; what it warns of is not for our users."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)
