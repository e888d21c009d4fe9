"""Where tensors live: what was asked for, what is there, and what pays.

A bound is sound on either device: its rounding is accounted for whatever the order of sums and with fused
multiply-add (`docs/soundness.md`). Draws come from generators on the CPU, so that a seed gives the same points.
"""

from __future__ import annotations

import os

import torch

from birdnn.errors import InputError
from birdnn.network import Network
from birdnn.records import AskedDevice, Device
from birdnn.sample.pieces import multiplications

PAYS = 1e6
"""Multiplications of one evaluation from which on ``auto`` takes a graphics device. Networks of less are bounded by
compiled loops on the processor's cores (`birdnn.bounds.compiled.bound.LARGE`), which no device was seen to beat; they
are attacked and trained in batches that are over before a device has started on them."""

_EMULATED = "CUBLAS_EMULATE_DOUBLE_PRECISION"


def device_for(asked: AskedDevice, *nets: Network) -> Device:
    """Where to compute for networks that are evaluated together; ``auto`` is the CPU where no device is usable, or none
    pays.

    Raises:
        InputError: ``cuda`` was asked for, and cannot be used.
    """
    if asked == "cpu" or (asked == "auto" and sum(map(multiplications, nets)) < PAYS):
        return "cpu"
    reason = cuda_obstacle()
    if reason and asked == "cuda":
        raise InputError(f"--device cuda: {reason}; give --device cpu or auto (birdnn doctor says what is missing)")
    if reason:
        return "cpu"
    # float32 is to mean float32, in convolutions too: what sampling says is about such an execution
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return "cuda"


def cuda_obstacle() -> str:
    """Why no graphics device can be used here; empty where one can."""
    # its products are sums over slices of the numbers, whose error no bound accounts for (docs/soundness.md)
    if os.environ.get(_EMULATED, "0") not in ("", "0"):
        return f"{_EMULATED} is set, and rounding of emulated float64 is covered by no bound: unset it"
    if torch.version.cuda is None:
        return "this build of torch has no CUDA"
    return "" if torch.cuda.is_available() else "no CUDA device is usable here"
