"""A repair method has everything that the pipeline calls."""

from __future__ import annotations

from birdnn.repair import Repairer, Retrain


def test_retraining_is_a_repair_method_and_half_a_one_is_none() -> None:
    class Half:
        propose = Retrain.propose

    assert issubclass(Retrain, Repairer)
    assert not issubclass(Half, Repairer)
