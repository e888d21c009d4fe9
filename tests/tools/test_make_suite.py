"""The committed suite is what the tool writes from the table and the networks."""

from __future__ import annotations

import pytest

from tools import make_suite


@pytest.mark.acasxu
def test_the_committed_suite_is_up_to_date(acasxu, properties):
    demo = make_suite.ROOT / "birdnn" / "data" / "demo.onnx"
    assert (properties / "acasxu.toml").read_text(encoding="utf-8") == make_suite.suite(acasxu / "onnx", demo)
