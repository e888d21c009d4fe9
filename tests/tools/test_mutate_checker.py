"""The names of the checker's mutants: those that are excused are there, and a table says which modules were run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import mutate_checker


def test_every_excused_mutant_is_one() -> None:
    """Functions get other names: an excuse that names none excuses nothing, and its mutant would be reported."""
    assert mutate_checker.unknown_equivalents() == []


def test_an_excuse_that_names_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = mutate_checker.EQUIVALENT.read_text(encoding="utf-8")
    (tmp_path / "equivalent.txt").write_text(f"{text}    exact.no_such_function: z > 0: GtE\n", encoding="utf-8")
    monkeypatch.setattr(mutate_checker, "EQUIVALENT", tmp_path / "equivalent.txt")
    with pytest.raises(SystemExit, match=r"give their names:\nexact\.no_such_function: z > 0: GtE"):
        mutate_checker.main([])


def test_the_table_has_a_row_for_each_module() -> None:
    rows = [
        line.split(":")[0] for line in mutate_checker.TABLE.read_text(encoding="utf-8").splitlines() if line[0] != " "
    ]
    assert rows == list(mutate_checker.MODULES)


def test_a_mutant_differs_in_one_place_from_the_module() -> None:
    made = dict(mutate_checker.mutants("rounding"))
    assert "rounding.round_towards: near > value: GtE" in made
    assert len({mutate_checker.ast.dump(tree) for tree in made.values()}) == len(made)
