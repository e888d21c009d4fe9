"""How far a repaired network is from the original, anywhere in the domain: found by a search, and proved.

A decision is kept for certain where the original decides so clearly that no change within the proved bounds makes
another one. This is what a measured agreement cannot say: it holds at every input.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from birdnn.boxes import Boxes
from birdnn.certify.check import Rejected
from birdnn.certify.check.apart import constants_apart
from birdnn.chain import NotAChain
from birdnn.errors import InputError, MismatchError
from birdnn.joint import Part, side_by_side
from birdnn.metrics import decisions
from birdnn.network import Network
from birdnn.pipeline.behaviour import outputs_of_both
from birdnn.pipeline.case import Case
from birdnn.pipeline.load import Loaded
from birdnn.pipeline.settings import PreservingSettings
from birdnn.records import ARITHMETIC, Decision, Preservation, Progress, Rate, RepairRequest, Watch
from birdnn.records.limits import Over
from birdnn.repair import Resample
from birdnn.sample import distinct_rows, draw_uniform
from birdnn.sample.draw import BATCH
from birdnn.sample.pieces import drawable_count, evaluate_in_time, multiplications
from birdnn.spec import Region
from birdnn.verify.differing import (
    Difference,
    boxes_needed,
    followed_difference,
    polytopes_apart,
    tighten_difference,
)
from birdnn.verify.effort import batch_for, boxes_within

_SEARCHED = 8  # outputs, those that samples show to change most
_FEW = 1000  # inputs, however dear the network is
_REPLAYED = 8  # points of each, and of each direction
_ROUNDING = 1e-9  # of our own evaluation in float64, beside a proved bound over the reals
_SAME = 1e-3  # of the largest change: bounds that are so close leave room for a constant only
_AT_LEAST = 1e-3  # of the largest change: what is less need not be bounded closely


def require_comparable(case: Case, request: RepairRequest) -> None:
    """Is there anything to prove the closeness of, and over, where it is asked for?

    Raises:
        MismatchError: nobody says which inputs the network is meant for, its outputs are no numbers, or it is none of
            which a difference can be bounded.
    """
    if request.max_difference is None:
        return
    if case.loaded.net.graph.label:
        raise MismatchError(f"{request.net}: gives a label, and --max-difference compares numbers")
    if why := _why_incomparable(case.loaded.net):
        raise MismatchError(f"{request.net}: --max-difference needs bounds of a difference: {why}")
    if case.corners is None:
        told = "--max-difference is about the domain, and nobody says what that is: give --domain"
        raise MismatchError(f"{request.net}: {told}")


def _why_incomparable(net: Network) -> str:
    """Why the change of such a network cannot be bounded; empty where it can."""
    try:
        # of the network and itself, as there is no candidate yet: refused before the work, not after it
        followed_difference(net, net)
    except NotAChain as error:
        return error.reason
    return ""


def too_far_note(request: RepairRequest) -> str:
    """What a user is told where no candidate is known to be as close to the original as was asked for."""
    asked = f"within {request.max_difference:g} of the original (--max-difference) anywhere in the domain"
    return f"No candidate could be proved to be {asked}; this one is the best attempt."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bounded:
    """What was proved of the change, if anything, by whom, and in how many seconds."""

    difference: Difference | None
    method: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Closeness:
    """Compares candidates with the original over a domain.

    Attributes:
        case: with a domain.
        settings: effort.
        seed: of every random draw.
        watch: who is told what is done.
    """

    case: Case
    settings: PreservingSettings
    seed: int
    watch: Watch

    @property
    def corners(self) -> tuple[Tensor, Tensor]:
        """Of the domain, (inputs,) float64 each."""
        if self.case.corners is None:
            raise ValueError("there is no domain")
        return self.case.corners

    def within(self, after: Loaded, most: float, over: Over) -> Bounded:
        """Try to prove that no output changes by more; given up soon where boxes would be too many.

        Args:
            after: the candidate.
            most: how far outputs may be from the original's, network units.
            over: does it have to end?
        """
        # the same to both sides of each output: B - A, and A - B
        enough = torch.full((self.case.loaded.net.n_outputs, 2), most, dtype=torch.float64)
        return self._prove_bounds(after.net, enough, self.settings.boxes, over)

    def preserved(self, after: Loaded, known: Bounded | None, hunt: Resample, over: Over) -> Preservation | None:
        """All that is known of the change; None where no input was found at which both networks give numbers.

        Args:
            after: the repaired network, as read back.
            known: what was proved of it where that was asked for.
            hunt: the search for inputs where networks differ most.
            over: does it have to end?
        """
        self.watch.update(Progress(phase="looking for the largest change"))
        found = self._find_changes(after, hunt, over)
        if found is None:
            return None
        least, greatest, x = found
        if known is None:
            largest = max(float(greatest.amax()), -float(least.amin()), 0.0)
            # a bound close to the largest change takes boxes without end, and says little more than twice as much
            enough = torch.stack([greatest, -least], 1).clamp(min=_AT_LEAST * largest) * self.settings.looser
            known = self._prove_bounds(after.net, enough, self.settings.boxes, over)
        difference = known.difference
        # infinite where nothing is proved: whoever computes with it finds that nothing is kept
        unknown = torch.full_like(least, torch.inf)
        lower, upper = (-unknown, unknown) if difference is None else (difference.lower, difference.upper)
        return Preservation(
            where=f"the domain ({self.case.domain.source})" if self.case.domain else "the domain",
            found_lower=tuple(least.tolist()),
            found_upper=tuple(greatest.tolist()),
            x=tuple(x.tolist()),
            lower=tuple(lower.cpu().tolist()),
            upper=tuple(upper.cpu().tolist()),
            arithmetic=ARITHMETIC["real"],
            method=known.method,
            # bounds that are not as low as was asked hold all the same, and are told; `complete` says that they are not
            boxes=0 if difference is None else difference.boxes,
            seconds=known.seconds,
            complete=difference is not None and difference.complete,
            constants=self._differs_by_constants(after, lower, upper),
            decided=self._kept_decisions(lower.cpu(), upper.cpu(), over),
        )

    def contradiction(self, after: Loaded, found: Preservation) -> str:
        """The input found at which outputs, in float64, change by more than was proved; empty where none does."""
        x = torch.tensor([found.x], dtype=torch.float64)
        x = torch.minimum(torch.maximum(x, self.corners[0]), self.corners[1])  # float32 may not have the domain's ends
        with torch.no_grad():
            # float64 beside bounds over the reals: a run in float32 would contradict a true proof by its rounding
            old, new = (net.copy().double().cpu()(x)[0] for net in (self.case.loaded.net, after.net))
        # relative: where outputs are large, so is what float64 loses of their difference
        slack = _ROUNDING * (old.abs() + new.abs())
        change = new - old
        lower, upper = (torch.tensor(side, dtype=torch.float64) for side in (found.lower, found.upper))
        beyond = (change > upper + slack) | (change < lower - slack)
        if not bool(beyond.any()):
            return ""
        output = int(beyond.nonzero()[0, 0])
        return (
            f"output {output} changes by {float(change[output])!r} at {list(found.x)}, and it was proved that in the "
            f"domain it changes by {found.lower[output]!r} at least and {found.upper[output]!r} at most"
        )

    def _differs_by_constants(self, after: Loaded, lower: Tensor, upper: Tensor) -> bool:
        """Does the checker find, where bounds leave nothing else, that outputs differ by constants within them?"""
        before, largest = self.case.loaded, float(torch.maximum(upper.abs(), lower.abs()).amax())
        # exact arithmetic takes long, and is asked only where the bounds leave room for nothing but constants
        if before.nnet is not None or not bool((upper - lower <= _SAME * largest).all()):
            return False
        try:
            apart = constants_apart(before.path, after.path)
        except (Rejected, InputError):
            return False
        return all(low <= value <= high for low, value, high in zip(lower.tolist(), apart, upper.tolist(), strict=True))

    def _prove_bounds(self, after: Network, enough: Tensor, most_boxes: int, over: Over) -> Bounded:
        """By our own bounds; those of the whole domain alone where it seems to take far more boxes.

        Args:
            after: the candidate.
            enough: see `tighten_difference`.
            most_boxes: fewer of a network that is large.
            over: does it have to end?
        """
        begun, before = time.monotonic(), self.case.loaded.net
        try:
            bound = followed_difference(before, after)
        except NotAChain as error:  # each network by itself would say next to nothing
            return Bounded(difference=None, method=f"none: {error.reason}", seconds=0.0)
        # exact corners, not their float32 points: the bound is to hold at every real input of the domain
        boxes = Boxes(*(side[None] for side in self.corners))
        most, batch = min(most_boxes, boxes_within(self.settings.work, before, bound)), batch_for(before, "cpu")
        told: Callable[[int, float], None] = lambda done, largest: self.watch.update(  # noqa: E731
            Progress(phase="bounding the change", done=min(1.0, done / most), detail=f"at most {largest:.3g}")
        )
        self.watch.update(Progress(phase="bounding the change"))
        # the whole domain in one box first: a bound, if a loose one, is there whatever comes of the rest
        found = tighten_difference(bound, boxes, enough, batch=batch, most_boxes=1, over=over)
        if found is not None and not found.complete:
            generator, limit = torch.Generator().manual_seed(self.seed), self.settings.hopeless * most
            # of a change of weights mostly out of reach: a few dives cost less than 200,000 boxes to learn that
            if boxes_needed(bound, boxes, enough, generator, most=limit, over=over) <= limit:
                more = tighten_difference(bound, boxes, enough, batch=batch, most_boxes=most, over=over, news=told)
                # None: the time was over before even the first bound was made again
                found = found if more is None else more
        return Bounded(difference=found, method=bound.name, seconds=time.monotonic() - begun)

    def _find_changes(self, after: Loaded, hunt: Resample, over: Over) -> tuple[Tensor, Tensor, Tensor] | None:
        """The least and the greatest change of each output, (outputs,), and where some output changes most, (inputs,).

        As the files give it when they are run, at inputs that samples and a search found.
        """
        case, n = self.case, self.case.loaded.net.n_inputs
        nets = tuple(net.copy().float().cpu() for net in (case.loaded.net, after.net))
        generator = torch.Generator().manual_seed(self.seed + 0xFA2)
        # of no outputs: the region is made for its float32 points, which draws are rounded into
        box = _difference_region(self.corners, (), case.loaded.net.n_outputs).float32_box()
        x, change = self._changes_at(nets, self._draw_inputs(generator).clamp(*box), over)
        if not len(x):
            return None
        order = change.abs().amax(0).argsort(descending=True)[:_SEARCHED].tolist()
        # of an output that moves nowhere in the sample an attack would look for a slope that is not there
        changed = [output for output in order if float(change[:, output].abs().amax())] or order[:1]
        joint = side_by_side([Part(net=net, reads=tuple(range(n))) for net in nets], n)
        region = _difference_region(self.corners, changed, case.loaded.net.n_outputs)
        more, its = self._changes_at(nets, hunt(joint, region, generator, True).clamp(*box), over)
        x, change = torch.cat([x, more]), torch.cat([change, its])
        best = [change[:, output].argsort() for output in order]
        # the extremes of each output in both directions, replayed: float32 in torch chose them, runs of the files count
        picked = distinct_rows(
            x[torch.cat([part for ranks in best for part in (ranks[:_REPLAYED], ranks[-_REPLAYED:])])]
        )
        old, new = (_run_file(loaded, picked) for loaded in (case.loaded, after))
        moved = new - old
        return moved.amin(0), moved.amax(0), picked[moved.abs().amax(1).argmax()]

    def _draw_inputs(self, generator: torch.Generator) -> Tensor:
        """Uniform inputs of the domain, (n, inputs): fewer where inputs, or the network, are large."""
        net = self.case.loaded.net
        # at least so many, for a share of inputs needs a number behind it
        worth = max(_FEW, int(self.settings.work / max(1, multiplications(net))))
        return draw_uniform(*self.corners, drawable_count(min(self.settings.points, worth), net.n_inputs), generator)

    def _changes_at(self, nets: tuple[Network, ...], x: Tensor, over: Over) -> tuple[Tensor, Tensor]:
        """Inputs where both give numbers, (m, inputs), and the change of each output, (m, outputs) float64.

        Of the first ones only, where time is over.
        """
        y, z = outputs_of_both(nets[0], nets[1], x, over)
        change = z.double() - y.double()
        # infinite or no number: such an input would be the largest change there is, and mean nothing
        fine = change.isfinite().all(1)
        return x[: len(change)][fine], change[fine]

    def _kept_decisions(self, lower: Tensor, upper: Tensor, over: Over) -> Rate | None:
        """Of uniform inputs, those whose decision no change within these bounds makes another; None without any."""
        known = lower.isfinite().any() | upper.isfinite().any()
        if self.case.decision == "none" or len(lower) < 2 or not bool(known):
            return None
        # other inputs than those by which the change was found, so that the share is one of fresh draws
        x = self._draw_inputs(torch.Generator().manual_seed(self.seed + 0xDEC))
        # float64, with what it may be off by added below: the proved change is one over the reals
        y = evaluate_in_time(self.case.loaded.net.copy().double().cpu(), x.double(), over, most=BATCH["cpu"])
        kept = surely_kept(y, lower, upper, self.case.decision)
        return Rate(hits=int(kept.sum()), n=len(kept))


def _difference_region(domain: tuple[Tensor, Tensor], outputs: Sequence[int], n_outputs: int) -> Region:
    """Of networks A and B side by side: unsafe is each output of B that is above, or below, that of A."""
    lower, upper = (tuple(Fraction(float(value)) for value in side) for side in domain)
    return Region(exact_lower=lower, exact_upper=upper, unsafe=tuple(polytopes_apart(outputs, n_outputs)))


def _run_file(loaded: Loaded, x: Tensor) -> Tensor:
    """Outputs that the file gives when it is run, (n, outputs) float64."""
    engine = loaded.replays[0]
    return torch.stack([torch.tensor(engine(point.numpy())).double().flatten() for point in x])


def surely_kept(y: Tensor, lower: Tensor, upper: Tensor, decision: Decision) -> Tensor:
    """At which points the decision stays what it is, whatever change within bounds, (n,) bool.

    Args:
        y: outputs of the original, (n, outputs) float64.
        lower, upper: the least and the greatest change of each output, (outputs,).
        decision: which output decides.
    """
    if decision == "argmax":
        # the greatest is the least of what is negated, and a change's ends change places
        y, lower, upper = -y, -upper, -lower
    first = decisions(y, "argmin")
    if first is None:
        return torch.zeros(len(y), dtype=torch.bool)
    own = torch.nn.functional.one_hot(first, y.shape[1]).bool()
    # the decided output at its largest against each rival at its least: the bounds of both are not known to go together
    worst = y.gather(1, first[:, None]) + upper[first][:, None] + _ROUNDING * y.abs().amax(1, keepdim=True)
    # what is infinite on both sides is no number, and keeps nothing
    return ((y + lower > worst) | own).all(1) & upper[first].isfinite()
