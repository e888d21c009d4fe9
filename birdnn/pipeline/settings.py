"""How hard the commands try."""

from __future__ import annotations

from dataclasses import dataclass, field

from birdnn.pipeline.clock import remaining_limit
from birdnn.records import RepairRequest
from birdnn.repair import (
    AllLayersSettings,
    FinetuneSettings,
    LinearSettings,
    RampSettings,
    RetrainSettings,
    SlopeTrainingSettings,
)
from birdnn.verify import AttackSettings


def _light_hunt() -> AttackSettings:
    return AttackSettings(evaluations=16_000)


def _output_layer() -> RetrainSettings:
    """The outputs are linear in it: no ridge is needed to stay where first order holds, and points are cheap."""
    return RetrainSettings(parameters=1, ridges=(1e-4,), domain_points=20_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalizeSettings:
    """Effort of `localize_files`.

    Attributes:
        samples: uniform points of each property's regions.
        enough: with fewer violating points among them, an attack looks for more.
        hunt: that attack.
        held_out: of violating and of satisfying points at most, for the check by interventions.
        counts: numbers of neurons that are fixed in that check, beside the number asked for.
    """

    samples: int = 100_000
    enough: int = 100
    hunt: AttackSettings = field(default_factory=AttackSettings)
    held_out: int = 5_000
    counts: tuple[int, ...] = (1, 3, 10, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What a stage of a repair may take of what is left of a time limit when it begins; what it leaves, others have.

    Attributes:
        before: deciding one property on the original; of the whole limit.
        examples: looking for more counterexamples of one property, which are shown.
        training: making one candidate; of what is left to the search.
        comparing: seeing what a candidate keeps.
        deciding: proving a candidate, where that may take all there is.
        measuring, sampling: metrics of the result, and fresh samples of what is proved.
        preserving: bounding the change.
        certifying: writing the certificate and having it checked.
        localising, drawing: for the report.
    """

    before: float = 0.2
    examples: float = 0.05
    training: float = 0.5
    comparing: float = 0.1
    deciding: float = 0.35
    measuring: float = 0.35
    sampling: float = 0.3
    preserving: float = 0.3
    certifying: float = 0.8
    localising: float = 0.5
    drawing: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PreservingSettings:
    """Effort of saying how far a repaired network can be from the original.

    Attributes:
        points: uniform inputs of the domain.
        boxes: for the proof; `work`: fewer of a network so large that their bounds take more multiplications than this.
        hopeless: it is not begun where it seems to take so many times as many.
        looser: what is to be proved where nobody says it, in multiples of the largest change that was found.
    """

    points: int = 100_000
    boxes: int = 200_000
    work: float = 1e12
    # an estimate, by a few dives: what seems a little too large is tried all the same
    hopeless: float = 1.5
    looser: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairSettings:
    """Effort of `repair_files`.

    Attributes:
        retrain, finetune, linear: of the repair methods; what the request says replaces what they say.
        output_layer: of retraining the last affine map alone.
        all_layers: of retraining all layers on bounds.
        slopes: of retraining them until slopes are right.
        localize: of the search for responsible neurons.
        preserving: of saying how far the result can be from the original.
        attack: before each proof, for each property.
        hunt, light_hunt: looking for hard inputs between candidates, and while training.
        before_boxes, before_work: for deciding one property on the original: boxes at most, fewer of a network so large
            that their bounds take more multiplications than this.
        slice_boxes, slice_work: the same for each property on the first candidate; later ones get `slice_growth` more,
            at most `early_growth` in all where another method follows.
            Little at first: a method asks for more margin after a proof that was out of reach, which often makes the
            next one ten times as short.
        rounds: candidates of one method at most; `early_rounds` of one that another follows.
        rounds_before_ties: the same of one that ties may follow (`birdnn.repair.tie`), which are the last resort, and
            `share_before_ties` of the time limit.
        selection_points: points on which candidates are compared.
        reserve_share, reserve_s: kept of a time limit for what follows the search: a share, at most so many seconds.
        page_share, page_least_s, page_s: the same for making the page, where one is wanted; see `page_of`.
        shares: of each stage, of a time limit.
        domain_points, region_points, held_out_points: how many points the metrics are measured on.
        neighbours: of points to be repaired, at most so many for each, and `region_points` in all.
    """

    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    output_layer: RetrainSettings = field(default_factory=_output_layer)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    linear: LinearSettings = field(default_factory=LinearSettings)
    all_layers: AllLayersSettings = field(default_factory=AllLayersSettings)
    ramp: RampSettings = field(default_factory=RampSettings)
    slopes: SlopeTrainingSettings = field(default_factory=SlopeTrainingSettings)
    localize: LocalizeSettings = field(default_factory=LocalizeSettings)
    preserving: PreservingSettings = field(default_factory=PreservingSettings)
    attack: AttackSettings = field(default_factory=AttackSettings)
    hunt: AttackSettings = field(default_factory=AttackSettings)
    light_hunt: AttackSettings = field(default_factory=_light_hunt)
    before_boxes: int = 300_000
    before_work: float = 3e12
    slice_boxes: int = 100_000
    slice_work: float = 1e13
    slice_growth: float = 2.0
    early_growth: float = 2.0
    rounds: int = 8
    early_rounds: int = 4
    rounds_before_ties: int = 2
    share_before_ties: float = 0.5
    selection_points: int = 100_000
    reserve_share: float = 0.15
    reserve_s: float = 120.0
    page_share: float = 0.06
    # `page_share` of a short limit is less than drawing takes
    page_least_s: float = 8.0
    page_s: float = 20.0
    shares: Shares = field(default_factory=Shares)
    domain_points: int = 400_000
    region_points: int = 100_000
    held_out_points: int = 400_000
    neighbours: int = 100

    def limit_of(self, request: RepairRequest, began: float | None) -> float:
        """Seconds that a repair has: of the request's limit, since ``began``, without what is left to the page."""
        timeout = remaining_limit(request.timeout_s, began)
        # whoever makes the page of this result has to hold the limit too
        return timeout - self.page_of(timeout) if request.report else timeout

    def page_of(self, timeout_s: float) -> float:
        """Seconds of a limit that are left to the page: drawing takes its time however short the limit is."""
        wanted = max(self.page_least_s, self.page_share * timeout_s)
        return min(wanted, self.page_s, timeout_s / 3)
