"""Torch modules: what is read computes what the module does, and goes back where it came from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from birdnn.errors import DisagreementError, MismatchError, UnsupportedOpError
from birdnn.formats import module as formats
from birdnn.formats.module import module_with_values, network_from_module


class Convolutional(nn.Module):
    """With what inference leaves out (dropout), freezes (normalisation) and computes from shapes (view)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.pool = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.MaxPool2d(2)
        self.drop, self.last = nn.Dropout(), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.pool(torch.relu(self.norm(self.conv(x))))
        out: Tensor = self.last(self.drop(hidden.view(hidden.shape[0], -1)))
        return out


class Several(nn.Module):
    """Two outputs, in a tuple or by name."""

    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self.named, self.first, self.second = named, nn.Linear(3, 2), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor] | dict[str, Tensor]:
        first, second = self.first(x), torch.tanh(self.second(x))
        return {"a": first, "b": second} if self.named else (first, second)


class Tied(nn.Module):
    """One matrix, used twice under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(torch.tanh(self.first(x)))
        return out


class Branching(nn.Module):
    """Goes another way for some inputs."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolutional": (Convolutional, (1, 8, 8)),
    "tied": (Tied, (3,)),
    "double": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 2)).double(), (2, 2)),
    "elu": (lambda: nn.Sequential(nn.Linear(2, 2), nn.ELU(0.5), nn.Linear(2, 2)), (2,)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_read_and_had_back(name: str) -> None:
    """Changed values arrive in the copy; mode and the original stay; what two layers share they share again."""
    make, shape = MODULES[name]
    torch.manual_seed(1)
    module = make().train()
    net = network_from_module(module, shape)
    assert module.training
    assert net.repairable <= set(module.state_dict())
    changed = net.with_values({key: net.value(key) * 1.5 for key in net.repairable})
    copied = module_with_values(module, changed)
    assert copied.training
    assert type(copied) is type(module)
    for key, value in copied.state_dict().items():
        own = module.state_dict()[key]
        factor = 1.5 if key in net.repairable or (name == "tied" and key.endswith("weight")) else 1.0
        assert torch.allclose(value.double(), factor * own.double())
    if isinstance(copied, Tied):
        assert copied.first.weight is copied.second.weight


def test_a_module_that_computes_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with the module's own forward pass is what catches an export that goes wrong."""
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(2, 2))
    exported = formats._exported

    def another(given: nn.Module, shape: tuple[int, ...]) -> bytes:
        with torch.no_grad():
            other = nn.Sequential(nn.Linear(2, 2))
            other[0].weight.copy_(given[0].weight * 1.001)  # type: ignore[index]
            other[0].bias.copy_(given[0].bias)  # type: ignore[index]
        return exported(other, shape)

    monkeypatch.setattr(formats, "_exported", another)
    with pytest.raises(DisagreementError, match="the module and its network differ"):
        network_from_module(module, (2,))


@pytest.mark.thorough
def test_what_is_no_module_of_ours_is_refused() -> None:
    torch.manual_seed(3)
    with pytest.raises(MismatchError, match="cannot export"):
        network_from_module(Branching(), (2,))
    with pytest.raises(
        MismatchError, match=r"cannot export the module for an input of shape \(2, 4\): [^\x1b]*\[3, 2\]"
    ):
        network_from_module(nn.Linear(3, 2), (4,))
    with pytest.raises(UnsupportedOpError, match="'Col2Im'"):
        network_from_module(nn.Fold((4, 4), 2, stride=2), (4, 4))
    with pytest.raises(MismatchError, match="sizes of one sample"):
        network_from_module(nn.Linear(3, 2), ())
    net = network_from_module(nn.Sequential(nn.Linear(2, 2)), (2,))
    with pytest.raises(MismatchError, match="no parameter of that name"):
        module_with_values(nn.Linear(2, 2), net)
    with pytest.raises(MismatchError, match=r"one of shape \(2, 3\)|one of shape \(4,\)"):
        module_with_values(nn.Sequential(nn.Linear(3, 4)), net)
    with pytest.raises(DisagreementError):
        module_with_values(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), net)


@pytest.mark.thorough
def test_several_outputs_are_counted_one_after_the_other() -> None:
    """And go back into the module."""
    torch.manual_seed(5)
    module = Several(named=False)
    net = network_from_module(module, (3,))
    x = torch.randn(4, 3)
    assert torch.allclose(net(x), torch.cat(module(x), 1), atol=1e-6)
    changed = module_with_values(module, net.with_values({"second.bias": torch.ones(1)}))
    assert torch.equal(changed.get_parameter("second.bias"), torch.ones(1))
    with pytest.raises(MismatchError, match="the module gives dict; a tensor, or several in a tuple, is expected"):
        network_from_module(Several(named=True), (3,))
