"""Maps and lines: what is drawn is what the model says, to be seen without colours and read without eyes."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.image import imread

from birdnn.records import AdvisoryMap, Grid, Series, ShownBoxes
from birdnn.records.maps import pack_numbers
from birdnn.report.pictures_lines import margin_line, margin_line_svg
from birdnn.report.pictures_maps import advisory_map, advisory_map_svg
from tests.report.maps import corner, encounter, line, panel, plain, stripes

SVG = "{http://www.w3.org/2000/svg}"
INK = 0x1A / 255


def images(model: AdvisoryMap) -> list[npt.NDArray[np.float64]]:
    """The panels' pixels, row 0 at the bottom, in grey."""
    found = re.findall(r"base64,([A-Za-z0-9+/=\s]+)\"", advisory_map_svg(model))
    pixels = [imread(io.BytesIO(base64.b64decode(text)))[..., :3] for text in found]
    return [picture @ (0.2126, 0.7152, 0.0722) for picture in pixels]


def cells(image: npt.NDArray[np.float64], rows: int, columns: int) -> npt.NDArray[np.float64]:
    """Pixels by cell: (rows, columns, pixels)."""
    high, wide = image.shape[0] // rows, image.shape[1] // columns
    blocks = image.reshape(rows, high, columns, wide)
    return blocks.transpose(0, 2, 1, 3).reshape(rows, columns, -1)


@pytest.mark.parametrize("make", [lambda: advisory_map_svg(plain()), lambda: advisory_map_svg(encounter())])
def test_the_same_map_gives_the_same_bytes(make: Callable[[], str]) -> None:
    assert make() == make()


@pytest.mark.parametrize("svg", [advisory_map_svg(plain()), advisory_map_svg(encounter()), margin_line_svg(line())])
def test_an_svg_names_itself_and_refers_to_nothing_outside(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    title, description = list(root)[:2]
    assert (root.tag, root.get("role"), title.tag, description.tag) == (f"{SVG}svg", "img", f"{SVG}title", f"{SVG}desc")
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert "prop_8" in (title.text or "")
    names = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(names) == len(set(names))
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    assert used <= set(names)
    assert not re.search(r"href=\"(?!#|data:)", svg)


def test_two_pictures_on_one_page_share_no_identifier() -> None:
    def names(svg: str) -> set[str | None]:
        return {element.get("id") for element in ElementTree.fromstring(svg).iter()} - {None}

    assert not names(advisory_map_svg(plain())) & names(advisory_map_svg(encounter()))


def test_violating_cells_are_hatched_and_no_others() -> None:
    decided = stripes(5)
    wrong = np.zeros_like(decided)
    wrong[7, 11] = wrong[3:6, 20:24] = 1
    before, after = images(plain(panel("before", decided, wrong), panel("after", decided, np.zeros_like(decided))))
    dark = (cells(before, 20, 30)[::-1] < INK + 0.01).any(2)
    if not (dark == (wrong > 0)).all():  # the row order of an embedded image is the backend's business
        dark = dark[::-1]
    assert (dark == (wrong > 0)).all()
    assert not (after < INK + 0.01).any()


@pytest.mark.parametrize("outputs", [5, 10])
def test_decisions_are_told_apart_in_grey(outputs: int) -> None:
    decided = stripes(outputs)
    model = plain(panel("", decided, np.zeros_like(decided)), outputs=tuple(f"y_{i}" for i in range(outputs)))
    (image,) = images(model)
    shades = [float(np.median(cells(image, 20, 30)[:, decided[0] == i])) for i in range(outputs)]
    assert all(a - b > (0.08 if outputs == 5 else 0.04) for a, b in pairwise(shades))
    assert min(shades) > INK + 0.02 or outputs > 5


def test_the_description_counts_what_is_seen() -> None:
    told = advisory_map(plain()).description
    assert "before: COC 20.00 %, WL 20.00 %" in told
    assert "16 of 600 cells in prop_8's region violate (2.67 %)" in told
    assert "after: COC" in told
    assert "no cell of 600 in prop_8's region violates" in told
    assert "2 boxes of a proof" in advisory_map(encounter()).description


def test_rare_decisions_are_never_rounded_to_nothing() -> None:
    decided = np.zeros((200, 200), dtype=np.int64)
    decided[0, 0] = 3
    assert "SL 0.003 %" in advisory_map(plain(panel("", decided, np.zeros_like(decided)))).description


def test_names_are_shown_as_they_are() -> None:
    odd = "a$b$ <&> \udcff_x^2"
    svg = advisory_map_svg(plain(property=odd))
    text = "".join(ElementTree.fromstring(svg).itertext())
    assert "a$b$ <&> \\udcff_x^2" in text


@pytest.mark.parametrize("name", ["x_0", "downrange: ahead of ownship [ft]"])
def test_axes_have_names_and_units(name: str) -> None:
    text = "".join(ElementTree.fromstring(advisory_map_svg(plain() if name == "x_0" else encounter())).itertext())
    assert name in text
    assert ("x_1 [rad]" if name == "x_0" else "crossrange: to the left of ownship [ft]") in text
    assert ("x_2 = 1,145 ft: through a counterexample") in text


def test_an_outline_is_as_round_as_the_picture_is_fine() -> None:
    """Chords that cut corners would put the region's border where it is not."""
    from birdnn.report.pictures_maps import box_outline

    close = encounter(extent=(58000.0, 60000.0, -1000.0, 1000.0))
    (ring,) = [edge for edge in box_outline(close, [0.0, 60000.0, -0.5, 0.5]) if len(edge) > 10]
    middles = (ring[1:] + ring[:-1]) / 2
    far = np.hypot(*middles.T)
    assert far[far > 50000].min() > 60000 - 2


def test_grids_boxes_and_series_hold_what_they_say() -> None:
    values = np.array([[1, 2, 65535], [0, 7, 9]])
    assert (Grid.of(values).array() == values).all()
    assert (Series.of(np.array([0.5, -1.0])).array() == [0.5, -1.0]).all()
    assert ShownBoxes.of(np.empty((0, 4))).array().shape == (0, 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Grid(rows=2, columns=2, data=pack_numbers(np.zeros(3, "<u2"))),
        lambda: Grid(rows=2, columns=2, data=pack_numbers(np.zeros(5, "<u2"))),
        lambda: Grid(rows=2, columns=2, data="never"),
        lambda: Grid(rows=2, columns=2, data=base64.b64encode(b"no zlib").decode()),
        lambda: Series(count=1, data=pack_numbers(np.full(1, np.nan, "<f4"))),
        lambda: ShownBoxes(count=1, data=pack_numbers(np.full(4, np.inf, "<f4"))),
    ],
)
def test_damaged_pictures_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


def test_a_line_says_where_it_is_least() -> None:
    told = margin_line(line()).description
    assert "before: least margin -0.5 at position 1; after: least margin 0.5 at position 1" in told
    text = "".join(ElementTree.fromstring(margin_line_svg(line(along=0))).itertext())
    assert "1,000" in text
    assert "counterexample" in text
    assert "counterexample" not in "".join(ElementTree.fromstring(margin_line_svg(line(mark=None))).itertext())


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_drawing_leaves_the_state_of_matplotlib_alone(kind: str) -> None:
    before, undecided = dict(matplotlib.rcParams), plain(decision="none", property=None)
    for drawing in (
        advisory_map(encounter()),
        margin_line(line()),
        advisory_map(undecided),
    ):
        assert drawing.data(kind)[:5] in (b"<?xml", b"\x89PNG\r")
    assert dict(matplotlib.rcParams) == before


def test_the_corner_is_below_on_the_left() -> None:
    """A picture upside down would show the violations elsewhere."""
    decided = np.zeros((20, 30), dtype=np.int64)
    shown = imread(io.BytesIO(advisory_map(plain(panel("", decided, corner(decided, 6)), marks=())).data("png")))
    grey = shown[..., :3].mean(2)
    rows, columns = np.indices(grey.shape)
    high, wide = grey.shape
    inside = (rows > 0.2 * high) & (rows < 0.8 * high) & (columns > 0.2 * wide) & (columns < 0.9 * wide)
    low = inside & (rows > high / 2) & (columns < wide / 2)
    assert (grey[low] < 0.2).mean() > 5 * (grey[inside & ~low] < 0.2).mean()
