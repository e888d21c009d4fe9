"""Made-up results to write and draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from birdnn.records import (
    ARITHMETIC,
    Domain,
    Drawdown,
    Drawdowns,
    Fidelity,
    InitialiserChange,
    KeptAt,
    Machine,
    Neighbours,
    PropertyOutcome,
    PropertyRepair,
    PropertyVerdict,
    Proved,
    Rate,
    RepairRequest,
    SuiteMatch,
    Unknown,
    Verdict,
    VerifyOutcome,
    VerifySettings,
    Violated,
    Witness,
)
from birdnn.report.headline import result_in_words

MACHINE = Machine(system="Linux", cpu="a processor", cores=2, threads=1, memory_gib=8.0)
VERSIONS = {"birdnn": "0.1.0", "python": "3.11.7"}
WITNESS = Witness(x=(0.5, -0.25), y=(1.5,), replayed_by=("onnxruntime",))
PROVED = Proved(boxes=12)
VIOLATED = Violated(witness=WITNESS, boxes=3)
LATE = Unknown(reason="timeout", boxes=100, open_boxes=7)
LOST = Unknown(reason="precision", boxes=5, open_boxes=1)


AROUND = Neighbours(
    name="fixes", points=12, radius=0.01, n=1200, before=0.5, after=0.75, generalisation=Rate(hits=300, n=600)
)


OVER_THE_DOMAIN = KeptAt(
    where="the domain (suite acasxu)",
    ground="domain",
    n=400_000,
    decision_agreement=0.99987,
    mae=8.1e-5,
    size=0.02,
)


def verify_outcome(*verdicts: Verdict) -> VerifyOutcome:
    """One property for each verdict."""
    answers = tuple(
        PropertyVerdict(name=f"prop_{i}", path=f"/p/prop_{i}.vnnlib", sha256="ab", text="text", verdict=v, solve_s=1.5)
        for i, v in enumerate(verdicts)
    )
    return VerifyOutcome(
        net="/n/net.onnx",
        net_sha256="cd",
        verdicts=answers,
        wall_s=2.0,
        solve_s=1.5 * len(verdicts),
        settings=VerifySettings(command=("birdnn", "verify", "--net", "my net.onnx")),
        versions=VERSIONS,
        machine=MACHINE,
    )


def prop(name: str = "prop_8", **changes: Any) -> PropertyOutcome:
    """One that was repaired and proved."""
    made = PropertyOutcome(
        name=name,
        path=f"/p/{name}.vnnlib",
        sha256="ab",
        text="what must hold",
        role="goal",
        before="violated",
        after="proved",
        verify_s=3.25,
        boxes=12345,
        arithmetic=ARITHMETIC["float32"],
        counterexamples=(WITNESS,),
    )
    return replace(made, **changes)


def repair_outcome(**changes: Any) -> PropertyRepair:
    """A proved repair of two properties, everything measured."""
    made = PropertyRepair(
        result="proved",
        request=RepairRequest(net=Path("net.onnx"), command=("birdnn", "repair", "--net", "net.onnx")),
        net="/n/net.onnx",
        net_sha256="cd",
        out="/a/rather/long/path/to/the/folder/net.birdnn/net.repaired.onnx",
        out_sha256="ef",
        report="/a/rather/long/path/to/the/folder/net.birdnn/repair.json",
        properties=(prop(), prop("prop_2", role="keep", before="proved")),
        fidelity=Fidelity(decision_agreement=0.99987, mae=8.1e-5, n=400_000),
        fidelity_note="",
        behaviour=(OVER_THE_DOMAIN,),
        behaviour_kept="kept",
        rule_by="suite",
        region_fidelity={"prop_8": Fidelity(decision_agreement=0.9921, mae=2.5e-4, n=99_946)},
        drawdown=Drawdowns(
            properties=(Drawdown(name="prop_8", share=0.0, n=99_946), Drawdown(name="prop_3", share=1e-5, n=100_000))
        ),
        efficacy=Rate(hits=120, n=120, by_proof=True),
        generalisation=Rate(hits=40, n=40),
        regressions=(),
        change={"W_1": InitialiserChange(count=10, size=250, l1=0.5, linf=0.03)},
        domain=Domain(lower=(-1.0, -1.0), upper=(1.0, 1.0), source="suite acasxu"),
        decision="argmin",
        semantics="float32",
        suite=SuiteMatch(
            name="acasxu", entry="N2,9", by="content", applicable=("prop_2", "prop_8", "prop_3"), not_named=("prop_3",)
        ),
        repair_s=20.0,
        verify_s=15.0,
        sample_s=3.0,
        wall_s=245.2,
        rounds=3,
        versions=VERSIONS,
        machine=MACHINE,
        notes=("The weights are those of N2,9 in suite acasxu.",),
    )
    changed = replace(made, **changes)
    return changed if "headline" in changes else replace(changed, headline=result_in_words(changed).headline)
