"""What localisation tells: how responsible each hidden neuron is, and whether interventions bear it out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from birdnn.later import later
from birdnn.records.facts import Machine, SuiteMatch, Units
from birdnn.records.published import CommandLine, Said, publishes
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

    def told(self) -> tuple[LayerResponsibility, ...]:
        """What is published of each layer."""
        return tuple(
            LayerResponsibility(
                value=layer.value,
                node=layer.node,
                responsibility=tuple(layer.responsibility.tolist()),
                positive_mean=tuple(layer.positive.tolist()),
                negative_mean=tuple(layer.negative.tolist()),
            )
            for layer in self.layers
        )

    def most(self, count: int) -> tuple[RankedNeuron, ...]:
        """The most responsible neurons, as they are published."""
        return tuple(
            RankedNeuron(
                rank=rank,
                layer=entry.layer,
                node=self.layers[entry.layer].node,
                neuron=entry.neuron.index,
                responsibility=entry.value,
                positive_mean=entry.positive,
                negative_mean=entry.negative,
            )
            for rank, entry in enumerate(self.ranking()[:count], 1)
        )

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
        # Stable, also in reverse: neurons come from input to output, and equals stay in that order.
        return tuple(sorted(found, key=lambda entry: entry.value, reverse=True))


@publishes("ResponsibleModel", "rank layer node neuron responsibility positive_mean negative_mean")
@dataclass(frozen=True, slots=True, kw_only=True)
class RankedNeuron:
    """One of the most responsible neurons; layers and neurons are counted from 0."""

    rank: Annotated[int, Said("From 1.")]
    layer: int
    node: Annotated[str, Said("The activation's node.")]
    neuron: Annotated[int, Said("Place in the layer's value, flattened.")]
    responsibility: float
    positive_mean: Annotated[float, Said("Of the neuron's output over positive samples.")]
    negative_mean: float


@publishes("LayerModel", "value node responsibility positive_mean negative_mean")
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResponsibility:
    """One hidden layer; the lists have one entry for each neuron."""

    value: Annotated[str, Said("The value that the activation makes.")]
    node: str
    responsibility: tuple[float, ...]
    positive_mean: tuple[float, ...]
    negative_mean: tuple[float, ...]


@publishes("InterventionModel", "k top random_mean random_spread draws broken n")
@dataclass(frozen=True, slots=True, kw_only=True)
class InterventionCheck:
    """Violations that remain on held-out violating points when k neurons are fixed to their positive mean."""

    k: int
    top: Annotated[float, Said("Share that still violates with the k most responsible neurons fixed.")]
    random_mean: Annotated[float, Said("Mean of that share over draws of k neurons that vary at all.")]
    random_spread: Annotated[float, Said("Standard deviation over the draws.")]
    draws: int
    broken: Annotated[float, Said("Share of satisfying points that violate with the top k fixed.")]
    n: Annotated[int, Said("Number of held-out violating points.")]

    @staticmethod
    def of(k: int, top: float, random: Sequence[float], *, broken: float, n: int) -> InterventionCheck:
        """With what the draws say together."""
        return InterventionCheck(
            k=k,
            top=top,
            random_mean=statistics.fmean(random),
            # Of the sample: it asks for two draws at least.
            random_spread=statistics.stdev(random) if len(random) > 1 else 0.0,
            draws=len(random),
            broken=broken,
            n=n,
        )


@publishes(
    "LocalisationModel",
    "name file=path sha256 text outcome note samples uniform_negatives=uniform found_by positives negatives=distinct "
    "layers top interventions=checks",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyLocalisation:
    """One property's answer; `layers`, `top` and `interventions` are empty where there is nothing to localise.

    Attributes:
        found_by: how violating points were looked for. An attack crowds its points where the property fails worst.
        positives, distinct: how many satisfying and how many violating points tell neurons apart, the held-out ones not
            counted.
        layers: from input to output.
        top: as many neurons as were asked for, the most responsible first.
        checks: interventions on points of another seed; empty where that found none.
    """

    name: str
    path: str
    sha256: str
    text: str
    samples: Annotated[int, Said("Uniform points looked at.")]
    uniform: Annotated[int, Said("How many of them violate.")]
    found_by: FoundBy
    positives: int = 0
    distinct: Annotated[int, Said("Different violating points.")]
    layers: tuple[LayerResponsibility, ...] = ()
    top: tuple[RankedNeuron, ...] = ()
    checks: tuple[InterventionCheck, ...] = ()
    note: Annotated[str, Said("Why there is nothing to localise; empty otherwise.")] = ""

    @property
    def outcome(self) -> Literal["localised", "nothing_to_localise"]:
        """Was there something to localise?"""
        return "localised" if self.layers else "nothing_to_localise"

    @property
    def size(self) -> int:
        """Number of hidden neurons that were ranked."""
        return sum(len(layer.responsibility) for layer in self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalizeRequest:
    """Everything that ``localize``'s command line says.

    Attributes:
        props, suite, as_name, units: as for ``repair``.
        form: of responsibility.
        top: how many neurons to name; None: ten, or all of a smaller network.
        command: the command line, for the record.
    """

    net: Path
    props: tuple[Path, ...] = ()
    suite: str | None = None
    as_name: str | None = None
    form: Form = "mean"
    top: int | None = None
    units: Units = "normalised"
    seed: int = 0
    command: CommandLine = ()


@publishes(
    "LocalizeReport",
    "command=request.command outcome interrupted form=request.form net net_sha256 properties=answers suite "
    "units=request.units seed=request.seed wall_s notes versions machine",
    text="What `birdnn localize --json` writes.",
    report=True,
)
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
        words = (f"{a.name}: {f'{a.size:,} neurons' if a.layers else 'nothing to localise'}" for a in self.answers)
        return in_a_line("LocalizeOutcome", words, self.wall_s)

    @property
    def outcome(self) -> Literal["localised", "nothing_to_localise"]:
        """Was there something to localise in any property?"""
        return "localised" if any(answer.layers for answer in self.answers) else "nothing_to_localise"
