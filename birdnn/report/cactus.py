"""The cactus plot: how many instances are solved within how many seconds each."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from birdnn.printable import readable
from birdnn.report.drawing import DPI, PLAIN_TEXT, Kind

_STYLES = (
    ("#1b4f8a", "-", "o"), ("#c25b00", "--", "s"), ("#2e7d4f", "-.", "^"), ("#7a3e9d", ":", "D"), ("#444444", "-", "v"),
)  # fmt: skip
"""Told apart without colour as well."""
# A logarithmic axis has no zero; `SideBySide.ratio` counts seconds no lower, either.
_LEAST_S = 1e-3


@matplotlib.rc_context(PLAIN_TEXT)
def cactus_picture(
    curves: Mapping[str, Sequence[float]], *, total: int, limit_s: float, title: str, kind: Kind
) -> bytes:
    """For each name its solved instances in ascending order of seconds, on a logarithmic scale.

    Args:
        curves: name -> seconds of the solved instances, ascending.
        total: all instances, the right end of the axis.
        limit_s: the largest limit of any instance, drawn as a line.
        title: above the axes.
        kind: of file.
    """
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    # Styles come round again after the fifth curve, which `strict` would refuse: they never end.
    for (name, seconds), (colour, line, marker) in zip(curves.items(), cycle(_STYLES), strict=False):
        shown = [max(value, _LEAST_S) for value in seconds]
        # Hundreds of instances: a marker on each would hide the line and its dashes.
        every = max(1, len(shown) // 15)
        label = readable(f"{name} ({len(shown)} of {total})")
        axes.plot(
            range(1, len(shown) + 1),
            shown,
            line,
            color=colour,
            marker=marker,
            ms=4,
            markevery=every,
            lw=1.4,
            label=label,
        )
    axes.axhline(limit_s, color="0.6", lw=0.8)
    axes.annotate(
        f"limit {limit_s:g} s", (0, limit_s), xytext=(3, 2), textcoords="offset points", fontsize=7, color="0.4"
    )
    axes.set_yscale("log")
    axes.set_xlim(0, total + 1)
    axes.set_xlabel("instances solved, easiest first")
    axes.set_ylabel("seconds for each")
    axes.set_title(readable(title), fontsize=10)
    axes.grid(visible=True, which="major", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, 0.93))
    buffer = io.BytesIO()
    dated: dict[str, Any] = {"Date": None} if kind == "svg" else {}  # the same rows give the same file
    figure.savefig(buffer, format=kind, dpi=DPI, metadata=dated)
    return buffer.getvalue()
