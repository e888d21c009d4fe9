"""Where a repair puts its files: checked before work starts, one repair at a time, no draft left behind."""

from __future__ import annotations

import fcntl
import os
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
    def page(self) -> Path:
        """What ``--report`` writes."""
        return self.path / "report.html"

    @property
    def certificate(self) -> Path:
        """Of what is proved of the repaired network."""
        return self.path / f"{self._stem()}.certificate.json.gz"

    def compared(self, method: str) -> Path:
        """The network of a method that the repair is compared with."""
        return self.path / f"{self._stem()}.{method.replace(' ', '_')}.onnx"

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
            path.name
            for path in (self.draft, self.network, self._repaired("onnx"), self.report, self.page, self.certificate)
        }
        require_folder(self.path, names, inputs)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """While entered, the folder is there for one repair alone; afterwards no draft is, nor an empty new folder.

        Raises:
            OutputError: it cannot be made, or another repair is at work there.
        """
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        handle = self._locked()
        try:
            yield
        finally:
            with suppress(OSError):
                self.draft.unlink(missing_ok=True)
                for folder in made:
                    folder.rmdir()  # fails, as it should, where there is something inside
            os.close(handle)

    def _locked(self) -> int:
        """A descriptor of the folder that holds its lock, which ends with the process however that ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise OutputError(str(self.path), f"cannot be used: {error.strerror or error}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = self.path.exists() and os.path.samestat(os.fstat(handle), self.path.stat())
        except BlockingIOError:
            free = False
        except OSError:  # a file system without locks
            free = True
        if not free:
            os.close(handle)
            raise OutputError(
                str(self.path), "another repair is at work there: wait for its end, or name another --out"
            )
        return handle

    def write_draft(self, net: Network) -> Path:
        """Write a candidate; where it lies.

        Raises:
            OutputError: it cannot be written.
        """
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
            for old in {self.report, self.page, self._repaired("onnx")} - {final}:
                old.unlink(missing_ok=True)  # it speaks of, or is, the network that is replaced now
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
