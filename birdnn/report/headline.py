"""The result of a repair in words: the same in the terminal, on the page, in Markdown, in SARIF and in JSON.

It counts what was asked, names what is violated all the same, and says in figures how much behaviour is kept. Good is
only what is proved and keeps its behaviour as well as asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from birdnn.records import (
    LEAST,
    LEAST_BEYOND,
    ApplicableOutcome,
    ExampleRepair,
    Guarantee,
    KeptAt,
    Preservation,
    PropertyRepair,
    RepairOutcome,
    Tone,
    behaves_as_asked,
)
from birdnn.report.risks_blocks import ROLES, judging_role
from birdnn.report.words import at_least_text, at_most_text, network_sides, percent

_USEFUL = 10.0
"""A proved bound of so many times what was found says something."""

_UNMEASURED = "What else changed was not measured: give --domain, or --data."


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The result.

    Attributes:
        word: in a few words, e.g. ``"Repaired and proved"``.
        rest: counts and figures, sentences.
        tone: good only without any reserve.
    """

    word: str
    rest: str
    tone: Tone

    @property
    def headline(self) -> str:
        """Both."""
        return f"{self.word}: {self.rest}"


def result_in_words(report: PropertyRepair) -> Said:
    """What came of a repair by properties."""
    # Before anything is counted: where evidence contradicts itself no figure of it can be trusted.
    if is_contradicted(report):
        told = (
            "two engines, a proof and a sample, or prover and checker contradict each other. "
            "Trust neither before it is understood."
        )
        return Said(word="Contradictory evidence", rest=told, tone="bad")
    word, tone = _word_and_tone(report)
    reserves = still_violated(report), not_looked_at(report), report.regressions, has_lost_points(report)
    # Green is only what leaves nothing to look at; a tone is never made better here.
    if tone == "good" and any(reserves):
        tone = "warn"
    return Said(word=word, rest=" ".join(_sentences(report)), tone=tone)


def examples_in_words(report: ExampleRepair) -> Said:
    """What came of a repair by labelled examples, told by those that judge it."""
    # By the file, not by the result: an end by time or by the user leaves the same result, and no network.
    if report.out is None:
        until = "Up to its early end no" if report.interrupted or report.timed_out else "No"
        told = f"{until} candidate did better than the original on the validation examples. No network was written."
        return Said(word="Not repaired", rest=told, tone="bad")
    if report.result != "sampled":
        told = "The best candidate was kept; it repairs none of the failing examples that it learnt from."
        return Said(word="Not repaired", rest=told, tone="bad")
    role = judging_role(report.blocks)
    before, after = report.blocks.before[role], report.blocks.methods[0].accuracy[role]
    told = (
        f"Of {after.n:,} {ROLES[role]} examples {after.right:,} are right, {before.right:,} before. "
        "Nothing is proved, and nothing is said of other inputs."
    )
    return Said(word="Repaired as far as the examples see", rest=told, tone="warn")


def is_contradicted(report: PropertyRepair) -> bool:
    """Does some evidence speak against other evidence?"""
    return bool(report.disagreement) or (report.certificate is not None and report.certificate.answer == "rejected")


def kept_word(report: PropertyRepair) -> Literal["kept", "badly kept", "not measured"]:
    """How well behaviour is kept; an earlier version measured over the domain, and did not judge."""
    if report.behaviour_kept is not None:
        return report.behaviour_kept
    if report.fidelity is None:
        return "not measured"
    share = report.fidelity.decision_agreement
    # Of outputs alone nothing can be judged: that version did not store their size.
    return "kept" if share is None or share >= LEAST[0] else "badly kept"


def behaviour_word(report: RepairOutcome) -> Literal["kept", "badly kept", "not measured"] | None:
    """`kept_word`; None where nothing was changed, and for a repair by examples, whose accuracy is the measure."""
    return kept_word(report) if isinstance(report, PropertyRepair) and report.out is not None else None


def still_violated(report: PropertyRepair) -> list[str]:
    """Properties that apply to the network, were not asked about, and are violated in what is handed over."""
    return [entry.name for entry in report.watched if guarantee_now(entry, report) == "violated"]


def not_looked_at(report: PropertyRepair) -> list[str]:
    """Such properties that were decided before, and of which nobody knows what they are now."""
    return [e.name for e in report.watched if guarantee_now(e, report) is None and e.before in ("violated", "proved")]


def is_partly_repaired(report: PropertyRepair) -> bool:
    """Of as many properties as possible: is a network written that proves more of them, and loses none?"""
    # The result is "violated" of a network that repairs some and not all; what it has won is in the properties.
    won = any(prop.after == "proved" and prop.before != "proved" for prop in report.properties)
    written = report.out is not None and not report.attempt
    return report.result == "violated" and written and won and not report.regressions


def has_lost_points(report: PropertyRepair) -> bool:
    """Does the network that was written violate a property at sampled points where the original did not?"""
    return report.out is not None and bool(report.drawdown.share)


def guarantee_now(entry: ApplicableOutcome, report: PropertyRepair) -> Guarantee | None:
    """What is known of the network that is handed over, which is the original where no other was written."""
    return entry.before if report.out is None else entry.after


def behaviour_words(entry: KeptAt, report: PropertyRepair) -> str:
    """What is kept at one place: ``"99.98 % same decision (argmin) on the domain (suite acasxu)"``."""
    share = entry.mae / entry.size if entry.size else None
    moved = f"mean absolute difference {entry.mae:.2g}"
    moved += "" if share is None else f" ({percent(share)} of the outputs' size)"
    if entry.decision_agreement is None:
        return f"{moved} on {entry.where}"
    # A rule that nobody stated is none: both figures are told, neither as the share of decisions kept.
    if report.decision == "none":
        both = f"{_either_rule_words(entry)} on {entry.where}, {moved}"
        return f"decisions not measured, for nobody says which output decides: {both}"
    shares = {"argmin": entry.argmin_agreement, "argmax": entry.argmax_agreement}
    own, other = shares.pop(report.decision), shares.popitem()
    if own is None or other[1] is None:  # somebody said which output decides
        return f"{percent(entry.decision_agreement)} same decision ({report.decision}) on {entry.where}, {moved}"
    by = f"{report.decision}, read from the properties; {percent(other[1])} by {other[0]}"
    return f"{percent(own)} same decision ({by}) on {entry.where}, {moved}"


def change_words(found: Preservation, report: PropertyRepair, *, placed: bool = True) -> str:
    """How far an output can be from the original's: ``"0.0064 found, at most 0.0089 proved, ..."``.

    Without `placed` it does not say where: whoever shows it does.
    """
    # Infinite where nothing is known: never useful.
    useful = found.proved <= _USEFUL * found.found
    proved = f"at most {at_most_text(found.proved)} proved over the reals" if useful else "nothing near it proved"
    asked = report.request.max_difference
    told = "" if asked is None else f" ({asked:g} asked for)"
    exactly = "; the checker finds constants, exactly" if found.constants else ""
    # The largest change lies between both: the found one is rounded down, the proved one up.
    where = f", anywhere in {found.where}" if placed else ""
    return f"{at_least_text(found.found)} found, {proved}{told}{where}{exactly}"


def decided_words(found: Preservation) -> str:
    """At how many inputs bounds of the change keep the decision; empty where nothing decides, or none is kept."""
    # Bounds may be too wide to keep any decision for certain; 0 % would read as if all had changed.
    if found.decided is None or not found.decided.hits:
        return ""
    share = percent(found.decided.hits / max(1, found.decided.n))
    return f"certainly kept at {share} of inputs, whatever change these bounds allow, n = {found.decided.n:,}"


def right_words(entry: KeptAt) -> str:
    """How many inputs of a labelled file are decided right, before and now; empty where none has a label."""
    if not entry.labelled:
        return ""
    before, after = (percent(count / entry.labelled) for count in (entry.right_before, entry.right_after))
    return f"right at {before} of {entry.labelled:,} before and {after} now"


def _either_rule_words(entry: KeptAt) -> str:
    pairs = (("least", entry.argmin_agreement), ("greatest", entry.argmax_agreement))
    told = (f"the {word} output stays the {word} at {percent(share)}" for word, share in pairs if share is not None)
    return " and ".join(told)


def _word_and_tone(report: PropertyRepair) -> tuple[str, Tone]:
    match report.result:
        case "nothing_to_repair":
            return "Nothing to repair", "good"
        case "proved":
            kept = kept_word(report)
            if kept == "kept" and report.regressions:
                return "Proved, but with regressions", "warn"
            if kept == "kept":
                return "Repaired and proved", "good"
            what = "behaviour is badly kept" if kept == "badly kept" else "behaviour is not measured"
            return f"Proved, but {what}", "warn"
        case "sampled":
            seen = "Repaired as far as sampling sees, not proved" if report.out else "Undecided"
            return seen, "warn"
        case _:
            return ("Partly repaired", "warn") if is_partly_repaired(report) else ("Not repaired", "bad")


def _sentences(report: PropertyRepair) -> Iterator[str]:
    proved, asked = sum(prop.after == "proved" for prop in report.properties), len(report.properties)
    what = "property that was asked about is" if asked == 1 else "properties that were asked about are"
    already = " on the network as it is" if report.result == "nothing_to_repair" else ""
    yield f"{proved} of {asked} {what} proved{already}."
    # Losses first: who reads one sentence more than the count reads these.
    yield from _about_others(report)
    yield from _about_regressions(report)
    if has_lost_points(report):
        yield f"Newly violated: {percent(report.drawdown.share or 0)} of the sampled points of {report.drawdown.worst}."
    if report.out is not None:
        yield from _about_behaviour(report)
    yield from _about_the_end(report, failed=report.result == "violated" and not is_partly_repaired(report))


def _about_the_end(report: RepairOutcome, *, failed: bool) -> Iterator[str]:
    if report.out is None:
        yield "No network was written."
    elif failed:
        yield "The best attempt was kept; it is not a repair."
    if report.interrupted:
        yield "Interrupted: this is the best so far."
    elif report.timed_out:
        yield "The time limit ended it."


def _about_others(report: PropertyRepair) -> Iterator[str]:
    """Properties that nobody asked about."""
    before = {entry.name: entry.before for entry in report.watched}
    bad, unseen = still_violated(report), not_looked_at(report)
    for told, names in (
        ("Still violated", [name for name in bad if before[name] == "violated"]),
        ("Violated, and undecided before", [name for name in bad if before[name] not in ("violated", "proved")]),
        ("Violated before, not looked at since", [name for name in unseen if before[name] == "violated"]),
        ("Proved before, not looked at since", [name for name in unseen if before[name] == "proved"]),
    ):
        if names:
            count = "which applies to the network and was not" if len(names) == 1 else "which apply to it and were not"
            yield f"{told}: {', '.join(names)}, {count} asked about."


def _about_regressions(report: PropertyRepair) -> Iterator[str]:
    """What was proved before, by whether an input shows that it is lost."""
    now = {prop.name: prop.after for prop in report.properties} | {one.name: one.after for one in report.watched}
    # Two kinds of loss: an input shows it, or only the proof is gone. To call the second violated would be untrue.
    violated = [name for name in report.regressions if now.get(name) == "violated"]
    if violated:
        yield f"Newly violated, proved before: {', '.join(violated)}."
    if undecided := [name for name in report.regressions if name not in violated]:
        yield f"Proved before and not now: {', '.join(undecided)}."


def _about_behaviour(report: PropertyRepair) -> Iterator[str]:
    found = report.behaviour
    if found:
        yield f"Kept: {behaviour_words(worst_kept_place(report), report)}."
    elif report.fidelity is not None:
        share = report.fidelity.decision_agreement
        same = "" if share is None else f"{percent(share)} same decision ({report.decision}), "
        yield f"Kept: {same}mean absolute difference {report.fidelity.mae:.2g} on the domain."
    else:
        yield _UNMEASURED
    for one in found:
        if told := right_words(one):
            yield f"On {one.where}: {told}."
    # What was asked for, at the place that the headline tells: beyond the regions it is less than elsewhere.
    if report.behaviour_kept == "badly kept" and found and worst_kept_place(report).ground == "beyond":
        least = percent(LEAST_BEYOND)
        yield f"Asked for there, where nobody said that it matters, is the same decision at {least} at least."
    elif report.behaviour_kept == "badly kept":
        least = percent(LEAST[0] if report.request.min_agreement is None else report.request.min_agreement)
        most = (
            f"{percent(LEAST[1])} of the outputs' size"
            if report.request.max_mae is None
            else f"{report.request.max_mae:g}"
        )
        yield f"Asked for is the same decision at {least} at least, and a difference of {most} at most."
    if report.ties:
        yield f"Outputs tied: {tied_words(report)}; what they told by themselves is lost."


def worst_kept_place(report: PropertyRepair) -> KeptAt:
    """The place that is told of several: the worst of those that are badly kept, or else of those that matter."""
    bad = [one for one in report.behaviour if not is_well_kept(one, report)]
    mattering = bad or [one for one in report.behaviour if one.ground != "beyond"] or report.behaviour
    # The fewest decisions; among equals the outputs that moved most for their size, which may be zero.
    return min(mattering, key=lambda one: (_agreement_or_one(one), -one.mae / max(one.size, 1e-30)))


def is_well_kept(entry: KeptAt, report: PropertyRepair) -> bool:
    """Is as much kept at this place as was asked for? Beyond the regions nobody asked for much."""
    if entry.ground == "beyond":
        return _agreement_or_one(entry) >= LEAST_BEYOND
    agreement, min_agreement, max_mae = entry.decision_agreement, report.request.min_agreement, report.request.max_mae
    return behaves_as_asked(agreement, entry.mae, entry.size, min_agreement=min_agreement, max_mae=max_mae)


def _agreement_or_one(entry: KeptAt) -> float:
    return 1.0 if entry.decision_agreement is None else entry.decision_agreement


def tied_words(report: PropertyRepair) -> str:
    """``"Y_3 follows Y_2, Y_4 is constant"``."""
    _, outputs = network_sides(report)
    told = [
        f"{outputs.name(tie.output)} follows {' and '.join(outputs.name(k) for k in tie.follows)}"
        if tie.follows
        else f"{outputs.name(tie.output)} is constant"
        for tie in report.ties
    ]
    # An output may be tied for several properties, and is told once.
    return ", ".join(dict.fromkeys(told))
