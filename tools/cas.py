"""Properties of our own for the HorizontalCAS and VerticalCAS controllers, in raw units.

The networks are those of Julian and Kochenderfer (DASC 2019, arXiv:1912.07084; https://github.com/sisl/HorizontalCAS,
https://github.com/sisl/VerticalCAS): the advisory is the output of greatest score. Ranges, means and divisors are those
in the headers of the NNet files. In HorizontalCAS both aircraft fly 200 ft/s; x points ahead of the ownship, y to its
left, and angles grow to the left; scores were computed up to a distance of 56,000 ft, and no box reaches farther. The
properties say what a pilot would take for granted; what the tables of scores reward is where they come from (the
penalties on reversals, on needless alerts, on steps that skip a strength).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

from tools.family import Box, Family, Rows, given

SOURCE = "Ours, for the networks of Julian and Kochenderfer 2019, arXiv:1912.07084"

HCAS = Family(
    name="hcas",
    text="HorizontalCAS, H(previous advisory, time to loss of vertical separation in s)",
    networks_source="Julian and Kochenderfer 2019, arXiv:1912.07084",
    properties_source=SOURCE,
    decision="argmax",
    decision_text="the advisory is the output of greatest score",
    inputs=(
        given("x", "how far the intruder is ahead", "ft", "-56000", "56000", "-278.628049", "112000"),
        given("y", "how far it is to the left", "ft", "-56000", "56000", "0", "112000"),
        given("psi", "its heading relative to ownship", "rad", "-3.141593", "3.141593", "0", "6.283185"),
    ),
    outputs=(
        ("COC", "clear of conflict"),
        ("WL", "weak left"),
        ("WR", "weak right"),
        ("SL", "strong left"),
        ("SR", "strong right"),
    ),
    output_word="score",
    output_mean=Fraction("-0.242819"),
    output_range=Fraction("17.479225"),
)
COC, WL, WR, SL, SR = range(5)
TAUS = 0, 5, 10, 15, 20, 30, 40, 60
HCAS_NETWORKS = tuple((a, t) for a in range(5) for t in TAUS)

VCAS = Family(
    name="vcas",
    text="VerticalCAS, V(previous advisory)",
    networks_source="Julian and Kochenderfer 2019, arXiv:1912.07084",
    properties_source=SOURCE,
    decision="argmax",
    decision_text="the advisory is the output of greatest score",
    inputs=(
        given("h", "how far the intruder is above", "ft", "-8000", "8000", "0", "16000"),
        given("v_own", "climb rate of ownship", "ft/s", "-100", "100", "0", "200"),
        given("v_int", "climb rate of intruder", "ft/s", "-100", "100", "0", "200"),
        given("tau", "time to loss of horizontal separation", "s", "0", "40", "20", "40"),
    ),
    outputs=(
        ("COC", "clear of conflict"),
        ("DNC", "do not climb"),
        ("DND", "do not descend"),
        ("DES1500", "descend at 1500 ft/min at least"),
        ("CL1500", "climb at 1500 ft/min at least"),
        ("SDES1500", "strengthen the descent to 1500 ft/min"),
        ("SCL1500", "strengthen the climb to 1500 ft/min"),
        ("SDES2500", "strengthen the descent to 2500 ft/min"),
        ("SCL2500", "strengthen the climb to 2500 ft/min"),
    ),
    output_word="score",
    output_mean=Fraction("-0.432599379632"),
    output_range=Fraction("3.102300001"),
)
DES1500, CL1500, SDES1500, SCL1500, SDES2500, SCL2500 = range(3, 9)
VCAS_NETWORKS = tuple(range(9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One property; see `tools.family.Stated`. `holds_for` tells the networks that it is meant for."""

    name: str
    text: str
    unsafe_text: str
    boxes: tuple[Box, ...]
    unsafe: tuple[Rows, ...]
    holds_for: Callable[..., bool] = lambda *_: True

    @property
    def title(self) -> str:
        number = self.name.partition("_")[2]
        return f"{'HorizontalCAS' if self.name.startswith('h') else 'VerticalCAS'} {number}"

    @property
    def at_least(self) -> None:
        return None


def _box(family: Family, **bounds: tuple[object, object]) -> Box:
    """A box in raw units; an input that is not named takes its own range."""
    stated = {name: (Fraction(str(low)), Fraction(str(high))) for name, (low, high) in bounds.items()}
    default = {i.name: (i.lower, i.upper) for i in family.inputs}
    if unknown := stated.keys() - default.keys():
        raise ValueError(f"no such input: {sorted(unknown)}")
    return {**default, **stated}


def _is(family: Family, outputs: Iterable[int]) -> tuple[Rows, ...]:
    """One of these is the advisory."""
    return tuple(
        tuple((other, output) for other in range(len(family.outputs)) if other != output) for output in outputs
    )


def _is_not(family: Family, output: int) -> tuple[Rows, ...]:
    """Something else is."""
    return tuple(((output, other),) for other in range(len(family.outputs)) if other != output)


_BACKWARDS = "3.0", "3.141593"
_TRAINED = _box(HCAS, x=(-39500, 39500), y=(-39500, 39500))
"""Of the square that the header declares, the part within 56,000 ft: the networks were trained on a disc."""

HCAS_TABLE = (
    Rule(
        name="hcas_1",
        text="If the intruder is well behind and flies the other way, the advisory is COC.",
        unsafe_text="COC is not maximal",
        boxes=(_box(HCAS, x=(-20000, -5000), y=(-3000, 3000), psi=_BACKWARDS),),
        unsafe=_is_not(HCAS, COC),
    ),
    Rule(
        name="hcas_2",
        text="If the intruder is straight ahead, 3 to 8 s away, head-on and soon at the same height, "
        "the advisory is not COC.",
        unsafe_text="COC is maximal",
        boxes=(_box(HCAS, x=(1000, 3000), y=(-100, 100), psi=("3.1", "3.141593")),),
        unsafe=_is(HCAS, (COC,)),
        holds_for=lambda a, t: t <= 10,
    ),
    Rule(
        name="hcas_3",
        text="If the intruder flies close by on the left, on the same heading and soon at the same height, "
        "no turn to the left is advised.",
        unsafe_text="WL is maximal or SL is maximal",
        boxes=(_box(HCAS, x=(-500, 500), y=(500, 1500), psi=("-0.05", "0.05")),),
        unsafe=_is(HCAS, (WL, SL)),
        holds_for=lambda a, t: t <= 20,
    ),
    Rule(
        name="hcas_4",
        text="If the intruder flies close by on the right, on the same heading and soon at the same height, "
        "no turn to the right is advised.",
        unsafe_text="WR is maximal or SR is maximal",
        boxes=(_box(HCAS, x=(-500, 500), y=(-1500, -500), psi=("-0.05", "0.05")),),
        unsafe=_is(HCAS, (WR, SR)),
        holds_for=lambda a, t: t <= 20,
    ),
    Rule(
        name="hcas_5",
        text="If nothing was advised before and a minute is left, no strong turn is advised.",
        unsafe_text="SL is maximal or SR is maximal",
        boxes=(_TRAINED,),
        unsafe=_is(HCAS, (SL, SR)),
        holds_for=lambda a, t: (a, t) == (COC, 60),
    ),
    Rule(
        name="hcas_6",
        text="After a turn to the left, weak right is never advised: a reversal, where it must be, is a strong turn.",
        unsafe_text="WR is maximal",
        boxes=(_TRAINED,),
        unsafe=_is(HCAS, (WR,)),
        holds_for=lambda a, t: a in (WL, SL),
    ),
    Rule(
        name="hcas_7",
        text="After a turn to the right, weak left is never advised: a reversal, where it must be, is a strong turn.",
        unsafe_text="WL is maximal",
        boxes=(_TRAINED,),
        unsafe=_is(HCAS, (WL,)),
        holds_for=lambda a, t: a in (WR, SR),
    ),
    Rule(
        name="hcas_8",
        text="If nothing was advised before and the intruder is more than 87 s ahead, no strong turn is advised.",
        unsafe_text="SL is maximal or SR is maximal",
        boxes=(_box(HCAS, x=(35000, 50000), y=(-25000, 25000)),),
        unsafe=_is(HCAS, (SL, SR)),
        holds_for=lambda a, t: a == COC,
    ),
)

_LEVEL = (-5, 5)
_NEARLY_LEVEL = (-10, 10)

VCAS_TABLE = (
    Rule(
        name="vcas_1",
        text="Unless an altitude rate was advised before, none is strengthened.",
        unsafe_text="SDES1500, SCL1500, SDES2500 or SCL2500 is maximal",
        boxes=(_box(VCAS),),
        unsafe=_is(VCAS, (SDES1500, SCL1500, SDES2500, SCL2500)),
        holds_for=lambda a: a < DES1500,
    ),
    Rule(
        name="vcas_2",
        text="After the first climb or descent, 2500 ft/min are not advised before 1500 ft/min were strengthened.",
        unsafe_text="SDES2500 or SCL2500 is maximal",
        boxes=(_box(VCAS),),
        unsafe=_is(VCAS, (SDES2500, SCL2500)),
        holds_for=lambda a: a in (DES1500, CL1500),
    ),
    Rule(
        name="vcas_3",
        text="If the intruder is 4000 ft above or below and both fly nearly level, the advisory is COC.",
        unsafe_text="COC is not maximal",
        boxes=(
            _box(VCAS, h=(4000, 8000), v_own=_NEARLY_LEVEL, v_int=_NEARLY_LEVEL),
            _box(VCAS, h=(-8000, -4000), v_own=_NEARLY_LEVEL, v_int=_NEARLY_LEVEL),
        ),
        unsafe=_is_not(VCAS, COC),
    ),
    Rule(
        name="vcas_4",
        text="If the intruder is 1000 ft above and climbs while the ownship does not, or the same below, "
        "the advisory is COC.",
        unsafe_text="COC is not maximal",
        boxes=(
            _box(VCAS, h=(1000, 8000), v_own=(-100, 0), v_int=(10, 100)),
            _box(VCAS, h=(-8000, -1000), v_own=(0, 100), v_int=(-100, -10)),
        ),
        unsafe=_is_not(VCAS, COC),
    ),
    Rule(
        name="vcas_5",
        text="If both fly level at the same height and meet in 6 to 20 s, the advisory is not COC.",
        unsafe_text="COC is maximal",
        boxes=(_box(VCAS, h=(-100, 100), v_own=_LEVEL, v_int=_LEVEL, tau=(6, 20)),),
        unsafe=_is(VCAS, (COC,)),
    ),
    Rule(
        name="vcas_6",
        text="If the intruder is 200 to 400 ft above, both fly level and meet in 6 to 15 s, no climb is advised.",
        unsafe_text="CL1500, SCL1500 or SCL2500 is maximal",
        boxes=(_box(VCAS, h=(200, 400), v_own=_LEVEL, v_int=_LEVEL, tau=(6, 15)),),
        unsafe=_is(VCAS, (CL1500, SCL1500, SCL2500)),
    ),
    Rule(
        name="vcas_7",
        text="If the intruder is 200 to 400 ft below, both fly level and meet in 6 to 15 s, no descent is advised.",
        unsafe_text="DES1500, SDES1500 or SDES2500 is maximal",
        boxes=(_box(VCAS, h=(-400, -200), v_own=_LEVEL, v_int=_LEVEL, tau=(6, 15)),),
        unsafe=_is(VCAS, (DES1500, SDES1500, SDES2500)),
    ),
)


def hcas_applicable(a: int, t: int) -> tuple[str, ...]:
    """Names of the properties that are meant for H(a,t)."""
    return tuple(rule.name for rule in HCAS_TABLE if rule.holds_for(a, t))


def vcas_applicable(a: int) -> tuple[str, ...]:
    """Names of the properties that are meant for V(a)."""
    return tuple(rule.name for rule in VCAS_TABLE if rule.holds_for(a))
