"""What a set says of itself: its page for people, and the table of the benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmarks.acasxu.release.checking import Checked

Entry = Mapping[str, Any]

HEAD = (
    "network", "violated", "repaired by", "largest change", "same decision", "certainly kept", "mean change",
    "properties proved", "boxes", "certificate, kB", "made in, s", "checked in, s", "checker",
)  # fmt: skip


def facts(entries: Sequence[Entry], checked: Sequence[Checked]) -> list[str]:
    """The set in a few sentences, each of which the manifest or the checker says."""
    repaired = [entry for entry in entries if entry["repaired"]]
    constant = [entry for entry in repaired if entry["constants"]]
    free = [entry["name"] for entry in repaired if not entry["constants"]]
    accepted = sum(one.accepted for one in checked)
    proofs = sum(len(entry["properties"]) for entry in entries)
    about = {"float32": "as executed in float32, sums in any order", "real": "over the real numbers"}
    spoken = " or ".join(sorted({about[entry["semantics"]] for entry in entries}))
    found = [
        f"{len(entries)} networks: {len(repaired)} violated a property that applies to them and were repaired.",
        f"Proofs of every property that applies to each, {proofs} in all, {spoken}.",
        f"The checker alone accepts {accepted} of {len(checked)} networks.",
    ]
    if constant:
        largest = [entry["largest_proved"] for entry in constant]
        found.append(
            f"{len(constant)} repaired networks differ from the public ones by constants, at every input there is, as "
            f"exact arithmetic says: at most {max(largest):.3g}, in the median {statistics.median(largest):.3g} "
            "(network units)."
        )
    if free:
        found.append(f"Of {', '.join(free)} no bound of the change is proved; what was found is in the table.")
    if repaired:
        agreements = [entry["same_decision"] for entry in repaired]
        found.append(
            f"Decisions that are the same, of uniform inputs of the domain: {_percent(min(agreements))} at least, "
            f"{_percent(statistics.mean(agreements))} in the mean (of {repaired[0]['same_decision_n']:,} each)."
        )
    size = sum(entry["certificate"]["bytes"] for entry in entries) / 1e6
    seconds = sum(entry["seconds"] for entry in entries), sum(one.seconds for one in checked)
    found.append(f"Certificates: {size:.1f} MB. Made in {seconds[0]:,.0f} s, checked in {seconds[1]:,.0f} s.")
    return found


def line(entry: Entry) -> str:
    """A network in a line, once it is made."""
    if not entry["repaired"]:
        return f"proved as it is, {entry['seconds']:.1f} s"
    largest = entry["largest_found"] if entry["largest_proved"] is None else entry["largest_proved"]
    how = "constants" if entry["constants"] else entry["method"]
    kept = _percent(entry["same_decision"])
    return f"repaired by {how}, largest change {largest:.3g}, same decision {kept}, {entry['seconds']:.1f} s"


def rows(entries: Sequence[Entry], checked: Sequence[Checked]) -> list[list[str]]:
    """A row of `HEAD` for each network."""
    answers = {one.name: one for one in checked}
    found = []
    for entry in entries:
        one, kept = answers.get(entry["name"]), ["-"] * 6
        if entry["repaired"]:
            proved, surely = entry["largest_proved"], entry["surely"]
            largest = f"{entry['largest_found']:.3g} found" if proved is None else f"{proved:.3g}"
            kept = [
                ", ".join(broken["property"] for broken in entry["violated"]),
                "constants" if entry["constants"] else entry["method"],
                largest,
                _percent(entry["same_decision"]),
                "-" if surely is None or proved is None else _percent(surely),  # without a bound nothing is certain
                f"{entry['mae']:.2g}",
            ]
        found.append(
            [
                entry["name"],
                *kept,
                str(len(entry["properties"])),
                f"{entry['boxes']:,}",
                f"{entry['certificate']['bytes'] / 1000:,.0f}",
                f"{entry['seconds']:.1f}",
                "-" if one is None else f"{one.seconds:.1f}",
                "not asked" if one is None else "accepted" if one.accepted else "rejected",
            ]
        )
    return found


def _percent(share: float) -> str:
    """Rounded down, so that what is not all is never told as all."""
    return f"{int(share * 1e5) / 1e3:.3f} %"


def table(entries: Sequence[Entry], checked: Sequence[Checked], made_by: str) -> str:
    """The benchmark's table, as Markdown."""
    lines = ["# ACAS Xu: the released set", "", *(f"- {fact}" for fact in facts(entries, checked)), ""]
    lines += [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows(entries, checked)]
    return "\n".join([*lines, "", made_by, ""])


def page(entries: Sequence[Entry], checked: Sequence[Checked], made_by: str) -> str:
    """The set's page, HTML that loads nothing."""
    package = Environment(loader=PackageLoader("birdnn.report"), autoescape=True)
    style, _, _ = package.loader.get_source(package, "report.css") if package.loader else ("", None, None)
    own = Environment(
        loader=PackageLoader("benchmarks.acasxu.release", "."), autoescape=True, undefined=StrictUndefined
    )
    return own.get_template("page.html.j2").render(
        style=style,
        facts=facts(entries, checked),
        head=HEAD,
        entries=entries,
        repaired=sum(entry["repaired"] for entry in entries),
        accepted=len(checked) == len(entries) and all(one.accepted for one in checked),
        rows=rows(entries, checked),
        broken=[entry for entry in entries if entry["repaired"]],
        made_by=made_by,
    )
