"""A user's blocks: ``NAME=FIRST..LAST`` on the command line, or a TOML file with a table of names and nodes.

The file has a table ``blocks``; each key is a block, each value a list of its nodes, or ``"FIRST..LAST"``::

    [blocks]
    stem = ["/conv1/Conv", "/relu/Relu"]
    body = "/layer1/conv1/Conv../layer3/relu/Relu"
"""

from __future__ import annotations

from collections.abc import Iterable

from birdnn.errors import FormatError, SpecError
from birdnn.formats.toml import read_toml
from birdnn.reading import guarded_reader

_FORM = "NAME=FIRST..LAST with names of nodes, or a .toml file"


def read_blocks(said: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Name of a block -> its nodes, or the first and the last of them.

    Raises:
        SpecError: a text that is neither, or a block that is named twice.
        FormatError: a file is unusable.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in said:
        # a node may end in .toml, too
        entries = (
            _read_block_file(text) if text.lower().endswith(".toml") and "=" not in text else dict([_parse_block(text)])
        )
        for name, nodes in entries.items():
            if name in found:
                raise SpecError(f"block {name!r} is named twice")
            found[name] = nodes
    return found


def _parse_block(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, span = text.partition("=")
    if not equals or not name or not (nodes := _split_span(span)):
        raise SpecError(f"--block {text}: expected is {_FORM}")
    return name, nodes


def _split_span(text: str) -> tuple[str, ...]:
    """Both ends; empty where there are not two."""
    first, dots, last = text.partition("..")
    return (first, last) if dots and first and last else (first,) if first and not dots else ()


@guarded_reader
def _read_block_file(path: str) -> dict[str, tuple[str, ...]]:
    content = read_toml(path)
    table = content.get("blocks")
    if not isinstance(table, dict) or not table:
        raise FormatError(path, "", "a table [blocks] is expected: names, each with a list of nodes or 'FIRST..LAST'")
    found = {}
    for name, value in table.items():
        nodes = _split_span(value) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()
        if not nodes or not all(isinstance(node, str) and node for node in nodes):
            raise FormatError(path, f"blocks.{name}", "a list of names of nodes, or 'FIRST..LAST', is expected")
        found[name] = nodes
    return found
