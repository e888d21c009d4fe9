"""What lives in memory, as files."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from birdnn.api.loading import NETWORK, PROPERTY, NetworkLike, PropertyLike, load_network, network_bytes, path_of
from birdnn.errors import BirdnnError, MismatchError, OutputError, SpecError
from birdnn.formats import read_network, read_property
from birdnn.formats.files import NETWORK_BYTES, read_stored, stem_and_kind, write_bytes
from birdnn.formats.vnnlib_text import property_text
from birdnn.network import Network
from birdnn.spec import Property


class Stored:
    """Files of networks and properties: their own where these still say the same, else new ones in a folder.

    What was loaded from a file and changed since is never mistaken for the file. On an error, and
    where the user interrupts, what was written is removed again.

    Args:
        folder: made where it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._written: dict[Path, bytes] = {}
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        with suppress(OSError):
            for path in self._written:
                path.unlink(missing_ok=True)
            for folder in self._made:
                folder.rmdir()  # fails, as it should, where there is something inside

    def network(self, net: NetworkLike) -> Path:
        """A file of `net`.

        Raises:
            MismatchError: a torch module, which was not loaded, so that nobody knows the shape of its input.
        """
        if not isinstance(net, nn.Module):
            return path_of(NETWORK, net)
        net = load_network(net)
        own = Path(net.source)
        if net.source and _same_network(net, own):
            return own
        return self._write_once(f"{stem_and_kind(own)[0] or 'network'}.onnx", network_bytes(net))

    def property(self, prop: PropertyLike) -> Path:
        """A file of `prop`."""
        if not isinstance(prop, Property):
            return path_of(PROPERTY, prop)
        if prop.path and _same_property(prop, Path(prop.path)):
            return Path(prop.path)
        if prop.name in ("", ".", "..") or set(prop.name) & set("/\\\0"):
            raise SpecError(f"property {prop.name!r} needs a file, and this is no name for one; name it otherwise")
        data, number = property_text(prop).encode(), 1
        name = f"{prop.name}.vnnlib"
        while self._written.get(self.folder / name, data) != data:  # another one of this name: both are asked
            number += 1
            name = f"{prop.name} ({number}).vnnlib"
        return self._write_once(name, data)

    def corners(self, name: str, lower: ArrayLike, upper: ArrayLike) -> Path:
        """A file of a box of inputs."""
        sides = [np.asarray(side, dtype=np.float64) for side in (lower, upper)]
        if any(side.ndim != 1 or not np.isfinite(side).all() for side in sides):
            raise SpecError(f"{name}: two arrays of finite numbers are expected, a lower and an upper corner")
        lines = [f"{key} = {side.tolist()}" for key, side in zip(("lower", "upper"), sides, strict=True)]
        return self._write_once(f"{name}.toml", "\n".join(lines).encode())

    def samples(self, name: str, x: ArrayLike, y: ArrayLike | None = None) -> Path:
        """A file of points, (points, ...), and of their right classes, (points,), where there are any."""
        data = io.BytesIO()
        arrays = {"x": np.asarray(x)} if y is None else {"x": np.asarray(x), "y": np.asarray(y)}
        # NumPy stamps no time on the members: the same points are the same bytes, by which `_write_once` knows its file
        np.savez(data, allow_pickle=False, **arrays)
        return self._write_once(f"{name}.npz", data.getvalue())

    def _write_once(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        if self._written.get(path, data) != data:
            raise MismatchError(f"two different things in memory are called {name!r}; name one of them otherwise")
        if path not in self._written:
            if path.exists():
                # of an earlier call, and not ours to remove
                if path.is_file() and read_stored(path, NETWORK_BYTES) == data:
                    return path
                raise OutputError(str(path), "is there already and says something else; name another folder")
            # the innermost first, as `__exit__` removes them
            self._made += [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(str(self.folder), f"cannot be made: {error.strerror or error}") from None
            self._written[path] = data  # before it is: an interruption in between would leave the file
            write_bytes(path, data)
        return path


def _same_network(net: Network, path: Path) -> bool:
    """Does the file still hold this network? It may have been trained, or the file replaced, since it was read."""
    with suppress(BirdnnError):
        stored = read_network(path)
        ours, theirs = net.values(), stored.values()
        return bool(net.graph == stored.graph) and all(torch.equal(ours[name].cpu(), theirs[name]) for name in ours)
    return False


def _same_property(prop: Property, path: Path) -> bool:
    with suppress(BirdnnError):
        return _exact_formula(prop) == _exact_formula(read_property(path))
    return False


def _exact_formula(prop: Property) -> list[object]:
    """In the order in which it is written, which that of the proofs is."""
    return [prop.element] + [
        (r.exact_lower, r.exact_upper, r.strict_lower, r.strict_upper, [p.rows for p in r.unsafe]) for r in prop.regions
    ]
