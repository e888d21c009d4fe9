"""Mutates every comparison and sign of the checker, one at a time, and reports which mutants its tests do not notice.

Run as ``python -m tools.mutate_checker [MODULE ...]``; writes the rows of these modules in tests/certify/mutants.txt.
Whoever changes a module and does not run it again marks its row as not run. Each mutant lives in a forked process that
imports the checker afresh and runs the tests of tests/certify until one fails.
Mutants that no test can notice, because they accept and reject the same, stand in tests/certify/equivalent.txt with the
reason, and are not run.
"""

from __future__ import annotations

import ast
import copy
import importlib
import importlib.abc
import importlib.util
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "birdnn" / "certify" / "check"
TABLE = ROOT / "tests" / "certify" / "mutants.txt"
EQUIVALENT = ROOT / "tests" / "certify" / "equivalent.txt"
MODULES = (
    "certificate",
    "exact",
    "files",
    "floats",
    "graphs.exact",
    "graphs.floats",
    "graphs.nodes",
    "graphs.reader",
    "graphs.walk",
    "judge",
    "layers",
    "lines",
    "network",
    "onnxfile",
    "pairs.chain",
    "pairs.engines",
    "pairs.exact",
    "pairs.floats",
    "pairs.lines",
    "pairs.query",
    "pairs.walk",
    "parts",
    "rounding",
    "statement",
    "tree",
)
PATIENCE = 5
"""How many times as long as the suite takes on the checker itself a mutant may take."""

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add}
_NAMES = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "all": "any", "any": "all"}


def mutants(module: str) -> Iterator[tuple[str, ast.Module]]:
    """Each mutant's name and tree."""
    tree = ast.parse(_source(module))
    for name, number, change in _named_changes(module, tree):
        new = copy.deepcopy(tree)
        change(list(ast.walk(new))[number])
        yield name, ast.fix_missing_locations(new)


def unknown_equivalents() -> list[str]:
    """Names that stand among the equivalent mutants, and are those of none: of a function that has another name now."""
    names = {name for module in MODULES for name, _, _ in _named_changes(module, ast.parse(_source(module)))}
    return sorted(equivalent() - names)


def _source(module: str) -> str:
    return (FOLDER / f"{module.replace('.', '/')}.py").read_text()


def _named_changes(module: str, tree: ast.Module) -> Iterator[tuple[str, int, Any]]:
    """Each mutant's name, the number of a node in the order of `ast.walk`, and what changes that node.

    Where a function has the same expression again, the name ends in a number.
    """
    times: Counter[str] = Counter()
    home = {part: function.name for function in ast.walk(tree) if isinstance(function, ast.FunctionDef)
            for part in ast.walk(function)}  # fmt: skip
    for number, node in enumerate(ast.walk(tree)):
        for what, change in _changes(node):
            name = f"{module}.{home.get(node, 'module')}: {what}"
            times[name] += 1
            yield name if times[name] == 1 else f"{name} ({times[name]})", number, change


def _changes(node: Any) -> Iterator[tuple[str, Any]]:
    text = ast.unparse(node) if isinstance(node, ast.expr) else ""
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            for other in _COMPARE.get(type(op), ()):
                yield f"{text}: {other.__name__}", lambda n, i=index, o=other: n.ops.__setitem__(i, o())
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not isinstance(node.left, ast.JoinedStr):
        yield f"{text}: sign", lambda n: setattr(n, "op", _ARITHMETIC[type(n.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield f"{text}: sign", lambda n: setattr(n, "op", ast.UAdd())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not):
        yield f"{text}: negation", lambda n: setattr(n, "op", ast.UAdd()) if isinstance(n.op, ast.Invert) else _drop(n)
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield f"{text}: {_NAMES[node.attr]}", lambda n: setattr(n, "attr", _NAMES[n.attr])
    elif isinstance(node, ast.Name) and node.id in _NAMES and isinstance(node.ctx, ast.Load):
        yield f"{text}: {_NAMES[node.id]}", lambda n: setattr(n, "id", _NAMES[n.id])


def _drop(node: ast.UnaryOp) -> None:
    """``not x`` becomes ``not not x``."""
    node.operand = ast.UnaryOp(ast.Not(), node.operand)


class _Mutant(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Hands out one module of the checker in its changed form."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name, self.code = f"birdnn.certify.check.{name}", compile(tree, name, "exec")

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def exec_module(self, module: Any) -> None:
        exec(self.code, module.__dict__)


def _purge() -> None:
    for name in [n for n in sys.modules if n.startswith(("birdnn.certify.check", "tests.certify"))]:
        del sys.modules[name]


def suite(module: str, material: dict[str, Any]) -> None:
    """The tests, those of the mutated module's numbers first; an exception is a kill.

    The few that take nine tenths of the time come last: most mutants die before them.
    """
    own = _OWN.get(module, module if module in _BY_HAND else "boundaries")
    shared = ("parts",) if module in _SHARED else ()  # it starts processes
    by_hand = sorted((*_BY_HAND, *shared), key=lambda name: name != own)
    files = (*by_hand, "statement", "soundness")
    folder = Path(tempfile.mkdtemp())
    _all_of(files[0], folder, material, long=False)
    _tampering(folder, material)
    for name in files[1:]:
        _all_of(name, folder, material, long=False)
    soundness = importlib.import_module("tests.certify.test_soundness")
    for act in soundness.KINDS:
        soundness.test_lines_hold_and_touch(act)
        if act.kind in ("sigmoid", "tanh", "elu"):
            soundness.test_float_offsets_are_not_inside_exact_ones(act)
    signal.setitimer(signal.ITIMER_PROF, 0)
    for name in files:
        _all_of(name, folder, material, long=True)


def _passes(module: str, tree: ast.Module, seconds: float) -> bool:
    """Do the tests of a folder of modules pass in a process of their own, with one of the modules changed?"""
    folder, _, name = module.partition(".")
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(ROOT / "birdnn", Path(place) / "birdnn", ignore=shutil.ignore_patterns("__pycache__"))
        for shared in ("tests", "tools", "pyproject.toml"):
            (Path(place) / shared).symlink_to(ROOT / shared)
        changed = Path(place) / "birdnn" / "certify" / "check" / folder / f"{name}.py"
        changed.write_text(ast.unparse(tree), encoding="utf-8")
        tests = Path("tests") / "certify" / folder
        own = sorted((ROOT / tests).glob("test_*.py"), key=lambda path: not path.stem.endswith(name))
        quiet = ["-x", "-q", "-p", "no:cacheprovider", "-n0", "-m", "not thorough"]
        command = [sys.executable, "-m", "pytest", *quiet, *(str(tests / path.name) for path in own)]
        try:
            done = subprocess.run(
                command,
                cwd=place,
                env={**os.environ, "PYTHONPATH": place},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=None if math.isinf(seconds) else seconds,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def _tampering(folder: Path, material: dict[str, Any]) -> None:
    tampering = importlib.import_module("tests.certify.test_tampering")

    def case() -> Any:
        net, prop = folder / "net.onnx", folder / "prop.vnnlib"
        net.write_bytes(material["net"])
        prop.write_bytes(material["prop"])
        return tampering.Case(net, prop, folder / "it.json.gz", copy.deepcopy(material["data"]))

    for arithmetic in ("float64", "exact"):
        tampering.test_the_certificate_itself_is_accepted(case(), arithmetic)
    for name in tampering.TAMPERED:
        tampering.test_tampering_is_rejected(case(), name)
    for name in tampering.UNREADABLE:
        with pytest.MonkeyPatch.context() as patch:
            tampering.test_unreadable_files_are_bad_input(case(), name, patch)
    tampering.test_semantics_swapped(case(), folder)


def _all_of(name: str, folder: Path, material: dict[str, Any], *, long: bool) -> None:
    """The long tests of a file, or every other one; not those that are run elsewhere."""
    module = importlib.import_module(f"tests.certify.test_{name}")
    tests = sorted(n for n in vars(module) if n.startswith("test_") and n not in _SEPARATE)
    for test in (n for n in tests if (n in _LONG) == long):
        for values in _parameters(getattr(module, test)):
            _call(getattr(module, test), values, folder, material)


_BY_HAND = "boundaries", "splits", "tree", "lines", "floats", "exact", "layers", "certain", "certain_networks"
_SHARED = "parts", "judge"
_OWN = {
    "parts": "parts",
    **dict.fromkeys(("certificate", "files", "statement"), "certain"),
    **dict.fromkeys(("network", "onnxfile"), "certain_networks"),
}
_SEPARATE = (
    "test_lines_hold_and_touch",
    "test_float_offsets_are_not_inside_exact_ones",
    "test_the_checker_imports_nothing_of_birdnn_but_errors",
)
_LONG = (
    "test_whoever_finds_it_a_wrong_leaf_is_rejected",
    "test_shared_it_is_accepted_and_says_the_same",
    "test_a_wide_diagonal_is_refused_before_it_is_made",
    "test_damaged_texts_are_never_read_differently",
    "test_both_readers_mean_the_same",
    "test_both_readers_relate_inputs_alike",
    "test_an_accepted_certificate_is_never_contradicted",
)
"""Tests of more than three seconds."""
_QUICK_S = 60
"""Seconds of processor time for all others together, which take a quarter of it."""


class _Folders:
    """What tests use of pytest's tmp_path_factory."""

    def mktemp(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=name))


def _parameters(test: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", ()):
        if mark.name != "parametrize":
            continue
        names, rows = mark.args
        each = [{names: row} if isinstance(names, str) else dict(zip(names, row, strict=True)) for row in rows]
        found = [{**values, **row} for values in found for row in each]
    return found


def _call(test: Any, values: dict[str, Any], folder: Path, material: dict[str, Any]) -> None:
    import inspect

    wanted = inspect.signature(test).parameters
    with pytest.MonkeyPatch.context() as patch:
        extra = {
            "tmp_path": Path(tempfile.mkdtemp(dir=folder)),
            "tmp_path_factory": _Folders(),
            "monkeypatch": patch,
        }
        if "made" in wanted and "made" not in values:
            extra["made"] = _made(Path(tempfile.mkdtemp(dir=folder)), patch, material["parts"])
        test(**values, **{name: value for name, value in extra.items() if name in wanted})


def _made(folder: Path, patch: pytest.MonkeyPatch, files: list[tuple[str, bytes]]) -> tuple[Path, ...]:
    """The fixture of tests/certify/test_parts.py, of files that were made once."""
    importlib.import_module("tests.certify.test_parts").make_worthwhile(patch)
    for name, data in files:
        (folder / name).write_bytes(data)
    return tuple(folder / name for name, _ in files)


def survives(name: str, tree: ast.Module, material: dict[str, Any], seconds: float) -> bool:
    """Does the suite pass with the module ``name`` replaced by ``tree``? What does not end in time is noticed, too."""
    if "." in name:
        return _passes(name, tree, seconds)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if math.isfinite(seconds):  # what a mutant says is of no interest
                signal.setitimer(signal.ITIMER_REAL, seconds)
                # a loop that no longer ends is mostly met by a quick test, and need not have all that time
                signal.setitimer(signal.ITIMER_PROF, _QUICK_S)
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.dup2(null, 2)
            _purge()
            sys.meta_path.insert(0, _Mutant(name, tree))
            suite(name, material)
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def main(chosen: list[str]) -> int:
    import hypothesis

    if unknown := unknown_equivalents():
        raise SystemExit("\n".join([f"{EQUIVALENT} names mutants that there are not; give their names:", *unknown]))
    quick = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", deadline=None, phases=quick, derandomize=True, database=None,
                                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    hypothesis.settings.load_profile("mutants")
    for name in ("layers", "soundness", "statement"):  # loads what is large, once
        importlib.import_module(f"tests.certify.test_{name}")
    made = importlib.import_module("tests.certify.test_tampering").make(Path(tempfile.mkdtemp()))
    shared = importlib.import_module("tests.certify.test_parts").make(Path(tempfile.mkdtemp()))
    parts = [(path.name, path.read_bytes()) for path in shared]
    material = {"net": made.net.read_bytes(), "prop": made.prop.read_bytes(), "data": made.data, "parts": parts}
    begun = time.monotonic()
    if not survives("judge", ast.parse(_source("judge")), material, math.inf):
        raise SystemExit("the checker itself does not pass its tests")
    seconds = PATIENCE * (time.monotonic() - begun)
    print(f"the tests take {seconds / PATIENCE:.1f} s", flush=True)
    reasons = equivalent()
    for name in chosen or MODULES:
        if "." in name and not survives(name, ast.parse(_source(name)), material, math.inf):
            raise SystemExit(f"the checker itself does not pass its tests of {name}")
        killed = same = alive = 0
        lines: list[str] = []
        for mutant, tree in mutants(name):
            if mutant in reasons:
                same += 1
            elif survives(name, tree, material, seconds):
                alive += 1
                lines.append(f"    {mutant}")
                print(lines[-1], flush=True)
            else:
                killed += 1
        lines.append(f"{name}: {killed} noticed, {same} equivalent, {alive} survive")
        print(lines[-1], flush=True)
        # now, as the next module may take an hour
        table = {**_table_rows(), name: lines}
        rows = (line for module in MODULES for line in table.get(module, [f"{module}: not run"]))
        TABLE.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return 0


def _table_rows() -> dict[str, list[str]]:
    """The lines of each module in the table: those of mutants that survive, then how many there are of each kind."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        lines.append(line)
        if not line.startswith(" "):
            found[line.partition(":")[0]], lines = lines, []
    return found


def equivalent() -> set[str]:
    """Mutants that change nothing: names as `mutants` gives them, each with its reason on a line above."""
    lines = EQUIVALENT.read_text(encoding="utf-8").splitlines()
    return {line.strip() for line in lines if line.startswith("    ")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
