"""TOML of users: what is beyond the limits is refused before it costs anything, whichever file it stands in."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from birdnn.errors import FormatError, UnreadableError
from birdnn.formats.measure import read_measure
from birdnn.formats.partition import read_blocks
from birdnn.formats.suite import Suite, read_domain
from birdnn.formats.toml import read_toml

QUANTITY = 'name = "{name}"\ntext = "it"\nmean = {mean}\nrange = {range}\n'


def suite(lower: str = "0.0", mean: str = "0.5", scale: str = "2") -> str:
    """A small suite."""
    quantity = QUANTITY.format(name="a", mean=mean, range=scale)
    parts = ['suite = "small"\ndecision = "argmin"\nproperties = []\nnetworks = []\n', f"[domain]\nlower = [{lower}]\n"]
    return "".join([*parts, "upper = [1]\n", f"[[inputs]]\n{quantity}", f"[[outputs]]\n{quantity}"])


ABSURD = {
    "tiny": "1e-999999999",
    "huge": "1e999999999",
    "tiny zero": "0e-999999999",
    "tiny as text": '"1e-999999999"',
    "beyond float64": "1e309",
    "digits": "9" * 5000,
    "fewer digits": "9" * 2000,
    "sixteenths": "0x" + "f" * 100_000,
    "decimals": "0." + "0" * 5000,
    "deep": "[" * 3000 + "]" * 3000,
    "tables": "{a=" * 3000 + "1" + "}" * 3000,
    "parts": "{" + "a." * 5000 + "a = 1}",
    "date": "1979-05-27",
    "nan": "nan",
    "infinity": "-inf",
}
READERS: dict[str, tuple[Callable[[Path], Any], Callable[[str], str]]] = {
    "domain": (read_domain, lambda value: f"lower = [{value}]\nupper = [1]\n"),
    "suite's domain": (Suite.load, suite),
    "suite's mean": (Suite.load, lambda value: suite(mean=value)),
    "suite's range": (Suite.load, lambda value: suite(scale=value)),
    "blocks": (lambda path: read_blocks([str(path)]), lambda value: f"[blocks]\nstem = {value}\n"),
    "marginals": (
        lambda path: read_measure(path, 1, None),
        lambda value: f'name = "m"\n[[inputs]]\ndistribution = "choice"\nvalues = [{value}]\nweights = [{value}]\n',
    ),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("case", ABSURD)
def test_absurd_values(tmp_path: Path, kind: str, case: str) -> None:
    """Not one hangs, and not one comes out as anything but an error with words of the reader's own."""
    if (kind, case) == ("blocks", "tiny as text"):
        return  # a name as good as any
    read, text = READERS[kind]
    path = tmp_path / "bad.toml"
    path.write_text(text(ABSURD[case]))
    start = time.process_time()
    with pytest.raises(FormatError) as caught:
        read(path)
    assert time.process_time() - start < 3
    assert not isinstance(caught.value, UnreadableError)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "lower = [0]\nupper = [1e-999999999]\n",
            "key upper: '1e-999999999' is out of range; we read a decimal of at most",
        ),
        ("lower = [" + "[" * 3000, "nested deeper than 20"),
        ("lower = [" + "[" * 30 + "]" * 31, "key lower: nested deeper than 20"),
        ("lower = [" + "9" * 5000 + "]\nupper = [1]\n", "an integer is too long"),
        ("lower = [" + "9" * 1100 + "]\nupper = [1]\n", "lower.0: 99999"),
        ("a." * 30 + "a = 1\n", "line 1: a key of more than 20 parts"),
        ('lower = ["1e-999999999"]\nupper = [1]\n', "lower.0: 1E-999999999 is out of range"),
        ("lower = [-1e301]\nupper = [1]\n", r"lower.0: -1E\+301: too large for float64"),
    ],
)
def test_the_place_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(FormatError, match=words):
        read_domain(path)


LONG = "a." * 30


def test_what_only_looks_like_a_long_key(tmp_path: Path) -> None:
    """Texts and comments may hold as many points as they like."""
    path = tmp_path / "good.toml"
    texts = [f'"{LONG} \\" {LONG}"', f"'{LONG}'", f'"""\n{LONG}\n"""', f"'''{LONG}'''", f'"""{LONG}"""""', '""""""']
    path.write_text(f"# {LONG}\na = [{', '.join(texts)}] # {LONG}")
    assert read_toml(path)["a"] == [f'{LONG} " {LONG}', LONG, f"{LONG}\n", LONG, f'{LONG}""', ""]


@pytest.mark.parametrize("before", ["b = '#' # it's", 'b = """\n\\""""""', "b = '''\n''''"[:-1], 'b = "\\\\" # "', ""])
@pytest.mark.parametrize("part", ["a.", "a . ", '"a\\"".', "'\"'."])
def test_a_long_key_is_found_behind_texts_and_comments(tmp_path: Path, before: str, part: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(f"{before}\n{part * 30}a = 1\n")
    with pytest.raises(FormatError, match=f"line {before.count(chr(10)) + 2}: a key of more than 20 parts"):
        read_toml(path)


@pytest.mark.parametrize("part", ['"""\\', '\\"', "'''", "a.", '"a"."', '""" \\', "#", '"\\', "'a'.", "'"])
@pytest.mark.parametrize("begin", ["a = ", 'a = "', 'a = """'])
def test_no_text_makes_the_search_go_back(tmp_path: Path, begin: str, part: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(begin + part * 100_000)
    start = time.process_time()
    with pytest.raises(FormatError):
        read_toml(path)
    assert time.process_time() - start < 3


def test_numbers_at_the_limits_are_read(tmp_path: Path) -> None:
    path = tmp_path / "domain.toml"
    path.write_text("lower = [-1e300, 1e-400, 0.2_5, -0.0]\nupper = [1e300, 1, 1, 0]\n")
    lower, upper = read_domain(path)
    assert lower.tolist() == [-1e300, 0.0, 0.25, 0.0]
    assert upper.tolist() == [1e300, 1.0, 1.0, 0.0]
    path.write_text(suite(mean="-1e300", scale="1e-300"))
    assert Suite.load(path).scaling.output_range * 10**300 == 1
