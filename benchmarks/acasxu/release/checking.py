"""Checking a set from scratch: hashes, and each network by the light checker alone, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from birdnn.formats.files import sha256

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SCRIPT = "check.sh"
_CHECKER = "-m", "birdnn.certify.check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the checker says of one network.

    Attributes:
        name: of the network.
        proofs: every property is proved by the certificate.
        constants: outputs differ from the original's by constants, at most as large as was demanded; None where the
            set does not say so.
        told: the answer that was no acceptance; empty where there is none.
        seconds: wall time of both.
    """

    name: str
    proofs: bool
    constants: bool | None
    told: str
    seconds: float

    @property
    def accepted(self) -> bool:
        """Is everything as the set says?"""
        return self.proofs and self.constants is not False


def damaged(out: Path) -> list[str]:
    """Files of the set whose content is not what `SUMS` says, or that are not there."""
    lines = (line.partition("  ") for line in (out / SUMS).read_text(encoding="utf-8").splitlines())
    return [name for digest, _, name in lines if not (out / name).is_file() or _digest(out / name) != digest]


def _digest(path: Path) -> str:
    return sha256(path.read_bytes())


def check(out: Path, originals: Path) -> Iterator[Checked]:
    """Check every network that the manifest names.

    Args:
        out: the folder of the set.
        originals: the folder of the public networks.
    """
    for entry in json.loads((out / MANIFEST).read_text(encoding="utf-8"))["networks"]:
        begun = time.monotonic()
        original = originals / entry["original"]["file"]
        same = original.is_file() and _digest(original) == entry["original"]["sha256"]
        told = [] if same else [f"{original} is not the public network that was repaired"]
        of_proofs, *of_distance = commands(entry)
        proofs, said = _accepts(out, of_proofs)
        told += said
        constants: bool | None = None
        for words in of_distance:
            constants, said = _accepts(out, [*words, "--before", str(original.resolve())])
            told += said
        yield Checked(
            name=entry["name"],
            proofs=proofs and same,
            constants=constants,
            told="; ".join(told),
            seconds=time.monotonic() - begun,
        )


def _accepts(out: Path, arguments: Sequence[str]) -> tuple[bool, list[str]]:
    done = subprocess.run([sys.executable, *_CHECKER, *arguments], cwd=out, check=False, capture_output=True, text=True)
    return done.returncode == 0, [] if done.returncode == 0 else [(done.stdout + done.stderr).strip()]


def commands(entry: Mapping[str, Any]) -> list[list[str]]:
    """Arguments of the checker, in the folder of the set: for the proofs, and for the distance where it is certified.

    The latter still lacks ``--before`` with the original.
    """
    net = ["--net", entry["network"]["file"]]
    props = [word for prop in entry["properties"] for word in ("--prop", prop["file"])]
    found = [[*net, *props, entry["certificate"]["file"]]]
    return [*found, [*net, "--most", f"{entry['demanded']:g}"]] if entry.get("constants") else found


def script(entries: Sequence[Mapping[str, Any]]) -> str:
    """The same as a shell script, for whoever has nothing but the checker and the public networks."""
    lines = [
        "#!/bin/sh",
        "# Checks this set: hashes, every proof, and how far each network is from the original.",
        "# It needs birdnn-check; $1 is the folder of the 45 public networks.",
        "set -eu",
        'originals=$(cd "${1:?usage: check.sh FOLDER_OF_THE_PUBLIC_NETWORKS}" && pwd)',
        'cd "$(dirname "$0")"',
        f"sha256sum --quiet -c {SUMS}",
        "publics=$(mktemp) && trap 'rm -f \"$publics\"' EXIT",
    ]
    lines += [f'echo "{e["original"]["sha256"]}  $originals/{e["original"]["file"]}" >>"$publics"' for e in entries]
    lines += ['sha256sum --quiet -c "$publics"']
    for entry in entries:
        of_proofs, *of_distance = commands(entry)
        original = f'"$originals/{entry["original"]["file"]}"'
        lines += [f"echo {entry['name']}", f"birdnn-check {' '.join(of_proofs)}"]
        lines += [f"birdnn-check {' '.join(words)} --before {original}" for words in of_distance]
    return "\n".join([*lines, 'echo "everything is as the manifest says"', ""])


def sums(out: Path) -> str:
    """A line for each file of the set but the one that holds these lines."""
    kept = sorted(path for path in out.rglob("*") if path.is_file() and path.name != SUMS)
    return "".join(f"{_digest(path)}  {path.relative_to(out).as_posix()}\n" for path in kept)
