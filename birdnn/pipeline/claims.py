"""What a proof is to speak about, and what it assumes."""

from __future__ import annotations

from collections.abc import Sequence

from birdnn.chain import NotAChain
from birdnn.errors import MismatchError
from birdnn.network import Network
from birdnn.operators import operator
from birdnn.rounding import Semantics
from birdnn.spec import Property
from birdnn.verify import require_float32, why_not_float32


def network_semantics(net: Network, asked: Semantics | None, props: Sequence[Property] = ()) -> Semantics:
    """What a proof is to speak about: what was asked, or what one of the properties is over; else float32 execution,
    where the network has one and is a chain: of graphs there are certificates of what is proved over the reals only.

    Raises:
        MismatchError: asked for float32, of a network in another type or with weights that are integers.
    """
    # a network of another type, or with weights that are integers, has no float32 execution to speak about
    if asked == "float32":
        require_float32(net)
    if asked is not None:
        return asked
    if any(prop.element == "float32" for prop in props):
        require_float32(net)
        return "float32"
    return "float32" if not why_not_float32(net) and is_chain(net) else "real"


def semantics_note(net: Network, semantics: Semantics, asked: Semantics | None) -> tuple[str, ...]:
    """A sentence about the reals, where they were chosen for the form of the graph."""
    if asked is not None or semantics == "float32" or why_not_float32(net):
        return ()
    told = (
        "Proofs speak about the network over the reals: those of float32 executions of such a graph have no certificate"
    )
    return (f"{told}; --semantics float32 asks for them.",)


def is_chain(net: Network) -> bool:
    """Is the network an alternation of affine maps and activations, which has the fastest and most complete bounds?"""
    try:
        return bool(net.chain())
    except NotAChain:
        return False


def query_semantics(props: Sequence[Property], asked: Semantics | None) -> Semantics:
    """What the proofs of some properties are to speak about: what was asked, else the reals, unless one of them is a
    query over float32, which proofs over the reals do not answer.

    Raises:
        MismatchError: the reals were asked for, and one of them is a query over float32.
    """
    if asked is not None:
        for prop in props:
            require_semantics(prop, asked)
    return asked or ("float32" if any(prop.element == "float32" for prop in props) else "real")


def require_semantics(prop: Property, semantics: Semantics) -> None:
    """See that a proof of these semantics answers the property.

    Raises:
        MismatchError: it is a query over float32, and the proof would speak about the reals.
    """
    if prop.element == "float32" and semantics != "float32":
        told = "is a query over float32, which a proof over the reals does not answer: choose semantics float32"
        raise MismatchError(f"property {prop.name!r} {told}")


def assumptions(net: Network, semantics: Semantics) -> dict[str, float]:
    """Activation -> absolute error that is assumed of the runtime's function, for those that the network has."""
    if semantics == "real":
        return {}
    # of constants nothing is assumed: they were computed once
    functions = (operator(node.op).function for node in net.nodes if node.output in net.graph.dependent)
    return {
        function.kind: function.float32_error
        for function in functions
        if function is not None and function.float32_error is not None
    }


def assumption_notes(net: Network, semantics: Semantics) -> tuple[str, ...]:
    """The same, one sentence each."""
    return tuple(
        f"Assumed of the runtime: its {kind} errs by at most {error:g}, beside one rounding."
        for kind, error in assumptions(net, semantics).items()
    )
