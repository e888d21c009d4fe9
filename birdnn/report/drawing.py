"""What all pictures share: Matplotlib without a display and without its global state, the same bytes for the same data.

Every picture stands on a white card of its own, so that it reads the same on a light and on a dark page.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from birdnn.printable import readable

Kind = Literal["svg", "png"]
INK, SOFT, FAINT = "#1a1a1a", "#5c5c5c", "#d9d9d9"
DPI = 160

_STYLE = {
    "svg.hashsalt": "birdnn",  # otherwise every run names its elements anew
    "svg.fonttype": "none",  # text stays text: to be searched, read aloud and scaled
    "text.parse_math": False,  # names of files and inputs hold dollars and underscores
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
    "font.size": 8,
}
_ID = re.compile(r'\bid="([^"]+)"')
_NAME = re.compile(r'(\bid="|\bhref="#|url\(#)([^")]+)')


PLAIN_TEXT = matplotlib.RcParams({"text.parse_math": False})
"""The part of `picture_style` without which a name with two dollars is taken for a formula, and refused where it is
none."""


def picture_style() -> matplotlib.RcParams:
    """For ``with matplotlib.rc_context(style())``: figures are made and saved inside of it."""
    return matplotlib.RcParams(_STYLE)


def picture_kind(path: Path) -> Kind:
    """What a file is to hold, by its suffix."""
    return "png" if path.suffix.lower() == ".png" else "svg"


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A finished figure, with what it says for those who cannot see it.

    Attributes:
        title, description: one line, and a few sentences.
    """

    figure: Figure
    title: str
    description: str

    def svg(self) -> str:
        """An ``<svg>`` element to put into a page or a file: a title, a description, identifiers of its own."""
        text = self._saved_bytes("svg").decode("utf-8")
        # Without the XML declaration and the DOCTYPE, which have no place inside of a page.
        body = text[text.index("<svg") :]
        # numbered as they come: Matplotlib names clips by coordinates whose last digits differ from run to run
        place = {name: str(number) for number, name in enumerate(_ID.findall(body))}
        body = _NAME.sub(lambda found: found[1] + place[found[2]], body)
        # All pictures of a page share one space of identifiers: a clip of another picture would cut this one. By
        # content, so that the same picture has the same bytes.
        key = hashlib.sha256(body.encode()).hexdigest()[:8]
        body = _NAME.sub(rf"\g<1>b{key}-\g<2>", body)
        head, rest = body.split(">", 1)
        told = (
            f'<title id="b{key}-title">{escape(readable(self.title))}</title>'
            f'<desc id="b{key}-desc">{escape(readable(self.description))}</desc>'
        )
        return f'{head} role="img" aria-labelledby="b{key}-title b{key}-desc">\n {told}{rest}'

    def data(self, kind: Kind) -> bytes:
        """The picture as a file."""
        if kind == "png":
            return self._saved_bytes("png")
        return f'<?xml version="1.0" encoding="utf-8"?>\n{self.svg()}'.encode()

    def _saved_bytes(self, kind: Kind) -> bytes:
        buffer = io.BytesIO()
        # Once more: salt and kind of text are read when the file is made, not when the figure is.
        with matplotlib.rc_context(picture_style()):
            # A date, or Matplotlib's version, would make other bytes of the same data.
            dateless = {"Date": None, "Creator": None, "Format": None, "Type": None}
            metadata = dateless if kind == "svg" else {"Software": None, "Title": readable(self.title)}
            self.figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata, facecolor="white")
        return buffer.getvalue()


def plain_axes(axes: Axes) -> None:
    """Small tick labels, and a grid behind everything."""
    axes.tick_params(labelsize=7)
    axes.grid(visible=True, color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def group_thousands(axes: Axes) -> None:
    """``60,000`` instead of ``60000`` where an axis goes that far; called when its limits are set."""
    for axis in (axes.xaxis, axes.yaxis):
        # By what is seen, not by the data: limits may be wider.
        low, high = axis.get_view_interval()
        if max(abs(low), abs(high)) >= 1000:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
