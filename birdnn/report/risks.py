"""Assumptions and residual risk, derived from the outcome: what the evidence does not settle, heaviest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from birdnn.records import AnyRepair, CertificateFacts, EvidenceFile, PropertyRepair, Risk, Weight
from birdnn.report.headline import behaviour_words, guarantee_now, is_well_kept, right_words, tied_words
from birdnn.report.risks_blocks import example_risks
from birdnn.report.words import percent

_ORDER: Sequence[Weight] = ("stop", "open", "assumption", "note")


def residual_risks(
    outcome: AnyRepair, files: Sequence[EvidenceFile], certificate: CertificateFacts | None
) -> tuple[Risk, ...]:
    """All of them; none is left out because the verdict is good."""
    if isinstance(outcome, PropertyRepair):
        found = _property_risks(outcome, files, certificate)
    else:
        found = [*_file_risks(files), *example_risks(outcome)]
    # Stable: within a weight what is found first below stays first, and page one takes its lines from the head.
    return tuple(sorted(found, key=lambda risk: _ORDER.index(risk.weight)))


def _property_risks(
    outcome: PropertyRepair, files: Sequence[EvidenceFile], certificate: CertificateFacts | None
) -> list[Risk]:
    return [
        *_stop_risks(outcome, files),
        *_undecided_risks(outcome),
        *_unasked_risks(outcome),
        *_measured_risks(outcome),
        *_behaviour_risks(outcome),
        *_tied_risks(outcome),
        *_certificate_risks(outcome, files, certificate),
        *_assumption_risks(outcome, certificate),
        *_scope_risks(outcome),
    ]


def _risk(weight: Weight, topic: str, text: str) -> Risk:
    return Risk(weight=weight, topic=topic, text=text)


def _stop_risks(outcome: PropertyRepair, files: Sequence[EvidenceFile]) -> Iterator[Risk]:
    if outcome.disagreement:
        yield _risk("stop", "Engines disagree", outcome.disagreement)
    # Also of a repair whose evidence is sound: it may be evidence about other files.
    yield from _file_risks(files)
    if outcome.certificate is not None and outcome.certificate.answer == "rejected":
        yield _risk("stop", "Certificate rejected", f"The independent checker: {outcome.certificate.detail}.")


def _file_risks(files: Sequence[EvidenceFile]) -> Iterator[Risk]:
    for entry in files:
        if entry.state == "differs":
            told = f"{entry.path} is not the file that the evidence is about: its sha256 is another one."
            yield _risk("stop", f"{entry.role.capitalize()} differs", told)
        # Not a stop: what was proved stays proved of the file with that sha256, wherever it is.
        elif entry.state == "missing":
            told = f"{entry.path} was not found when this report was made; its recorded sha256 could not be confirmed."
            yield _risk("open", f"{entry.role.capitalize()} missing", told)


def _undecided_risks(outcome: PropertyRepair) -> Iterator[Risk]:
    which = "best attempt" if outcome.attempt else "repaired network" if outcome.out else "network"
    for prop in outcome.properties:
        if prop.after == "violated":
            yield _risk(
                "stop", f"{prop.name} is violated", f"The {which} breaks it, and an input shows it (section 3)."
            )
        elif prop.after != "proved":
            why = (
                f" ({prop.reason}{f', {prop.open_boxes:,} boxes open' if prop.open_boxes else ''})"
                if prop.reason
                else ""
            )
            told = f"Neither proved nor refuted for the {which}{why}. Sampling without a violation is no proof."
            yield _risk("open", f"{prop.name} is undecided", told)
    if outcome.interrupted:
        yield _risk("open", "Interrupted", "The user ended the repair; this is the best attempt up to then.")
    if outcome.timed_out:
        yield _risk("open", "Out of time", "The time limit ended the repair before everything was decided.")


def _unasked_risks(outcome: PropertyRepair) -> Iterator[Risk]:
    """Applicable properties that nobody asked for."""
    for entry in outcome.watched:
        # None of a network that was written and not looked at: a proof of the original says nothing about it.
        now = guarantee_now(entry, outcome)
        if now == "proved":
            continue
        bad = (now or entry.before) == "violated"
        was = f"{entry.before} before, {now or 'not verified again'} after" if outcome.out else entry.before
        told = f"It applies to this network and was not asked for: {was}. {entry.text}"
        yield _risk("stop" if bad else "open", f"{entry.name} {'not repaired' if bad else 'not decided'}", told)
    # An earlier version looked at none of them; later ones tell each by itself, above.
    if outcome.suite is not None and outcome.suite.not_named and not outcome.watched:
        names = ", ".join(outcome.suite.not_named)
        told = f"Suite {outcome.suite.name} names them for this network; they were not to be proved: {names}."
        yield _risk("open", "Applicable properties not asked for", told)
    for name in outcome.regressions:
        yield _risk("stop", f"{name} regressed", "It was proved before the repair and is not proved now.")


def _measured_risks(outcome: PropertyRepair) -> Iterator[Risk]:
    if outcome.out is None:
        return
    for entry in outcome.drawdown.properties:
        if entry.share:
            told = f"Of {entry.n:,} sampled points that satisfied it before, {percent(entry.share)} violate it now."
            yield _risk("stop", f"{entry.name} newly violated", told)
        # A share of nothing is no 0 %: the property could not lose anything, which is no merit.
        elif not entry.n:
            told = "No sampled point of its region satisfied it before: there was nothing to lose or to measure."
            yield _risk("note", f"Drawdown of {entry.name} not measured", told)
    if outcome.fidelity is None:
        if outcome.behaviour_kept is None:  # an earlier version measured nowhere else
            yield _risk("open", "Behaviour over the domain not measured", f"{outcome.fidelity_note}.".capitalize())
    elif outcome.fidelity.decision_agreement is not None and outcome.fidelity.decision_agreement < 1:
        share, n = 1 - outcome.fidelity.decision_agreement, outcome.fidelity.n
        told = (
            f"At {percent(share)} of {n:,} points sampled from the domain, all of which broke no property, the network "
            "decides otherwise than before. Whether each of these decisions is acceptable is not judged here."
        )
        yield _risk("note", "Changed decisions", told)
    for around in outcome.neighbours:
        told = (
            f"A proof about {around.points:,} points says nothing about other inputs: {percent(around.after)} of "
            f"{around.n:,} neighbours at most {around.radius:g} away have the answer wished for."
        )
        yield _risk("open", f"Only the points of {around.name} are proved", told)


def _tied_risks(outcome: PropertyRepair) -> Iterator[Risk]:
    """Outputs that were bound to others: decisions are kept, values are not."""
    if outcome.ties:
        proved = ", ".join(dict.fromkeys(tie.property for tie in outcome.ties))
        told = (
            f"{tied_words(outcome)}, up to a constant: {proved} is proved by that, and what they told by themselves is "
            "lost. Decisions are counted in section 6; whoever uses the values of tied outputs gets others."
        )
        yield _risk("open", "Tied outputs", told)


def _behaviour_risks(outcome: PropertyRepair) -> Iterator[Risk]:
    """What is kept where no domain was declared, what is badly kept, and what rests on a guess."""
    if outcome.out is None or outcome.behaviour_kept is None:
        return
    badly = outcome.behaviour_kept == "badly kept"
    # The word of the outcome decides whether, the figures of each place decide where.
    bad = [entry for entry in outcome.behaviour if badly and not is_well_kept(entry, outcome)]
    for entry in outcome.behaviour:
        told = right_words(entry)
        said = f"{behaviour_words(entry, outcome)}, n = {entry.n:,}{f'; {told}' if told else ''}."
        # Badly kept, and no place falls short by today's limits: then none of them is excused.
        if entry in bad or (badly and not bad):
            yield _risk("stop", "Behaviour is badly kept", said)
        elif entry.ground == "beyond" and outcome.domain is not None:
            text = f"{said} That lies beyond the domain, where nobody said that behaviour matters."
            yield _risk("note", "Behaviour beyond the domain", text)
        elif entry.ground in ("surroundings", "hull", "regions", "beyond"):
            text = f"{said} That is what was at hand: no domain was declared, and no data given."
            yield _risk("open", "Behaviour measured at hand", text)
    if not outcome.behaviour:
        yield _risk("stop", "Behaviour not measured", "Nothing is known of what else changed: give --domain or --data.")
    if outcome.rule_by == "property":
        told = (
            f"{outcome.decision} was read from how the properties compare outputs. Behaviour is judged by the lesser "
            "of both rules' figures; other figures about decisions mean nothing where it does not hold: --decision "
            "says which does."
        )
        yield _risk("open", "Decision rule is a guess", told)


def _certificate_risks(
    outcome: PropertyRepair, files: Sequence[EvidenceFile], facts: CertificateFacts | None
) -> Iterator[Risk]:
    stored = outcome.certificate
    proved = [prop.name for prop in outcome.properties if prop.after == "proved"]
    if stored is None:
        if proved:
            told = (
                "The proofs rest on the prover alone: there is no certificate that an independent program could check."
            )
            yield _risk("open", "No certificate", told)
        return
    # A rejected one is a stop, and was told above.
    if stored.answer == "not checked":
        yield _risk("open", "Certificate not checked", f"{stored.checked}. Section 8 has the command that checks it.")
    # Where the file differs or is missing, that has been said, and explains why there are no facts.
    if facts is None and not any(entry.role == "certificate" and entry.state != "as recorded" for entry in files):
        yield _risk("open", "Certificate unreadable", "It has the recorded sha256, but could not be read.")
    missing = [name for name in proved if name not in stored.properties]
    if missing:
        yield _risk("open", "Proofs without certificate", f"The certificate does not speak about {', '.join(missing)}.")
    told = (
        "The checker shares no code with the prover, but its authors, Python, NumPy and the ONNX package are the same. "
        "Its exact arithmetic (section 8) removes floating point from what has to be trusted."
    )
    yield _risk("assumption", "Independence of the checker", told)


def _assumption_risks(outcome: PropertyRepair, facts: CertificateFacts | None) -> Iterator[Risk]:
    if outcome.semantics == "float32":
        told = (
            "Proofs speak about any execution in IEEE-754 single precision, with the sums of each dot product in any "
            "order. Not covered: float16, bfloat16, TF32, integers, runtimes that replace operations by others "
            "(Winograd or FFT convolution, fused approximations), hardware faults."
        )
    else:
        told = (
            "Proofs speak about the function over the real numbers. An execution in float32 rounds and may differ; "
            "--semantics float32 covers it."
        )
    yield _risk("assumption", "Arithmetic of the execution", told)
    for name, error in (facts.assumptions if facts else {}).items():
        told = f"The runtime's {name} is assumed to err by at most {error:g}, beside one rounding."
        yield _risk("assumption", f"Function {name}", told)
    # By the words of `records.ARITHMETIC`: a proof that says another arithmetic is not known to account for its own.
    loose = [p.name for p in outcome.properties if p.after == "proved" and "rounding accounted for" not in p.arithmetic]
    if loose:
        told = f"The proofs of {', '.join(loose)} do not account for the rounding of their own arithmetic."
        yield _risk("open", "Rounding of the prover", told)


def _scope_risks(outcome: PropertyRepair) -> Iterator[Risk]:
    told = (
        "A proof is as good as its property. Whether the properties capture every hazard, with the right regions and "
        "the right units, was not examined. Outside of the input boxes of section 2 nothing is proved."
    )
    yield _risk("note", "Adequacy of the properties", told)
    if any(p.sampled for p in outcome.properties) or any(w.sampled for w in outcome.watched):
        told = (
            "Sampled statements hold for their measure, which is not the distribution of inputs in operation, and "
            "only with the stated confidence."
        )
        yield _risk("note", "Sampling", told)
    if outcome.localisation:
        told = (
            "Responsible neurons are found by correlation and checked by interventions; they are no proof of a cause."
        )
        yield _risk("note", "Localisation", told)
    if outcome.fidelity is not None:
        told = "Fidelity counts uniform points of the declared domain: rare situations in operation weigh little in it."
        yield _risk("note", "Fidelity", told)
    for line in outcome.notes:
        yield _risk("note", "Noted by the repair", line)
