"""What localisation tells: how responsible each hidden neuron is, and whether interventions bear it out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from birdnn.later import later
from birdnn.records.facts import Machine, SuiteMatch, Units
from birdnn.records.result import Result, in_a_line

if TYPE_CHECKING:
    import torch

    from birdnn import neurons
else:
    torch, neurons = later("torch"), later("birdnn.neurons")

Form = Literal["mean", "sum"]
FoundBy = Literal["sampling", "sampling and attack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Responsibility:
    """One neuron's part in a violation.

    Attributes:
        neuron: which.
        layer: of which hidden layer, counted from 0.
        value: its responsibility in the form asked for.
        positive, negative: means of its output over positive and over negative samples.
    """

    neuron: neurons.Neuron
    layer: int
    value: float
    positive: float
    negative: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Behaviour:
    """One hidden layer on positive and negative samples.

    Attributes:
        value, node: names of the value that the activation makes, and of its node.
        responsibility: of each neuron, (size,) float64.
        positive, negative: means of the outputs, (size,) float64.
        alive: which outputs vary over the samples, (size,) bool.
    """

    value: str
    node: str
    responsibility: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor
    alive: torch.Tensor

    def __len__(self) -> int:
        return len(self.responsibility)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Localisation:
    """How differently every hidden neuron behaves on positive and on negative samples.

    Attributes:
        form: how responsibility was computed, see `birdnn.localize.responsibility`.
        layers: from input to output.
        positives, negatives: numbers of samples.
    """

    form: Form
    layers: tuple[Behaviour, ...]
    positives: int
    negatives: int

    @property
    def size(self) -> int:
        """Number of hidden neurons."""
        return sum(len(layer) for layer in self.layers)

    def ranking(self) -> tuple[Responsibility, ...]:
        """All neurons, the most responsible first; among equals those closer to the input first."""
        found = [
            Responsibility(
                neuron=neurons.Neuron(layer.value, index), layer=place, value=value, positive=mean, negative=other
            )
            for place, layer in enumerate(self.layers)
            for index, (value, mean, other) in enumerate(
                zip(layer.responsibility.tolist(), layer.positive.tolist(), layer.negative.tolist(), strict=True)
            )
        ]
        return tuple(sorted(found, key=lambda entry: -entry.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class InterventionCheck:
    """What fixing neurons to their positive mean does to violations, for one number of neurons.

    Attributes:
        k: how many neurons are fixed.
        top: share of held-out violating points that still violate with the k most responsible neurons fixed.
        random: the same for draws of k neurons that vary at all; one entry for each draw.
        broken: share of points that satisfied the property and violate it with the k most responsible neurons fixed.
        n: number of held-out violating points.
    """

    k: int
    top: float
    random: tuple[float, ...]
    broken: float
    n: int

    @property
    def random_mean(self) -> float:
        """Mean of `random`."""
        return statistics.fmean(self.random)

    @property
    def random_spread(self) -> float:
        """Standard deviation of `random` over its draws."""
        return statistics.stdev(self.random) if len(self.random) > 1 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PropertyLocalisation:
    """One property's answer.

    Attributes:
        samples: uniform points looked at.
        uniform: how many of them violate.
        found_by: how violating points were looked for. An attack crowds its points where the property fails worst.
        distinct: number of different violating points, the held-out ones not counted.
        localisation: None where there was nothing to localise; `note` then says why.
        checks: interventions on points of another seed; empty where that found none.
    """

    name: str
    path: str
    sha256: str
    text: str
    samples: int
    uniform: int
    found_by: FoundBy
    distinct: int
    localisation: Localisation | None
    checks: tuple[InterventionCheck, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalizeRequest:
    """Everything that ``localize``'s command line says.

    Attributes:
        props, suite, as_name, units: as for ``repair``.
        form: of responsibility.
        top: how many neurons to name.
        command: the command line, for the record.
    """

    net: Path
    props: tuple[Path, ...] = ()
    suite: str | None = None
    as_name: str | None = None
    form: Form = "mean"
    top: int = 10
    units: Units = "normalised"
    seed: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LocalizeOutcome(Result):
    """What ``localize`` found, one answer for each property.

    Attributes:
        interrupted: the user stopped it; later properties are missing.
        notes: what was inferred and what a user should know, one sentence each.
    """

    request: LocalizeRequest
    net: str
    net_sha256: str
    answers: tuple[PropertyLocalisation, ...]
    suite: SuiteMatch | None
    wall_s: float
    versions: Mapping[str, str]
    machine: Machine
    interrupted: bool = False
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        found = ((a.name, a.localisation) for a in self.answers)
        words = (f"{name}: {'nothing to localise' if f is None else f'{f.size:,} neurons'}" for name, f in found)
        return in_a_line("LocalizeOutcome", words, self.wall_s)
