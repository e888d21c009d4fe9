"""Files that a pattern names, and files with the name of what they are."""

from __future__ import annotations

import ast
import glob
from collections.abc import Iterable
from pathlib import Path

from birdnn.errors import FormatError, MismatchError


def matching_files(paths: Iterable[Path]) -> list[Path]:
    """The files, with those that match in place of a pattern (``*``, ``?``, ``[..]``, ``**``), sorted.

    A file whose name looks like a pattern is that file.

    Raises:
        FormatError: a pattern matches no file.
    """
    found = []
    for path in paths:
        if not glob.has_magic(str(path)) or path.exists():
            found.append(path)
            continue
        # pathlib takes no pattern that begins at the root
        hits = sorted(hit for name in glob.glob(str(path), recursive=True) if (hit := Path(name)).is_file())  # noqa: PTH207
        if not hits:
            raise FormatError(str(path), "", "no file matches this pattern")
        found += hits
    return found


def named_network(text: str) -> tuple[str, Path]:
    """``NAME=FILE`` as a name and a file; a file alone, or one whose own name looks so, has no name."""
    name, equals, path = text.partition("=")
    # a file may be called a=b.onnx
    if equals and path and name.isidentifier() and not Path(text).exists():
        return name, Path(path)
    return "", Path(text)


def network_word(name: str, path: Path) -> str:
    """How a network is said that `named_network` reads: ``NAME=FILE``, or the file where it has no name."""
    return f"{name}={path}" if name else str(path)


def named_networks(text: str) -> list[tuple[str, Path]]:
    """The same, or VNN-COMP's list of several: ``[('f', 'A.onnx'), ('g', 'B.onnx')]``.

    Raises:
        MismatchError: it begins like such a list and is none.
    """
    if not text.startswith("["):
        return [named_network(text)]
    try:
        return [(str(name), Path(str(path))) for name, path in ast.literal_eval(text)]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise MismatchError(f"{text[:60]}: no list of pairs of a name and a file") from None
