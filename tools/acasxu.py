"""The ACAS Xu properties in raw units, and the arithmetic that normalises them exactly.

The table is that of Katz, Barrett, Dill, Julian and Kochenderfer (CAV 2017, arXiv:1702.01135, appendix); means and
ranges are those in the headers of the NNet files by Julian et al. Numbers stay exact rationals until they are written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from tools.family import DECIMALS, Box, Family, Input, Rows, decimal, given, plain

__all__ = [
    "DECIMALS",
    "FAMILY",
    "INPUTS",
    "NETWORKS",
    "OUTPUTS",
    "PI",
    "TABLE",
    "Phi",
    "applicable",
    "decimal",
    "exact",
]

INPUTS: tuple[Input, ...] = (
    given("rho", "distance from ownship to intruder", "ft", "0", "60760", "19791.091", "60261.0"),
    given("theta", "angle to intruder from ownship heading", "rad", "-3.141593", "3.141593", "0", "6.28318530718"),
    given("psi", "heading of intruder relative to ownship", "rad", "-3.141593", "3.141593", "0", "6.28318530718"),
    given("v_own", "speed of ownship", "ft/s", "100", "1200", "650", "1100"),
    given("v_int", "speed of intruder", "ft/s", "0", "1200", "600", "1200"),
)
OUTPUTS = (
    ("COC", "clear of conflict"),
    ("WL", "weak left"),
    ("WR", "weak right"),
    ("SL", "strong left"),
    ("SR", "strong right"),
)
OUTPUT_MEAN = Fraction("7.5188840201005975")
OUTPUT_RANGE = Fraction("373.94992")
COC, WL, WR, SL, SR = range(5)
FAMILY = Family(
    name="acasxu",
    text="Airborne collision avoidance, N(previous advisory, time to loss of vertical separation)",
    networks_source="Julian et al. 2016",
    properties_source="Katz et al. 2017, arXiv:1702.01135",
    decision="argmin",
    decision_text="the advisory is the output of least cost",
    inputs=INPUTS,
    outputs=OUTPUTS,
    output_word="cost",
    output_mean=OUTPUT_MEAN,
    output_range=OUTPUT_RANGE,
)

# Half the range by which angles are divided: the benchmark's "pi" is exactly 0.5 in network units.
PI = Fraction("6.28318530718") / 2
ALMOST_PI = Fraction("3.141592")  # as the paper's table writes it
NETWORKS = tuple((a, t) for a in range(1, 6) for t in range(1, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phi:
    """One property of the table.

    Attributes:
        boxes: input regions, raw units, every input bounded.
        unsafe: what must not happen: one of these conjunctions of rows.
        coc_limit: phi-1 only: the raw cost that COC must not reach.
        holds_for: whether it is meant for network N(a,t).
    """

    number: int
    text: str
    unsafe_text: str
    boxes: tuple[Box, ...]
    unsafe: tuple[Rows, ...] = ()
    coc_limit: Fraction | None = None
    holds_for: Callable[[int, int], bool]

    @property
    def name(self) -> str:
        return f"prop_{self.number}"

    @property
    def title(self) -> str:
        return f"ACAS Xu phi-{self.number}"

    @property
    def at_least(self) -> tuple[int, Fraction] | None:
        return None if self.coc_limit is None else (COC, self.coc_limit)


def _box(**bounds: tuple[object, object]) -> Box:
    """A box in raw units; an input that is not named takes -pi..pi for an angle, else the input's own range."""
    default = {i.name: (-PI, PI) if i.unit == "rad" else (i.lower, i.upper) for i in INPUTS}
    stated = {name: (Fraction(str(low)), Fraction(str(high))) for name, (low, high) in bounds.items()}
    if unknown := stated.keys() - default.keys():
        raise ValueError(f"no such input: {sorted(unknown)}")
    return {**default, **stated}


def _minimal(output: int) -> Rows:
    return tuple((output, other) for other in range(5) if other != output)


def _not_minimal(output: int) -> tuple[Rows, ...]:
    return tuple(((other, output),) for other in range(5) if other != output)


def _only(a: int, t: int) -> Callable[[int, int], bool]:
    return lambda a_, t_: (a_, t_) == (a, t)


def _but_diving(a: int, t: int) -> bool:
    return not (a == 1 and t >= 7)


_DISTANT = _box(rho=("55947.691", 60760), v_own=(1145, 1200), v_int=(0, 60))
_BACKWARDS = (-ALMOST_PI, -ALMOST_PI + Fraction("0.005"))
_BACKWARDS_WIDE = (-ALMOST_PI, -ALMOST_PI + Fraction("0.01"))

TABLE = (
    Phi(
        number=1,
        text="If the intruder is distant and much slower than the ownship, the cost of COC is at most 1500.",
        unsafe_text="COC reaches 1500 (raw cost)",
        boxes=(_DISTANT,),
        coc_limit=Fraction(1500),
        holds_for=lambda a, t: True,
    ),
    Phi(
        number=2,
        text="If the intruder is distant and much slower than the ownship, COC is not the worst advisory.",
        unsafe_text="COC is maximal",
        boxes=(_DISTANT,),
        unsafe=(tuple((other, COC) for other in range(1, 5)),),
        holds_for=lambda a, t: a >= 2,
    ),
    Phi(
        number=3,
        text="If the intruder is directly ahead and moves towards the ownship, COC is not the advisory.",
        unsafe_text="COC is minimal",
        boxes=(
            _box(rho=(1500, 1800), theta=("-0.06", "0.06"), psi=("3.10", PI), v_own=(980, 1200), v_int=(960, 1200)),
        ),
        unsafe=(_minimal(COC),),
        holds_for=_but_diving,
    ),
    Phi(
        number=4,
        text="If the intruder is directly ahead and moves away, but slower than the ownship, COC is not the advisory.",
        unsafe_text="COC is minimal",
        boxes=(_box(rho=(1500, 1800), theta=("-0.06", "0.06"), psi=(0, 0), v_own=(1000, 1200), v_int=(700, 800)),),
        unsafe=(_minimal(COC),),
        holds_for=_but_diving,
    ),
    Phi(
        number=5,
        text="If the intruder is near and approaches from the left, the advisory is strong right.",
        unsafe_text="SR is not minimal",
        boxes=(_box(rho=(250, 400), theta=("0.2", "0.4"), psi=_BACKWARDS, v_own=(100, 400), v_int=(0, 400)),),
        unsafe=_not_minimal(SR),
        holds_for=_only(1, 1),
    ),
    Phi(
        number=6,
        text="If the intruder is sufficiently far away, the advisory is COC.",
        unsafe_text="COC is not minimal",
        boxes=(
            _box(rho=(12000, 62000), theta=("0.7", ALMOST_PI), psi=_BACKWARDS, v_own=(100, 1200), v_int=(0, 1200)),
            _box(rho=(12000, 62000), theta=(-ALMOST_PI, "-0.7"), psi=_BACKWARDS, v_own=(100, 1200), v_int=(0, 1200)),
        ),
        unsafe=_not_minimal(COC),
        holds_for=_only(1, 1),
    ),
    Phi(
        number=7,
        text="If vertical separation is large, no strong turn is advised.",
        unsafe_text="SL is minimal or SR is minimal, among them and COC, WL, WR",
        boxes=(_box(theta=(-ALMOST_PI, ALMOST_PI), psi=(-ALMOST_PI, ALMOST_PI)),),
        unsafe=tuple(tuple((strong, other) for other in (COC, WL, WR)) for strong in (SL, SR)),
        holds_for=_only(1, 9),
    ),
    Phi(
        number=8,
        text="With large vertical separation and weak left advised before, the advisory is COC or weak left.",
        unsafe_text="WR, SL or SR is below both COC and WL",
        boxes=(
            _box(
                theta=(-ALMOST_PI, -ALMOST_PI * Fraction("0.75")),
                psi=("-0.1", "0.1"),
                v_own=(600, 1200),
                v_int=(600, 1200),
            ),
        ),
        unsafe=tuple(((other, COC), (other, WL)) for other in (WR, SL, SR)),
        holds_for=_only(2, 9),
    ),
    Phi(
        number=9,
        text="Even if an earlier advisory was weak right, a nearby intruder makes the advisory strong left.",
        unsafe_text="SL is not minimal",
        boxes=(_box(rho=(2000, 7000), theta=("-0.4", "-0.14"), psi=_BACKWARDS_WIDE, v_own=(100, 150), v_int=(0, 150)),),
        unsafe=_not_minimal(SL),
        holds_for=_only(3, 3),
    ),
    Phi(
        number=10,
        text="For a far away intruder, the advisory is COC.",
        unsafe_text="COC is not minimal",
        boxes=(
            _box(
                rho=(36000, 60760), theta=("0.7", ALMOST_PI), psi=_BACKWARDS_WIDE, v_own=(900, 1200), v_int=(600, 1200)
            ),
        ),
        unsafe=_not_minimal(COC),
        holds_for=_only(4, 5),
    ),
)


def applicable(a: int, t: int) -> tuple[str, ...]:
    """Names of the properties that the table states for N(a,t)."""
    return tuple(phi.name for phi in TABLE if phi.holds_for(a, t))


def exact(value: Fraction) -> str:
    """A raw number as a reader wrote it; `pi` stands for half of the angles' range."""
    if abs(value) == PI:
        return "pi" if value > 0 else "-pi"
    return plain(value)
