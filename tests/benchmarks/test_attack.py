"""The benchmark of attacks: what a worker answers, what the summary says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.attack.compare import CODES, COLUMNS, summary
from benchmarks.attack.worker import answer
from birdnn.formats.onnx import layers_to_onnx
from tests.cli.conftest import box_property


@pytest.mark.parametrize("what", ["verify", "falsify"])
def test_a_worker_answers(tmp_path: Path, what: str) -> None:
    net, prop, text = tmp_path / "sum.onnx", tmp_path / "p.vnnlib", box_property(2, "(>= Y_0 1.5)")
    net.write_bytes(layers_to_onnx([([[1.0, 1.0]], [0.0])]))
    prop.write_text(text)
    found = answer(what, net, prop, 10.0)
    assert (found["verdict"], found["boxes"]) == ("sat", 0)
    prop.write_text("nothing")
    assert answer(what, net, prop, 10.0)["verdict"] == "FormatError"


def test_the_summary_counts_what_the_first_attack_finds() -> None:
    rows = []
    for code in CODES:
        for name, of in (("N1,9 prop_7", "ACAS Xu"), ("net p", "family")):
            boxes = "0" if code == "now" else "767"
            values = of, name, "verify", code, "sat", "10", "sat", boxes, "2500", "0.5", "0.6"
            rows.append(dict(zip(COLUMNS, values, strict=True)) | {"commit": "abc"})
    text = summary(rows, 10.0)
    assert "| before | 1 | 0 | 767 |" in text
    assert "| now | 1 | 1 | 0 | median 2,500 |" in text
    assert "| family | net p | sat | verify | sat | 767 | 0.5 | sat | 0 | 0.5 |" in text
