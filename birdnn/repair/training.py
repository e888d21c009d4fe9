"""Training a classifier, or the part of one behind a value, on examples that it gets wrong without forgetting the rest.

Every method of block repair trains by this one loop, so that they differ in what they may change and in nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from birdnn.sample.pieces import apply_in_memory

_BATCH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a classifier is trained.

    Attributes:
        epochs: passes over the examples at most.
        batch: examples of one step.
        rate: of Adam, for the first step; it falls to nothing along half a cosine.
        patience: epochs without an improvement on the validation examples after which training ends.
        keep: what the original outputs on examples that were right count, against the right classes everywhere.
        failing_share: least weight of failing examples in the loss, however few they are.
    """

    epochs: int = 30
    batch: int = 64
    rate: float = 1e-3
    patience: int = 8
    keep: float = 1.0
    failing_share: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What is learnt from.

    Attributes:
        x: (n, ...) values that the model takes.
        y: (n,) the right classes.
        teacher: (n, classes) outputs to keep where `right`; of failing ones whatever a method imitates.
        right: (n,) examples that the original gets right.
        imitate: failing examples learn the teacher's outputs instead of their class.
    """

    x: Tensor
    y: Tensor
    teacher: Tensor
    right: Tensor
    imitate: bool = False

    def __len__(self) -> int:
        return len(self.y)

    def part(self, places: Tensor) -> Lesson:
        """Some of the examples."""
        return replace(self, x=self.x[places], y=self.y[places], teacher=self.teacher[places], right=self.right[places])

    def weights(self, failing_share: float) -> Tensor:
        """What each example counts, 1 on average: (n,)."""
        failing, n = int((~self.right).sum()), len(self)
        if not failing or failing == n or failing / n >= failing_share:
            return torch.ones(n, device=self.y.device)
        # the sum stays n: the rate means the same whatever the mixture
        heavy, light = failing_share * n / failing, (1 - failing_share) * n / (n - failing)
        return torch.where(self.right, light, heavy)

    def loss(self, y: Tensor, weights: Tensor, keep: float) -> Tensor:
        """Of outputs (n, classes): wrong classes, and outputs that moved where the original is right."""
        # logarithms on both sides: probabilities of a sure teacher are 0 in float32
        moved = kl_div(y.log_softmax(1), self.teacher.log_softmax(1), reduction="none", log_target=True).sum(1)
        wrong = cross_entropy(y, self.y, reduction="none")
        if self.imitate:
            return (weights * moved).mean()
        return (weights * (wrong + keep * self.right * moved)).mean()


@dataclass(frozen=True, slots=True, order=True)
class Score:
    """How good a model is on validation examples; the greater the better: more right ones, then a smaller loss."""

    right: int
    minus_loss: float
    n: int

    @property
    def accuracy(self) -> float:
        """Share of right ones."""
        return self.right / self.n


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exam:
    """Validation examples as values that the model takes, and the right classes."""

    x: Tensor
    y: Tensor

    def score(self, model: nn.Module) -> Score:
        """The model's, in evaluation mode; it is left in it."""
        y = model_outputs(model, self.x)
        loss = float(cross_entropy(y, self.y))
        # NaN compares with nothing: a model that became NaN has to lose, not to stand beside
        return Score(int((y.argmax(1) == self.y).sum()), -loss if loss == loss else -torch.inf, len(self.y))


def model_outputs(model: nn.Module, x: Tensor) -> Tensor:
    """What a model answers in evaluation mode, without gradients."""
    model.eval()
    with torch.no_grad():
        return torch.cat([y for part in torch.split(x, _BATCH) for y in apply_in_memory(model, part)])


def train_model(
    model: nn.Module,
    lesson: Lesson,
    exam: Exam,
    settings: TrainingSettings,
    generator: torch.Generator,
    *,
    epoch: Callable[[int, Score], bool] = lambda number, score: True,
) -> Score:
    """Train what requires a gradient; the model ends as it was at its best on the validation examples.

    The state before training takes part, so that training never ends below where it began.

    Args:
        model: takes the lesson's values.
        lesson, exam: what is learnt, and what decides when to stop.
        settings: see there.
        generator: of the order of examples, on the CPU.
        epoch: told the number of epochs done and the best score so far; False ends the training.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    best, kept, since = exam.score(model), _copied_state(model), 0
    if not parameters or not epoch(0, best):
        return best
    batches = -(-len(lesson) // settings.batch)
    optimiser = torch.optim.Adam(parameters, lr=settings.rate)
    # steps, not epochs: it is asked after each batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs * batches)
    weights = lesson.weights(settings.failing_share)

    def step(places: Tensor) -> None:
        part, counts = lesson.part(places), weights[places]
        optimiser.zero_grad()
        torch.autograd.backward(part.loss(model(part.x), counts, settings.keep))
        optimiser.step()

    for number in range(1, settings.epochs + 1):
        model.train()
        for places in _shuffled_batches(len(lesson), settings.batch, generator):
            apply_in_memory(step, places)  # several smaller steps, where memory does not do for one
            schedule.step()
        score = exam.score(model)
        since += 1
        if score > best:
            best, kept, since = score, _copied_state(model), 0
        if not epoch(number, best) or since >= settings.patience:
            break
    model.load_state_dict(kept)
    model.eval()
    return best


def _shuffled_batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of nearly equal size: batch normalisation wants none of a single example."""
    order = torch.randperm(n, generator=generator)
    return iter(order.tensor_split(-(-n // size)))


def _copied_state(model: nn.Module) -> dict[str, Tensor]:
    # deep: the dictionary holds the live tensors
    return copy.deepcopy(model.state_dict())
