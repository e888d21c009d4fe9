"""What the command line refuses, the Python calls refuse, and the other way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import birdnn
from birdnn.api import asking
from birdnn.cli.options import flag_of_option
from birdnn.pipeline import repairing
from birdnn.records import PropertyRepair, RepairRequest
from birdnn.records.options import RULES, first_objection
from tests.cli.conftest import Call
from tests.report.outcomes import repair_outcome

SAID = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["auto", "retrain", "finetune"]),
        "optimiser": st.sampled_from(["lp", "bias", "pso", "cmaes"]),
        "top": st.integers(1, 20),
        "alpha": st.sampled_from([0.0, 0.3, 1.0]),
        "pairing": st.sampled_from(["input", "output", "projection"]),
        "prefer": st.sampled_from(["decisions", "outputs"]),
        "suite": st.just("acasxu"),
        "as_name": st.just("N1,1"),
        "points_radius": st.just(0.2),
        "points_tolerance": st.just(0.1),
        "crosscheck": st.just(("onnxruntime",)),
        "crosscheck_timeout_s": st.just(5.0),
        "min_agreement": st.sampled_from([0.0, 0.9]),
        "units": st.sampled_from(["normalised", "raw"]),
        "samples": st.integers(0, 5),
        "no_ties": st.booleans(),
    },
)


def typed(said: dict[str, Any]) -> list[str]:
    """The same as the command line says it."""
    words: list[str] = []
    for name, value in said.items():
        if isinstance(value, bool):
            words += [flag_of_option(name)] if value else []
        else:
            words += [flag_of_option(name), ",".join(value) if isinstance(value, tuple) else str(value)]
    return words


@settings(max_examples=60)
@given(said=SAID)
def test_both_refuse_the_same(
    call: Call, net: Path, holds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any]
) -> None:
    seen: list[RepairRequest] = []

    def stand_in(request: RepairRequest, **_: Any) -> PropertyRepair:
        seen.append(request)
        return repair_outcome(request=request)

    for module in (repairing, asking):  # both loaded before: what is put back is their own
        monkeypatch.setattr(module, "repair_files", stand_in)
    typed_in = call("repair", net, "--prop", holds, *typed(said))
    try:
        birdnn.repair(net, holds, out=tmp_path / "out", **said)
        told = ""
    except birdnn.InputError as error:
        told = str(error)
    assert bool(told) == (typed_in.status == 2), (said, told, typed_in.err)
    if not told:
        shell, python = seen
        for name in said:
            assert getattr(shell, name) == getattr(python, name), name
    assert (first_objection("repair", said) is not None) == bool(told)


def test_every_rule_is_about_options_that_there_are() -> None:
    for rules in RULES.values():
        for rule in rules:
            for name in rule.options:
                assert name in RepairRequest.__dataclass_fields__, name
