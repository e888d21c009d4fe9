"""`check` on files: what the checker accepts and a run does not bear out, and who may end it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from birdnn.certify.check import Settings
from birdnn.errors import FormatError
from birdnn.formats.onnx import layers_to_onnx
from birdnn.pipeline.checking import Stopped, check_files, progress_reporter
from birdnn.records import CheckOutcome, Progress
from tests.certify.producer import about, certificate, head, write
from tests.cli.conftest import box_property

TINY = 2.0**-25
"""Less than single precision adds to 1."""


class Listener:
    """Hears the news, and wants an end once it has heard so much."""

    def __init__(self, until: int = 10**9) -> None:
        self.until, self.news = until, list[Progress]()

    def update(self, news: Progress) -> None:
        self.news.append(news)

    def stopped(self) -> bool:
        return len(self.news) >= self.until


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """``relu(x0) + relu(x1)``."""
    path = tmp_path / "sum.onnx"
    path.write_bytes(layers_to_onnx([(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]))
    return path


def prop_of(folder: Path, unsafe: str, name: str = "p") -> Path:
    path = folder / f"{name}.vnnlib"
    path.write_text(box_property(2, unsafe))
    return path


def violated(net: Path, prop: Path, semantics: str, *x: float, **more: Any) -> Path:
    proof = {"property": about(prop), "verdict": "violated", "input": [str(Fraction(v)) for v in x], **more}
    return write(net.parent / "c.json.gz", head(net, semantics, [proof]))


def checked(net: Path, props: list[Path], path: Path, **settings: Any) -> CheckOutcome:
    return check_files(net, props, path, settings=Settings(**settings))


def test_what_was_checked_is_recorded(net: Path, tmp_path: Path) -> None:
    holds, other = prop_of(tmp_path, "(>= Y_0 3.0)"), prop_of(tmp_path, "(>= Y_0 4.0)", "other")
    path = write(tmp_path / "c.json.gz", certificate(net, [holds, other]))
    found = checked(net, [other, holds], path, sample=1, seed=5)
    assert (found.accepted, found.said) == (True, "float64, all 2 leaves; exact, 2 of 2")
    assert (found.net, found.networks, found.certificate) == (net, {}, path)
    assert (found.semantics, found.arithmetic, found.sample, found.seed) == ("real", "float64", 1, 5)
    assert [(Path(p.path).name, p.verdict, p.leaves) for p in found.properties] == [
        ("other.vnnlib", "proved", 1),
        ("p.vnnlib", "proved", 1),
    ]
    assert all(p.exactly is None and p.replayed is None for p in found.properties)


def test_a_counterexample_is_run(net: Path, tmp_path: Path) -> None:
    broken = prop_of(tmp_path, "(>= Y_0 1.5)")
    found = checked(net, [broken], violated(net, broken, "real", 0.75, 0.75))
    assert (found.accepted, found.said) == (True, "1 violated, exact, onnxruntime")
    (entry,) = found.properties
    assert (entry.verdict, entry.exactly, entry.replayed) == ("violated", True, True)


def test_what_only_the_runtime_violates_is_said(net: Path, tmp_path: Path) -> None:
    rounds = prop_of(tmp_path, "(<= Y_0 1.0)")
    found = checked(net, [rounds], violated(net, rounds, "float32", 1.0, TINY))
    assert found.accepted
    assert found.said == "1 violated, onnxruntime alone: in exact arithmetic the input does not violate"
    assert (found.properties[0].exactly, found.properties[0].replayed) == (False, True)


def test_what_no_run_violates_is_rejected_though_the_checker_accepts_it(net: Path, tmp_path: Path) -> None:
    """The sum is above 1, and single precision rounds it to 1; nothing of the acceptance is left."""
    above = prop_of(tmp_path, "(> Y_0 1.0)")
    found = checked(net, [above], violated(net, above, "real", 1.0, TINY))
    assert not found.accepted
    assert found.said == "proof of p.vnnlib: the input does not violate the property when onnxruntime runs it"
    assert (found.semantics, found.assumptions, found.properties) == (None, {}, ())


def test_an_input_beside_a_proof_is_run_too(net: Path, tmp_path: Path) -> None:
    """Over the reals the sum of x1 at least 2**-26 and x0 = 1 is above 1; when run it is 1."""
    prop = tmp_path / "p.vnnlib"
    names = "".join(f"(declare-const {name} Real)\n" for name in ("X_0", "X_1", "Y_0"))
    box = f"(assert (= X_0 1.0))\n(assert (>= X_1 {TINY / 2!r}))\n(assert (<= X_1 1.0))\n"
    prop.write_text(names + box.replace(repr(TINY / 2), f"{TINY / 2:.40f}") + "(assert (<= Y_0 1.0))\n")
    data = certificate(net, [prop])
    assert data is not None
    data["proofs"][0]["executed"] = ["1", str(Fraction(TINY))]
    path = write(tmp_path / "c.json.gz", data)
    found = checked(net, [prop], path)
    assert found.accepted, found.said
    assert found.said.endswith("; over the reals alone: in onnxruntime an input violates what is proved")
    assert (found.properties[0].verdict, found.properties[0].replayed) == ("proved", True)
    data["proofs"][0]["executed"] = ["1", "0.5"]
    found = checked(net, [prop], write(path, data))
    assert not found.accepted
    assert "does not violate the property when onnxruntime runs it" in found.said


def test_what_the_checker_rejects_is_rejected(net: Path, tmp_path: Path) -> None:
    holds, other = prop_of(tmp_path, "(>= Y_0 3.0)"), prop_of(tmp_path, "(>= Y_0 4.0)", "other")
    found = checked(net, [other], write(tmp_path / "c.json.gz", certificate(net, [holds])))
    assert not found.accepted
    assert found.said.startswith("0 proofs speak about the property")
    assert found.properties == ()


def test_a_file_that_is_missing_is_no_rejection(net: Path, tmp_path: Path) -> None:
    holds = prop_of(tmp_path, "(>= Y_0 3.0)")
    with pytest.raises(FormatError, match=r"none\.gz"):
        checked(net, [holds], tmp_path / "none.gz")


def test_whoever_watches_may_end_it(net: Path, tmp_path: Path) -> None:
    """As an exception: nothing is known then, neither accepted nor rejected."""
    holds = prop_of(tmp_path, "(>= Y_0 3.0)")
    path = write(tmp_path / "c.json.gz", certificate(net, [holds]))
    patient = Listener()
    assert check_files(net, [holds], path, settings=Settings(), watch=patient).accepted
    assert patient.news
    with pytest.raises(Stopped):
        check_files(net, [holds], path, settings=Settings(), watch=Listener(until=0))


def test_news_of_a_check() -> None:
    watch, over = Listener(until=2), [False]
    seen = progress_reporter(watch, lambda: over[0])
    seen("float64", 1_000, 4_000)
    assert watch.news == [Progress(phase="checking float64", done=0.25, detail="1,000 of 4,000 nodes")]
    over[0] = True
    with pytest.raises(Stopped):
        seen("float64", 2_000, 4_000)
    over[0] = False
    seen("float64", 4_000, 4_000)
    with pytest.raises(Stopped):
        seen("float64", 4_000, 4_000)
    assert len(watch.news) == 2
