"""Where a repair puts its files: checked before work starts, no draft left behind however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from birdnn.errors import OutputError
from birdnn.formats import network_kind, write_network
from birdnn.formats.files import require_folder, stem_and_kind, write_bytes
from birdnn.formats.nnet import read_nnet
from birdnn.network import Network
from birdnn.records import RepairRequest


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """The folder that a request names, or ``./NAME.birdnn``."""

    request: RepairRequest

    @property
    def path(self) -> Path:
        """Absolute."""
        return (self.request.out or Path(f"{self._stem()}.birdnn")).resolve()

    @property
    def network(self) -> Path:
        """The repaired network."""
        return self._repaired(network_kind(self.request.net))

    @property
    def draft(self) -> Path:
        """Where a candidate lies until it is known to be the best."""
        return self.path / f".draft.{self.network.name}"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "repair.json"

    @property
    def certificate(self) -> Path:
        """Of what is proved of the repaired network."""
        return self.path / f"{self._stem()}.certificate.json.gz"

    def require_usable(self) -> None:
        """See that everything can be written, and leave nothing behind.

        Raises:
            OutputError: the folder cannot be made or written to, or holds an input where a result belongs.
            FormatError: the network is missing or of unknown format, so that no result has a name.
        """
        asked = self.request
        suites = () if asked.suite is None else (Path(asked.suite),)
        domains = (asked.domain,) if isinstance(asked.domain, Path) else ()
        inputs = (asked.net, *asked.props, *asked.keep, *domains, *suites)
        names = {
            path.name for path in (self.draft, self.network, self._repaired("onnx"), self.report, self.certificate)
        }
        require_folder(self.path, names, inputs)

    @contextmanager
    def drafts(self) -> Iterator[None]:
        """While entered, drafts may lie there; afterwards none does, and no folder that nothing was put into."""
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            yield
        finally:
            with suppress(OSError):
                self.draft.unlink(missing_ok=True)
                for folder in made:
                    folder.rmdir()  # fails, as it should, where there is something inside

    def write_draft(self, net: Network) -> Path:
        """Write a candidate; where it lies.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(str(self.path), f"cannot be made: {error.strerror or error}") from None
        write_network(net, self.request.net, self.draft)
        return self.draft

    def keep_draft(self) -> Path:
        """Move the draft, the very bytes that were judged, to where the result belongs.

        Raises:
            OutputError: it cannot be moved, or the input is there.
        """
        final = self.network
        if final.exists() and final.samefile(self.request.net):
            raise OutputError(str(final), "the input is never overwritten; name another folder")
        try:
            self.report.unlink(missing_ok=True)  # it speaks of the network that is replaced now
            self.draft.replace(final)
        except OSError as error:
            raise OutputError(str(final), f"cannot be written: {error.strerror or error}") from None
        if network_kind(self.request.net) == "nnet":
            write_bytes(self._repaired("onnx"), read_nnet(final).onnx_bytes(), keep=self.request.net)
        return final

    def _stem(self) -> str:
        return stem_and_kind(self.request.net)[0]

    def _repaired(self, kind: str) -> Path:
        return self.path / f"{self._stem()}.repaired.{kind}"
