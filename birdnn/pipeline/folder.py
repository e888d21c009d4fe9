"""Where a repair puts its files: checked before work starts, one repair at a time, no draft left behind."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from birdnn.errors import OutputError
from birdnn.formats import network_kind, write_network
from birdnn.formats.files import remove_abandoned, require_folder, same_file, stem_and_kind, unwritable_error
from birdnn.formats.nnet import read_nnet
from birdnn.formats.together import Together
from birdnn.network import Network
from birdnn.records import COMPARED, RepairRequest


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """The folder that a request names, or ``./NAME.birdnn``.

    While a repair is at work its best network so far is `attempt`; what an earlier repair left lies beside it. In the
    end network, certificate and report take their places together (`settle`), and what they replace goes.
    """

    request: RepairRequest

    @property
    def path(self) -> Path:
        """Absolute."""
        return (self.request.out or Path(f"{self._stem()}.birdnn")).resolve()

    @property
    def network(self) -> Path:
        """The repaired network."""
        return self._path_called("repaired", network_kind(self.request.net))

    @property
    def attempt(self) -> Path:
        """The best network so far, and in the end one that is not repaired."""
        return self._path_called("attempt", network_kind(self.request.net))

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
        learnt = () if asked.blocks is None else (asked.blocks.data, asked.blocks.val, asked.blocks.test)
        examples = (path for path in (asked.data, asked.test, *learnt) if path is not None)
        inputs = (asked.net, *asked.props, *asked.keep, *asked.points, *domains, *suites, *examples)
        # all that some outcome may write: which one it is going to be nobody knows yet
        compared = self._compared_paths() if asked.blocks is not None and asked.blocks.compare else ()
        names = {path.name for path in (self.draft, *self._result_paths(), *compared)}
        require_folder(self.path, names, inputs)

    @contextmanager
    def taken(self) -> Iterator[Together]:
        """While entered, the folder is there for one repair alone; afterwards no draft is, nor an empty new folder.

        Files that are written with what this gives appear together when `settle` says so, or not at all.

        Raises:
            OutputError: it cannot be made, or another repair is at work there. One that is raised inside, because
                something cannot be written, leaves nothing of this repair and says what else is there.
        """
        # inner ones first, in which order they are removed
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        # the lock is held from before the first look at what lies there until everything has been written or discarded
        handle, together = self._lock_folder(), Together()
        # tells an earlier repair's attempt, which stays, from ours, which goes
        older = self.attempt.stat().st_mtime_ns if self.attempt.exists() else None
        try:
            for path in (*self._result_paths(), *self._compared_paths()):
                remove_abandoned(path)
            yield together
        except OutputError as error:
            together.discard()
            with suppress(OSError):
                if self.attempt.exists() and self.attempt.stat().st_mtime_ns != older:
                    self.attempt.unlink()
            raise OutputError(error.path, f"{error.problem}; {self._leftovers_note()}") from None
        finally:
            # harmless after `commit`, which leaves nothing to discard
            together.discard()
            with suppress(OSError):
                self.draft.unlink(missing_ok=True)
                for folder in made:
                    folder.rmdir()  # fails, as it should, where there is something inside
            os.close(handle)

    def _leftovers_note(self) -> str:
        """What a repair that cannot be written leaves."""
        there = ", ".join(path.name for path in self._earlier_paths() if path.exists())
        older = f", and what an earlier one left is as it was: {there}" if there else ""
        return f"no network, report or certificate of this repair is there{older}"

    def _lock_folder(self) -> int:
        """A descriptor of the folder that holds its lock, which ends with the process however that ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise OutputError(str(self.path), f"cannot be used: {error.strerror or error}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # whoever held the lock may have removed the folder on its way out: then this descriptor is of another one
            free = self.path.exists() and os.path.samestat(os.fstat(handle), self.path.stat())
        # before `OSError`, of which it is a kind
        except BlockingIOError:
            free = False
        # better two repairs at once on such a system than none
        except OSError:  # a file system without locks
            free = True
        if not free:
            os.close(handle)
            raise OutputError(
                str(self.path), "another repair is at work there: wait for its end, or name another --out"
            )
        return handle

    def replaced(self) -> tuple[str, ...]:
        """What an earlier repair left there, in a sentence: the result takes its place, or it goes."""
        there = ", ".join(path.name for path in self._earlier_paths() if path.exists())
        return (f"What an earlier repair had left in the folder is gone: {there}.",) if there else ()

    def write_draft(self, net: Network) -> Path:
        """Write a candidate; where it lies.

        Raises:
            OutputError: it cannot be written.
        """
        write_network(net, self.request.net, self.draft)
        return self.draft

    def keep_draft(self) -> Path:
        """Let the draft, the very bytes that were judged, be the best attempt; where it lies.

        Raises:
            OutputError: it cannot be moved, or the input is there.
        """
        # asked again at each write: the input may be called NAME.attempt.onnx, and links may have changed meanwhile
        self._require_no_input(self.attempt)
        try:
            # with a repaired network there they speak about that, and stay until this repair has a result
            if self.attempt.exists() and not self.network.exists():
                # they speak of the attempt that is replaced now; the report last, as it names some of the others
                for old in (*self._earlier_compared(), self.page, self.certificate, self.report):
                    old.unlink(missing_ok=True)
            # a rename: whoever is killed here leaves the old attempt or the new one, whole
            self.draft.replace(self.attempt)
        except OSError as error:
            raise unwritable_error(self.attempt, error) from None
        return self.attempt

    def forget_attempt(self) -> None:
        """The best attempt is the original: there is nothing to hand over."""
        self.attempt.unlink(missing_ok=True)

    def place(self, together: Together, *, repaired: bool) -> Path:
        """Let the best attempt become the result's network, with an ONNX copy of an NNet file; where it will lie.

        Raises:
            OutputError: the copy cannot be written.
        """
        word = "repaired" if repaired else "attempt"
        final = self.network if repaired else self.attempt
        # moved with the others, so that no network is called repaired beside a report that says otherwise
        together.take(final, self.attempt)
        if network_kind(self.request.net) == "nnet":
            # made from the file that was judged, not from the network in memory
            together.add(self._path_called(word, "onnx"), read_nnet(self.attempt).onnx_bytes())
        return final

    def settle(self, together: Together) -> None:
        """Let the files of this result take their places, and those of an earlier one go.

        Raises:
            OutputError: they cannot; everything is as it was before.
        """
        earlier = self._earlier_paths()
        for path in earlier:
            self._require_no_input(path)
        # what is written anew may be among them: `commit` moves the old ones aside first, then the new ones in
        together.drop(*earlier)
        together.commit()

    def _require_no_input(self, path: Path) -> None:
        if same_file(path, self.request.net):
            raise OutputError(str(path), "the input is never overwritten; name another folder")

    def _earlier_paths(self) -> tuple[Path, ...]:
        """What an earlier repair may have left, there or not; without what is somebody else's for all we know."""
        return (*self._result_paths(), *self._earlier_compared())

    def _result_paths(self) -> tuple[Path, ...]:
        """Everything that one repair or another may leave, but for the networks of methods that it compared."""
        # of either kind: an NNet file has an ONNX copy beside it, and one of this name may have been repaired before
        networks = (self._path_called(word, kind) for word in ("repaired", "attempt") for kind in ("onnx", "nnet"))
        return (*networks, self.certificate, self.report, self.page)

    def _compared_paths(self) -> tuple[Path, ...]:
        return tuple(map(self.compared, COMPARED))

    def _earlier_compared(self) -> tuple[Path, ...]:
        """Networks of compared methods that the report there tells of: of others of such a name nobody knows whose."""
        try:
            methods = json.loads(self.report.read_bytes())["blocks"]["methods"]
            told = {Path(method["out"]).name for method in methods if method["out"]}
        except (OSError, ValueError, TypeError, LookupError, RecursionError):
            return ()  # there is none, it is no report, or one of another kind of repair
        return tuple(path for path in self._compared_paths() if path.name in told)

    def _stem(self) -> str:
        return stem_and_kind(self.request.net)[0]

    def _path_called(self, word: str, kind: str) -> Path:
        return self.path / f"{self._stem()}.{word}.{kind}"
