"""`report` on files: reads `repair.json` back, and looks whether the files are still those that it names."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from birdnn.certify.check import Rejected
from birdnn.certify.check.certificate import LEAF, read_certificate
from birdnn.certify.check.files import read
from birdnn.decimals import exact_number
from birdnn.errors import FormatError, InputError
from birdnn.formats.files import read_bytes
from birdnn.later import later
from birdnn.reading import reads
from birdnn.records.published import exact
from birdnn.report.blocks_models import graph_change_model
from birdnn.report.evidence import largest_models, quantity_model
from birdnn.report.model import SCHEMA_VERSION
from birdnn.report.safety import safety_report
from birdnn.report.schema import RepairReport
from birdnn.report.schema_blocks import GraphChangeModel
from birdnn.report.schema_evidence import RegionModel
from birdnn.report.schema_safety import (
    CertificateFactsModel,
    FileModel,
    FileRole,
    FileState,
    ProofFactsModel,
    SafetyReport,
)
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


@reads
def report_files(where: Path) -> SafetyReport:
    """The safety report of a result folder, or of a `repair.json`.

    Raises:
        FormatError: there is no `repair.json`, it is damaged, of another version, or of another command.
    """
    path = record_at(where)
    outcome, digest = read_outcome(path)
    files = list(_files(outcome, path, digest))
    proofs = _certificate(files)
    outcome, added = _completed(outcome, files, proofs)
    facts = None if proofs is None else _facts(proofs)
    return safety_report(outcome, files, facts, added=added, version=installed_version())


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


@reads
def read_outcome(path: Path) -> tuple[RepairReport, str]:
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
    _require_repair(path, content)
    try:
        return RepairReport.model_validate(content), hashlib.sha256(data).hexdigest()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        mine = f"a repair.json of this birdnn ({installed_version()}) is expected"
        told = f"{first['msg'][:1].lower()}{first['msg'][1:]}; {mine}"
        raise FormatError(str(path), f"key {place}" if place else "", told) from None


def _require_repair(path: Path, content: Any) -> None:
    """See that it is the result of a repair, in the version that we read.

    Raises:
        FormatError: it is not; the message says what it is.
    """
    expected = "a report needs the repair.json that birdnn repair writes"
    if not isinstance(content, dict) or content.get("tool") != "birdnn":
        raise FormatError(str(path), "", f"not a result of birdnn; {expected}")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        mine = f"this birdnn ({installed_version()}) reads {SCHEMA_VERSION}"
        told = f"schema version {version!r}, {mine}; use the birdnn that wrote it"
        raise FormatError(str(path), "key schema_version", told)
    if content.get("kind") == "safety report":
        raise FormatError(str(path), "", f"a safety report already; {expected}")
    if "rounds" not in content and isinstance(content.get("command"), str):
        try:
            words = shlex.split(content["command"])
        except ValueError:
            words = []
        words = words[3:] if words[1:2] == ["--config"] else words[1:]
        if words and words[0] != "repair":
            raise FormatError(str(path), "", f"the result of birdnn {words[0]}; {expected}")


def _files(outcome: RepairReport, record: Path, digest: str) -> Iterator[FileModel]:
    """The files that the outcome is about, as they are found now."""
    yield _found("network before", "network before", outcome.net, outcome.net_sha256, record)
    if outcome.out is not None and outcome.out_sha256 is not None:
        yield _found("network after", "network after", outcome.out, outcome.out_sha256, record)
    for prop in outcome.properties:
        yield _found("property", prop.name, prop.file, prop.sha256, record)
    for entry in outcome.blocks.examples if outcome.blocks else ():
        name: FileRole = _EXAMPLES[entry.role]
        yield _found(name, name, entry.file, entry.sha256, record)
    if outcome.certificate is not None:
        stored = outcome.certificate
        yield _found("certificate", "certificate", stored.file, stored.sha256, record)
    yield FileModel(
        role="outcome", name=NAME, path=str(record), recorded_sha256=digest, found_sha256=digest, state="as recorded"
    )


def _found(role: FileRole, name: str, path: str, digest: str, record: Path) -> FileModel:
    """Where it was, or beside `repair.json` where the folder has been moved."""
    best: tuple[FileState, Path, str | None] = ("missing", Path(path), None)
    for place in dict.fromkeys((Path(path), record.parent / Path(path).name)):
        have = _digests(place)
        if digest in have:
            best = ("as recorded", place, digest)
            break
        if have and best[0] == "missing":
            best = ("differs", place, have[0])
    state, place, found = best
    return FileModel(role=role, name=name, path=str(place), recorded_sha256=digest, found_sha256=found, state=state)


def _digests(path: Path) -> list[str]:
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


def _place(files: Sequence[FileModel], role: FileRole) -> Path | None:
    """The file of a role, if it is the one that was recorded."""
    return next((Path(f.path) for f in files if f.role == role and f.state == "as recorded"), None)


# --- the certificate


def _certificate(files: Sequence[FileModel]) -> dict[str, Any] | None:
    """What the certificate says; None where there is none as recorded, or where it cannot be read."""
    path = _place(files, "certificate")
    if path is None:
        return None
    try:
        found = read_certificate(read(path))
    except (Rejected, InputError):
        return None
    return {
        "tool": found.tool,
        "semantics": found.semantics,
        "assumptions": found.assumptions,
        "network_sha256": found.network_sha256,
        "proofs": found.proofs,
    }


def _facts(found: dict[str, Any]) -> CertificateFactsModel | None:
    try:
        proofs = [
            ProofFactsModel(
                property=proof["property"]["name"],
                verdict=proof["verdict"],
                regions=len(proof.get("regions", ())),
                leaves=sum(_leaves(region["axis"]["data"]) for region in proof.get("regions", ())),
            )
            for proof in found["proofs"]
        ]
        return CertificateFactsModel.model_validate({**found, "proofs": proofs})
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


def _leaves(column: str) -> int:
    return int((np.frombuffer(base64.b64decode(column), dtype="<u2") == LEAF).sum())


# --- what an earlier version did not write


def _completed(
    outcome: RepairReport, files: Sequence[FileModel], proofs: dict[str, Any] | None
) -> tuple[RepairReport, list[str]]:
    """The outcome with what it lacks and files with the recorded hashes say, and what that is."""
    more: dict[str, Any] = {}
    added = []
    if not outcome.inputs and outcome.suite is not None and (known := rereading.quantities_of(outcome.suite.name)):
        inputs, outputs = ([quantity_model(q) for q in side] for side in known)
        more |= {"inputs": inputs, "outputs": outputs}
        added.append(f"Names and units of inputs and outputs: from the installed suite {outcome.suite.name}.")
    stated = _regions(proofs) if proofs else {}
    lacking = [p for p in outcome.properties if not p.regions and p.sha256 in stated]
    if lacking:
        full = [p.model_copy(update={"regions": p.regions or stated.get(p.sha256, [])}) for p in outcome.properties]
        more["properties"] = full
        added.append(f"What these properties say: from the certificate. {', '.join(p.name for p in lacking)}.")
    if outcome.change and not any(entry.largest for entry in outcome.change.values()) and (moved := _moved(files)):
        more["change"] = {
            name: entry.model_copy(update={"largest": moved.get(name, [])}) for name, entry in outcome.change.items()
        }
        added.append("Which values changed most: from the two networks.")
    if outcome.blocks is not None and outcome.blocks.graph is None and (differs := _graph(files)) is not None:
        more["blocks"] = outcome.blocks.model_copy(update={"graph": differs})
        added.append("Which nodes and initialisers differ: from the two networks.")
    return (outcome.model_copy(update=more) if more else outcome), added


def _regions(proofs: dict[str, Any]) -> dict[str, list[RegionModel]]:
    """sha256 of a property -> its regions as the certificate states them."""
    found: dict[str, list[RegionModel]] = {}
    for proof in proofs["proofs"]:
        try:
            about = proof["property"]["sha256"]
            found[about] = [_region(region) for region in proof.get("regions", ())]
        except (KeyError, TypeError, ValueError, ArithmeticError):  # of which pydantic's and a fraction's are kinds
            continue
    return found


def _region(region: dict[str, Any]) -> RegionModel:
    """A region of a certificate, its numbers written as everywhere else."""

    def numbers(texts: list[str]) -> list[str]:
        return [exact(exact_number(text)) for text in texts]

    unsafe = [
        [
            {
                "coefficients": numbers(row["coefficients"]),
                "bound": exact(exact_number(row["bound"])),
                "strict": row["strict"],
            }
            for row in rows
        ]
        for rows in region["unsafe"]
    ]
    corners = {side: numbers(region[side]) for side in ("lower", "upper")}
    return RegionModel.model_validate({**corners, "unsafe": unsafe})


def _moved(files: Sequence[FileModel]) -> dict[str, Any]:
    """Initialiser -> the values that moved most, where both networks are as recorded."""
    before, after = _place(files, "network before"), _place(files, "network after")
    if before is None or after is None:
        return {}
    return {entry.name: largest_models(entry) for entry in rereading.changed(before, after)}


def _graph(files: Sequence[FileModel]) -> GraphChangeModel | None:
    """What differs between the networks, where both are as recorded."""
    before, after = _place(files, "network before"), _place(files, "network after")
    if before is None or after is None:
        return None
    differs = rereading.graph_changed(before, after)
    return None if differs is None else graph_change_model(differs)
