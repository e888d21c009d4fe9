"""A second device without a second device: tensors carry a device by name, and whoever mixes two is told.

There is no GPU where these tests run, and the commonest defect of code for one is a tensor that was made on the CPU.
Inside `SecondDevice` torch says that CUDA is there. What is made on ``"cuda"``, moved there, or computed from what lies
there is computed on the CPU and named: it says ``device.type == "cuda"``, it is no NumPy array, and an operation that
takes it together with a CPU tensor of one dimension or more raises, as CUDA does. What CUDA allows is allowed: numbers
(tensors without dimensions) of the CPU in between, CPU indices into a tensor on the device, copies across.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._functorch import vmap as _vmap
from torch.overrides import TorchFunctionMode

HERE, THERE = torch.device("cpu"), torch.device("cuda", 0)

_GETS = Tensor.__getitem__, Tensor.index_select, torch.index_select, Tensor.take_along_dim
_SETS = Tensor.__setitem__
_COPIES = (Tensor.copy_,)
_TO_NUMPY = Tensor.numpy, Tensor.__array__
_BARRED = "is on cuda: call cpu() before it becomes an array"


class MixedDevices(RuntimeError):
    """What CUDA says in other words: expected all tensors to be on the same device."""


class SecondDevice(TorchFunctionMode):
    """See the module. `visited`: how many results lie on the second device."""

    def __init__(self) -> None:
        super().__init__()
        self.visited = 0

    def __enter__(self) -> SecondDevice:
        self._patches = pytest.MonkeyPatch()
        self._patches.setattr(torch.nn.Parameter, "__new__", _carrying(torch.nn.Parameter.__new__, 1))
        for name in ("_add_batch_dim", "_remove_batch_dim"):
            self._patches.setattr(_vmap, name, _carrying(getattr(_vmap, name), 0))
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._patches.undo()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", str(func))
        if name == "_parse_to":
            return _parsed(func(*args, **kwargs), args)
        if name in ("device", "_has_compatible_shallow_copy_type"):  # they only read what a caller says
            return func(*args, **kwargs)
        if func == Tensor.device.__get__:
            return _where(args[0])
        if func == Tensor.is_cuda.__get__:
            return _where(args[0]).type == "cuda"
        if func == Tensor.data.__set__:
            func(*args)
            return _name(args[0], _where(args[1]))
        if func in _TO_NUMPY and _where(args[0]) == THERE:
            raise MixedDevices(f"a tensor {_BARRED}")
        target = self._asked(func, args, kwargs)
        found = {_where(t) for t in _tensors((args, kwargs), func)}
        if func in (Tensor.to, Tensor.cuda, Tensor.cpu):
            return self._moved(func, args, kwargs, target)
        if func in _COPIES:
            return func(*args, **kwargs)
        if len(found) > 1:
            raise MixedDevices(f"{name} takes tensors of {', '.join(sorted(map(str, found)))}")
        for generator in _generators((args, kwargs)):
            if generator.device.type != (target or HERE).type:
                raise MixedDevices(f"{name} draws on {target} with a generator of {generator.device}")
        known = target or next(iter(found), _first(args, kwargs))
        args = tuple(HERE if isinstance(a, torch.device) else a for a in args)
        result = func(*args, **kwargs)
        if known == THERE:
            for tensor in _tensors(result, None):
                self.visited += 1
                _name(tensor, THERE)
        return result

    def _asked(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> torch.device | None:
        """The device that a call names, which is taken out of it."""
        if kwargs.get("device") is not None:
            return _resolved(kwargs.pop("device"))
        kwargs.pop("device", None)
        if func is Tensor.cuda:
            return THERE
        if func is Tensor.cpu:
            return HERE
        if func is Tensor.to:
            for arg in (*args[1:], kwargs.get("other")):
                if isinstance(arg, torch.device | str):
                    return _resolved(arg)
                if isinstance(arg, Tensor):
                    return _where(arg)
        return None

    def _moved(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], target: torch.device | None) -> Tensor:
        source = args[0]
        rest = [HERE if isinstance(a, str | torch.device) else a for a in args[1:]]
        plain = Tensor.to(source, *rest, **kwargs) if func is Tensor.to and (rest or kwargs) else source
        goal = target or _where(source)
        if plain is source and goal != _where(source):
            plain = source.clone()  # a copy over there is another tensor
        self.visited += goal == THERE
        return _name(plain, goal)


def _parsed(found: tuple[Any, ...], args: Sequence[Any]) -> tuple[Any, ...]:
    """What ``module.to(tensor)`` asks for."""
    like = next((_where(arg) for arg in args if isinstance(arg, Tensor)), None)
    return found if like is None else (like, *found[1:])


def _carrying(function: Callable[..., Tensor], place: int) -> Callable[..., Tensor]:
    """A function that modes do not see, and whose result lies where the tensor at a place of its arguments does."""

    def carried(*args: Any, **kwargs: Any) -> Tensor:
        made = function(*args, **kwargs)
        source = args[place] if len(args) > place else kwargs.get("data")
        return _name(made, _where(source)) if isinstance(source, Tensor) else made

    return carried


def _resolved(device: torch.device | str | int) -> torch.device:
    wanted = torch.device(device)
    return THERE if wanted.type == "cuda" else HERE


def _where(tensor: Tensor) -> torch.device:
    return getattr(tensor, "_lies_on", HERE)


def _name(tensor: Tensor, device: torch.device) -> Tensor:
    tensor._lies_on = device  # type: ignore[attr-defined]
    return tensor


def _first(args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.device:
    """Where a result lies whose arguments have no dimensions, or are none."""
    return THERE if any(_where(t) == THERE for t in _walk((args, kwargs))) else HERE


def _tensors(value: Any, func: Any) -> Iterator[Tensor]:
    """The tensors of a call that have to lie together, or all of a result."""
    if func is None:
        yield from _walk(value)
        return
    args = value[0]
    if func in _GETS[:1] or func is _SETS:
        yield from _of_indexing(func, args)
        return
    yield from (t for t in _walk(value) if t.dim() > 0)


def _of_indexing(func: Any, args: Sequence[Any]) -> Iterator[Tensor]:
    """A tensor over there takes indices from the CPU, the other way round it does not; a slice takes any value."""
    target, index = args[0], args[1]
    yield target
    advanced = list(_walk(index))
    if _where(target) == HERE:
        yield from advanced
    if func is _SETS and advanced:
        yield from (t for t in _walk(args[2]) if t.dim() > 0)


def _walk(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _walk(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _walk(part)


def _generators(value: Any) -> Iterator[torch.Generator]:
    args, kwargs = value
    for part in (*args, *kwargs.values()):
        if isinstance(part, torch.Generator):
            yield part


class NamedGenerator(torch.Generator):
    """A generator that says on which device it draws."""

    def __new__(cls, device: str | torch.device = "cpu") -> NamedGenerator:
        made = super().__new__(cls, "cpu")
        made._lies_on = _resolved(device)
        return made

    @property
    def device(self) -> torch.device:
        return self._lies_on


@pytest.fixture
def second_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecondDevice]:
    """Torch says that CUDA is there; the mode is entered."""
    monkeypatch.setattr(torch, "Generator", NamedGenerator)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Imagined H100")
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device=None: torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device=None: None)
    with SecondDevice() as mode:
        yield mode
