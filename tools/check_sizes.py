"""The size ratchet: nothing grows past what one person reads at once.

Limits (soft, hard): code lines of a function 60, 100; lines of a file 600, 1000; arguments of a function 8; nesting 4.
Code lines leave out blank lines, comments and docstrings. What exceeded a soft limit when the rule came is listed in
`tools/ratchet.toml` with its size: it may shrink, it may not grow, and no entry excuses a hard limit. `--update` lowers
and removes entries; it never adds or raises one. Nowhere: `global`, `import *`, bare `except`; in the package no
`assert`.

Exit status: 0 nothing to object, 1 objections (one a line, `file:line: what`), 2 wrong use.
"""

from __future__ import annotations

import argparse
import ast
import io
import sys
import tokenize
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("birdnn", "tools", "benchmarks", "tests")
PACKAGE = "birdnn"
RATCHET = "tools/ratchet.toml"
SOFT = {"lines": 60, "file": 600, "arguments": 8, "nesting": 4}
HARD = {"lines": 100, "file": 1000}
WORDS = {
    "lines": "code lines in a function",
    "file": "lines in a file",
    "arguments": "arguments",
    "nesting": "levels of nesting",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One size of one thing; `key` names it in the ratchet."""

    path: str
    line: int
    name: str
    kind: str
    value: int

    @property
    def key(self) -> str:
        return f"{self.path}::{self.name} {self.kind}" if self.name else f"{self.path} {self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def code_lines(source: str, tree: ast.Module) -> frozenset[int]:
    """Line numbers that hold code: no blank line, no comment, no docstring."""
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and ast.get_docstring(node, clean=False):
            doc = node.body[0]
            lines.difference_update(range(doc.lineno, (doc.end_lineno or doc.lineno) + 1))
    return frozenset(lines)


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Every function with its dotted name, methods and nested functions included."""
    for child in ast.iter_child_nodes(tree):
        name = prefix
        if isinstance(child, (ast.ClassDef, *FUNCTIONS)):
            name = f"{prefix}.{child.name}" if prefix else child.name
        if isinstance(child, FUNCTIONS):
            yield name, child
        yield from functions(child, name)


def nesting(body: Iterable[ast.stmt]) -> int:
    """Depth of compound statements; an `elif` is as deep as its `if`, a nested function starts anew."""
    return max((_depth(node) for node in body), default=0)


def _depth(node: ast.AST) -> int:
    if isinstance(node, (ast.ClassDef, *FUNCTIONS)):
        return 0
    inner = 0
    for child in ast.iter_child_nodes(node):
        elif_branch = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
        inner = max(inner, _depth(child) - int(elif_branch))
    return inner + int(isinstance(node, COMPOUND))


def arguments(function: Function, method: bool) -> int:
    """Arguments that a caller thinks about: `self` and `cls` are not among them."""
    args = function.args
    named = [a.arg for a in (*args.posonlyargs, *args.args)]
    if method and named[:1] in (["self"], ["cls"]):
        named = named[1:]
    return len(named) + len(args.kwonlyargs) + int(args.vararg is not None) + int(args.kwarg is not None)


def measure(path: str, source: str, tree: ast.Module) -> Iterator[Measure]:
    """All sizes of one file."""
    yield Measure(path=path, line=1, name="", kind="file", value=len(source.splitlines()))
    code = code_lines(source, tree)
    seen: dict[str, int] = {}
    for name, function in functions(tree):
        # Overloads and property setters share a name; a number keeps their keys apart.
        seen[name] = seen.get(name, 0) + 1
        unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
        span = range(function.lineno, (function.end_lineno or function.lineno) + 1)
        sizes = {
            "lines": len(code.intersection(span)),
            "arguments": arguments(function, method="." in name),
            "nesting": nesting(function.body),
        }
        for kind, value in sizes.items():
            yield Measure(path=path, line=function.lineno, name=unique, kind=kind, value=value)


def banned(path: str, tree: ast.Module) -> Iterator[Objection]:
    """Statements that have no place here at any size."""
    in_package = path.split("/")[0] == PACKAGE
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            what = "`global`: pass the value, or keep it in an object"
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            what = "`import *`: name what is imported"
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            what = "bare `except`: name the exception"
        elif isinstance(node, ast.Assert) and in_package:
            what = "`assert` in the package: it vanishes under -O; raise an error"
        else:
            continue
        yield Objection(path=path, line=getattr(node, "lineno", 1), what=what)


def judge(measures: Iterable[Measure], ratchet: Mapping[str, int]) -> list[Objection]:
    """What exceeds a hard limit, exceeds a soft one without an entry or beyond it, or no longer needs its entry."""
    objections, met = [], set()
    for m in measures:
        what = ""
        entry = ratchet.get(m.key)
        met.add(m.key)
        if m.value > HARD.get(m.kind, 10**9):
            what = f"{m.name or 'file'}: {m.value} {WORDS[m.kind]}, hard limit {HARD[m.kind]}"
        elif m.value > SOFT[m.kind] and m.value > (entry or 0):
            listed = f", {entry} in the ratchet" if entry else ""
            what = f"{m.name or 'file'}: {m.value} {WORDS[m.kind]}, limit {SOFT[m.kind]}{listed}"
        elif entry is not None and m.value < entry:
            what = f"{m.name or 'file'}: shrunk from {entry} to {m.value} {WORDS[m.kind]}: run with --update"
        if what:
            objections.append(Objection(path=m.path, line=m.line, what=what))
    gone = sorted(set(ratchet) - met)
    return objections + [Objection(path=RATCHET, line=1, what=f"{key!r} is gone: run with --update") for key in gone]


def tightened(measures: Iterable[Measure], ratchet: Mapping[str, int]) -> dict[str, int]:
    """The ratchet with entries lowered or removed; never with one added or raised."""
    values = {m.key: (m.value, SOFT[m.kind]) for m in measures}
    kept = {}
    for key, entry in ratchet.items():
        value, soft = values.get(key, (0, 0))
        if value > soft:
            kept[key] = min(entry, value)
    return kept


def read_ratchet(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("exceeds", {})
    return {str(key): int(value) for key, value in entries.items()}


def write_ratchet(path: Path, entries: Mapping[str, int]) -> None:
    lines = [
        "# Sizes above the soft limits of tools/check_sizes.py. Entries may shrink and vanish, never grow.",
        "[exceeds]",
    ]
    lines += [f'"{key}" = {value}' for key, value in sorted(entries.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def survey(root: Path) -> tuple[list[Measure], list[Objection]]:
    """Sizes and banned statements of every Python file below `root`'s code folders."""
    measures: list[Measure] = []
    objections: list[Objection] = []
    for file in sorted(p for folder in FOLDERS for p in (root / folder).rglob("*.py")):
        path, source = file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")
        tree = ast.parse(source, filename=path)
        measures += measure(path, source, tree)
        objections += banned(path, tree)
    return measures, objections


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check sizes against the limits and the ratchet.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--update", action="store_true", help="lower and remove entries of the ratchet")
    options = parser.parse_args(argv)
    ratchet_file = options.root / RATCHET
    measures, objections = survey(options.root)
    ratchet = read_ratchet(ratchet_file)
    if options.update:
        ratchet = tightened(measures, ratchet)
        write_ratchet(ratchet_file, ratchet)
    objections += judge(measures, ratchet)
    for objection in objections:
        print(objection)
    n_files = sum(m.kind == "file" for m in measures)
    print(f"{n_files} files, {len(ratchet)} in the ratchet, {len(objections)} objections", file=sys.stderr)
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(main())
