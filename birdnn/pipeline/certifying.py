"""From verdicts to a certificate on disk, and what the independent checker says of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from birdnn.certify.check import UNRUN, Rejected, Uncertain, check
from birdnn.certify.write import Certified, certificate_bytes
from birdnn.errors import FormatError, InputError, MismatchError
from birdnn.formats.files import pack_gzip, write_bytes
from birdnn.pipeline.checking import Stopped, progress_reporter
from birdnn.pipeline.checking_beside import CheckBeside
from birdnn.pipeline.claims import assumptions, is_chain
from birdnn.pipeline.load import Loaded
from birdnn.records import (
    CertificateFile,
    CheckAnswer,
    Progress,
    Proved,
    RegionProof,
    Units,
    Unknown,
    Verdict,
    Violated,
    Watch,
)
from birdnn.rounding import Semantics
from birdnn.spec import Property


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decided:
    """A property, its file and what was found.

    Attributes:
        shared: of a query about two networks, in how many layers from the inputs on they are one.
    """

    prop: Property
    path: str
    verdict: Verdict
    shared: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenCertificate:
    """A certificate as it lies on the disk.

    Attributes:
        nets: the network's file, or those of several by their names.
        found: what it speaks about.
        place: where it lies for the time being; `out` is where it will.
        sha256, size: of the file as it lies there.
        write_s: seconds of writing it.
    """

    nets: Path | Mapping[str, Path]
    found: Sequence[Decided]
    place: Path
    out: Path
    sha256: str
    size: int
    write_s: float

    @property
    def props(self) -> list[str]:
        """The files of the properties."""
        return [entry.path for entry in self.found]

    @classmethod
    def at(
        cls, place: Path, out: Path, nets: Path | Mapping[str, Path], found: Sequence[Decided], begun: float
    ) -> WrittenCertificate:
        """That of a file, which somebody began to make at ``begun`` on the monotonic clock."""
        # read back, so that the hash is that of the file as it lies there
        stored = place.read_bytes()  # compressed, where the name says so
        return cls(
            nets=nets,
            found=found,
            place=place,
            out=out,
            sha256=hashlib.sha256(stored).hexdigest(),
            size=len(stored),
            write_s=time.monotonic() - begun,
        )


def certificate_obstacle(loaded: Loaded, units: Units) -> str:
    """Why there can be no certificate; empty where there can."""
    if loaded.nnet is not None:
        return "the checker reads ONNX, not NNet"
    if loaded.net.graph.label:
        return "the checker does not read ArgMax"
    return "the property speaks raw units, the checker those of the network" if units == "raw" else ""


def write_file(out: Path, data: bytes) -> Path:
    """Write a file; where it is."""
    write_bytes(out, data)
    return out


def certify(
    loaded: Loaded,
    decided: Sequence[Decided],
    out: Path,
    *,
    semantics: Semantics,
    watch: Watch,
    over: Callable[[], bool] = lambda: False,
) -> CertificateFile | None:
    """Write what was recorded of proofs, and counterexamples; then have it checked in float64. See `write_certificate`
    for arguments and errors; ``over`` may end the check, too.

    Returns:
        None where nothing can be certified.
    """
    written = write_certificate(loaded, decided, out, semantics=semantics, watch=watch, over=over)
    return None if written is None else checked_certificate(written, watch, over)


def write_certificate(
    loaded: Loaded,
    decided: Sequence[Decided],
    out: Path,
    *,
    semantics: Semantics,
    watch: Watch,
    over: Callable[[], bool],
    write: Callable[[Path, bytes], Path] = write_file,
    named: str | None = None,
) -> WrittenCertificate | None:
    """Write what was recorded of proofs, and counterexamples.

    Args:
        loaded: the network as it lies on the disk.
        decided: what was asked of it; undecided properties are left out.
        out: where to.
        semantics: what the proofs speak about.
        watch, over: whoever is told, and may end it.
        write: how; gives back where the file lies, which may be elsewhere for the time being.
        named: the network's file name, where it will have another one.

    Returns:
        None where nothing can be certified.

    Raises:
        OutputError: the file cannot be written.
        OutOfTime: there was no time to write it.
    """
    begun = time.monotonic()
    # recorded proofs of every region, or a counterexample: half a proof is none to a checker
    found = [entry for entry in decided if _is_certifiable(entry)]
    if any(
        _needs_graph_form(entry) for entry in found
    ):  # one file has one form, and each is proved again as it was proved
        found = [entry for entry in found if _needs_graph_form(entry) or not isinstance(entry.verdict, Proved)]
    if not found:
        return None
    watch.update(Progress(phase=f"writing {out.name}"))
    # it names the network's file by the name that this will have once the result is in place
    data = certificate_bytes(
        loaded.path.with_name(named or loaded.path.name),
        loaded.net.sha256,
        certified_answers(found),
        semantics=semantics,
        assumptions=assumptions(loaded.net, semantics),
        tool=f"birdnn {metadata.version('birdnn')}",
        chain=is_chain(loaded.net),
        over=over,
    )
    # compressed here, where `over` can end it, not by whoever writes: that of a large proof takes long
    place = write(out, pack_gzip(data, over) if out.name.lower().endswith(".gz") else data)
    return WrittenCertificate.at(place, out, loaded.path, found, begun)


def certified_answers(found: Sequence[Decided]) -> list[Certified]:
    """What a certificate says of them."""
    return [
        Certified(prop=each.prop, verdict=each.verdict, shared=each.shared)
        for each in found
        if isinstance(each.verdict, Proved | Violated)
    ]


def checked_certificate(
    written: WrittenCertificate, watch: Watch, over: Callable[[], bool], beside: CheckBeside | None = None
) -> CertificateFile:
    """What the checker says of a certificate.

    Args:
        written: the certificate.
        watch, over: whoever is told, and may end the check.
        beside: the checker, at work on it already.
    """
    begun = time.monotonic()
    watch.update(Progress(phase=f"checking {written.out.name}"))
    line = None if beside is None else beside.accepted_line(lambda: watch.stopped() or over())
    answer, detail = (
        _checker_answer(written.nets, written.props, written.place, watch, over) if line is None else ("accepted", line)
    )
    check_s = time.monotonic() - begun if beside is None or line is None else beside.seconds
    return CertificateFile(
        path=str(written.out.resolve()),
        sha256=written.sha256,
        size=written.size,
        properties=tuple(entry.prop.name for entry in written.found),
        leaves=sum(proof.leaves for entry in written.found for proof in _recorded(entry)),
        answer=answer,
        detail=detail,
        write_s=written.write_s,
        check_s=check_s,
    )


def unwritten_note(out: Path) -> str:
    """What a user reads where there was no time."""
    return f"No certificate was written: the time limit ended before {out.name} was complete; give more time."


def verdict_without_proof(verdict: Verdict) -> Verdict:
    """What is left of a verdict that checker or engines contradict: a proof is none, a run stays what it is."""
    if not isinstance(verdict, Proved):
        return verdict
    # never `Violated`: that a proof is not believed is no counterexample
    return Unknown(reason="rejected", boxes=verdict.boxes, arithmetic=verdict.arithmetic)


def _recorded(entry: Decided) -> Sequence[RegionProof]:
    return entry.verdict.proofs if isinstance(entry.verdict, Proved) else ()


def _needs_graph_form(entry: Decided) -> bool:
    return entry.prop.relational or any(proof.of_graph for proof in _recorded(entry))


def notes_beside_graphs(decided: Sequence[Decided], certificate: CertificateFile) -> list[str]:
    """A sentence about each property that was decided, and of which a certificate of graphs does not speak."""
    names = [entry.prop.name for entry in decided if _is_certifiable(entry)]
    told = "this one holds proofs of a graph, and one file holds proofs of one form: ask for its certificate alone"
    return [f"No certificate speaks about {name}: {told}." for name in names if name not in certificate.properties]


def _is_certifiable(entry: Decided) -> bool:
    if isinstance(entry.verdict, Proved):
        return 0 < len(entry.verdict.proofs) == len(entry.prop.regions)
    return isinstance(entry.verdict, Violated)


def _checker_answer(
    net: Path | Mapping[str, Path], props: list[str], certificate: Path, watch: Watch, over: Callable[[], bool]
) -> tuple[CheckAnswer, str]:
    """The checker's answer, and what it checked or why not."""
    try:
        # in float64 with rounding accounted for; whoever wants exact arithmetic has `birdnn check`
        accepted = check(net, props, certificate, seen=progress_reporter(watch, over))
        return "accepted", accepted.line() + (UNRUN if accepted.unrun() else "")
    # before `Rejected`, of which it is a kind: what readers may take in two ways contradicts no proof
    except Uncertain as error:
        return "not checked", error.reason
    except Rejected as error:
        return "rejected", error.reason
    except MismatchError as error:  # network and property fit each other as the prover reads them
        return "rejected", str(error)
    except InputError as error:
        # what the checker does not read of the user's files is unchecked; our own file it has to read
        ours = isinstance(error, FormatError) and error.path == str(certificate)
        return "rejected" if ours else "not checked", str(error)
    except Stopped:
        return "not checked", "interrupted" if watch.stopped() else "the time limit"
