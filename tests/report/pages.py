"""Reports to look at, and what a parser sees of a page."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fractions import Fraction
from html.parser import HTMLParser
from typing import Any

from birdnn.records import (
    AnyRepair,
    ApplicableOutcome,
    CertificateFacts,
    CertificateFile,
    EvidenceFile,
    ExampleRepair,
    InitialiserChange,
    InterventionCheck,
    Kept,
    LayerResponsibility,
    PacBound,
    ProofFacts,
    PropertyLocalisation,
    PropertyRepair,
    RankedNeuron,
    SafetyReport,
    ScaledQuantity,
    StatedRegion,
    Tried,
    ValueChange,
    Witness,
)
from birdnn.report.pages import FORMS, html_page
from birdnn.report.publish import dumps
from birdnn.report.safety import safety_report
from birdnn.spec import Row
from tests.report.outcomes import prop, repair_outcome

RHO = ScaledQuantity(name="rho", text="distance", unit="ft", mean=Fraction("19791.091"), range=Fraction(60261))
THETA = ScaledQuantity(name="theta", text="angle", unit="rad", mean=Fraction(0), range=Fraction("6.28318530718"))
COSTS = tuple(
    ScaledQuantity(name=name, text="", unit="", mean=Fraction("7.5"), range=Fraction(374))
    for name in ("COC", "WL", "WR")
)
BOX = StatedRegion(
    lower=(Fraction("0.6"), Fraction("-0.5")),
    upper=(Fraction("0.679857768707"), Fraction("0.5")),
    unsafe=(
        (
            Row((Fraction(-1), Fraction(1), Fraction(0)), Fraction(0)),
            Row((Fraction(-1), Fraction(0), Fraction(1)), Fraction(0)),
        ),
    ),
)
HUNTED = PropertyLocalisation(
    name="prop_8",
    path="/p/prop_8.vnnlib",
    sha256="ab",
    text="what must hold",
    samples=100_000,
    uniform=34,
    found_by="sampling and attack",
    positives=99_966,
    distinct=32_928,
    layers=tuple(
        LayerResponsibility(
            value=f"h{i}",
            node=f"relu_{i}",
            responsibility=(0.1, 0.9 - i / 10),
            positive_mean=(1.0, 2.0),
            negative_mean=(1.1, 9.0),
        )
        for i in range(2)
    ),
    top=(
        RankedNeuron(
            rank=1, layer=0, node="relu_0", neuron=1, responsibility=0.9, positive_mean=2.0, negative_mean=9.0
        ),
    ),
    checks=(InterventionCheck(k=1, top=0.0, random_mean=0.763, random_spread=0.396, draws=20, broken=0.0, n=5000),),
)


STORED = CertificateFile(
    path="/a/net.certificate.json.gz",
    sha256="0" * 64,
    size=82_944,
    properties=("prop_8",),
    leaves=3066,
    answer="accepted",
    detail="float64, all 3066 leaves",
    write_s=0.1,
    check_s=1.47,
)


def outcome(**changes: Any) -> PropertyRepair:
    """Everything that a report can show, in two properties; `changes` are fields of the record."""
    witness = Witness(x=(0.62, -0.25), y=(0.5, 0.1, 0.2), replayed_by=("onnxruntime",))
    drawn = PacBound(
        measure="uniform on the region",
        epsilon=8.3e-7,
        delta=5e-4,
        n=10_000_000,
        violations=0,
        anytime=False,
        execution="float32 inference by torch",
    )
    moved = InitialiserChange(
        count=10, size=250, l1=0.5, linf=0.03, largest=(ValueChange(index=(3, 1), before=0.25, after=0.28),)
    )
    kept = Kept(decision_agreement=0.99987, mae=8.1e-5, drawdown=0.0, n=-1)
    full: dict[str, Any] = {
        "properties": (
            prop(counterexamples=(witness,), regions=(BOX,), sampled=drawn),
            prop("prop_2", role="keep", counterexamples=(), before="proved"),
        ),
        "inputs": (RHO, THETA),
        "outputs": COSTS,
        "watched": (ApplicableOutcome(name="prop_3", text="another", before="violated", after=None),),
        "localisation": (HUNTED,),
        "change": {"W/1~": moved},
        "tried": (Tried(method="finetune:lp", result="proved", kept=kept, seconds=6.5),),
        "certificate": STORED,
    }
    return repair_outcome(**(full | changes))


def files(made: AnyRepair, **states: Any) -> list[EvidenceFile]:
    """The files of an outcome, as recorded but for ``states``: role -> state, blanks written as underscores."""
    named = [("network before", "network before", made.net, made.net_sha256)]
    if made.out is not None:
        named.append(("network after", "network after", made.out, made.out_sha256 or ""))
    match made:
        case PropertyRepair():
            named += [("property", p.name, p.path, p.sha256) for p in made.properties]
            if made.certificate is not None:
                named.append(("certificate", "certificate", made.certificate.path, made.certificate.sha256))
        case ExampleRepair():
            for entry in made.blocks.examples:
                role = {"test": "held-out"}.get(entry.role, entry.role) + " examples"
                named.append((role, role, entry.path, entry.sha256))
    named.append(("outcome", "repair.json", "/a/repair.json", "aa"))
    return [
        EvidenceFile(
            role=role,
            name=name,
            path=path,
            recorded_sha256=digest,
            found_sha256=digest,
            state=states.get(role.replace(" ", "_"), "as recorded"),
        )
        for role, name, path, digest in named
    ]


FACTS = CertificateFacts(
    tool="birdnn 0.1.0",
    semantics="float32",
    assumptions={"tanh": 5e-7},
    network_sha256="ef",
    proofs=(ProofFacts(property="prop_8", verdict="proved", regions=1, leaves=3066),),
)


def made_report(states: dict[str, Any] | None = None, **changes: Any) -> SafetyReport:
    """A report on `outcome` with these changes."""
    made = outcome(**changes)
    facts = FACTS if made.certificate is not None else None
    return safety_report(made, files(made, **(states or {})), facts, version="0.1.0")


@dataclass
class Seen(HTMLParser):
    """What a page holds, without a browser."""

    text: str = ""
    headings: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    figures: list[tuple[str, str, str]] = field(default_factory=list)
    attributes: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    captions: int = 0

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, page: str) -> Seen:
        """Parsed."""
        seen = cls()
        seen.feed(page)
        seen.close()
        return seen

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = dict(attrs)
        self.attributes.append((tag, have))
        self.open.append(tag)
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.headings.append(int(tag[1]))
        if (name := have.get("id")) is not None:
            self.ids.append(name)
        if tag == "data":
            self.figures.append((have["data-pointer"] or "", have["value"] or "", ""))
        self.captions += tag == "caption"

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if self.open and self.open[-1] == "data":
            pointer, value, shown = self.figures[-1]
            self.figures[-1] = (pointer, value, shown + data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such element."""
        return [have for name, have in self.attributes if name == tag]


def checked_figures(report: SafetyReport) -> list[str]:
    """See that every figure of the page is that of the JSON; the pointers of all figures."""
    content = json.loads(dumps(report))
    figures = Seen.of(html_page(report)).figures
    for pointer, value, shown in figures:
        exact = _resolved(content, pointer)
        assert json.loads(value) == exact, pointer
        assert shown in ({form(exact) for form in FORMS.values()} if isinstance(exact, int | float) else {"–", exact})
    return [pointer for pointer, _, _ in figures]


def _resolved(content: Any, pointer: str) -> Any:
    for part in pointer.removeprefix("/").split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content
