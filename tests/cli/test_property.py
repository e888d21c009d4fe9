"""`birdnn property`: from a rule to a file, from a file to words, from one version of VNN-LIB to the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from torch import nn

import birdnn
from birdnn.errors import MismatchError
from birdnn.formats.vnnlib_text import property_text
from birdnn.meaning import meaning_of
from birdnn.pipeline.stating import restate_property
from tests.cli.conftest import Call

RULE = ("--when", "x0 > 0.5", "--never", "y0 is max")


def test_from_idea_to_proof(call: Call, demo: Path) -> None:
    """If input 0 is above 0.5 then output 0 must not be the largest: written, said, and decided."""
    made = call("property", "make", "--net", "demo.onnx", *RULE, "--out", "r.vnnlib")
    assert made.status == 0, made.err
    assert "never y0 is max, when x0 > 0.5" in made.out
    assert "COC is maximal (WL, WR, SL, SR ≤ COC)" in made.out
    assert "49,921.59 < rho ≤ 60,760 ft" in made.out
    assert call("verify", "--net", "demo.onnx", "--prop", "r.vnnlib", "--quiet").status == 1
    same = birdnn.rule("demo.onnx", when={"x0": (0.5, 0.7)}, never="y0 is max", name="r")
    assert len(same.regions[0].unsafe) == 1


def test_both_versions_say_the_same(call: Call, demo: Path) -> None:
    """There and back, with the shapes of the network; every property of the suite."""
    for number in range(1, 11):
        file = f"prop_{number}.vnnlib"
        for to, source, target in (("2.0", file, f"two_{file}"), ("1.0", f"two_{file}", f"one_{file}.gz")):
            done = call("property", "convert", source, "--net", "demo.onnx", "--to", to, "--out", target)
            assert done.status == 0, done.err
        before, after = (meaning_of(birdnn.load_property(name)) for name in (file, f"one_{file}.gz"))
        assert before == after
    assert (
        "(declare-input X real [1,1,1,5])" in Path("two_prop_1.vnnlib").read_text()
        or "[1,5]" in Path("two_prop_1.vnnlib").read_text()
    )


def test_a_property_is_recognised_by_what_it_says(call: Call, demo: Path) -> None:
    Path("mine.vnnlib").write_bytes(Path("prop_8.vnnlib").read_bytes())
    said = call("property", "explain", "mine.vnnlib", "--net", "demo.onnx").out
    assert "prop_8 of suite acasxu" in said
    assert "WR ≤ COC and WR ≤ WL" in said
    plain = call("property", "explain", "mine.vnnlib").out
    assert "Y_2 ≤ Y_0 and Y_2 ≤ Y_1" in plain


def test_raw_units_are_those_of_the_rule(call: Call, demo: Path) -> None:
    done = call("property", "make", "--net", "demo.onnx", "--when", "rho > 55000, v_own in [1100, 1200]", "--always",
                "COC is min", "--units", "raw", "--out", "far.vnnlib")  # fmt: skip
    assert done.status == 0, done.err
    assert "55,000 < rho ≤ 60,760 ft" in done.out
    assert "1,100 ≤ v_own ≤ 1,200 ft/s" in done.out
    assert "(raw units)" in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--never", "y0 is mx"), "at 'mx' (character 7): expected max or min"),
        ((), "one of never and always"),
        (("--never", "y0 is max", "--always", "y0 is min"), "one of never and always"),
        (("--never", "y0 is max", "--when", "x0 > 0.9"), "lower bound 0.9 above upper bound"),
        (("--never", "y0 is max", "--domain", "absent.toml"), "absent.toml"),
        (("--never", "y0 is max", "--out", "r.txt"), "ends in .vnnlib"),
        (("--never", "y0 is max", "--out", "prop_1.vnnlib"), "is there already"),
    ],
)
def test_what_cannot_be_is_refused(call: Call, demo: Path, arguments: tuple[str, ...], told: str) -> None:
    """Status 4, and nothing is written or lost."""
    before = {path.name: path.read_bytes() for path in demo.iterdir()}
    out = () if "--out" in arguments else ("--out", "new.vnnlib")
    done = call("property", "make", "--net", "demo.onnx", *arguments, *out)
    assert done.status == 4
    assert told in done.err
    assert {path.name: path.read_bytes() for path in demo.iterdir()} == before


@pytest.mark.parametrize("words", [("make", "--never", "y0 is max"), ("relate", "--rising", "x0:y0")])
def test_a_network_of_no_suite_is_refused(call: Call, demo: Path, words: tuple[str, ...]) -> None:
    done = call("property", *words, "--net", "demo.onnx", "--as", "N1,1", "--out", "new.vnnlib")
    assert done.status == 2
    assert "say which with --suite" in " ".join(done.err.replace("│", " ").split())


def test_a_relation_takes_both_networks_as_verify_does(call: Call, demo: Path) -> None:
    """The last of two would be taken in silence otherwise, and it need not be the one that a suite knows."""
    shutil.copy("demo.onnx", "other.onnx")
    both = ("--net", "f=demo.onnx", "--net", "g=other.onnx")
    done = call("property", "relate", *both, "--within", "0.1", "--out", "q.vnnlib")
    assert (done.status, done.out) == (0, "q.vnnlib\n")
    assert "birdnn verify --net f=demo.onnx --net g=other.onnx --prop q.vnnlib decides it" in done.err
    assert call("verify", *both, "--prop", "q.vnnlib", "--quiet").out == "unsat\n"
    for words, told in (
        (("--net", "demo.onnx", "--net", "other.onnx", "--within", "0.1"), "--net NAME=FILE"),
        (("--net", "a=demo.onnx", "--net", "g=other.onnx", "--within", "0.1"), "calls the networks f and g"),
        ((*both, "--rising", "x0:y0"), "about one network"),
    ):
        done = call("property", "relate", *words, "--out", "new.vnnlib")
        assert done.status in (2, 4)
        assert told in " ".join(done.err.replace("│", " ").split())
    birdnn.save_network(nn.Linear(5, 2), "small.onnx", input_shape=5)
    done = call("property", "relate", *both[:2], "--net", "g=small.onnx", "--within", "0.1", "--out", "new.vnnlib")
    assert (done.status, "of different sizes: 5 inputs, 5 outputs and 5 inputs, 2 outputs" in done.err) == (4, True)


def test_a_conversion_keeps_the_words(call: Call, demo: Path) -> None:
    assert call("property", "convert", "prop_8.vnnlib", "--to", "2.0", "--out", "two.vnnlib").status == 0
    said = Path("prop_8.vnnlib").read_text().splitlines()[0]
    assert said.startswith(";")
    assert Path("two.vnnlib").read_text().startswith(said)


def test_a_domain_of_another_network_says_whose_it_is(demo: Path) -> None:
    (demo / "small.toml").write_text("lower = [0, 0]\nupper = [1, 1]\n")
    with pytest.raises(MismatchError, match=r"the domain small\.toml has 2 inputs; the network has 5"):
        birdnn.rule("demo.onnx", never="y0 is max", domain="small.toml")
    small = birdnn.load_network(nn.Linear(2, 5), input_shape=(2,))
    with pytest.raises(MismatchError, match="the domain of suite acasxu has 5 inputs; the network has 2"):
        birdnn.rule(small, never="y0 is max", suite="acasxu", as_name="N1,1")


def test_a_domain_is_a_rule_a_file_or_corners(demo: Path) -> None:
    """Where neither a suite nor a header says it."""
    Path("box.toml").write_text("lower = [-0.5, -0.5, -0.5, -0.5, -0.5]\nupper = [0.5, 0.5, 0.5, 0.5, 0.5]\n")
    text = ", ".join(f"x{i} in [-0.5, 0.5]" for i in range(5))
    domains = [text, {f"x{i}": (-0.5, 0.5) for i in range(5)}, "box.toml", Path("box.toml"), ([-0.5] * 5, [0.5] * 5)]
    found = {meaning_of(birdnn.rule("demo.onnx", never="y0 > 1", domain=domain)) for domain in domains}
    assert len(found) == 1


def test_numbers_that_no_decimal_says_are_multiplied() -> None:
    """Version 2.0 has no quotients."""
    third = birdnn.rule("birdnn/data/demo.onnx", never="3y0 > 1 and 7*y1 <= 2")
    prop = birdnn.box_property("p", lower=["0", "0"], upper=["1", "1"], unsafe=[([["0.5", "1"]], ["0.25"])])
    for each in (third, prop):
        for version in ("1.0", "2.0"):
            restate_property(each, version)  # type: ignore[arg-type]
    from fractions import Fraction

    odd = birdnn.box_property("odd", lower=[Fraction(1, 3)], upper=[1], unsafe=[([[Fraction(1, 7)]], [Fraction(2, 3)])])
    assert "(/ 1 3)" in property_text(odd)
    assert "(>= (* 3.0 X[0]) 1.0)" in property_text(odd, "2.0")
    restate_property(odd, "2.0")


def test_what_would_say_something_else_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer with a planted bug is caught by reading back."""
    from birdnn.pipeline import stating

    prop = birdnn.box_property("p", lower=[0], upper=[1], unsafe=[([[1]], [0])])
    right = stating.property_text
    monkeypatch.setattr(stating, "property_text", lambda *a, **k: right(*a, **k).replace("<= Y", "< Y"))
    with pytest.raises(birdnn.SpecError, match="would say something else"):
        restate_property(prop, "2.0")
