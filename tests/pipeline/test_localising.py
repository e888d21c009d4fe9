"""Which points violate, who is held responsible, and when nobody is; `tests/cli/test_localize.py` has the command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from birdnn.errors import MismatchError
from birdnn.neurons import Neuron, neurons
from birdnn.pipeline.case import Case
from birdnn.pipeline.clock import no_deadline
from birdnn.pipeline.localising import localise_violated, localize_files, responsible_neurons
from birdnn.pipeline.reading import read_case
from birdnn.pipeline.settings import LocalizeSettings
from birdnn.records import CaseFiles, LocalizeOutcome, LocalizeRequest, Progress, PropertyLocalisation, Unwatched
from birdnn.records.limits import OutOfTime
from birdnn.verify import AttackSettings
from tests.cli.conftest import box_property
from tests.pipeline.suites import write_network

QUICK = LocalizeSettings(samples=2000, enough=50, hunt=AttackSettings(evaluations=2000), held_out=200, counts=(1,))


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """Outputs ``relu(x0)`` and ``relu(x1)``; a third hidden neuron is idle."""
    return write_network(tmp_path / "n.onnx", ([[1, 0], [0, 1], [0, 0]], [0, 0, 1]), ([[1, 0, 0], [0, 1, 0]], [0, 0]))


def prop(folder: Path, unsafe: str, name: str = "p", lower: str = "0.0", upper: str = "1.0") -> Path:
    path = folder / f"{name}.vnnlib"
    path.write_text(box_property(2, unsafe, lower, upper, n_outputs=2))
    return path


def asked(net: Path, *props: Path, effort: LocalizeSettings = QUICK, watch: Any = None, **more: Any) -> LocalizeOutcome:
    return localize_files(LocalizeRequest(net=net, props=props, **more), settings=effort, watch=watch)


def answer(net: Path, path: Path, **more: Any) -> PropertyLocalisation:
    (found,) = asked(net, path, **more).answers
    return found


def case(net: Path, *props: Path) -> Case:
    return read_case(CaseFiles(net=net, props=props))


# --- samples


def test_uniform_points_are_enough_or_an_attack_looks_for_more(net: Path, tmp_path: Path) -> None:
    """At exactly so many they are."""
    quarter = prop(tmp_path, "(>= Y_0 0.75)")
    found = answer(net, quarter)
    assert 400 < found.uniform < 600
    assert (found.found_by, found.distinct, found.samples) == ("sampling", found.uniform, 2000)
    assert found.positives == 2000 - found.uniform
    exactly = answer(net, quarter, effort=replace(QUICK, enough=found.uniform))
    assert exactly.found_by == "sampling"
    more = answer(net, quarter, effort=replace(QUICK, enough=found.uniform + 1))
    assert (more.found_by, more.uniform) == ("sampling and attack", found.uniform)
    assert more.distinct > found.uniform


def test_alike_points_count_once(net: Path, tmp_path: Path) -> None:
    """Of a region of two float32 points one violates: drawn a thousand times, and nothing is left to check it on."""
    path = tmp_path / "p.vnnlib"
    names = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1"))
    box = "(assert (>= X_0 2.0))(assert (<= X_0 2.0000003))(assert (= X_1 0.5))"
    path.write_text(f"{names}{box}(assert (>= Y_0 2.0000002))")
    found = answer(net, path)
    assert (found.uniform, found.distinct, found.checks) == (1, 1, ())
    assert found.top[0].neuron == 0


def test_a_seed_draws_the_same_points(net: Path, tmp_path: Path) -> None:
    path = prop(tmp_path, "(>= Y_0 0.75)")
    one, again, other = (answer(net, path, seed=seed).top for seed in (0, 0, 1))
    assert one == again != other


def test_where_there_is_nothing_to_tell_apart(net: Path, tmp_path: Path) -> None:
    never, always = prop(tmp_path, "(>= Y_0 1.5)", "never"), prop(tmp_path, "(>= Y_0 -1.0)", "always")
    found = asked(net, never, always)
    assert [each.note for each in found.answers] == [
        "no negative sample of never found by 2,000 uniform samples and an attack: nothing to localise",
        "every sample violates always: no positive one to compare with",
    ]
    assert all(not each.top and not each.checks and not each.layers for each in found.answers)


# --- neurons


def test_the_neuron_behind_a_violation_is_named_first(net: Path, tmp_path: Path) -> None:
    """And fixing it alone heals, on points of another seed."""
    for output in (0, 1):
        found = answer(net, prop(tmp_path, f"(>= Y_{output} 0.75)"), top=2)
        assert (found.top[0].neuron, len(found.top)) == (output, 2)
        assert [check.k for check in found.checks] == [1, 2]
        assert found.checks[0].top == 0.0


@pytest.mark.parametrize("top", [0, 4, -1])
def test_as_many_neurons_as_there_are(net: Path, tmp_path: Path, top: int) -> None:
    path = prop(tmp_path, "(>= Y_0 0.75)")
    assert len(answer(net, path, top=3).top) == 3
    with pytest.raises(MismatchError, match=f"--top {top}: the network has 3 hidden neurons; give .* from 1 to 3"):
        asked(net, path, top=top)


def test_ten_neurons_of_a_larger_network(tmp_path: Path) -> None:
    wide = write_network(tmp_path / "w.onnx", ([[1, 0], [0, 1]] * 6, [0] * 12), ([[1] * 12, [0] * 12], [0, 0]))
    assert len(answer(wide, prop(tmp_path, "(>= Y_0 9.0)")).top) == 10


def test_a_network_without_neurons_is_refused_before_any_sample(tmp_path: Path) -> None:
    plain = write_network(tmp_path / "n.onnx", ([[1, 0], [0, 1]], [0, 0]))
    with pytest.raises(MismatchError, match="no hidden neurons, so that none can be held responsible"):
        asked(plain, prop(tmp_path, "(>= Y_0 0.75)"))


def test_whoever_stops_gets_what_there_is(net: Path, tmp_path: Path) -> None:
    class Impatient:
        """Stops once the first property is begun."""

        def __init__(self) -> None:
            self.begun = 0

        def update(self, news: Progress) -> None:
            self.begun += news.phase.startswith("localising")

        def stopped(self) -> bool:
            return self.begun >= 1

    props = [prop(tmp_path, f"(>= Y_{output} 0.75)", name) for output, name in enumerate(("one", "two"))]
    found = asked(net, *props, watch=Impatient())
    assert ([each.name for each in found.answers], found.interrupted) == (["one"], True)


# --- for repairs


def responsible(net: Path, props: Sequence[Path], **more: Any) -> list[Neuron]:
    read = case(net, *props)
    return responsible_neurons(read, read.asked, seed=0, settings=QUICK, **more)


def test_all_neurons_the_most_responsible_for_any_property_first(net: Path, tmp_path: Path) -> None:
    """Not for the sum: the one behind a single violation is not behind those that have a little to do with each."""
    first, second = prop(tmp_path, "(>= Y_0 0.75)", "first"), prop(tmp_path, "(>= Y_1 0.75)", "second")
    never = prop(tmp_path, "(>= Y_0 1.5)", "never")
    found = responsible(net, [first, never])
    assert found[0].index == 0
    assert sorted(neuron.index for neuron in found) == [0, 1, 2]
    assert responsible(net, [second])[0].index == 1
    both = responsible(net, [first, second])
    assert {neuron.index for neuron in both[:2]} == {0, 1}
    assert both == responsible(net, [second, first])
    assert set(found) == set(neurons(case(net, first).loaded.net))


def test_where_nobody_is_responsible_all_reasons_are_told(net: Path, tmp_path: Path) -> None:
    never, always = prop(tmp_path, "(>= Y_0 1.5)", "never"), prop(tmp_path, "(>= Y_0 -1.0)", "always")
    with pytest.raises(MismatchError, match=r"no neuron .* \(no negative .*; every sample violates always.*retrain"):
        responsible(net, [never, always])


def test_without_time_nobody_is_responsible(net: Path, tmp_path: Path) -> None:
    with pytest.raises(OutOfTime):
        responsible(net, [prop(tmp_path, "(>= Y_0 0.75)")], over=lambda: True)


def test_points_have_no_region_to_draw_from(net: Path, tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("x_0,x_1,decision\n0.5,0.25,1\n")
    read = read_case(CaseFiles(net=net, props=(prop(tmp_path, "(>= Y_0 0.75)"),), points=(points,), decision="argmax"))
    found = list(localise_violated(read, read.asked, 0, QUICK, Unwatched(), no_deadline()))
    assert len(read.asked) == 2
    assert [each.name for each in found] == ["p"]
