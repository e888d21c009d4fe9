"""The ratchet itself: each limit goes red on a planted excess, and the list only shrinks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools import check_sizes

SHORT = "def f(a):\n    return a\n"


def plant(root: Path, source: str, path: str = "birdnn/planted.py") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    (root / "tools").mkdir(exist_ok=True)
    return file


def lines_function(n: int) -> str:
    """A function of exactly `n` code lines."""
    return "def f(a):\n" + "    a += 1\n" * (n - 1)


def run(root: Path, *argv: str) -> int:
    return check_sizes.main(["--root", str(root), *argv])


@pytest.mark.parametrize(
    ("source", "word"),
    [
        (lines_function(61), "code lines"),
        ("x = 1\n" * 601, "lines in a file"),
        ("def f(a, b, c, d, e, *, g, h, i, j): ...\n", "arguments"),
        ("def f(a):\n if a:\n  for b in a:\n   while b:\n    with b:\n     if a:\n      pass\n", "nesting"),
        ("def f():\n    global x\n    x = 1\n", "`global`"),
        ("from os import *\n", "`import *`"),
        ("try:\n    pass\nexcept:\n    pass\n", "bare `except`"),
        ("assert True\n", "`assert`"),
    ],
)
def test_each_excess_is_named(tmp_path, capsys, source, word):
    plant(tmp_path, source)
    assert run(tmp_path) == 1
    assert word in capsys.readouterr().out


@pytest.mark.parametrize(
    "source",
    [
        lines_function(60),
        "x = 1\n" * 600,
        "class C:\n    def f(self, a, b, c, d, e, g, h, i): ...\n",
        'def f(a):\n    """Doc\n' + "    more\n" * 60 + '    """\n' + "    # why\n\n" * 60 + "    return a\n",
        "def f(a):\n if a:\n  pass\n" + " elif a:\n  pass\n" * 6,
    ],
)
def test_what_is_at_the_limit_passes(tmp_path, source):
    plant(tmp_path, source)
    assert run(tmp_path) == 0


def test_assert_belongs_in_tests(tmp_path):
    plant(tmp_path, "assert True\n", "tests/test_x.py")
    assert run(tmp_path) == 0


def test_an_entry_excuses_its_size_and_no_more(tmp_path):
    plant(tmp_path, lines_function(70))
    check_sizes.write_ratchet(tmp_path / check_sizes.RATCHET, {"birdnn/planted.py::f lines": 70})
    assert run(tmp_path) == 0
    plant(tmp_path, lines_function(71))
    assert run(tmp_path) == 1
    assert run(tmp_path, "--update") == 1, "--update must not raise an entry"


def test_a_shrunk_entry_must_be_lowered_and_update_lowers_it(tmp_path):
    ratchet = tmp_path / check_sizes.RATCHET
    plant(tmp_path, lines_function(65))
    check_sizes.write_ratchet(ratchet, {"birdnn/planted.py::f lines": 70, "birdnn/gone.py::g lines": 80})
    assert run(tmp_path) == 1
    assert run(tmp_path, "--update") == 0
    assert check_sizes.read_ratchet(ratchet) == {"birdnn/planted.py::f lines": 65}
    plant(tmp_path, SHORT)
    assert run(tmp_path, "--update") == 0
    assert check_sizes.read_ratchet(ratchet) == {}


def test_no_entry_excuses_a_hard_limit(tmp_path):
    plant(tmp_path, lines_function(101))
    check_sizes.write_ratchet(tmp_path / check_sizes.RATCHET, {"birdnn/planted.py::f lines": 120})
    assert run(tmp_path) == 1


def test_update_never_adds(tmp_path):
    plant(tmp_path, lines_function(70))
    assert run(tmp_path, "--update") == 1
    assert check_sizes.read_ratchet(tmp_path / check_sizes.RATCHET) == {}


def test_methods_of_one_name_keep_apart():
    source = "class C:\n    def f(self): ...\n    def f(self, a, b): ...\n"
    keys = [m.key for m in check_sizes.measure("p.py", source, ast.parse(source))]
    assert len(keys) == len(set(keys))
