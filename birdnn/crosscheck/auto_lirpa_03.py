"""What auto_LiRPA 0.3, made for torch below 1.13 and NumPy 1, misses in today's versions of both.

Only that version is helped; later ones bring what they need. Packages that have to be there besides: appdirs, tqdm.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch


def prepare() -> None:
    """Before the import: put back three names that have moved or gone."""
    _restore_numpy_sets()
    _restore_opset_setter()
    node: Any = torch._C.Node
    if not hasattr(node, "__getitem__"):
        node.__getitem__ = _node_attribute


def complete(package: ModuleType) -> None:
    """Let its modules list their parameters as torch asks for them since version 2."""
    listed = package.BoundedModule._named_members

    def named_members(self: Any, get: Any, prefix: str = "", recurse: bool = True, **_: Any) -> Iterator[Any]:
        found: Iterator[Any] = listed(self, get, prefix, recurse)
        return found

    package.BoundedModule._named_members = named_members


def _restore_numpy_sets() -> None:
    """``numpy.lib.arraysetops.isin``, private since NumPy 2."""
    name = "numpy.lib.arraysetops"
    if name not in sys.modules:
        module = ModuleType(name)
        module.isin = np.isin  # type: ignore[attr-defined]
        sys.modules[name] = module


def _restore_opset_setter() -> None:
    """``torch.onnx.symbolic_helper._set_opset_version``: which operators the tracer writes."""
    helper: Any = importlib.import_module("torch.onnx.symbolic_helper")
    if not hasattr(helper, "_set_opset_version"):
        helper._set_opset_version = _set_opset


def _set_opset(number: int) -> None:
    settings: Any = importlib.import_module("torch.onnx._internal.torchscript_exporter._globals")
    settings.GLOBALS.export_onnx_opset_version = number


def _node_attribute(node: Any, key: str) -> Any:
    """``node[key]`` of a traced graph."""
    return getattr(node, node.kindOf(key))(key)
