"""A campaign's rows as figures, and two tables side by side."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from birdnn.campaign.instances import (
    NET_COLUMNS,
    PROP_COLUMNS,
    SAME_WORDS,
    Instance,
    bare_names,
    plain_networks,
    read_lines,
)
from birdnn.campaign.kinds import REPAIR, Kind
from birdnn.campaign.run import is_broken
from birdnn.campaign.table import Row
from birdnn.records import CampaignRow, Figures, SideBySide

# below it clocks and rounded tables say nothing, and of 0 there is no logarithm
_SHORTEST_S = 0.001
_COMPETITION = "category", "onnx", "vnnlib", "prepare", "result", "time"
"""Columns of VNN-COMP's results, which have no header."""

_INSTANCE = ("instance",)
_ANSWERS = "verdict", "result", "answer", "status", "outcome"
_SECONDS = "seconds", "time", "time_s", "runtime", "run_time", "wall_s", "seconds_s"
_EXTENSIONS = frozenset({"gz", "onnx", "nnet", "vnnlib"})

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """One tool on one instance: its word as it spells it, and seconds (None where it says none)."""

    answer: str
    seconds: float | None


def campaign_rows(kind: Kind, instances: Sequence[Instance], rows: Sequence[Row | None]) -> list[CampaignRow]:
    """Instances with their answers, in order."""
    found = []
    for instance, row in zip(instances, rows, strict=True):
        found.append(
            CampaignRow(
                name=" ".join(bare_names(name) for name in kind.names(instance)),
                answer=row[kind.answer] if row else "",
                seconds=_parse_number(row[kind.seconds]) if row else None,
                timeout_s=(_parse_number(row["timeout_s"]) if row else None) or instance.timeout_s,
                expected=instance.expected or (row.get("expected", "") if row else ""),
                note=row["note"] if row else "",
                fields=row or {},
            )
        )
    return found


def campaign_figures(name: str, kind: Kind, rows: Sequence[CampaignRow]) -> Figures:
    """The rows in numbers. An answer against the known verdict is not solved."""
    wrong = [row for row in rows if _answers_contradict(row.answer, row.expected)]
    against = {row.name for row in wrong}
    solved = sorted(
        (row for row in rows if kind.solves(row.answer, row.fields) and row.name not in against),
        key=lambda row: row.seconds or 0.0,
    )
    seconds = [row.seconds or 0.0 for row in solved]
    names = {row.name for row in solved}
    return Figures(
        name=name,
        n=len(rows),
        solved=len(solved),
        answers=dict(sorted(Counter(row.answer for row in rows if row.answer).items())),
        total_s=math.fsum(row.seconds for row in rows if row.seconds is not None),
        par2_s=mean([(r.seconds or 0.0) if r.name in names else 2 * r.timeout_s for r in rows]) if rows else 0.0,
        median_s=median(seconds) if seconds else None,
        slowest_s=seconds[-1] if seconds else None,
        slowest=solved[-1].name if solved else "",
        wrong=tuple(f"{row.name}: {row.answer}, known {row.expected}" for row in wrong),
        known=sum(bool(row.expected) for row in rows),
        curve=tuple(seconds),
    )


def broken_instances(rows: Sequence[CampaignRow]) -> tuple[str, ...]:
    """Instances that have a row and no result, with the reason."""
    return tuple(f"{row.name}: {row.answer}, {row.note}" for row in rows if is_broken(row.answer))


def kept_figures(rows: Sequence[CampaignRow]) -> tuple[str, ...]:
    """What the proved repairs kept, a line each."""
    proved = [row.fields for row in rows if row.answer == "proved"]
    if not proved:
        return ()

    def of(name: str) -> list[float]:
        return [value for row in proved if (value := _parse_number(row[name])) is not None and not math.isnan(value)]

    lines = []
    for name, what in (("agreement", "over the domain"), ("region_agreement", "in the repaired region")):
        if values := of(name):
            lines.append(f"decision agreement {what}: mean {mean(values):.3%}, least {min(values):.3%}")
    if values := of("mae"):
        lines.append(f"mean absolute difference: mean {mean(values):.2g}, largest {max(values):.2g}")
    if values := of("drawdown"):
        lines.append(f"worst drawdown: {max(values):g}")
    checked = Counter(row["checked"] for row in proved if row["checked"])
    if checked:
        lines.append("certificates: " + ", ".join(f"{count} {word}" for word, count in checked.items()))
    return tuple(lines)


def read_results(path: Path) -> dict[Names, Result]:
    """Another table: ours, another tool's with a header, or results as VNN-COMP's harness writes them.

    Raises:
        FormatError: the columns of instance, verdict and time are not found.
    """
    headers = (*_INSTANCE, *NET_COLUMNS, *PROP_COLUMNS)
    lines = read_lines(path, _COMPETITION, headers)
    answer, seconds = lines.required(*_ANSWERS), lines.required(*_SECONDS)
    whole = lines.column(*_INSTANCE)
    named = [whole] if whole is not None else [lines.required(*NET_COLUMNS), lines.required(*PROP_COLUMNS)]
    found: dict[Names, Result] = {}
    unclear: set[Names] = set()
    for _, row in lines.rows:
        name = match_name(*(plain_networks(row[index]) for index in named))
        result = Result(row[answer].lower(), _parse_number(row[seconds]))
        if found.setdefault(name, result).answer != result.answer:
            unclear.add(name)  # two instances that only their folders tell apart
        # the last row of an instance counts, as in our own tables
        found[name] = result
    return {name: result for name, result in found.items() if name not in unclear}


def match_name(*parts: str) -> Names:
    """The words of an instance's name, by which tables of different tools are matched: no folders, no extensions."""
    words = [word for part in parts for piece in re.split(r"[\s,;+]+", part) for word in _name_words(piece)]
    return tuple(words)


def _name_words(piece: str) -> list[str]:
    return [word for word in re.split(r"[^0-9a-z]+", Path(piece).name.lower()) if word and word not in _EXTENSIONS]


def side_by_side(kind: Kind, ours: Sequence[CampaignRow], name: str, theirs: Mapping[Names, Result]) -> SideBySide:
    """Both tables on the instances that both have."""
    names = Counter(match_name(row.name) for row in ours)
    # a name that several of our instances have could be matched with the wrong one
    pairs = [
        (row, theirs[key]) for row in ours if row.answer and (key := match_name(row.name)) in theirs and names[key] == 1
    ]
    mine = [row for row, _ in pairs]
    other = [
        CampaignRow(
            name=row.name,
            answer=_our_word(kind, result.answer),
            seconds=result.seconds,
            timeout_s=row.timeout_s,
            expected=row.expected,
            note="",
            fields={},
        )
        for row, result in pairs
    ]
    left, right = (frozenset(row.name for row in rows if _solves_instance(kind, row)) for rows in (mine, other))
    both = [(a.seconds, b.seconds) for a, b in zip(mine, other, strict=True) if a.name in left and b.name in right]
    timed = [(max(a, _SHORTEST_S), max(b, _SHORTEST_S)) for a, b in both if a is not None and b is not None]
    return SideBySide(
        ours=campaign_figures("birdnn", kind, mine),
        theirs=campaign_figures(name, kind, other),
        missing=len(ours) - len(pairs),
        both=len(both),
        only_ours=tuple(row.name for row in mine if row.name in left - right),
        only_theirs=tuple(row.name for row in mine if row.name in right - left),
        faster=sum(a < b for a, b in timed),
        # geometric: twice as fast once and twice as slow once are 1
        ratio=math.exp(mean(math.log(b / a) for a, b in timed)) if timed else None,
        contradictions=tuple(
            f"{a.name}: birdnn {a.answer}, {name} {b.answer}"
            for a, b in zip(mine, other, strict=True)
            if _answers_contradict(a.answer, b.answer)
        ),
    )


def _our_word(kind: Kind, answer: str) -> str:
    return answer if kind is REPAIR else SAME_WORDS.get(answer, answer)


def _solves_instance(kind: Kind, row: CampaignRow) -> bool:
    return kind.solves(row.answer, row.fields) and not _answers_contradict(row.answer, row.expected)


def _answers_contradict(one: str, other: str) -> bool:
    return {one, other} == {"sat", "unsat"}


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
