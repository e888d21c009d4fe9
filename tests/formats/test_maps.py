"""What cannot be read of maps along axes is refused with a reason; what can be is in `tests.formats.map_cases`."""

from __future__ import annotations

import numpy as np
import pytest

from birdnn.errors import FormatError
from birdnn.formats.onnx import network_from_onnx
from tests.formats.map_cases import cumsum, floats, ints, resized, scales, summed


def test_refusals() -> None:
    cases = {
        "takes one axis": cumsum(ints(1, 0), (1, 4)),
        "more than are supported": cumsum(np.array(1, np.int64), (1, 2**12)),
        "sums axis 'k' of one value alone": summed("bi,ik->b", ("N", 3), floats(3, 4)),
        "diagonals are not supported": summed("bii->bi", (1, 3, 3)),
        "for each of 1 values": summed("b...->...b", (1, 3)),
        "of 2 and 2 axes": summed("bi,i->b", (1, 3), floats(3, 1)),
        "has sizes 3 and 4": summed("bi,i->b", (1, 3), floats(4)),
        "are; the last two|the last two of four": resized(None, scales(1, 1, 2), shape=(1, 2, 9), mode="linear"),
        "of 6 entries or more": resized(None, scales(1, 1, 2, 2), shape=(1, 1, 2, 3), mode="linear"),
        "with the weight 1/3": resized(None, scales(1, 1, 3, 3), mode="linear"),
        "interpolates 8 entries to 16384, more than": resized(
            None, scales(1, 1, 2048, 1), shape=(1, 1, 8, 1), mode="linear"
        ),
        "mode 'cubic'": resized(None, scales(1, 1, 2, 2), mode="cubic"),
        "antialiasing": resized(None, scales(1, 1, 2, 2), mode="linear", antialias=1, opset=18),
        "'tf_crop_and_resize' is not supported": resized(
            scales(0, 0, 0, 0, 1, 1, 1, 1), scales(1, 1, 2, 2), coordinate_transformation_mode="tf_crop_and_resize"
        ),
        "no policy": resized(None, None, ints(1, 2, 9, 9), opset=18, keep_aspect_ratio_policy="not_larger"),
        "makes a value smaller": resized(scales(1, 1, 0.5, 0.5), opset=10),
        "which is empty or larger": resized(None, scales(1, 1, 2**11, 2**11)),
    }
    for problem, data in cases.items():
        with pytest.raises(FormatError, match=problem):
            network_from_onnx(data)
