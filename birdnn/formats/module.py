"""A torch module as a network, and a repaired network as the module that it came from."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from birdnn.errors import DisagreementError, MismatchError
from birdnn.formats.agreement import allowed_error, probe_inputs
from birdnn.formats.onnx import network_from_onnx
from birdnn.network import Network
from birdnn.printable import printable

_EXAMPLES = 2  # with one, torch takes the size of the batch for a constant


def network_from_module(module: nn.Module, input_shape: Sequence[int]) -> Network:
    """The network that a module computes in evaluation mode, by way of torch's ONNX export.

    Initialisers have the names of the module's parameters. The module itself is left alone. What was read is compared
    with onnxruntime and with the module's own forward pass, on seeded inputs.

    Args:
        module: takes one tensor (batch, *input_shape) and gives one (batch, ...), or several in a tuple.
        input_shape: of one sample.

    Raises:
        MismatchError: torch cannot export the module for such inputs.
        UnsupportedOpError: it holds an operator that we have no rule for.
        DisagreementError: module and network give different outputs.
    """
    if not input_shape or min(input_shape) < 1:
        raise MismatchError(f"input_shape is {tuple(input_shape)}; the sizes of one sample are expected: (1, 28, 28)")
    # a copy, as mode and device of the module are the user's
    still = copy.deepcopy(module).eval().cpu()
    net = network_from_onnx(_exported(still, tuple(input_shape)))
    _require_same(net, still)
    return net


def module_with_values(module: nn.Module, net: Network) -> nn.Module:
    """A copy of a module with the values of a network that was made from it and changed since.

    Only what a repair may change is taken over. Mode, device and data types are the module's own.

    Raises:
        MismatchError: the network has weights that the module has not, by name or shape.
        DisagreementError: the copy and the network give different outputs.
    """
    changed = copy.deepcopy(module)
    # what two layers share has two names, and the exporter keeps one of them
    parameters = dict(changed.named_parameters(remove_duplicate=False))
    initialisers = net.initialisers()
    with torch.no_grad():
        for name in sorted(net.repairable):
            own, value = parameters.get(name), initialisers[name]
            if own is None or own.shape != value.shape:
                shape = "no parameter of that name" if own is None else f"one of shape {tuple(own.shape)}"
                raise MismatchError(f"the network's {name!r} has shape {tuple(value.shape)}, the module {shape}")
            # in place: another tensor would no longer be shared
            own.copy_(value)
    _require_same(net, copy.deepcopy(changed).eval().cpu())
    return changed


def _exported(module: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    example = torch.zeros((_EXAMPLES, *input_shape), dtype=_module_dtype(module))
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                optimize=False,  # it would fold weights together and name them anew
                verbose=False,
                input_names=["X"],
                output_names=["Y"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
            return b"" if program is None else bytes(program.model_proto.SerializeToString())
    except Exception as error:  # the exporter's exceptions share no base class
        told = _first_cause(error)
        shape = (_EXAMPLES, *input_shape)
        raise MismatchError(
            f"torch cannot export the module for an input of shape {shape}: {told}. The module must take one tensor "
            "(batch, *input_shape) for batches of any size, and give one, or a tuple of them"
        ) from error


def _first_cause(error: BaseException) -> str:
    """What went wrong at first, in a line; the exporter wraps it in advice to its own developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = (line.strip().rstrip(".") for line in printable(str(error)).splitlines())
    return next(filter(None, lines), type(error).__name__)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's remarks about its own future and about packages that it would look for to itself."""
    logger = logging.getLogger("torch.onnx")
    level, disabled = logger.level, logging.root.manager.disable
    logger.setLevel(logging.ERROR)
    logging.disable(logging.ERROR)  # a shape that does not fit is told in pages of errors before it is raised
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        logging.disable(disabled)


def _module_dtype(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), torch.float32)


def _flat_outputs(outputs: object) -> Tensor:
    """All floating-point outputs of a module for a batch, one after the other: (n, outputs) float64.

    Raises:
        MismatchError: they are no tensors.
    """
    several = [outputs] if isinstance(outputs, Tensor) else list(outputs) if isinstance(outputs, tuple | list) else []
    real = [part for part in several if isinstance(part, Tensor) and part.is_floating_point()]
    if not real:
        raise MismatchError(f"the module gives {type(outputs).__name__}; a tensor, or several in a tuple, is expected")
    return torch.cat([part.reshape(len(part), -1) for part in real], 1).double()


def _require_same(net: Network, module: nn.Module) -> None:
    """Compare with the module's own forward pass, as a batch and one at a time.

    Raises:
        DisagreementError: outputs differ by more than rounding.
    """
    x = probe_inputs(net, _module_dtype(module))
    shaped = x.reshape(len(x), *net.input_shape[1:])
    with torch.no_grad():
        ours = net(x).double()
        # samples that influence each other in the module give other outputs one by one
        together = [_flat_outputs(module(shaped)), torch.cat([_flat_outputs(module(row[None])) for row in shaped])]
    for found in together:
        if found.shape != ours.shape:
            raise DisagreementError(f"the module gives {found.shape[1]} outputs, its network {ours.shape[1]}")
        difference = (found - ours).abs()
        if not bool((difference <= allowed_error(net, x)).all()):
            worst = float(difference.nan_to_num(math.inf).max())
            raise DisagreementError(f"the module and its network differ: outputs are {worst:.3g} apart")
