"""From an outcome, the files as found and the certificate's facts to the safety report. Nothing is measured here."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from birdnn.records import (
    AnyRepair,
    CertificateFacts,
    CommandToType,
    Defect,
    EvidenceFile,
    ExampleRepair,
    MovedValue,
    PageVerdict,
    PropertyOutcome,
    PropertyRepair,
    RepairOutcome,
    RepairResult,
    Risk,
    SafetyReport,
    ShownValue,
    Summary,
    Tone,
    Witness,
)
from birdnn.report.headline import examples_in_words, is_contradicted, result_in_words
from birdnn.report.risks import residual_risks
from birdnn.report.standards import standards_mapping
from birdnn.report.words import Side, domain_ranges, network_sides, property_in_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """When a report was made, ISO 8601, and by whom and for whom, where that was told."""

    made: str = ""
    author: str | None = None
    reviewer: str | None = None


NOBODY = Signed()

_FIRST = 5
_MOVED = 15
_REPLAY = """\
import json, numpy, onnxruntime
report = json.load(open({report}))
session = onnxruntime.InferenceSession({net})
entries = session.get_inputs()
shapes = [[n if isinstance(n, int) and n > 0 else 1 for n in entry.shape] for entry in entries]
ends = numpy.cumsum([numpy.prod(shape, dtype=int) for shape in shapes])
kind = numpy.float64 if entries[0].type == "tensor(double)" else numpy.float32
names = [out.name for out in session.get_outputs() if out.type in ("tensor(float)", "tensor(double)")]
for prop in report["properties"]:
    for found in prop["counterexamples"]:
        y = []
        for x in numpy.array(found["x"], kind).reshape(-1, ends[-1]):
            parts = numpy.split(x, ends[:-1])
            fed = {{e.name: part.reshape(shape) for e, part, shape in zip(entries, parts, shapes)}}
            y += numpy.concatenate([value.ravel() for value in session.run(names, fed)]).tolist()
        print(prop["name"], y, "as recorded" if y == found["y"] else "recorded: %s" % found["y"])
"""
"""Does what `birdnn.runtime.Session` does, and needs onnxruntime alone: given no name of an output it runs all of them.
Names of files are put in as JSON, which Python reads as well."""


_MEANING: Mapping[RepairResult, tuple[PageVerdict, str]] = {
    "proved": ("proved", "Proved of a property is that no input of its regions gives an unsafe output."),
    "nothing_to_repair": ("proved as it was", "The network was not changed."),
    "sampled": ("not proved", "For what is not proved no violation is known, and there is no proof either."),
    "violated": ("violated", "At least one property is violated, or no repair was found."),
}
"""Outcome -> verdict of the page, and what it means."""

_Verdict: TypeAlias = tuple[PageVerdict, str, str, Tone, str]
"""Verdict, and the headline: word, rest, tone; explanation."""


def safety_report(
    outcome: AnyRepair,
    files: Sequence[EvidenceFile],
    certificate: CertificateFacts | None,
    *,
    added: Sequence[str] = (),
    version: str,
    signed: Signed = NOBODY,
) -> SafetyReport:
    """Everything that the report says.

    Args:
        outcome: `repair.json`.
        files: those that it names, as found, `repair.json` itself among them.
        certificate: None where there is none, or where it cannot be read.
        added: what `outcome` lacked and was read from files as recorded.
        version: of the birdnn that makes the report.
        signed: when and by whom.
    """
    found = residual_risks(outcome, files, certificate)
    report = SafetyReport(
        birdnn=version,
        made=signed.made,
        author=signed.author,
        reviewer=signed.reviewer,
        summary=_summary(outcome, files, found),
        files=tuple(files),
        moved=_most_moved_values(outcome),
        certificate=certificate,
        risks=found,
        commands=(_command("Repeat the repair, as it was run", *outcome.request.command),),
        added=tuple(added),
        outcome=outcome,
    )
    if isinstance(outcome, PropertyRepair):
        report = _with_properties(report, outcome)
    # Last: what is offered toward a standard depends on defects, files and properties of the report itself.
    return replace(report, mapping=standards_mapping(report))


def _with_properties(report: SafetyReport, outcome: PropertyRepair) -> SafetyReport:
    """The report with what only a repair by properties has."""
    watched = [entry.n for entry in outcome.drawdown.properties if entry.n]
    summary = replace(
        report.summary,
        scope=_scope_text(outcome),
        asked=len(outcome.properties),
        violated_before=sum(prop.before == "violated" for prop in outcome.properties),
        proved_after=sum(prop.after == "proved" for prop in outcome.properties),
        watched=len(watched),
        watched_points=min(watched, default=None),
    )
    return replace(
        report,
        summary=summary,
        domain=domain_ranges(outcome),
        properties=tuple(property_in_words(prop, outcome) for prop in outcome.properties),
        defects=_defects(outcome),
        commands=(*_property_commands(outcome, report.files), *report.commands),
    )


def _summary(outcome: AnyRepair, files: Sequence[EvidenceFile], found: Sequence[Risk]) -> Summary:
    verdict, word, rest, tone, explanation = _verdict(outcome, files)
    # A page must not be green above a line that says stop.
    if tone == "good" and any(risk.weight == "stop" for risk in found):
        tone = "warn"
    return Summary(
        verdict=verdict,
        tone=tone,
        word=word,
        headline=f"{word}: {rest}" if rest else word,
        explanation=explanation,
        changed=sum(entry.count for entry in outcome.change.values()),
        changeable=sum(entry.size for entry in outcome.change.values()),
        initialisers=len(outcome.change),
        first=tuple(
            f"{weight.capitalize()}: {r.topic}. {r.text}"
            for weight in ("stop", "open")
            for r in found
            if r.weight == weight
        )[:_FIRST],
    )


def _scope_text(outcome: PropertyRepair) -> str:
    """What nobody should read into the proofs, on the first page."""
    proved = [prop.name for prop in outcome.properties if prop.after == "proved"]
    if not proved:
        return ""
    stored = outcome.certificate
    # One that the checker did not accept covers nothing, whatever it speaks about.
    accepted = stored is not None and stored.answer == "accepted"
    covered = [name for name in proved if accepted and stored is not None and name in stored.properties]
    rest = [name for name in proved if name not in covered]
    told = "Nothing is proved about inputs outside the regions of these properties (section 2)."
    if covered:
        told += f" The certificate covers the proof of {_joined_names(covered)}."
    missing = "has no certificate" if stored is None or accepted else f"has a certificate that is {stored.answer}"
    return told + (f" The proof of {_joined_names(rest)} {missing}." if rest else "")


def _joined_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _verdict(outcome: AnyRepair, files: Sequence[EvidenceFile]) -> _Verdict:
    changed = dict.fromkeys(entry.role for entry in files if entry.state == "differs")
    match outcome:
        # Contradictory evidence is the worse news: it stays so whichever files lie there.
        case PropertyRepair() if not changed or is_contradicted(outcome):
            return _properties_verdict(outcome)
        case ExampleRepair() if not changed:
            return _examples_verdict(outcome)
    told = f"What is reported below was found for other files than those that lie there now: {', '.join(changed)}."
    return "files differ", "Not about these files", "", "bad", told


def _properties_verdict(outcome: PropertyRepair) -> _Verdict:
    result = result_in_words(outcome)
    if is_contradicted(outcome):
        return "engines disagree", result.word, result.rest, result.tone, ""
    verdict, told = _MEANING[outcome.result]
    return verdict, result.word, result.rest, result.tone, told


def _examples_verdict(outcome: ExampleRepair) -> _Verdict:
    result = examples_in_words(outcome)
    return "violated" if result.tone == "bad" else "not proved", result.word, "", result.tone, result.rest


def _defects(outcome: PropertyRepair) -> tuple[Defect, ...]:
    return (
        *(_defect(outcome, prop, found, "before") for prop in outcome.properties for found in prop.counterexamples),
        *(_defect(outcome, prop, prop.remaining, "after") for prop in outcome.properties if prop.remaining),
    )


def _defect(outcome: PropertyRepair, prop: PropertyOutcome, found: Witness, file: Literal["before", "after"]) -> Defect:
    inputs, outputs = network_sides(outcome)
    chosen = {"argmin": min, "argmax": max}.get(outcome.decision)
    # no output of two runs decides
    alone = chosen is not None and found.y and not prop.runs
    place = found.y.index(chosen(found.y)) if chosen is not None and alone else None
    return Defect(
        property=prop.name,
        inputs=_values_of_runs(inputs, found.x, prop.runs),
        outputs=_values_of_runs(outputs, found.y, prop.runs),
        decides=None if place is None else outputs.name(place),
        replayed_by=found.replayed_by,
        exactly=found.exactly,
        file=file,
    )


def _values_of_runs(side: Side, values: Sequence[float], runs: Sequence[str]) -> tuple[ShownValue, ...]:
    """Values with their names, behind each the run that it is of where there are several."""
    if not runs:
        return tuple(side.value(i, value) for i, value in enumerate(values))
    each = len(values) // len(runs)
    found = [(runs[i // each], side.value(i % each, value)) for i, value in enumerate(values)]
    return tuple(replace(value, name=f"{value.name} of {run}") for run, value in found)


def _most_moved_values(outcome: RepairOutcome) -> tuple[MovedValue, ...]:
    """The values that moved most, over all initialisers."""
    found = [
        MovedValue(
            initialiser=name,
            index=value.index,
            before=value.before,
            after=value.after,
            difference=value.after - value.before,
        )
        for name, entry in outcome.change.items()
        for value in entry.largest
    ]
    return tuple(sorted(found, key=lambda entry: -abs(entry.difference))[:_MOVED])


_KINDS: dict[str, Literal["replay", "check"]] = {"python": "replay", "birdnn-check": "check"}


def _command(purpose: str, *words: str) -> CommandToType:
    return CommandToType(
        purpose=purpose, command=shlex.join(words), kind=_KINDS.get(words[0] if words else "", "birdnn")
    )


def _property_commands(outcome: PropertyRepair, files: Sequence[EvidenceFile]) -> tuple[CommandToType, ...]:
    """What an assessor types to see each claim about properties again."""
    # Paths as found, for results are handed over in other folders; the recorded ones only where nothing was found.
    place = {(entry.role, entry.name): entry.path for entry in files}
    net, record = place["network before", "network before"], place["outcome", "repair.json"]
    props = {p.name: place.get(("property", p.name), p.path) for p in outcome.properties}
    units = ["--units", "raw"] if outcome.request.units == "raw" else []
    found = []
    # onnxruntime reads neither NNet nor packed files.
    if any(p.counterexamples for p in outcome.properties) and net.endswith(".onnx"):
        script = _REPLAY.format(report=json.dumps(record), net=json.dumps(net))
        told = "Replay every counterexample through onnxruntime, without birdnn"
        found.append(_command(told, "python", "-c", script))
    for prop in outcome.properties:
        if prop.counterexamples and _is_property(props[prop.name]):
            told = f"Look for a counterexample of {prop.name} anew"
            named = _named_in(prop, net)
            found.append(_command(told, "birdnn", "falsify", "--net", named, "--prop", props[prop.name], *units))
    judged = place.get(("network after", "network after"), net)
    if outcome.certificate is not None:
        # Properties that it does not speak about would have it rejected: each that is given needs its proof.
        certified = [props[name] for name in outcome.certificate.properties if name in props]
        words = ["birdnn-check", "--net", judged, *_option_for_each("--prop", certified)]
        path = place.get(("certificate", "certificate"), outcome.certificate.path)
        told = "Check the certificate again, a sample of its leaves in exact arithmetic as well"
        found.append(_command(told, *words, path, "--sample", "100"))
        told = "The same, every leaf in exact arithmetic (slower)"
        found.append(_command(told, *words, path, "--arithmetic", "exact"))
    if outcome.preservation is not None and outcome.preservation.constants:
        told = "Check that outputs differ from the original's by constants, in exact arithmetic"
        found.append(_command(told, "birdnn-check", "--net", judged, "--before", net))
    related = [prop for prop in outcome.properties if prop.runs]
    for prop in related:
        told = f"Decide {prop.name} anew, which is about two inputs"
        found.append(_command(told, "birdnn", "verify", "--net", _named_in(prop, judged), "--prop", props[prop.name]))
    apart = {prop.name for prop in related}
    if stated := [path for name, path in props.items() if _is_property(path) and name not in apart]:
        words = ["--net", judged, *_option_for_each("--prop", stated), "--semantics", outcome.semantics, *units]
        found.append(_command("Decide the properties anew, without the certificate", "birdnn", "verify", *words))
    return tuple(found)


def _named_in(prop: PropertyOutcome, net: str) -> str:
    """The network as --net takes it: under the name that a query about several runs has for it."""
    return f"{prop.runs[0]}={net}" if prop.runs else net


def _is_property(path: str) -> bool:
    """Is it a file that other commands read as a property? Points are not."""
    return path.removesuffix(".gz").endswith(".vnnlib")


def _option_for_each(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in dict.fromkeys(values) for word in (option, value)]
