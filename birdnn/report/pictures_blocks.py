"""A picture of a network's blocks: how suspicious each is, and the spectrum of its neurons."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from birdnn.printable import readable
from birdnn.records import BlockLocalisation, SuspiciousBlock
from birdnn.report.drawing import FAINT, INK, SOFT, Drawing, picture_style, plain_axes

_BAR, _FIRST = "#9db7cf", "#b2432f"
_FORWARD, _BACKWARD = "#3b6e9e", "#c88a2d"


def blocks_picture(found: BlockLocalisation, network: str) -> Drawing:
    """Blocks from the input, on top, to the output: bars of suspicion, and beside them what their channels show."""
    blocks = list(found.blocks)
    with matplotlib.rc_context(picture_style()):
        figure = Figure(figsize=(9.0, 1.5 + 0.42 * len(blocks)), layout="constrained")
        title = f"How suspicious each block of {readable(network)} is"
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        _draw_suspicion(left, found, blocks)
        _draw_spectrum(right, blocks)
    first = found.ranking()[0]
    told = ", ".join(f"{b.name} {b.suspiciousness or 0:.2f}" for b in found.ranking())
    return Drawing(figure, title, f"The most suspicious block is {first.name}. {told}.")


def _draw_suspicion(axes: Axes, found: BlockLocalisation, blocks: list[SuspiciousBlock]) -> None:
    plain_axes(axes)
    first = found.ranking()[0]
    places = np.arange(len(blocks))
    shares = [block.suspiciousness or 0.0 for block in blocks]
    axes.barh(places, shares, height=0.62, color=[_FIRST if block is first else _BAR for block in blocks])
    for place, (block, share) in enumerate(zip(blocks, shares, strict=True)):
        rated = block.suspiciousness is not None
        axes.text(share + 0.01, place, f"{share:.2f}" if rated else "not judged", va="center", size=8, color=INK)
    axes.set_yticks(places, [readable(block.name) for block in blocks])
    axes.set_xlim(0, 1.05)
    # From above: the input is on top.
    axes.set_ylim(len(blocks) - 0.5, -0.5)
    axes.set_xlabel("suspiciousness")
    axes.grid(visible=False, axis="y")


def _draw_spectrum(axes: Axes, blocks: list[SuspiciousBlock]) -> None:
    plain_axes(axes)
    # A label once, at the first: each that is labelled is another line of the legend.
    first = next((place for place, block in enumerate(blocks) if block.suspiciousness is not None), None)
    for place, block in enumerate(blocks):
        if block.suspiciousness is None:
            continue
        axes.plot([block.forward, block.backward], [place, place], color=FAINT, lw=2, zorder=1)
        axes.plot(block.forward, place, "o", color=_FORWARD, ms=6, label="forward" if place == first else None)
        axes.plot(block.backward, place, "D", color=_BACKWARD, ms=5, label="backward" if place == first else None)
    axes.set_xlim(0, 1)
    axes.set_xlabel("spectrum of its channels, mean")
    axes.grid(visible=False, axis="y")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2, frameon=False, fontsize=7, labelcolor=SOFT)
