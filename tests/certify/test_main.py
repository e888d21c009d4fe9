"""What ``birdnn-check`` says of options that it cannot use."""

from __future__ import annotations

from importlib import metadata

import pytest

from birdnn.certify.check.__main__ import main


@pytest.mark.parametrize(
    ("option", "said", "told"),
    [
        ("--most", "abc", "a positive finite number is expected, not 'abc'"),
        ("--most", "nan", "a positive finite number is expected, not 'nan'"),
        ("--part", "x", "N/M with N from 0 to M - 1 is expected, not 'x'"),
        ("--part", "2/2", "N/M with N from 0 to M - 1 is expected, not '2/2'"),
        ("--sample", "abc", "a whole number of at least 1 is expected, not 'abc'"),
        ("--sample", "0", "a whole number of at least 1 is expected, not '0'"),
        ("--seed", "1.5", "a whole number of at least 0 is expected, not '1.5'"),
    ],
)
def test_what_is_expected_is_told_in_words(
    option: str, said: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Argparse would name the function that reads the value."""
    with pytest.raises(SystemExit, match="2"):
        main(["--net", "n.onnx", option, said])
    assert f"argument {option}: {told}" in capsys.readouterr().err


def test_it_says_which_version_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """An assessor writes down what judged the certificate."""
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"birdnn-check {metadata.version('birdnn')}\n"
