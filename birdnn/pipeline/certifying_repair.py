"""The certificate of a repair: written as soon as the proof is there, and checked while the change is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from birdnn.pipeline.certifying import Decided, WrittenCertificate, checked_certificate, write_certificate
from birdnn.pipeline.checking_beside import CheckBeside
from birdnn.pipeline.load import Loaded
from birdnn.records import CertificateFile, Watch
from birdnn.records.limits import OutOfTime, Over
from birdnn.rounding import Semantics


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Begun:
    """A certificate that the checker is at work on."""

    decided: Sequence[Decided]
    named: str
    written: WrittenCertificate
    beside: CheckBeside

    def says(self, decided: Sequence[Decided], named: str) -> bool:
        """Is it about these very verdicts, and a network of this name?"""
        pairs = zip(self.decided, decided, strict=True) if len(self.decided) == len(decided) else ()
        same = [one.prop is other.prop and one.verdict is other.verdict for one, other in pairs]
        return named == self.named and bool(same) and all(same)


class RepairCertificate:
    """What is decided of a repaired network, written and checked.

    Args:
        out: where it will lie.
        write: how it is written; gives back where it lies for the time being.
        semantics: what proofs speak about.
        watch: whoever is told, and may end it.
    """

    def __init__(self, out: Path, write: Callable[[Path, bytes], Path], semantics: Semantics, watch: Watch) -> None:
        self.out, self.write, self.semantics, self.watch = out, write, semantics, watch
        self._begun: _Begun | None = None
        self._threads = torch.get_num_threads()

    @contextmanager
    def begun(self, loaded: Loaded, decided: Sequence[Decided], named: str, over: Over) -> Iterator[None]:
        """While entered, the checker is at work on the certificate of these verdicts, where a core is free for it.

        Raises:
            OutputError: the file cannot be written.
        """
        written = None
        if decided and self._threads > 1:
            # where there is no time now there may be some at the end, and whoever finishes it says so
            with suppress(OutOfTime):
                written = self._write(loaded, decided, named, over)
        if written is None:
            yield
            return
        with CheckBeside(loaded.path, written.props, written.place, written.sha256) as beside:
            self._begun = _Begun(decided=decided, named=named, written=written, beside=beside)
            try:
                yield
            finally:
                self._begun = None
                self.share_cores()

    def share_cores(self) -> None:
        """Leave cores to the checker while it is at work, and take them back afterwards; ask before each stage.

        Threads of one operation spin until the last of them has a core: with as many as there are cores they would take
        three times as long beside another process.
        """
        busy = self._begun is not None and self._begun.beside.at_work
        torch.set_num_threads(self._threads // 2 if busy else self._threads)

    def finished(self, loaded: Loaded, decided: Sequence[Decided], named: str, over: Over) -> CertificateFile | None:
        """The certificate with what the checker says: the one that was begun, where nothing has changed since then.

        Returns:
            None where nothing can be certified.

        Raises:
            OutputError: the file cannot be written.
            OutOfTime: there was no time to write it.
        """
        if self._begun is not None and self._begun.says(decided, named):
            return checked_certificate(self._begun.written, self.watch, over, self._begun.beside)
        written = self._write(loaded, decided, named, over)
        return None if written is None else checked_certificate(written, self.watch, over)

    def _write(self, loaded: Loaded, decided: Sequence[Decided], named: str, over: Over) -> WrittenCertificate | None:
        return write_certificate(
            loaded,
            decided,
            self.out,
            semantics=self.semantics,
            watch=self.watch,
            over=over,
            write=self.write,
            named=named,
        )
