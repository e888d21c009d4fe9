"""Two files and a query about them, as the judge of proofs wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from birdnn.certify.check import files
from birdnn.certify.check.certificate import PAIRS, Certificate
from birdnn.certify.check.files import File, Rejected
from birdnn.certify.check.layers import Chain
from birdnn.certify.check.network import read_network
from birdnn.certify.check.pairs.chain import Pair, at_variables, count_same_layers, join_chains
from birdnn.certify.check.pairs.query import Declared, Query, read_query
from birdnn.certify.check.pairs.walk import PairWalk
from birdnn.certify.check.statement import Statement
from birdnn.certify.check.tree import Engine
from birdnn.errors import FormatError, MismatchError


class Networks:
    """The networks of a certificate, by their names.

    Raises:
        FormatError: a file cannot be read.
        Rejected: the certificate is for other networks.
    """

    def __init__(self, nets: Mapping[str, str | Path], certificate: Certificate) -> None:
        stored = {name: files.read_file(path) for name, path in nets.items()}
        if certificate.version != PAIRS:
            raise Rejected("the certificate is for one network: its file has no name")
        if certificate.semantics != "real" or certificate.assumptions:
            raise Rejected("what is proved in version 4 of the format is true of the reals, and assumes nothing")
        if sorted(certificate.networks) != sorted(stored):
            raise Rejected(f"the certificate is for networks {sorted(certificate.networks)}, not {sorted(stored)}")
        # Names are the query's, but the file is told by its hash.
        for name, file in stored.items():
            if file.sha256 != certificate.networks[name]:
                told = f"with sha256 {certificate.networks[name]}, not {file.sha256}"
                raise Rejected(f"the certificate is for a network {name} {told}")
        self.files = stored
        self.chains = {name: read_network(file) for name, file in stored.items()}

    def asked(self, prop: File, proof: dict[str, Any], where: str) -> tuple[Statement, PairEngines]:
        """What a query says of them.

        Raises:
            FormatError: this checker does not read it.
            MismatchError: it is about other networks.
        """
        query = read_query(prop)
        if unknown := [name for name in self.chains if name not in [net.name for net in query.networks]]:
            raise MismatchError(f"{prop.path} is about no network {unknown[0]!r}")
        first, second = query.networks
        chains = self._chain_of(first, prop.path), self._chain_of(second, prop.path)
        # With a file of its own it has to be the same: the query says so.
        if second.equal and count_same_layers(*chains) < len(chains[0].layers):
            raise MismatchError(f"{prop.path}: {second.name} is equal to {second.equal} there, and the files are not")
        ways = zip(chains, query.reads, strict=True)
        own = tuple(at_variables(chain, reads, query.statement.n_inputs) for chain, reads in ways)
        path = " and ".join(dict.fromkeys(file.path for file in self.files.values()))
        return query.statement, PairEngines(query, own, proof, (path, prop.path), where)

    def _chain_of(self, net: Declared, path: str) -> Chain:
        # A network that is said to be equal to another needs no file of its own.
        chain = self.chains.get(net.name) or self.chains.get(net.equal)
        if chain is None:
            raise MismatchError(f"{path} is about a network {net.name!r}: name its file too")
        if (chain.n_inputs, chain.n_outputs) != (net.n_inputs, net.n_outputs):
            raise MismatchError(
                f"{path} speaks about {net.n_inputs} inputs and {net.n_outputs} outputs of {net.name}; "
                f"its file has {chain.n_inputs} and {chain.n_outputs}"
            )
        return chain


class PairEngines:
    """The engines of one proof.

    Args:
        query: what is asked.
        chains: both networks, as functions of the variables.
        proof: what is stated.
        paths, where: the names of the networks' files and of the query's, and the proof's, for messages.
    """

    single = False
    walk = PairWalk

    def __init__(
        self, query: Query, chains: tuple[Chain, ...], proof: dict[str, Any], paths: tuple[str, str], where: str
    ) -> None:
        self.query, self.chains, self.proof, self.where = query, chains, proof, where
        self.path, self.prop = paths

    @cached_property
    def network(self) -> Pair:
        """Both networks and their difference."""
        # Only here: a counterexample of such a query asks for no joint chain.
        if self.query.statement.relational:
            told = "proofs of queries that relate inputs by more than equality"
            raise FormatError(self.prop, "", f"this checker does not read {told}")
        shared = self.proof["shared"]
        if type(shared) is not int:
            raise Rejected(f"{self.where}: shared must be a number of layers")
        first, second = self.chains
        return join_chains(first, second, shared, self.path, self.where)

    @cached_property
    def float64(self) -> Engine:
        from birdnn.certify.check.pairs.floats import PairFloatEngine

        return PairFloatEngine(self.network)

    @cached_property
    def exact(self) -> Engine:
        from birdnn.certify.check.pairs.exact import PairExactEngine  # python-flint is needed for this only

        return PairExactEngine(self.network)

    @property
    def n_listed(self) -> int:
        """Entries of an input in the certificate: those of both networks."""
        return sum(net.n_inputs for net in self.query.networks)

    def variables(self, x: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        """What the query's boxes speak about."""
        found = self.query.variables(x)
        if found is None:
            raise Rejected(f"{self.where}: inputs differ that the query says are equal")
        return found

    def evaluate(self, x: Sequence[Fraction]) -> Sequence[Any]:
        """The exact outputs of both networks at the variables, or balls that hold them; and these, where rows do."""
        from birdnn.certify.check.pairs.exact import evaluate

        return evaluate(self.chains, x, beside=self.query.statement.relational)
