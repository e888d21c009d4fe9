"""`report` on files: reads `repair.json` back, and looks whether the files are still those that it names."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import ValidationError

from birdnn.certify.check import Rejected
from birdnn.certify.check.certificate import Certificate, read_certificate
from birdnn.certify.check.files import read_file
from birdnn.decimals import exact_number
from birdnn.errors import FormatError, InputError
from birdnn.formats.files import read_bytes
from birdnn.later import later
from birdnn.reading import guarded_reader
from birdnn.records import (
    AnyRepair,
    CertificateFacts,
    EvidenceFile,
    ExampleRepair,
    FileRole,
    FileState,
    GraphChange,
    InitialiserChange,
    PropertyRepair,
    RepairOutcome,
    SafetyReport,
    StatedRegion,
)
from birdnn.report.publish import VERSION, MisreadError, record_from
from birdnn.report.safety import Signed, safety_report
from birdnn.spec import Row
from birdnn.version import installed_version

if TYPE_CHECKING:
    from birdnn.pipeline import rereading
else:
    rereading = later("birdnn.pipeline.rereading")

MAX_BYTES = 1 << 28
NAME = "repair.json"
_EXAMPLES: Mapping[str, FileRole] = {
    "repair": "repair examples",
    "validation": "validation examples",
    "test": "held-out examples",
}


@guarded_reader
def report_files(where: Path, *, author: str | None = None, reviewer: str | None = None) -> SafetyReport:
    """The safety report of a result folder, or of a `repair.json`, of today.

    Raises:
        FormatError: there is no `repair.json`, it is damaged, of another version, or of another command.
    """
    path = record_at(where)
    # the hash of the very bytes that were read
    outcome, digest = read_outcome(path)
    files = list(_evidence_files(outcome, path, digest))
    certificate = _recorded_certificate(files)
    outcome, added = _complete_outcome(outcome, files, certificate)
    facts = None if certificate is None else _certificate_facts(certificate)
    signed = Signed(made=_report_date(), author=author, reviewer=reviewer)
    return safety_report(outcome, files, facts, added=added, version=installed_version(), signed=signed)


def _report_date() -> str:
    """The day, or that of SOURCE_DATE_EPOCH, by which builds are repeated to the byte."""
    # https://reproducible-builds.org/specs/source-date-epoch
    said = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = int(said) if said.isdecimal() else datetime.now(UTC).timestamp()
    try:
        return datetime.fromtimestamp(when, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        told = "seconds since 1970, of a year below 10,000, are expected"
        raise InputError(f"SOURCE_DATE_EPOCH is {said[:40]!r}; {told}") from None


def record_at(where: Path) -> Path:
    """The `repair.json` of a result folder, or the file itself; absolute.

    Raises:
        FormatError: there is no such file.
    """
    path = where / NAME if where.is_dir() else where
    if not path.is_file():
        raise FormatError(str(path), "", "not a regular file" if path.exists() else "no such file")
    return path.resolve()


def inputs_of(report: SafetyReport) -> list[Path]:
    """The files that a report must not overwrite."""
    return [Path(entry.path) for entry in report.files]


@guarded_reader
def read_outcome(path: Path) -> tuple[AnyRepair, str]:
    """`repair.json` and its sha256.

    Raises:
        FormatError: see `report_files`.
    """
    data = read_bytes(path, MAX_BYTES)
    try:
        content = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError(str(path), f"byte {error.start}", "not UTF-8 text; a repair.json is expected") from None
    except (json.JSONDecodeError, RecursionError) as error:
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise FormatError(str(path), place, "not JSON, or cut off: repeat the repair that wrote it") from None
    # before pydantic: of another command's result it would name the first key that is missing, not what the file is
    _require_repair(path, content)
    try:
        return cast(AnyRepair, record_from(RepairOutcome, content)), hashlib.sha256(data).hexdigest()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem, where = first["msg"], first["loc"]
    except MisreadError as error:
        problem, where = error.problem, error.place
    mine = f"a repair.json of this birdnn ({installed_version()}) is expected"
    place = ".".join(str(part) for part in where)
    told = f"{problem[:1].lower()}{problem[1:]}; {mine}"
    raise FormatError(str(path), f"key {place}" if place else "", told)


def _require_repair(path: Path, content: Any) -> None:
    """See that it is the result of a repair, in the version that we read.

    Raises:
        FormatError: it is not; the message says what it is.
    """
    expected = "a report needs the repair.json that birdnn repair writes"
    if not isinstance(content, dict) or content.get("tool") != "birdnn":
        raise FormatError(str(path), "", f"not a result of birdnn; {expected}")
    version = content.get("schema_version")
    # True equals 1
    if version != VERSION or isinstance(version, bool):
        mine = f"this birdnn ({installed_version()}) reads {VERSION}"
        told = f"schema version {version!r}, {mine}; use the birdnn that wrote it"
        raise FormatError(str(path), "key schema_version", told)
    if content.get("kind") == "safety report":
        raise FormatError(str(path), "", f"a safety report already; {expected}")
    # what every repair has; other commands' results are recognised by the command that they name
    if "rounds" not in content and isinstance(content.get("command"), str):
        try:
            words = shlex.split(content["command"])
        except ValueError:
            words = []
        words = words[3:] if words[1:2] == ["--config"] else words[1:]
        if words and words[0] != "repair":
            raise FormatError(str(path), "", f"the result of birdnn {words[0]}; {expected}")


def _evidence_files(outcome: AnyRepair, record: Path, digest: str) -> Iterator[EvidenceFile]:
    """The files that the outcome is about, as they are found now."""
    yield _find_evidence("network before", "network before", outcome.net, outcome.net_sha256, record)
    if outcome.out is not None and outcome.out_sha256 is not None:
        yield _find_evidence("network after", "network after", outcome.out, outcome.out_sha256, record)
    match outcome:
        case PropertyRepair():
            for prop in outcome.properties:
                yield _find_evidence("property", prop.name, prop.path, prop.sha256, record)
            if (stored := outcome.certificate) is not None:
                yield _find_evidence("certificate", "certificate", stored.path, stored.sha256, record)
        case ExampleRepair():
            for entry in outcome.blocks.examples:
                name: FileRole = _EXAMPLES[entry.role]
                yield _find_evidence(name, name, entry.path, entry.sha256, record)
    yield EvidenceFile(
        role="outcome", name=NAME, path=str(record), recorded_sha256=digest, found_sha256=digest, state="as recorded"
    )


def _find_evidence(role: FileRole, name: str, path: str, digest: str, record: Path) -> EvidenceFile:
    """Where it was, or beside `repair.json` where the folder has been moved."""
    best: tuple[FileState, Path, str | None] = ("missing", Path(path), None)
    # once where both are the same place
    for place in dict.fromkeys((Path(path), record.parent / Path(path).name)):
        have = _file_digests(place)
        if digest in have:
            best = ("as recorded", place, digest)
            break
        if have and best[0] == "missing":
            # the search goes on: beside the record may lie the right one
            best = ("differs", place, have[0])
    state, place, found = best
    return EvidenceFile(role=role, name=name, path=str(place), recorded_sha256=digest, found_sha256=found, state=state)


def _file_digests(path: Path) -> list[str]:
    """sha256 of the file as stored, then of what it unpacks to, as points are hashed; empty where it cannot be read."""
    found = []
    try:
        if path.is_file():  # to open a pipe would wait for somebody who writes to it
            with path.open("rb") as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest())
        if path.name.endswith(".csv.gz"):
            found.append(hashlib.sha256(read_bytes(path, MAX_BYTES)).hexdigest())
    except (OSError, ValueError, FormatError):
        pass
    return found


def _recorded_path(files: Sequence[EvidenceFile], role: FileRole) -> Path | None:
    """The file of a role, if it is the one that was recorded."""
    return next((Path(f.path) for f in files if f.role == role and f.state == "as recorded"), None)


# --- the certificate


def _recorded_certificate(files: Sequence[EvidenceFile]) -> Certificate | None:
    """What the certificate says; None where there is none as recorded, or where it cannot be read."""
    path = _recorded_path(files, "certificate")
    if path is None:
        return None
    try:
        return read_certificate(read_file(path))
    # a page without it rather than no page: that the file cannot be read is told by its hash or by `birdnn check`
    except (Rejected, InputError):
        return None


def _certificate_facts(found: Certificate) -> CertificateFacts | None:
    """What a page tells of it; what stands there in another form than ours, nothing is told of."""
    try:
        told = {
            "tool": found.tool,
            "semantics": found.semantics,
            "assumptions": dict(found.assumptions),
            "network_sha256": found.network_sha256,
            "proofs": [
                {
                    "property": proof["property"]["name"],
                    "verdict": proof["verdict"],
                    "regions": len(proof.get("regions", ())),
                    "leaves": sum(_leaf_count(region["axis"]) for region in proof.get("regions", ())),
                }
                for proof in found.proofs
            ],
        }
        return record_from(CertificateFacts, told)
    except (KeyError, TypeError, ValueError, binascii.Error):  # of which pydantic's are kinds
        return None


def _leaf_count(column: Mapping[str, str]) -> int:
    """In a column of axes: the largest number of its type stands for a leaf."""
    axes = np.frombuffer(base64.b64decode(column["data"]), dtype=column["dtype"])
    return int((axes == np.iinfo(axes.dtype).max).sum())


# --- what an earlier version did not write


def _complete_outcome(
    outcome: AnyRepair, files: Sequence[EvidenceFile], certificate: Certificate | None
) -> tuple[AnyRepair, list[str]]:
    """The outcome with what it lacks and files with the recorded hashes say, and what that is."""
    added = []
    if isinstance(outcome, PropertyRepair):
        suite = "" if outcome.suite is None else outcome.suite.name
        if not outcome.inputs and suite and (known := rereading.installed_quantities(suite)):
            outcome = replace(outcome, inputs=known[0], outputs=known[1])
            added.append(f"Names and units of inputs and outputs: from the installed suite {suite}.")
        stated = _stated_regions(certificate) if certificate else {}
        if lacking := [p.name for p in outcome.properties if not p.regions and p.sha256 in stated]:
            full = (replace(p, regions=p.regions or stated.get(p.sha256, ())) for p in outcome.properties)
            outcome = replace(outcome, properties=tuple(full))
            added.append(f"What these properties say: from the certificate. {', '.join(lacking)}.")
    if (
        outcome.change
        and not any(entry.largest for entry in outcome.change.values())
        and (moved := _changed_values(files))
    ):
        # only what the record names: the networks may differ in more than it says was changed
        told = {name: moved[name].largest if name in moved else () for name in outcome.change}
        more = {name: replace(entry, largest=told[name]) for name, entry in outcome.change.items()}
        outcome = replace(outcome, change=more)
        added.append("Which values changed most: from the two networks.")
    if (
        isinstance(outcome, ExampleRepair)
        and outcome.blocks.graph is None
        and (differs := _changed_graph(files)) is not None
    ):
        outcome = replace(outcome, blocks=replace(outcome.blocks, graph=differs))
        added.append("Which nodes and initialisers differ: from the two networks.")
    return outcome, added


def _stated_regions(certificate: Certificate) -> dict[str, tuple[StatedRegion, ...]]:
    """sha256 of a property -> its regions as the certificate states them."""
    found = {}
    for proof in certificate.proofs:
        try:
            about = proof["property"]["sha256"]
            found[about] = tuple(_stated_region(region) for region in proof.get("regions", ()))
        # the property is left as it was: what is not understood is not guessed
        except (KeyError, TypeError, ValueError, ArithmeticError):  # a fraction's are kinds of it
            continue
    return found


def _stated_region(region: dict[str, Any]) -> StatedRegion:
    """A region of a certificate."""

    def numbers(texts: list[str]) -> tuple[Fraction, ...]:
        return tuple(exact_number(text) for text in texts)

    unsafe = tuple(
        tuple(Row(numbers(row["coefficients"]), exact_number(row["bound"]), row["strict"]) for row in rows)
        for rows in region["unsafe"]
    )
    return StatedRegion(lower=numbers(region["lower"]), upper=numbers(region["upper"]), unsafe=unsafe)


def _changed_values(files: Sequence[EvidenceFile]) -> Mapping[str, InitialiserChange]:
    """How initialisers differ, where both networks are as recorded."""
    before, after = _recorded_path(files, "network before"), _recorded_path(files, "network after")
    return {} if before is None or after is None else rereading.changed_initialisers(before, after)


def _changed_graph(files: Sequence[EvidenceFile]) -> GraphChange | None:
    """What differs between the networks, where both are as recorded."""
    before, after = _recorded_path(files, "network before"), _recorded_path(files, "network after")
    return None if before is None or after is None else rereading.graph_changed(before, after)
