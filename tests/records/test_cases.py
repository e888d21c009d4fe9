"""Every command reads its case alike, by the names of what it was asked."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from birdnn.records import CaseFiles, CompareRequest, LocalizeRequest, RepairRequest

NET, PROP = Path("n.onnx"), Path("p.vnnlib")


def test_a_repair_says_all_of_its_case() -> None:
    request = RepairRequest(
        net=NET, props=(PROP,), keep=(PROP,), suite="acasxu", as_name="N1,1", units="raw", semantics="float32"
    )
    made = CaseFiles.of(request)
    assert all(getattr(made, entry.name) == getattr(request, entry.name) for entry in fields(CaseFiles))


def test_what_a_request_does_not_have_is_as_if_nothing_was_said() -> None:
    assert CaseFiles.of(LocalizeRequest(net=NET, props=(PROP,), units="raw")) == CaseFiles(
        net=NET, props=(PROP,), units="raw"
    )


def test_what_is_said_besides_goes_before() -> None:
    request = CompareRequest(before=NET, after=Path("b.onnx"), props=(PROP,), decision="argmin")
    made = CaseFiles.of(request, net=request.before, decision=None)
    assert made == CaseFiles(net=NET, props=(PROP,))
