"""A second device: what is made where, what `auto` chooses, and what happens where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from birdnn.bounds.crown import CrownBound
from birdnn.bounds.interval import IntervalBound
from birdnn.bounds.protocol import BoundResult, Question
from birdnn.boxes import Boxes
from birdnn.chain import Affine
from birdnn.errors import InputError
from birdnn.formats.onnx import layers_to_onnx, network_from_layers, network_from_onnx
from birdnn.network import Network
from birdnn.operators import forward
from birdnn.pipeline import device
from birdnn.pipeline.deciding import falsify_files, verify_files
from birdnn.pipeline.device import PAYS, device_for
from birdnn.pipeline.estimating import estimate_files
from birdnn.pipeline.localising_blocks import localize_block_files
from birdnn.pipeline.repairing import repair_files
from birdnn.pipeline.repairing_blocks import repair_blocks
from birdnn.records import (
    BlockLocalizeRequest,
    BlockRequest,
    EstimateRequest,
    Proved,
    RegionProof,
    RepairRequest,
    Unknown,
    Verdict,
    VerifySettings,
    Violated,
)
from birdnn.repair.training import Exam, Lesson, TrainingSettings, train_model
from birdnn.report.witnesses import verdict_remark
from birdnn.spec import Property
from birdnn.verify import SearchSettings, attack, verify
from tests.bounds.builders import ACTIVATIONS, half_space, make_property, random_layers
from tests.classifiers import classifier, hard, quarters, stored, trained
from tests.pipeline.test_repairing import FAST, build
from tests.second_device import MixedDevices, SecondDevice
from tests.second_device import second_device as second_device
from tests.verify.cases import SHORT_ATTACK, Engine, effort, estimate_boxes
from tests.verify.test_frontier import Kept

CUDA = torch.device("cuda")


# --- the second device is as strict as a real one


@pytest.mark.parametrize(
    "mix",
    [
        lambda there, here: there + here,
        lambda there, here: torch.cat([there, here]),
        lambda there, here: torch.where(there > 0, there, here),
        lambda there, here: here[there > 0],
        lambda there, here: there.index_select(0, torch.arange(2)),
        lambda there, here: there.gather(0, torch.arange(2)),
        lambda there, here: there.numpy(),
        lambda there, here: np.asarray(there),
        lambda there, here: torch.rand(3, generator=torch.Generator(), device="cuda"),
        lambda there, here: torch.nn.Linear(3, 1).to("cuda")(here),
        lambda there, here: there.masked_fill(here > 0, 0.0),
        lambda there, here: there @ here,
    ],
)
def test_tensors_of_two_devices_do_not_mix(second_device: SecondDevice, mix: Callable) -> None:
    with pytest.raises(MixedDevices):
        mix(torch.ones(3, device="cuda"), torch.ones(3))


@pytest.mark.parametrize(
    "fine",
    [
        lambda there, here: there + here.sum(),
        lambda there, here: there[torch.arange(2)],
        lambda there, here: there + here.to(there.device),
        lambda there, here: torch.nn.Linear(3, 1).to("cuda")(there),
        lambda there, here: there.to(dtype=torch.float64).new_zeros(3) + there,
        lambda there, here: torch.rand(3, generator=torch.Generator("cuda"), device="cuda") + there,
        lambda there, here: torch.full_like(there, 2.0) + torch.zeros_like(there),
    ],
)
def test_what_a_device_allows_stays_there(second_device: SecondDevice, fine: Callable) -> None:
    assert fine(torch.ones(3, device="cuda"), torch.ones(3)).device == torch.device("cuda:0")


# --- search


def chain(op: str = "Relu", alpha: float | None = None) -> tuple[Network, Property]:
    """A network as from a file, and a property of two regions, each of some dozen boxes, one polytope of two rows."""
    net = network_from_onnx(layers_to_onnx(random_layers(6, (3, 16, 16, 2)), op, alpha=alpha), digest="as from a file")
    points = 2 * torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        bound = float((net(points) @ torch.tensor([1.0, 0.3])).min()) - 0.05
    one = make_property([-1.0] * 3, [1.0] * 3, half_space([1.0, 0.3], bound), half_space([1.0, 0.3], bound - 0.1))
    return net, replace(one, regions=(one.regions[0], one.regions[0]))


def by_torch(net: Network, settings: SearchSettings) -> CrownBound:
    """What a search on a device bounds with."""
    return CrownBound(net, torch.device(settings.device), settings.crown, settings.semantics, settings.record)


def answers(net: Network, prop: Property, keeper: Kept | None = None, **changes: object) -> Verdict:
    settings = effort(**{"record": True, "batch": 16, "attack": SHORT_ATTACK, **changes})
    return verify(net, prop, settings=settings, replays=[Engine(net)], bound=by_torch, keeper=keeper)  # type: ignore[arg-type]


def alike(one: Verdict, other: Verdict, within: float = 0.0) -> bool:
    """The same boxes, and where there are proofs the same, with numbers within so much of each other."""
    if type(one) is not type(other) or one.boxes != other.boxes:
        return False
    if not isinstance(one, Proved) or not isinstance(other, Proved):
        return True
    pairs = [
        (getattr(a, f.name), getattr(b, f.name))
        for a, b in zip(one.proofs, other.proofs, strict=True)
        for f in fields(RegionProof)
    ]
    return all(
        a is b or (a.shape == b.shape and np.allclose(a, b, rtol=within, atol=within, equal_nan=True)) for a, b in pairs
    )


@pytest.mark.thorough
@pytest.mark.parametrize("semantics", ["real", "float32"])
@pytest.mark.parametrize(("op", "alpha"), ACTIVATIONS)
def test_a_search_stays_on_its_device(op: str, alpha: float | None, semantics: str) -> None:
    """Arithmetic is the same here, so that tree and proof have to be the same as well."""
    net, prop = chain(op, alpha)
    limits = {"semantics": semantics, "max_boxes": 400}
    here = answers(net, prop, **limits)
    with SecondDevice() as mode:
        there = answers(net, prop, device="cuda", **limits)
    assert alike(here, there)
    assert mode.visited > 1000


@pytest.mark.parametrize("limit", [{"max_boxes": 40}, {"smallest_width": 1.0}], ids=["boxes", "precision"])
def test_what_is_undecided_comes_home(limit: dict) -> None:
    """Whoever reads a verdict asks no device."""
    net, prop = chain()
    with SecondDevice():
        found = answers(net, prop, device="cuda", **limit)
        assert isinstance(found, Unknown)
        assert found.undecided is not None
        assert found.undecided.lower.device.type == found.undecided.upper.device.type == "cpu"


def test_a_search_goes_on_on_its_device() -> None:
    net, prop = chain()
    whole, keeper = answers(net, prop), Kept(always=False)
    with SecondDevice():
        assert isinstance(answers(net, prop, keeper, device="cuda", max_boxes=40), Unknown)
        assert keeper.data
        assert alike(answers(net, prop, keeper, device="cuda"), whole)


def test_an_estimate_stays_on_its_device() -> None:
    net, prop = chain()
    settings = effort(device="cuda")
    with SecondDevice():
        assert estimate_boxes(net, prop, settings=settings, descents=16) > 1
        found = answers(net, prop, device="cuda", give_up=True)
    assert isinstance(found, Proved)


def test_a_classifier_is_bounded_on_its_device() -> None:
    """A residual graph: intervals, by convolutions."""
    net = classifier()
    zero, one = [0.0] * net.n_inputs, [0.02] * net.n_inputs
    prop = make_property(zero, one, half_space([1.0, -1.0] + [0.0] * 8, -100.0))
    settings = effort(max_boxes=64, attack=SHORT_ATTACK, batch=8)

    def by_intervals(net: Network, settings: SearchSettings) -> IntervalBound:
        return IntervalBound(net, torch.device(settings.device), settings.semantics)

    here = verify(net, prop, settings=settings, replays=[Engine(net)], bound=by_intervals)
    with SecondDevice() as mode:
        elsewhere = replace(settings, device="cuda")
        there = verify(net, prop, settings=elsewhere, replays=[Engine(net)], bound=by_intervals)
    assert alike(here, there)
    assert mode.visited > 100


# --- rounding


def test_no_bound_is_convolved_by_a_library_that_may_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN's Fourier transforms err by more than a bound accounts for, also in float64."""
    seen = []
    there = forward._CONV[2]

    def watched(*arguments: torch.Tensor, **more: object) -> torch.Tensor:
        seen.append((arguments[0].dtype, torch.backends.cudnn.enabled))
        return there(*arguments, **more)  # type: ignore[arg-type]

    net = classifier()  # whose file is run once where it is read
    monkeypatch.setitem(forward._CONV, 2, watched)
    before = torch.backends.cudnn.enabled
    bound = IntervalBound(net, torch.device("cpu"))
    prop = make_property([0.0] * 64, [0.1] * 64, half_space([1.0, -1.0] + [0.0] * 8, -100.0))
    (region,) = prop.regions
    question = Question.of(region.unsafe, 10, bound.device)
    opened = torch.ones(1, 1, dtype=torch.bool)
    bound.bound(question, Boxes(region.lower[None], region.upper[None]), opened, bound.root(1))
    assert seen
    assert not any(used for _, used in seen)
    assert torch.backends.cudnn.enabled == before


def test_a_network_is_folded_on_the_cpu() -> None:
    """A chain is folded by convolutions, and only then moved."""
    net = network_from_layers(random_layers(6, (3, 16, 2)))
    with SecondDevice() as mode:
        folded = net.to("cuda").copy().cpu().chain()
        assert all(layer.weight.device.type == "cpu" for layer in folded if isinstance(layer, Affine))
        before = mode.visited
        bound = CrownBound(net, CUDA)
        assert mode.visited > before
        assert bound.root(1).device.type == "cuda"


def test_float32_is_float32_on_a_device(second_device: SecondDevice) -> None:
    places = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = True
        assert device_for("cuda") == "cuda"
        assert not any(place.allow_tf32 for place in places)
    finally:
        for place, was in zip(places, before, strict=True):
            place.allow_tf32 = was


def test_emulated_float64_is_refused(second_device: SecondDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rounding is not that of float64, and every proof counts on that."""
    large = network_from_layers(random_layers(0, (10, 1500, 1500, 2)))
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "1")
    with pytest.raises(InputError, match="CUBLAS_EMULATE_DOUBLE_PRECISION is set"):
        device_for("cuda")
    assert device_for("auto", large) == "cpu"
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "0")
    assert device_for("auto", large) == "cuda"


# --- what auto chooses


def test_auto_chooses_a_device_where_the_network_is_large(second_device: SecondDevice) -> None:
    large, small = (network_from_layers(random_layers(0, (10, n, n, 2))) for n in (1000, 100))
    assert (device_for("auto", large), device_for("auto", small)) == ("cuda", "cpu")
    assert (device_for("cpu", large), device_for("cuda", small)) == ("cpu", "cuda")
    assert device.multiplications(large) > PAYS > device.multiplications(small)
    # of a query about several networks: whichever is named first
    assert (device_for("auto", small, large), device_for("auto", small, small)) == ("cuda", "cpu")


def test_auto_asks_for_no_device_where_none_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> str:
        raise AssertionError("who works on the CPU waits for no driver")

    monkeypatch.setattr(device, "cuda_obstacle", asked)
    assert device_for("auto", chain()[0]) == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_without_a_device_auto_is_the_cpu_and_cuda_is_refused() -> None:
    large = network_from_layers(random_layers(0, (10, 1500, 1500, 2)))
    assert device_for("auto", large) == "cpu"
    with pytest.raises(InputError, match="give --device cpu or auto"):
        device_for("cuda", large)


# --- whole commands


@pytest.mark.parametrize("semantics", ["real", "float32"])
def test_a_proof_with_its_certificate(second_device: SecondDevice, tmp_path: Path, semantics: str) -> None:
    case = build(tmp_path, "Relu", quantile=1.0)
    certificate = tmp_path / "it.certificate.json.gz"
    settings = VerifySettings(device="cuda", certificate=certificate, semantics=semantics)  # type: ignore[arg-type]
    outcome = verify_files(case.net, [case.prop], settings=settings)
    assert isinstance(outcome.verdicts[0].verdict, Proved)
    assert outcome.certificate is not None
    assert outcome.certificate.answer == "accepted"
    assert outcome.machine.device == "Imagined H100"
    assert second_device.visited > 100


def test_a_counterexample(second_device: SecondDevice, tmp_path: Path) -> None:
    case = build(tmp_path, "Tanh")
    outcome = falsify_files(case.net, [case.prop], settings=VerifySettings(device="cuda"))
    assert isinstance(outcome.verdicts[0].verdict, Violated)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "how",
    [
        {"method": "auto"},
        {"method": "retrain"},
        {"method": "finetune", "optimiser": "lp"},
        {"method": "finetune", "optimiser": "pso", "top": 6},
        {"method": "finetune", "optimiser": "cmaes", "top": 6},
    ],
    ids=lambda how: f"{how['method']}:{how.get('optimiser', '')}",
)
def test_a_repair(second_device: SecondDevice, tmp_path: Path, how: dict) -> None:
    case = build(tmp_path, "Relu")
    outcome = repair_files(case.request(device="cuda", timeout_s=60.0, report=True, **how), settings=FAST)
    assert outcome.result in ("proved", "sampled", "violated")
    assert outcome.machine.device == "Imagined H100"
    assert second_device.visited > 1000


def test_an_estimate(second_device: SecondDevice, tmp_path: Path) -> None:
    case = build(tmp_path, "Relu")
    asked = EstimateRequest(
        net=case.net, props=(case.prop,), device="cuda", samples=20_000, epsilon=0.2, scenario=True, splitting=True
    )
    (entry,) = estimate_files(asked).properties
    assert entry.violations > 0
    assert entry.counterexample is not None
    (entry,) = estimate_files(replace(asked, samples=None, scenario=False, splitting=False, anytime=True)).properties
    assert entry.n


@pytest.mark.usefixtures("short_trials")
def test_blocks(second_device: SecondDevice, tmp_path: Path) -> None:
    net = tmp_path / "net.onnx"
    net.write_bytes(trained())
    files = {}
    for name, seed in (("repair", 11), ("val", 12)):
        bad, good = hard(40, seed), quarters(20, seed)
        files[name] = tmp_path / f"{name}.npz"
        stored(files[name], torch.cat([bad.x, good.x]), torch.cat([bad.y, good.y]))
    localize_block_files(BlockLocalizeRequest(net=net, data=files["repair"], device="cuda"))
    asked = BlockRequest(data=files["repair"], val=files["val"], block="layer1", epochs=2, compare=True)
    request = RepairRequest(
        net=net, method="blocks", blocks=asked, decision="argmax", out=tmp_path / "out", device="cuda"
    )
    outcome = repair_blocks(request)
    assert outcome.machine.device == "Imagined H100"
    assert second_device.visited > 1000


# --- memory


class Small:
    """A device on which so many points at a time are all that there is room for."""

    def __init__(self, net: torch.nn.Module, room: int) -> None:
        self.room, self.refused = room, 0
        net.register_forward_pre_hook(self._look)

    def _look(self, net: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        if len(arguments[0]) > self.room:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_an_attack_takes_what_memory_there_is() -> None:
    net, prop = chain()
    region = prop.regions[0]
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    with_room = attack(net, region, settings=SHORT_ATTACK, generator=generators[0])
    small = Small(net, 3)
    points = attack(net, region, settings=SHORT_ATTACK, generator=generators[1])
    assert small.refused
    # on some processors the last digits of a product depend on how many points are multiplied at a time
    torch.testing.assert_close(points, with_room, atol=1e-3, rtol=1e-3)


def test_training_takes_what_memory_there_is() -> None:
    """One step becomes several; what is left of a step that failed is forgotten."""
    x, y = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 2
    lesson = Lesson(x=x, y=y, teacher=torch.zeros(64, 2), right=torch.zeros(64, dtype=torch.bool))
    exam = Exam(x=x, y=y)
    model = torch.nn.Linear(3, 2)
    small = Small(model, 5)
    before = exam.score(model)
    settings = TrainingSettings(epochs=2, batch=32, rate=1e-2)
    after = train_model(model, lesson, exam, settings, torch.Generator().manual_seed(1))
    assert small.refused
    assert after >= before


def test_a_search_takes_what_memory_there_is() -> None:
    """Smaller batches, the same proof; the estimate of what is left may fail as well."""
    net, prop = chain()
    whole = answers(net, prop)
    found = verify(
        net,
        prop,
        settings=effort(record=True, batch=64, attack=SHORT_ATTACK, give_up=True),
        replays=[Engine(net)],
        bound=lambda net, settings: Narrow(net, settings, room=4),
    )
    # see above: the tree is the same, and the multipliers nearly
    assert alike(whole, found, within=1e-3)


def test_a_search_without_room_for_one_box_says_so() -> None:
    net, prop = chain()
    found = verify(
        net,
        prop,
        settings=effort(attack=SHORT_ATTACK),
        replays=[Engine(net)],
        bound=lambda net, settings: Narrow(net, settings, room=0),
    )
    assert isinstance(found, Unknown)
    assert found.reason == "memory"
    assert "smaller batches did not help" in verdict_remark("p", found)


class Narrow(CrownBound):
    """Bounds of so many boxes at a time, on whatever device."""

    def __init__(self, net: Network, settings: SearchSettings, room: int) -> None:
        super().__init__(net, torch.device("cpu"), settings.crown, settings.semantics, settings.record)
        self.room = room

    def bound(self, question: Question, boxes: Boxes, *others: torch.Tensor) -> BoundResult:
        if len(boxes) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().bound(question, boxes, *others)
