"""Properties without VNN-LIB: a rule in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from birdnn.api.asking import temporary_store
from birdnn.api.loading import File, NetworkLike, path_of
from birdnn.api.options import RuleOptions, checked_options
from birdnn.errors import SpecError
from birdnn.pipeline.stating import state_rule
from birdnn.records import RuleRequest
from birdnn.spec import Property


def rule(
    net: NetworkLike,
    *,
    never: str | None = None,
    always: str | None = None,
    when: str | Mapping[str, object] = "",
    domain: str | Mapping[str, object] | File | tuple[ArrayLike, ArrayLike] | npt.NDArray[Any] | None = None,
    **options: Unpack[RuleOptions],
) -> Property:
    """The property that a rule in a line states about a network.

    Inputs are called ``x0``, ``x1``, ..., outputs ``y0``, ``y1``, ...; a network that a suite knows has that suite's
    names as well. A number stands for what is written: 0.1 is a tenth.

    Args:
        net: a file or a loaded network.
        never: what must not come out, such as ``"y0 is max"`` or ``"y0 > 1.5 and y1 <= y2"``.
        always: what must come out, instead of `never`.
        when: for which inputs: ``"x0 > 0.8, x1 in [0, 0.5]"``, or ``{"x0": (0.8, 1), "x1": 0.5}``; all of the domain
            without it.
        domain: between which values inputs lie that `when` leaves free: as `when`, two corners, or a file (a property,
            or TOML with ``lower`` and ``upper``). None: as a suite or an NNet header says.
        options: see `birdnn.api.options.RuleOptions`.

    Raises:
        InputError: the rule cannot be read, or nobody says between which values an input lies.

    >>> import birdnn
    >>> net = birdnn.load_network("demo.onnx")
    >>> made = birdnn.rule(net, when={"x0": (0.4, 0.5)}, never="y0 is max", domain=([-0.5] * 5, [0.5] * 5))
    >>> birdnn.verify(net, made, timeout_s=60).verdicts[0].outcome
    'violated'
    """
    if isinstance(domain, tuple | list | np.ndarray):
        if len(domain) != 2:
            raise SpecError(f"domain: a lower and an upper corner are expected, not {len(domain)} entries")
        lower, upper = (_corner_numbers(side) for side in domain)
        if len(lower) != len(upper):
            raise SpecError(f"domain: corners of {len(lower)} and {len(upper)} numbers")
        domain = {f"x{index}": pair for index, pair in enumerate(zip(lower, upper, strict=True))}
    elif domain is not None and not isinstance(domain, str | Mapping):
        domain = path_of("a rule, two corners, ranges by name or a file, for a domain,", domain)
    said = checked_options("rule", options)
    with temporary_store() as stored:
        path = stored.network(net)
        return state_rule(RuleRequest(net=path, never=never, always=always, when=when, domain=domain, **said))


def _corner_numbers(side: ArrayLike) -> list[object]:
    found = np.asarray(side)
    if found.ndim != 1:
        raise SpecError(f"domain: a corner is a list of numbers, not an array of shape {found.shape}")
    return list(found.tolist())
