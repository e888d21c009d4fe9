"""Errors: what they say, how they end the command, and that they survive pickling."""

from __future__ import annotations

import pickle

import pytest

from birdnn.errors import (
    BirdnnError,
    DisagreementError,
    FetchError,
    FormatError,
    InputError,
    MismatchError,
    OutputError,
    SpecError,
    UnsupportedOpError,
)

EXAMPLES: list[tuple[BirdnnError, int, str]] = [
    (FormatError("a.nnet", "line 3", "no number"), 4, "a.nnet, line 3: no number"),
    (FormatError("a.nnet", "", "no number"), 4, "a.nnet: no number"),
    (FormatError("", "", "no number"), 4, "no number"),
    (FetchError("http://a/b", "not there"), 4, "http://a/b: not there"),
    (
        UnsupportedOpError("a.onnx", "Sin", "n1", ("Relu", "Add")),
        4,
        "a.onnx, node 'n1': operator 'Sin' is not supported; supported: Add, Relu",
    ),
    (SpecError("empty box"), 4, "empty box"),
    (MismatchError("two and three"), 4, "two and three"),
    (OutputError("out", "no such folder"), 4, "out: no such folder"),
    (DisagreementError("sat and unsat"), 6, "sat and unsat"),
    (BirdnnError("ours"), 5, "ours"),
]


@pytest.mark.parametrize(("error", "status", "text"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_errors(error: BirdnnError, status: int, text: str) -> None:
    """Exit status and message are what users and scripts rely on; workers send errors pickled."""
    assert (error.exit_status, str(error)) == (status, text)
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error)
    assert (str(twin), twin.__dict__) == (str(error), error.__dict__)
    assert isinstance(error, InputError) == (status == 4 and not isinstance(error, OutputError))
