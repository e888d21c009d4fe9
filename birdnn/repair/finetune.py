"""Fine-tuning: the outputs of the neurons that are responsible for a violation are scaled.

The k most responsible neurons get a factor 1 + r each, r in [-1, 1], which is a change of the weights that read them;
closer to 0 where less is allowed (`RepairTask.max_change`): no weight then moves by more than that share of itself.
A derivative-free optimiser looks for the r with the best fitness (`birdnn.repair.fitness`); inputs that its best
candidate still gets wrong join the repair set, and it looks again.

Source: Liang et al. 2023 (BIRDNN), arXiv:2305.03365. The hard inputs, the counterexamples of the proof and the smooth
breaking of ties are ours.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.neurons import Neuron, hidden_layers, with_scaled_outputs
from birdnn.records import Progress, Tied, Watch
from birdnn.repair.fitness import Healed, ModificationFitness, Preserved, ScaledOutputs
from birdnn.repair.hunting import aims_of, hunt_hard_inputs, learn_evidence, repair_set, some_of, worst_lack
from birdnn.repair.jacobian import HELD
from birdnn.repair.optimisers import OPTIMISERS, Search, SearchKind
from birdnn.repair.protocol import Evidence, RepairTask
from birdnn.sample import draw_uniform, evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSettings:
    """How neurons are modified.

    Attributes:
        optimiser: which one.
        top: how many neurons; None: ten, or all of a smaller network.
        alpha: what preserving counts against healing, between 0 and 1.
        evaluations: candidates of one search; the paper's release has 20 particles and 100 iterations.
        searches: at most, for one candidate of the repair-verify loop.
        healed_points: of each region at most so many of the repair set, and as many hard ones.
        domain_points, region_points: inputs, from the domain, from the user's data and from each region, whose
            decisions are preserved.
        margin_share, kept_margin_share: margin asked for, as in `RetrainSettings`.
        harder: factor on the margin after a search that could not finish.
    """

    optimiser: SearchKind = "cmaes"
    top: int | None = None
    alpha: float = 0.5
    evaluations: int = 2000
    searches: int = 4
    healed_points: int = 500
    domain_points: int = 1500
    region_points: int = 750
    margin_share: float = 0.02
    kept_margin_share: float = 0.02
    harder: float = 2.0


def scalable_neurons(net: Network) -> frozenset[Neuron]:
    """The hidden neurons whose outputs can be scaled, by weights that read nothing else."""
    return frozenset(neuron for layer in hidden_layers(net) if layer.weights for neuron in layer.neurons())


_MODIFIED = 10


def top_of(net: Network, top: int | None) -> int:
    """How many neurons are modified where ``top`` are asked for; None: ten, or all of a smaller network.

    Raises:
        MismatchError: the network does not have so many; saying which numbers it has.
    """
    size = len(scalable_neurons(net))
    if not size:
        raise MismatchError("the network has no hidden neuron whose output can be scaled: use --method retrain")
    if top is None:
        return min(_MODIFIED, size)
    if not 1 <= top <= size:
        told = f"the network has {size} hidden neurons whose outputs can be scaled; give a number from 1 to {size}"
        raise MismatchError(f"--top {top}: {told}")
    return top


class Finetune:
    """`Repairer` that scales neurons; keeps its factors and its hard inputs between candidates.

    Args:
        task: what is to be repaired; the search runs on its device.
        settings: how.
        ranking: neurons, the most responsible first; those that cannot be scaled are passed over.

    Raises:
        MismatchError: the network has fewer neurons than are to be modified, or the ranking names fewer.
    """

    def __init__(self, task: RepairTask, settings: FinetuneSettings, ranking: Sequence[Neuron]) -> None:
        top = top_of(task.net, settings.top)
        able = scalable_neurons(task.net)
        self.neurons = [neuron for neuron in dict.fromkeys(ranking) if neuron in able][:top]
        if len(self.neurons) < top:
            raise MismatchError(f"{top} neurons are to be modified, {len(self.neurons)} were ranked")
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(task.seed)
        # each search evaluates thousands of candidates on it
        self.teacher = task.teacher().to(task.device)
        self.outputs = ScaledOutputs(self.teacher, self.neurons)
        shares = settings.margin_share, settings.kept_margin_share
        samples = settings.region_points, settings.region_points
        self.aims = aims_of(task, self.teacher, shares=shares, samples=samples, generator=self.generator)
        self.change = torch.zeros(len(self.neurons))
        # r = -1 switches a neuron off, r = 1 doubles it
        self.most, self.held = min(1.0, task.max_change), False
        self.preserved = list(self._preserved_parts())
        self._searches = 0

    def propose(self, evidence: Evidence, *, timeout_s: float, watch: Watch) -> Network:
        """Learn from `evidence`, then search until no hunt finds an unsafe input; hands out a copy."""
        over = self.task.ends(time.monotonic() + timeout_s, watch)
        student = self._with_present_factors(self.teacher)
        learn_evidence(self.aims, evidence, student, self.generator, harder=self.settings.harder, over=over)
        hunt_hard_inputs(self.aims, student, self.task.resample, self.generator, over)
        for attempt in range(self.settings.searches):
            lack = worst_lack(self.aims, student)
            if lack <= 0 or over():
                break
            news = f"search {attempt + 1}, worst input lacks {lack:.2g} of its margin"
            watch.update(Progress(phase="modifying neurons", done=attempt / self.settings.searches, detail=news))
            # another seed for each search: the last one's draws did not suffice
            self._searches += 1
            search = Search(
                lower=torch.full_like(self.change, -self.most).to(self.outputs.device),
                upper=torch.full_like(self.change, self.most).to(self.outputs.device),
                start=self.change.to(self.outputs.device),
                seed=self.task.seed + self._searches,
                evaluations=self.settings.evaluations,
                stopped=over,
            )
            self.change = OPTIMISERS[self.settings.optimiser](self.fitness(student), search).cpu()
            student = self._with_present_factors(self.teacher)
            hunt_hard_inputs(self.aims, student, self.task.resample, self.generator, over)
        # no search leaves its box: it held the change where all ended without what is sought
        self.held = self.most < 1 and worst_lack(self.aims, student) > 0 and not over()
        # from the original's own numbers: the teacher is float32, and the file need not be
        return self._with_present_factors(self.task.net)

    def negatives(self) -> dict[str, Tensor]:
        """The repair set: property name -> inputs that violated it when the regions were characterised."""
        return repair_set(self.aims)

    def remarks(self) -> tuple[str, ...]:
        """Whether the change was held back."""
        return (HELD.format(self.task.max_change),) if self.held else ()

    def ties(self) -> tuple[Tied, ...]:
        """None."""
        return ()

    def fitness(self, student: Network) -> ModificationFitness:
        """Over the repair set and the inputs that are hardest for the student."""
        return ModificationFitness(
            self.outputs,
            list(self._healed_parts(student)),
            self.preserved,
            alpha=self.settings.alpha,
            decision=self.task.decision,
        )

    def _with_present_factors(self, net: Network) -> Network:
        """``net`` with the neurons scaled as they are now."""
        factors = {neuron: 1 + r for neuron, r in zip(self.neurons, self.change.tolist(), strict=True)}
        return with_scaled_outputs(net, factors)

    def _healed_parts(self, student: Network) -> Iterator[Healed]:
        count = self.settings.healed_points
        for aim in self.aims:
            if aim.goal.repair:
                some = aim.negatives[torch.randperm(len(aim.negatives), generator=self.generator)[:count]]
                points = torch.cat([some, aim.hardest(count, student, self.generator)])
                yield Healed(aim.region, points, aim.least, max(aim.margin, 1e-30))

    def _preserved_parts(self) -> Iterator[Preserved]:
        for aim in self.aims:
            some = torch.randperm(len(aim.positives), generator=self.generator)[: self.settings.region_points]
            yield Preserved(aim.region, aim.positives.x[some])
        count, found = self.settings.domain_points, []
        if self.task.domain is not None:
            found.append(draw_uniform(*self.task.domain, count, self.generator))
        if self.task.data is not None:
            found.append(some_of(self.task.data, count, self.generator))
        for x in found:
            yield Preserved(None, x[self._satisfies_goals(x)])

    def _satisfies_goals(self, x: Tensor) -> Tensor:
        """Inputs at which the original violates none of the goals, (n,) bool."""
        y = evaluate(self.teacher, x)
        right = torch.ones(len(x), dtype=torch.bool)
        for aim in self.aims:
            inside = ((x >= aim.region.lower) & (x <= aim.region.upper)).all(1)
            # outside its region a property says nothing
            right &= ~inside | (aim.region.margin(y) > 0)
        return right
