"""The independent checker: proves a certificate's statements again from the files alone.

Nothing of birdnn is imported but the errors; the format and why an accepted file is a proof are in docs/certificate.md.
The modules read in this order: `files`, `statement` (VNN-LIB), `layers`, `onnxfile` and `network` (ONNX), `rounding`,
`lines`, `certificate`, `tree`, `floats`, `exact`, `judge`; then `graphs`, and `pairs` (statements about two networks).
`parts` shares a large tree among processes, `apart` compares two networks without a certificate.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from birdnn.certify.check.files import Rejected as Rejected
from birdnn.certify.check.files import Uncertain as Uncertain

if TYPE_CHECKING:
    from birdnn.certify.check.judge import UNRUN as UNRUN
    from birdnn.certify.check.judge import Accepted as Accepted
    from birdnn.certify.check.judge import Answer as Answer
    from birdnn.certify.check.judge import Settings as Settings
    from birdnn.certify.check.judge import check as check

_OF_JUDGE = "UNRUN", "Accepted", "Answer", "Settings", "check"
"""Load on first use: who only reads what a certificate states needs no network."""


def __getattr__(name: str) -> Any:
    if name not in _OF_JUDGE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("birdnn.certify.check.judge"), name)
