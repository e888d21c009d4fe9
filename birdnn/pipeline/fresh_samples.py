"""After a proof the same question to chance: fresh samples, which share nothing with the prover but the network.

Not one of them may violate. Where one does, also when replayed, the prover is wrong, or the files are not what they
seem; that is no statistic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from birdnn.pipeline.clock import Deadline
from birdnn.pipeline.estimating import replayed_witness, seeded_generator
from birdnn.pipeline.load import Loaded
from birdnn.records import Device, PacBound, Progress, Watch, Witness
from birdnn.sample.draw import BATCH
from birdnn.sample.measures import UNIFORM
from birdnn.sample.pac import shared_delta, upper_limit
from birdnn.sample.pieces import drawable_count, points_per_piece
from birdnn.sample.tally import Tally
from birdnn.spec import Property

SAMPLES = 1_000_000
"""Points of each property that was asked about, where nobody says a number."""

DELTA = 1e-3
"""Error probability of the statements about all properties together."""

_STREAM = 0x1E6
"""Keeps these draws apart from those of training and of `estimate` with the same seed."""


_NEWS_EVERY = 100_000
"""Points, a fraction of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshSamples:
    """What sampling says about properties that are proved.

    Attributes:
        bounds: property -> statement about the points that were drawn, fewer than asked for where time was up.
        contradicted: property -> a replayed point that violates it all the same.
    """

    bounds: dict[str, PacBound]
    contradicted: dict[str, Witness]


def sample_afresh(
    loaded: Loaded,
    proved: Sequence[Property],
    *,
    samples: int,
    seed: int,
    watch: Watch,
    deadline: Deadline,
    device: Device = "cpu",
) -> FreshSamples:
    """Draw ``samples`` uniform points of each proved property's input set, or as many as the deadline allows."""
    # a copy in float32, by torch: another path than the prover's float64 and the replay's onnxruntime
    net = loaded.net.copy().float().to(device)
    bounds: dict[str, PacBound] = {}
    contradicted: dict[str, Witness] = {}
    # small enough for the deadline to be asked often: nothing inside a batch looks at a clock
    batch = drawable_count(min(BATCH[device], points_per_piece(net)), net.n_inputs)
    for index, prop in enumerate(proved):
        of = f" ({index + 1} of {len(proved)})" if len(proved) > 1 else ""
        tally = Tally(net, prop, UNIFORM.draws(prop, seeded_generator(seed, _STREAM, index, device=device)))
        # equal shares; what one leaves the others have
        part = deadline.part(1 / (len(proved) - index))
        while tally.n < samples and not part.over():
            # at the first batch beyond each multiple, without a counter
            if tally.n % _NEWS_EVERY < batch:
                news = f"{tally.n:,} of {samples:,} points"
                phase = f"sampling {prop.name} after its proof{of}"
                watch.update(Progress(phase=phase, done=tally.n / samples, detail=news))
            tally.add(min(batch, samples - tally.n))
        # of no draw there is nothing to state
        if not tally.n:
            continue
        # by the number of proved properties, not of those for which there was time: it was fixed before the first draw
        delta = shared_delta(DELTA, len(proved))
        bounds[prop.name] = PacBound(
            measure=UNIFORM.name,
            epsilon=upper_limit(tally.violations, tally.n, delta),
            delta=delta,
            n=tally.n,
            violations=tally.violations,
        )
        # float32 in torch may be a rounding off where the margin is nearly zero: a run of the file decides
        witness = replayed_witness(loaded, prop, tally.worst)
        if witness is not None:
            contradicted[prop.name] = witness
    return FreshSamples(bounds=bounds, contradicted=contradicted)
