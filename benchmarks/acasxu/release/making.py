"""Making the set: each network repaired, or proved as it is, by the commands that a user would type."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.acasxu.common import short_name
from benchmarks.common import stamp
from birdnn.formats.files import sha256
from birdnn.formats.suite import Suite
from birdnn.pipeline.load import load_network

DEMANDS = 0.05, 0.2
"""What no output may differ by more than, network units: the first that a repair meets; none where no repair does."""
DEMANDING_S = 120.0
"""Seconds at most for a repair that has to meet one of these."""
AGREEMENT = 0.998
"""The least share of decisions over the domain that has to be kept; what is measured is written down."""
_PROVED_AS_IT_IS = "nothing_to_repair"

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A network of the set, and the properties that apply to it.

    Attributes:
        name: of the suite, ``"N2,9"``.
        net: the public file.
        props: the public files, in the order of their numbers.
    """

    name: str
    net: Path
    props: tuple[Path, ...]


class NotMade(Exception):
    """No command repaired a network, or proved it as it is; says what each answered."""


def members(data: Path) -> Iterator[Member]:
    """The public networks with what applies to each.

    Raises:
        InputError: a file is missing or unusable.
    """
    suite = Suite.load("acasxu")
    for net in sorted((data / "onnx").glob("*.onnx")):
        entry = suite.recognise(load_network(net).net)
        if entry is None:
            raise SystemExit(f"{net} is none of the public networks: the suite does not know it")
        props = tuple(data / "vnnlib" / f"{name}.vnnlib" for name in entry.applicable)
        yield Member(name=short_name(net.name), net=net, props=props)


def make(member: Member, out: Path, timeout_s: float, demands: Sequence[float] = DEMANDS) -> Entry:
    """Add one network to the set: its file, its certificate and the record of how they were made.

    Args:
        out: the folder of the set.
        timeout_s: of each command.
        demands: see `DEMANDS`.

    Returns:
        The network's entry of the manifest; files are named from the folder of the set.

    Raises:
        NotMade: nothing is added.
    """
    tried = []
    with tempfile.TemporaryDirectory(prefix="birdnn-") as scratch:
        for number, most in enumerate((*demands, None)):
            folder = Path(scratch) / str(number)
            words = _repair_words(member, most, timeout_s)
            status, found = _run([*words, "--out", str(folder)], folder.with_suffix(".json"))
            if status == 0 and found["outcome"] == "proved":
                return _added(member, out, Path(found["out"]), found, words, most)
            if status == 0 and found["outcome"] == _PROVED_AS_IT_IS:
                return _as_it_is(member, out, Path(scratch), timeout_s)
            tried.append(f"{'any change' if most is None else f'at most {most:g}'}: {found['headline']}")
    raise NotMade(f"{member.name}: {'; '.join(tried)}")


def _repair_words(member: Member, most: float | None, timeout_s: float) -> list[str]:
    # a constant more shifts what an output means, and no decision: the limit of the mean is that of the largest change
    limits = [] if most is None else ["--max-difference", f"{most:g}", "--max-mae", f"{most:g}"]
    limits += ["--method", "auto"] if most is None else ["--method", "finetune", "--optimiser", "lp"]
    words = ["repair", "--net", str(member.net), *_props(member), *limits, "--min-agreement", f"{AGREEMENT:g}"]
    limit = timeout_s if most is None else min(timeout_s, DEMANDING_S)
    return [*words, "--timeout", f"{limit:g}"]


def _props(member: Member) -> list[str]:
    return [word for prop in member.props for word in ("--prop", str(prop))]


def _run(words: Sequence[str], record: Path) -> tuple[int, Mapping[str, Any]]:
    """The command in a process of its own; its status, and what it wrote for programs."""
    done = subprocess.run(
        [sys.executable, "-m", "birdnn", *words, "--quiet", "--json", str(record)],
        check=False,
        capture_output=True,
        text=True,
    )
    if not record.is_file():
        raise NotMade(f"birdnn {words[0]} ended with status {done.returncode}: {done.stderr.strip() or 'no word'}")
    return done.returncode, json.loads(record.read_text(encoding="utf-8"))


def _as_it_is(member: Member, out: Path, scratch: Path, timeout_s: float) -> Entry:
    """A network that violates nothing: its file, and a certificate of that."""
    record, certificate = scratch / "verify.json", scratch / f"{member.net.stem}.certificate.json.gz"
    words = ["verify", "--net", str(member.net), *_props(member), "--certificate", str(certificate)]
    words += ["--semantics", "float32", "--timeout", f"{timeout_s:g}"]  # as repairs are proved
    status, found = _run(words, record)
    if status != 0 or found["certificate"]["answer"] != "accepted":
        raise NotMade(f"{member.name}: birdnn verify ended with status {status}, {found['verdict']}")
    return _added(member, out, member.net, found, words, None)


def _added(
    member: Member, out: Path, net: Path, found: Mapping[str, Any], words: Sequence[str], most: float | None
) -> Entry:
    """The files copied into the set; the manifest's entry."""
    certificate = Path(found["certificate"]["file"])
    entry: Entry = {
        "name": member.name,
        "original": {"file": member.net.name, "sha256": sha256(member.net.read_bytes())},
        "repaired": net != member.net,
        "network": _copied(out, "networks", net),
        "properties": [_copied(out, "properties", prop) for prop in member.props],
        "certificate": {**_copied(out, "certificates", certificate), "detail": found["certificate"]["detail"]},
        "command": _said(words),
        "semantics": found["semantics"],
        "boxes": sum(prop["boxes"] for prop in found["properties"]),
        "seconds": found["wall_s"],
        "versions": found["versions"],
        "made": stamp(),
    }
    if net != member.net:
        entry |= {"demanded": most, "violated": list(_violated(found)), **_kept(found)}
    return entry


def _said(words: Sequence[str]) -> str:
    """The command without the folders of this machine."""
    named = [Path(word).name if "/" in word else word for word in words]
    return shlex.join(["birdnn", *named])


def _violated(found: Mapping[str, Any]) -> Iterator[Entry]:
    """What the original violates, each with an input at which it does."""
    for prop in found["properties"]:
        if prop["before"] == "violated":
            example = prop["counterexamples"][0]
            yield {"property": prop["name"], "x": example["x"], "y": example["y"]}


def _kept(found: Mapping[str, Any]) -> Entry:
    """What the repair says of the original's behaviour."""
    change, sides = found["preservation"], ("lower", "upper")
    bounds = [value for side in sides for value in change[side]]
    return {
        "method": next(one["method"] for one in reversed(found["tried"]) if one["result"] == "proved"),
        "constants": change["constants"],
        "largest_found": max(abs(value) for side in sides for value in change[f"found_{side}"]),
        "largest_proved": None if None in bounds or not change["complete"] else max(map(abs, bounds)),
        "same_decision": found["fidelity"]["decision_agreement"],
        "same_decision_n": found["fidelity"]["n"],
        "surely": None if change["decided"] is None else change["decided"]["share"],
        "mae": found["fidelity"]["mae"],
        "changed": {name: {"count": c["count"], "size": c["size"]} for name, c in found["change"].items()},
    }


def _copied(out: Path, folder: str, source: Path) -> dict[str, object]:
    target = out / folder / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return _named(out, target)


def _named(out: Path, path: Path) -> dict[str, object]:
    data = path.read_bytes()
    return {"file": path.relative_to(out).as_posix(), "sha256": sha256(data), "bytes": len(data)}
