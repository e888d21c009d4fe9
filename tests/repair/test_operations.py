"""Operations in the place of a convolution, and files with replaced nodes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from birdnn.errors import MismatchError
from birdnn.formats.onnx import network_from_onnx
from birdnn.formats.surgery import bytes_with_nodes
from birdnn.repair.operations import KINDS, Operation, Original, kinds_for, slots_of
from birdnn.tail import Tail
from tests.classifiers import classifier, quarters, trained


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(trained())
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", range(6))
def test_the_file_computes_what_was_trained(file: Path, kind: str, place: int) -> None:
    """Stem, both of a block, one with stride, one of another width, the shortcut of 1 x 1."""
    net = classifier()
    slot = slots_of(net, net.nodes)[place]
    torch.manual_seed(place)
    operation = Operation(kind, slot)
    for parameter in operation.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x = quarters(20, 3).x
    values = net.observe(x, [slot.node.inputs[0]])[0] if slot.node.inputs[0] != net.input_name else x
    operation(values.reshape(-1, *net.graph.shapes[slot.node.inputs[0]][1:]))  # running statistics of its own
    tail = Tail(net, net.input_name, slots={slot.node.output: operation}).eval()
    read = network_from_onnx(bytes_with_nodes(file, {}, {slot.node.output: operation.nodes()}))
    with torch.no_grad():
        assert torch.allclose(read(x), tail(x.reshape(-1, 1, 8, 8)), atol=1e-4)
        assert not torch.allclose(read(x), net(x), atol=1e-2)


def test_channels_that_hardly_vary_are_folded_as_they_were_trained() -> None:
    """There the normalisation's epsilon is as large as the variance."""
    slot = slots_of(classifier(), classifier().nodes)[1]
    operation = Operation("conv3x3", slot).eval()
    operation.norm.get_buffer("running_var").fill_(operation.norm.eps)
    x = torch.rand(4, slot.channels[0], 8, 8)
    kernel, bias = operation.folded()
    assert torch.allclose(torch.nn.functional.conv2d(x, kernel, bias, padding=1), operation(x), rtol=1e-4, atol=1e-2)


def test_a_larger_kernel_starts_as_the_original() -> None:
    net = classifier()
    for slot in slots_of(net, net.nodes):
        operation = Operation("conv5x5", slot)
        x = torch.rand(4, slot.channels[0], 8, 8)
        wanted = Original(slot)(x)
        operation.calibrate(x, wanted)
        assert torch.allclose(operation.eval()(x), wanted, atol=1e-3)


def test_other_operations_start_with_the_originals_mean_and_spread() -> None:
    slot = slots_of(classifier(), classifier().nodes)[1]
    x = torch.rand(50, slot.channels[0], 8, 8)
    wanted = Original(slot)(x).detach()
    for kind in kinds_for(slot):
        operation = Operation(kind, slot)
        operation.calibrate(x, wanted)
        made = operation.eval()(x)
        assert torch.allclose(made.mean((0, 2, 3)), wanted.mean((0, 2, 3)), atol=1e-3), kind
        assert torch.allclose(made.std((0, 2, 3)), wanted.std((0, 2, 3)), rtol=0.05, atol=1e-2), kind


@pytest.mark.parametrize("kind", [*KINDS, "original"])
def test_what_is_handed_out_is_not_trained_any_further(kind: str) -> None:
    slot = slots_of(classifier(), classifier().nodes)[1]
    module = Original(slot) if kind == "original" else Operation(kind, slot)
    given = module.values() if isinstance(module, Original) else module.nodes()[1]
    before = {name: tensor.clone() for name, tensor in given.items()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 1
    assert all(torch.equal(given[name], before[name]) for name in before)


def test_a_separable_kernel_of_rank_one_is_exact() -> None:
    slot = slots_of(classifier(), classifier().nodes)[1]
    depthwise, pointwise = torch.randn(slot.channels[0], 3, 3), torch.randn(slot.channels[1], slot.channels[0])
    slot.weight.copy_(pointwise[:, :, None, None] * depthwise[None])
    x = torch.rand(3, slot.channels[0], 8, 8)
    assert torch.allclose(
        Operation("separable3x3", slot).raw(x) + slot.bias[:, None, None], Original(slot)(x), atol=1e-4
    )


def test_everything_else_keeps_its_bytes(file: Path) -> None:
    net = classifier()
    slot = next(s for s in slots_of(net, net.nodes) if s.node.name.startswith("/layer2/conv1"))
    before = onnx.load(file)
    after = onnx.load_from_string(
        bytes_with_nodes(file, {}, {slot.node.output: Operation("separable3x3", slot).nodes()})
    )

    def nodes(model: onnx.ModelProto) -> list[bytes]:
        return [node.SerializeToString() for node in model.graph.node if slot.node.output not in node.output]

    new = [n for n in after.graph.node if n.name.startswith(slot.node.name)]
    assert [node.op_type for node in new] == ["Conv", "Conv"]
    assert new[-1].name == slot.node.name
    kept = [n.SerializeToString() for n in after.graph.node if n not in new]
    assert kept == nodes(before)
    old = {t.name: t.SerializeToString() for t in before.graph.initializer}
    now = {t.name: t.SerializeToString() for t in after.graph.initializer}
    assert set(old) - set(now) == set(slot.node.inputs[1:])
    assert all(now[name] == old[name] for name in set(old) & set(now))
    for part in ("input", "output", "value_info"):
        assert [v.SerializeToString() for v in getattr(after.graph, part)] == [
            v.SerializeToString() for v in getattr(before.graph, part)
        ]
    assert (after.ir_version, after.opset_import, after.producer_name) == (
        before.ir_version,
        before.opset_import,
        before.producer_name,
    )
    assert bytes_with_nodes(file, {}, {}) == file.read_bytes()


def test_an_initialiser_that_others_read_stays(file: Path) -> None:
    """Also where the reader is a node that the output does not need: without it the file would be none."""
    model = onnx.load(file)
    net = classifier()
    slot = slots_of(net, net.nodes)[2]
    _, weight, bias = slot.node.inputs
    model.graph.node.append(helper.make_node("Identity", [weight], ["unused"], name="unused"))
    onnx.save(model, file)
    made = onnx.load_from_string(bytes_with_nodes(file, {}, {slot.node.output: Operation("conv5x5", slot).nodes()}))
    onnx.checker.check_model(made, full_check=True)
    names = {tensor.name for tensor in made.graph.initializer}
    assert weight in names
    assert bias not in names


def test_initialisers_among_the_inputs_as_old_files_have_them(tmp_path: Path) -> None:
    model = onnx.load_from_string(trained())
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, list(tensor.dims)))
    path = tmp_path / "old.onnx"
    onnx.save(model, path)
    net = classifier()
    slot = slots_of(net, net.nodes)[2]
    made = onnx.load_from_string(bytes_with_nodes(path, {}, {slot.node.output: Operation("conv5x5", slot).nodes()}))
    names = {value.name for value in made.graph.input}
    assert names == {"X", *(tensor.name for tensor in made.graph.initializer)}


def test_names_that_are_taken(file: Path) -> None:
    net = classifier()
    slot = slots_of(net, net.nodes)[2]
    nodes, tensors = Operation("conv5x5", slot).nodes()
    model = onnx.load(file)
    clash = next(iter(tensors))
    extra = helper.make_node("Identity", [slot.node.output], [clash])
    model.graph.node.append(extra)
    onnx.save(model, file)
    with pytest.raises(MismatchError, match="already"):
        bytes_with_nodes(file, {}, {slot.node.output: (nodes, tensors)})
    with pytest.raises(MismatchError, match="no node"):
        bytes_with_nodes(file, {}, {"nowhere": (nodes, tensors)})
    with pytest.raises(MismatchError, match="no initialiser"):
        bytes_with_nodes(file, {"nowhere": torch.zeros(1)}, {})


def test_shared_weights_make_no_slot() -> None:
    model = onnx.load_from_string(trained())
    second = next(n for n in model.graph.node if n.name.startswith("/layer1/conv2"))
    second.input[1] = next(n for n in model.graph.node if n.name.startswith("/layer1/conv1")).input[1]
    net = network_from_onnx(model.SerializeToString())
    inside = [node for node in net.nodes if node.name.startswith("/layer1")]
    assert slots_of(net, tuple(inside)) == ()


def test_padding_on_one_side_makes_no_slot() -> None:
    """TensorFlow's SAME with stride 2: the size is that of even padding, the places are not."""
    model = onnx.load_from_string(trained())
    node = next(n for n in model.graph.node if n.name.startswith("/layer2/conv1"))
    pads = next(a for a in node.attribute if a.name == "pads")
    pads.ints[:] = [0, 0, 1, 1]
    net = network_from_onnx(model.SerializeToString())
    assert node.name not in {slot.node.name for slot in slots_of(net, net.nodes)}
    assert node.name in {slot.node.name for slot in slots_of(classifier(), classifier().nodes)}


def test_weights_in_constant_nodes_are_replaced_too(file: Path) -> None:
    """A network of which all numbers are in nodes; those of the old convolution go, others stay."""
    proto = onnx.load(file)
    made = [helper.make_node("Constant", [], [t.name], name=t.name, value=t) for t in proto.graph.initializer]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in proto.graph.node]
    for entries in (proto.graph.initializer, proto.graph.node):
        del entries[:]
    proto.graph.node.extend([*made, *nodes])
    file.write_bytes(proto.SerializeToString())
    net = network_from_onnx(file.read_bytes())
    slot = slots_of(net, net.nodes)[1]
    operation = Operation("separable3x3", slot).eval()
    data = bytes_with_nodes(file, {}, {slot.node.output: operation.nodes()})
    gone = set(slot.node.inputs[1:])
    after = onnx.load_model_from_string(data)
    assert not gone.intersection(name for node in after.graph.node for name in (*node.input, *node.output))
    assert not gone.intersection(tensor.name for tensor in after.graph.initializer)
    x = quarters(5, 3).x
    tail = Tail(net, net.input_name, slots={slot.node.output: operation}).eval()
    with torch.no_grad():
        assert torch.allclose(network_from_onnx(data)(x), tail(x.reshape(-1, 1, 8, 8)), atol=1e-4)
