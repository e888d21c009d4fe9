"""From verdicts on queries about two networks to a certificate on disk; see `birdnn.pipeline.certifying`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from birdnn.bounds.difference import joint_chain
from birdnn.certify.check.pairs.chain import FOLLOWED
from birdnn.certify.write import pair_certificate_bytes
from birdnn.chain import Activation
from birdnn.formats.files import pack_gzip
from birdnn.network import Network
from birdnn.pipeline.certifying import (
    Decided,
    WrittenCertificate,
    certified_answers,
    checked_certificate,
    write_file,
)
from birdnn.pipeline.load import Loaded
from birdnn.records import CertificateFile, Progress, Watch
from birdnn.spec import Property


def pair_obstacle(first: Network, second: Network, prop: Property) -> str:
    """Why a proof that follows the difference of two networks cannot become a certificate; empty where it can."""
    # asked before anything is written: what the checker refuses would count as a contradiction
    layers, _ = joint_chain(first, second)
    others = {layer.kind for layer in layers if isinstance(layer, Activation)}.difference(FOLLOWED)
    if others:
        return f"the checker follows differences behind ReLU and LeakyReLU only, not {', '.join(sorted(others))}"
    # c_A y_A + c_B y_B is (c_A + c_B) y_A + c_B (y_B - y_A): the checker bounds outputs and differences
    rows = [row.normal().coefficients for region in prop.regions for each in region.unsafe for row in each.rows]
    n = prop.n_outputs // 2
    sums = [one + other for row in rows for one, other in zip(row[:n], row[n:], strict=True)]
    # compared as exact rationals: a sum that float64 rounds would be another row
    if any(float(total) != total for total in sums):
        return "sums of its coefficients are none that float64 holds"
    return ""


def certify_related(
    nets: Mapping[str, Loaded],
    found: Sequence[Decided],
    out: Path,
    *,
    watch: Watch,
    over: Callable[[], bool],
) -> CertificateFile | None:
    """Write what was recorded of proofs, and counterexamples; then have it checked in float64.

    Args:
        nets: by the names that queries have for them.
        found: what can be certified of the verdicts.
        out: where to.
        watch, over: whoever may end the check, and, as long as there is no file, the writing.

    Returns:
        None where nothing can be certified.

    Raises:
        OutputError: the file cannot be written.
        OutOfTime: there was no time to write it.
    """
    begun = time.monotonic()
    if not found:
        return None
    watch.update(Progress(phase=f"writing {out.name}"))
    data = pair_certificate_bytes(
        {name: (loaded.path, loaded.net.sha256) for name, loaded in nets.items()},
        certified_answers(found),
        tool=f"birdnn {metadata.version('birdnn')}",
        over=over,
    )
    place = write_file(out, pack_gzip(data, over) if out.name.lower().endswith(".gz") else data)
    files = {name: loaded.path for name, loaded in nets.items()}
    return checked_certificate(WrittenCertificate.at(place, out, files, found, begun), watch, over)
