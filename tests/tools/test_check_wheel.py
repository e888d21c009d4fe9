"""A wheel without its data would pass every test that runs from the source tree."""

from __future__ import annotations

from tools import check_wheel

LICENCE = "birdnn-0.1.0.dist-info/licenses/LICENSE"


def test_a_complete_wheel_passes():
    names = check_wheel.wanted()
    assert {"birdnn/data/demo.onnx", "birdnn/data/properties/acasxu.toml"} <= names
    assert {f"birdnn/data/properties/prop_{i}.vnnlib" for i in range(1, 11)} <= names
    assert check_wheel.objections([*names, LICENCE]) == []


def test_missing_data_doubles_and_strangers_are_named():
    names = [*check_wheel.wanted(), LICENCE]
    assert check_wheel.objections([n for n in names if n != "birdnn/data/demo.onnx"]) == [
        "missing: birdnn/data/demo.onnx"
    ]
    assert check_wheel.objections([n for n in names if n != LICENCE]) == ["missing: LICENSE"]
    assert check_wheel.objections([*names, LICENCE]) == [f"packed twice: {LICENCE}"]
    assert check_wheel.objections([*names, "properties/prop_1.vnnlib"]) == ["does not belong: properties/prop_1.vnnlib"]
