"""The two kinds of campaigns: how an instance becomes a command, and its report a row."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from birdnn.campaign.children import Ending
from birdnn.campaign.instances import Instance, bare_names
from birdnn.patterns import network_word
from birdnn.records import CONTRADICTION

KindName = Literal["verify", "repair"]
Report = Mapping[str, Any]

_MADE_BY = "timeout_s", "options", "seed", "note", "machine", "software", "version"
"""Columns that every row of a campaign has."""

EXECUTED = "violated when run, not over the reals"

BROKEN = frozenset({"error", "crash"})
"""Answers that are none: the files are unusable, or the process ended as it should not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a campaign does with an instance.

    Attributes:
        name: the command that runs.
        columns: of its table.
        identity: columns that name an instance, and `names`, what they hold for one.
        answer, seconds: columns of the answer and of the time that counts.
        solved: answers that decide an instance.
        spoilt: does a row say that its instance is not solved, whatever the answer?
        grace_s: how long after its limit a process is killed: it starts, ends and writes besides.
        words: the command for an instance; its report goes to a file in the folder given.
        report: the name of that file.
        found: columns from the report.
    """

    name: KindName
    columns: tuple[str, ...]
    identity: tuple[str, ...]
    names: Callable[[Instance], tuple[str, ...]]
    answer: str
    seconds: str
    solved: frozenset[str]
    spoilt: Callable[[Mapping[str, str]], bool]
    grace_s: float
    words: Callable[[Instance, Path], list[str]]
    report: str
    found: Callable[[Report], dict[str, object]]

    def solves(self, answer: str, row: Mapping[str, str]) -> bool:
        """Does such a row decide its instance?"""
        return answer in self.solved and not self.spoilt(row)


def _net_words(instance: Instance) -> list[str]:
    return [word for net in instance.nets for word in ("--net", network_word(*net))]


def _verify_words(instance: Instance, folder: Path) -> list[str]:
    props = [word for prop in instance.props for word in ("--prop", str(prop))]
    limits = ["--timeout", f"{instance.timeout_s:g}", "--json", str(folder / VERIFY.report), "--quiet"]
    return ["verify", *_net_words(instance), *props, *limits]


def _verify_row(found: Report) -> dict[str, object]:
    reasons = {p["reason"] for p in found["properties"] if p["reason"] not in (None, "timeout")}
    reasons |= {EXECUTED for p in found["properties"] if p.get("executed") or _when_run_only(p.get("counterexample"))}
    told = found["disagreement"] or ", ".join(sorted(reasons))
    return {
        "verdict": CONTRADICTION if found["disagreement"] else found["verdict"],
        "boxes": found["boxes"],
        "solve_s": f"{found['solve_s']:.3f}",
        "semantics": found["semantics"],
        "note": told,
    }


def _when_run_only(counterexample: Report | None) -> bool:
    return counterexample is not None and counterexample.get("exactly") is False


def _repair_words(instance: Instance, folder: Path) -> list[str]:
    props = [word for prop in instance.props for word in ("--prop", str(prop))]
    keep = [word for prop in instance.keep for word in ("--keep", str(prop))]
    suite = ["--suite", instance.suite] if instance.suite else []
    limits = ["--timeout", f"{instance.timeout_s:g}", "--out", str(folder), "--quiet"]
    return ["repair", *_net_words(instance), *props, *keep, *suite, *limits]


def _repair_row(found: Report) -> dict[str, object]:
    fidelity = found["fidelity"] or {"decision_agreement": None, "mae": math.nan}
    agreement = fidelity["decision_agreement"]
    regions = [entry["decision_agreement"] for entry in found["region_fidelity"].values()]
    regions = [value for value in regions if value is not None]
    return {
        "outcome": CONTRADICTION if found["disagreement"] else found["outcome"],
        **{name: f"{found[name]:.1f}" for name in ("repair_s", "verify_s", "sample_s")},
        "boxes": sum(entry["boxes"] for entry in found["properties"]),
        "rounds": found["rounds"],
        "kept": found.get("behaviour_kept") or "",
        "agreement": f"{math.nan if agreement is None else agreement:.6f}",
        "mae": f"{fidelity['mae']:.3g}",
        "region_agreement": f"{min(regions, default=math.nan):.6f}",
        "drawdown": worst_drawdown(found["drawdown"]),
        "regressions": " ".join(found["regressions"]),
        "note": found["disagreement"] or "",
        "semantics": found["semantics"],
        **{name: _rate_share(found[name]) for name in ("efficacy", "generalisation")},
        **_certificate_columns(found["certificate"]),
        **_preservation_columns(found.get("preservation")),
    }


def _lost_something(row: Mapping[str, str]) -> bool:
    """Where ``birdnn repair`` ends in status 3 in spite of a proof. The first version did not say what was `kept`."""
    return row.get("kept") in ("badly kept", "not measured") or bool(row.get("regressions"))


def worst_drawdown(drawdown: Report) -> object:
    """The worst share of any property; empty where none was measured."""
    return "" if drawdown["share"] is None else drawdown["share"]


def _rate_share(rate: Report | None) -> str:
    """Of a rate, as a number; empty where there was nothing to count."""
    return "" if not rate or not rate["n"] else f"{rate['hits'] / rate['n']:.6f}"


def _preservation_columns(found: Report | None) -> dict[str, object]:
    """The largest change of an output, found and proved, and the share of inputs whose decision it cannot change."""
    if found is None:
        return {}
    seen = [abs(value) for side in ("found_lower", "found_upper") for value in found[side]]
    known = [value for side in ("lower", "upper") for value in found[side]]
    bound = math.inf if None in known else max(map(abs, known), default=0.0)
    return {
        "largest": f"{max(seen, default=0.0):.3g}",
        "largest_proved": f"{bound:.3g}",
        "surely": _rate_share(found["decided"]),
    }


def _certificate_columns(found: Report | None) -> dict[str, object]:
    """Size of the certificate, and what the checker said of it."""
    if found is None:
        return {}
    return {
        "certificate_kb": f"{found['size'] / 1000:.1f}",
        "leaves": found["leaves"],
        "check_s": f"{found['check_s']:.1f}",
        "checked": found["answer"],
    }


VERIFY = Kind(
    name="verify",
    columns=("onnx", "vnnlib", "expected", "verdict", "seconds", "boxes", "solve_s", "semantics", "measure", *_MADE_BY),
    identity=("onnx", "vnnlib"),
    names=lambda instance: (instance.onnx, instance.vnnlib),
    answer="verdict",
    seconds="seconds",
    solved=frozenset({"sat", "unsat"}),
    spoilt=lambda row: False,
    grace_s=15.0,
    words=_verify_words,
    report="verify.json",
    found=_verify_row,
)

REPAIR = Kind(
    name="repair",
    columns=(
        "method", "net", "props", "outcome", "wall_s", "repair_s", "verify_s", "sample_s", "boxes", "rounds",
        "agreement", "mae", "region_agreement", "drawdown", "regressions", "note", "efficacy", "generalisation",
        "semantics", "certificate_kb", "leaves", "check_s", "checked", "kept", "largest", "largest_proved", "surely",
        *(name for name in _MADE_BY if name != "note"),
    ),
    identity=("net", "props"),
    names=lambda instance: (bare_names(instance.onnx), bare_names(instance.vnnlib)),
    answer="outcome",
    seconds="wall_s",
    solved=frozenset({"proved", "nothing_to_repair"}),
    spoilt=_lost_something,
    grace_s=120.0,
    words=_repair_words,
    report="repair.json",
    found=_repair_row,
)  # fmt: skip


def result_columns(kind: Kind, ending: Ending, folder: Path) -> dict[str, object]:
    """The columns of a row that the instance's process decides, killed or not."""
    if ending.reason != "ended":
        why = f"{ending.wall_s:.1f} s" if ending.reason == "timeout" else f"{ending.peak_gib:.2f} GiB"
        return {kind.answer: ending.reason, "note": f"killed from outside after {why}"}
    try:
        report = json.loads((folder / kind.report).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # wrong use and bad input, see the exit statuses in `birdnn --help`: the user can put these right
        bad_input = ending.status in (2, 4)
        return {kind.answer: "error" if bad_input else "crash", "note": _last_words(ending)}
    return kind.found(report)


def _last_words(ending: Ending) -> str:
    """Why a process left no report, on one line."""
    said = [line.removeprefix("birdnn: ").removeprefix("error: ") for line in ending.told.splitlines() if line.strip()]
    told = next((line for line in said if line.startswith("internal error")), said[-1] if said else "it said nothing")
    if ending.status is None:  # no process of it is known to have ended: it was lost with its node
        return told[:300]
    how = f"signal {-ending.status}" if ending.status < 0 else f"status {ending.status}"
    return f"{how}: {told}"[:300]
