"""From three files to an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from birdnn.certify.check import files
from birdnn.certify.check.certificate import (
    LEAF,
    PAIRS,
    Certificate,
    Region,
    proof_of,
    read_certificate,
    read_input,
    read_regions,
    states_exactly,
)
from birdnn.certify.check.files import File, Rejected
from birdnn.certify.check.floats import FloatEngine
from birdnn.certify.check.graphs.nodes import Graph, beside_inputs
from birdnn.certify.check.graphs.reader import read_graph
from birdnn.certify.check.graphs.walk import GraphWalk
from birdnn.certify.check.layers import Chain, activation_kinds
from birdnn.certify.check.lines import ASSUMED_ERROR, Flags
from birdnn.certify.check.network import read_network
from birdnn.certify.check.pairs.engines import Networks, PairEngines
from birdnn.certify.check.parts import Net, Others, Part, nodes_of_part, process_count
from birdnn.certify.check.statement import Pair, Row, Statement, read_statement
from birdnn.certify.check.tree import Engine, Walk
from birdnn.errors import MismatchError

_EXACT_BATCH = 4
_WHOLE = Part()
UNRUN = "; what is said of an execution is not checked here: birdnn check runs it"
"""What this checker leaves to a program that runs networks."""

Seen = Callable[[str, int, int], None]
"""Told the phase, the nodes done and the nodes there are."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to check.

    Attributes:
        arithmetic: of all leaves.
        sample: this many leaves, drawn with ``seed``, in exact arithmetic after all of them in float64.
    """

    arithmetic: Literal["float64", "exact"] = "float64"
    sample: int | None = None
    seed: int = 0

    def options(self) -> list[str]:
        """The same for the command line of `birdnn.certify.check`."""
        sample = [] if self.sample is None else [f"--sample={self.sample}"]
        return [f"--arithmetic={self.arithmetic}", f"--seed={self.seed}", *sample]


@dataclass(frozen=True)
class Answer:
    """What was checked for one property.

    Attributes:
        path: the property's file.
        verdict: what the certificate says and the checker found true.
        leaves: of all trees.
        sampled: how many of them were checked exactly as well.
        input: where the certificate says that an execution violates, which this checker does not run: a
            counterexample, or an input beside a proof over the reals; None where it says nothing of the kind.
        exactly: does that input violate in exact arithmetic? Of a proof without one: True.
        stated: is that stated, and thus checked, or only found?
    """

    path: str
    verdict: Literal["proved", "violated"]
    leaves: int = 0
    sampled: int = 0
    input: tuple[float, ...] | None = None
    exactly: bool = True
    stated: bool = True


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A certificate that was accepted, as far as this checker can tell without running the network.

    Attributes:
        unasked: how many proofs the certificate holds beside those of the properties that were named.
        sha256: of the certificate's bytes, as they were read.
    """

    settings: Settings
    semantics: Literal["real", "float32"]
    assumptions: dict[str, float]
    answers: tuple[Answer, ...] = field(default=())
    unasked: int = 0
    sha256: str = ""

    def line(self) -> str:
        """``float64, all L leaves; exact, N of L``."""
        leaves, sampled = (sum(part) for part in zip(*((a.leaves, a.sampled) for a in self.answers), strict=True))
        said = []
        if any(answer.verdict == "proved" for answer in self.answers):
            every = self.settings.arithmetic if self.settings.sample is None else "float64"
            said.append(f"{every}, all {leaves} leaves")
            said += [f"exact, {sampled} of {leaves}"] if self.settings.sample is not None else []
        violated = [answer for answer in self.answers if answer.verdict == "violated"]
        if violated:
            said.append(f"{len(violated)} violated" + (", exact" if all(a.exactly for a in violated) else ""))
        if self.unasked:
            said.append(f"{self.unasked} of its proofs not looked at, whose properties were not named")
        return "; ".join(said)

    def unrun(self) -> tuple[Answer, ...]:
        """The answers whose statement is about an execution too, which this checker does not run.

        A counterexample that violates in exact arithmetic, where the reals are spoken of, needs no run.
        """
        return tuple(
            answer
            for answer in self.answers
            if answer.input is not None and not (self.semantics == "real" and answer.exactly and answer.stated)
        )


def check(
    net: Net,
    props: Sequence[str | Path],
    certificate: str | Path,
    settings: Settings | None = None,
    seen: Seen = lambda phase, done, total: None,
    part: Part | None = None,
) -> Accepted:
    """Check a certificate against a network and properties, or one part of its trees.

    Of a certificate about two networks ``net`` has their files by the names that queries have for them.

    Without a ``part`` the trees of a large certificate are shared with processes of their own, one for each core.

    Raises:
        FormatError, MismatchError: a file cannot be read, or they do not fit each other.
        Rejected: the certificate does not prove what it says.
    """
    settings = settings or Settings()
    certificate_file = files.read_file(certificate)
    with _one_thread():
        return _check_in_parts(net, props, certificate_file, settings, seen, part)


def _one_thread() -> AbstractContextManager[object]:
    """Products of small matrices, whose threads would wait for each other; the checker alone does without this."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    # Where the checker is installed alone this package may be missing; processes that it starts are told by their
    # environment.
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def _check_in_parts(
    net: Net,
    props: Sequence[str | Path],
    certificate_file: File,
    settings: Settings,
    seen: Seen,
    part: Part | None,
) -> Accepted:
    """One part, or all parts by as many processes as are worth it."""
    if part is not None:
        # A process that was given a part must not start others.
        return _check_part(net, props, certificate_file, settings, seen, part)
    count = process_count(certificate_file, settings.arithmetic)
    with Others(net, props, certificate_file, settings.options(), count) as others:
        accepted = _check_part(net, props, certificate_file, settings, seen, Part(0, count))
        # A process that died or was killed costs time, and never lets anything pass.
        for undone in others.left():
            _check_part(net, props, certificate_file, settings, seen, undone)
    return accepted


def _check_part(
    net: Net, props: Sequence[str | Path], certificate_file: File, settings: Settings, seen: Seen, part: Part
) -> Accepted:
    """Check one part of the trees, in this process, and all that is not in trees."""
    found = read_certificate(certificate_file)
    subject = Networks(net, found) if isinstance(net, Mapping) else _Network(net, found)
    # Of hashes: a property that is named twice is one.
    answers, asked = [], set()
    for path in props:
        prop_file = files.read_file(path)
        asked.add(prop_file.sha256)
        proof, where = proof_of(found, prop_file.sha256), f"proof of {Path(path).name}"
        statement, engines = subject.asked(prop_file, proof, where)
        task = _Task(engines, found, proof, where, settings, seen, part)
        answer = task.violated(statement, str(path)) if "input" in proof else task.proved(statement, str(path))
        answers.append(task.executed(statement, answer) if "executed" in proof else answer)
    return Accepted(
        settings=settings,
        semantics=found.semantics,
        assumptions=found.assumptions,
        answers=tuple(answers),
        unasked=len(found.proofs) - len(asked),
        sha256=certificate_file.sha256,
    )


class _Network:
    """The network of a certificate.

    Raises:
        FormatError: its file cannot be read.
        Rejected: the certificate is for another network, or for several.
    """

    def __init__(self, net: str | Path, certificate: Certificate) -> None:
        file = files.read_file(net)
        # First, as such a certificate would be taken for one about its first network.
        if certificate.version == PAIRS:
            raise Rejected(f"the certificate is for networks {sorted(certificate.networks)}: name the file of each")
        if certificate.network_sha256 != file.sha256:
            told = f"with sha256 {certificate.network_sha256}, not {file.sha256}"
            raise Rejected(f"the certificate is for a network {told}")
        self.path, self.network = net, read_graph(file) if certificate.version > 2 else read_network(file)
        _check_assumptions(certificate, self.network)
        self.engines = _Engines(self.network, certificate.semantics == "float32")

    def asked(self, prop: File, proof: dict[str, Any], where: str) -> tuple[Statement, _Engines]:
        """What a property says of it.

        Raises:
            FormatError: this checker does not read it.
            MismatchError: it is about another one.
        """
        statement = read_statement(prop).of(self.network.n_outputs)
        if (statement.n_inputs, statement.n_outputs) != (self.network.n_inputs, self.network.n_outputs):
            raise MismatchError(
                f"{prop.path} speaks about {statement.n_inputs} inputs and {statement.n_outputs} outputs; "
                f"{self.path} has {self.network.n_inputs} and {self.network.n_outputs}"
            )
        return statement, self.engines.beside_inputs(where) if statement.relational else self.engines


def _check_assumptions(certificate: Certificate, network: Chain | Graph) -> None:
    needed = {}
    if certificate.semantics == "float32":
        if not network.single:
            raise Rejected("semantics float32 speaks about single precision; this network computes in double precision")
        # No more and no less: what is stated is what the checker counts with, and nothing is assumed that is not
        # needed.
        needed = {kind: ASSUMED_ERROR[kind] for kind in activation_kinds(network) if kind in ASSUMED_ERROR}
    if certificate.assumptions != needed:
        raise Rejected(f"the certificate assumes {certificate.assumptions}; this checker assumes {needed}")


class _Engines:
    """A network's engines: made of exact numbers, which takes a second, and the same for all of its proofs.

    Args:
        network: a chain, or a graph.
        single: do statements speak about executions in single precision?
    """

    def __init__(self, network: Chain | Graph, single: bool) -> None:
        self.network, self.single = network, single
        self.walk = GraphWalk if isinstance(network, Graph) else Walk

    def beside_inputs(self, where: str) -> _Engines:
        """Those of the network that hands on its inputs behind its outputs, for rows that speak about both.

        Raises:
            Rejected: the network was read as a chain, which cannot.
        """
        if isinstance(self.network, Chain):
            raise Rejected(f"{where}: it relates inputs, of which version 3 of the format speaks only")
        return self._engines_beside

    @cached_property
    def _engines_beside(self) -> _Engines:
        if isinstance(self.network, Chain):
            raise TypeError("a chain does not hand on its inputs")
        return _Engines(beside_inputs(self.network), self.single)

    @cached_property
    def float64(self) -> Engine:
        if isinstance(self.network, Chain):
            return FloatEngine(self.network, self.single)
        from birdnn.certify.check.graphs.floats import GraphFloatEngine  # SciPy is needed for this only

        return GraphFloatEngine(self.network)

    @cached_property
    def exact(self) -> Engine:
        # python-flint is needed for these only
        if isinstance(self.network, Chain):
            from birdnn.certify.check.exact import ExactEngine

            return ExactEngine(self.network, self.single)
        from birdnn.certify.check.graphs.exact import GraphExactEngine

        return GraphExactEngine(self.network)

    @property
    def n_listed(self) -> int:
        """Entries of an input in the certificate."""
        return self.network.n_inputs

    def variables(self, x: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        """What a property's boxes speak about: the input itself."""
        return x

    def evaluate(self, x: Sequence[Fraction]) -> Sequence[Any]:
        """The network's exact outputs, or balls that hold them."""
        if isinstance(self.network, Chain):
            from birdnn.certify.check.exact import evaluate

            return evaluate(self.network, x)
        from birdnn.certify.check.graphs.exact import evaluate as evaluate_graph

        return evaluate_graph(self.network, x)


@dataclass(frozen=True)
class _Task:
    """One proof, and how it is to be checked."""

    engines: _Engines | PairEngines
    certificate: Certificate
    proof: dict[str, Any]
    where: str
    settings: Settings
    seen: Seen
    part: Part = _WHOLE

    def proved(self, statement: Statement, path: str) -> Answer:
        """Check that no input of the property is unsafe."""
        if self.engines.single and isinstance(self.engines.network, Graph):
            raise Rejected(
                f"{self.where}: what is proved in version 3 of the format is true of the reals, not of float32"
            )
        regions = read_regions(self.proof, self.certificate.version, self.engines.network, self.where)
        # First, as the trees take long, and might prove something else.
        require_cover(statement, regions, self.where)
        leaves = sum(int((region.axis == LEAF).sum()) for region in regions)
        sample = self.settings.sample
        # A sample is never all that is checked.
        if self.settings.arithmetic == "float64" or sample is not None:
            self._walk_regions(self.engines.float64, regions, [None] * len(regions), 256)
        sampled = 0
        if self.settings.arithmetic == "exact" or sample is not None:
            wanted, sampled = self._sample_leaves(regions, sample)
            self._walk_regions(self.engines.exact, regions, wanted, _EXACT_BATCH)
        return Answer(path, "proved", leaves, sampled)

    def _walk_regions(self, engine: Engine, regions: list[Region], wanted: Sequence[Flags | None], batch: int) -> None:
        own = [self._own_nodes(region, chosen) for region, chosen in zip(regions, wanted, strict=True)]
        nodes = [len(r.axis) if w is None else int(w.sum()) for r, w in zip(regions, own, strict=True)]
        total, done = sum(nodes), 0

        def tell(count: int) -> None:
            nonlocal done
            done += count
            self.seen(f"{self.where}, {engine.name}", done, total)

        for i, (region, chosen) in enumerate(zip(regions, own, strict=True)):
            if chosen is not None and not chosen.any():
                continue
            where = f"{self.where}, {engine.name}, region {i}"
            self.engines.walk(
                self.engines.network, engine, region, where, self.engines.single, chosen, batch, tell
            ).run()

    def _own_nodes(self, region: Region, wanted: Flags | None) -> Flags | None:
        """Those of the nodes wanted that belong to this part; None for all of a tree."""
        if self.part.of == 1:
            return wanted
        mine = nodes_of_part(region.axis, self.part)
        return mine if wanted is None else mine & wanted

    def _sample_leaves(self, regions: list[Region], sample: int | None) -> tuple[list[Flags | None], int]:
        """The nodes above so many leaves, drawn over all regions, and how many leaves these are; None means all."""
        leaves = [(i, leaf) for i, region in enumerate(regions) for leaf in np.nonzero(region.axis == LEAF)[0]]
        if sample is None:
            return [None] * len(regions), len(leaves)
        count = min(sample, len(leaves))
        wanted = [np.zeros(len(region.axis), dtype=np.bool_) for region in regions]
        # A leaf is proved with all that is above it, where bounds are tightened and faces moved.
        for n in np.random.default_rng(self.settings.seed).choice(len(leaves), count, replace=False):
            i, node = leaves[n]
            cuts = np.nonzero(regions[i].axis != LEAF)[0]
            while not wanted[i][node]:
                wanted[i][node] = True
                node = cuts[(node - 1) // 2] if node else node
        return list(wanted), count

    def violated(self, statement: Statement, path: str) -> Answer:
        """Is the counterexample one? Whether it violates exactly is said, not required: a runtime may have its say."""
        stated = states_exactly(self.proof, self.certificate.semantics, self.where)
        x, exactly = self._judge_input("input", statement)
        # Found but not stated is fine; stated but not found is a false statement.
        if stated and not exactly:
            raise Rejected(f"{self.where}: the input does not violate the property in exact arithmetic")
        return Answer(path, "violated", input=x, exactly=exactly, stated=stated)

    def executed(self, statement: Statement, proved: Answer) -> Answer:
        """The input that is said to violate a property in execution which is proved over the reals."""
        if self.certificate.semantics != "real":
            raise Rejected(f"{self.where}: a proof about execution, and an execution that violates")
        x, exactly = self._judge_input("executed", statement)
        # An execution may violate what is true of the reals; if the reals do as well, the proof beside it is wrong.
        if exactly:
            raise Rejected(f"{self.where}: the input violates in exact arithmetic what is said to be proved")
        return replace(proved, input=x, exactly=False)

    def _judge_input(self, key: str, statement: Statement) -> tuple[tuple[float, ...], bool]:
        """An input that stands for a point of one of the property's boxes, and whether that violates exactly."""
        x = read_input(self.proof, key, self.engines.n_listed, self.where)
        variables = self.engines.variables(x)
        pairs: dict[tuple[Fraction, ...], list[Pair]] = {}
        for pair in statement.pairs:
            # An input may stand for another point in each branch, whose range decides which; evaluation is dear, so
            # that branches of one point share it.
            if (point := pair.meant(variables)) is not None:
                pairs.setdefault(point, []).append(pair)
        if not pairs:
            raise Rejected(f"{self.where}: the input lies in none of the property's boxes")
        exactly = any(_is_certainly_unsafe(own, self.engines.evaluate(point)) for point, own in pairs.items())
        return tuple(float(value) for value in x), exactly


def _is_certainly_unsafe(pairs: Sequence[Pair], y: Sequence[Any]) -> bool:
    from birdnn.certify.check.exact import certainly_holds

    return any(all(certainly_holds(row, y) for row in pair.rows) for pair in pairs)


def require_cover(statement: Statement, regions: Sequence[Region], where: str) -> None:
    """Is everything that the property calls unsafe within the regions' boxes and polytopes?

    Raises:
        Rejected: a branch of the property is not.
    """
    # A row and its multiples are the same half-space; `implies` compares coefficients as they stand.
    unsafe = [[[row.normal() for row in rows] for rows in region.polytopes] for region in regions]
    for number, pair in enumerate(statement.pairs):
        fitting = [i for i, region in enumerate(regions) if _is_inside(pair, region)]
        # One region and one polytope of it must hold the branch as a whole: halves in two regions are not put together.
        if not any(_is_implied(pair.rows, rows) for i in fitting for rows in unsafe[i]):
            what = "its outputs are in no polytope" if fitting else "its box is in no region"
            raise Rejected(f"{where}: branch {number} of the property is not covered: {what}")


def _is_inside(pair: Pair, region: Region) -> bool:
    # Whether a bound excludes its own value does not matter: the region is closed, and may be larger.
    above = all(low >= other for (low, _), other in zip(pair.lower, region.lower, strict=True))
    return above and all(high <= other for (high, _), other in zip(pair.upper, region.upper, strict=True))


def _is_implied(rows: Sequence[Row], wanted: Sequence[Row]) -> bool:
    """Does every output in all of ``rows`` lie in all of ``wanted``? False may only mean unknown."""
    trivial = Row((Fraction(0),), Fraction(0), False)  # a row of zeros follows from nothing
    return all(any(row.implies(other) for row in (*rows, trivial)) for other in wanted)
