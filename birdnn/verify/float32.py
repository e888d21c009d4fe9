"""Which networks can be spoken about as executed in float32."""

from __future__ import annotations

from birdnn.errors import MismatchError
from birdnn.network import Network


def require_float32(net: Network) -> None:
    """Refuse a network of which nobody can say what an execution in float32 is.

    Raises:
        MismatchError: it has numbers of another type, or integers that are weights.
    """
    if told := why_not_float32(net):
        raise MismatchError(told)


def why_not_float32(net: Network) -> str:
    """Why nobody can say what its execution in float32 is, and what to do; empty where one can.

    Measured of onnxruntime 1.31: it multiplies by integers of 8 bits behind ``DequantizeLinear`` as they are, and
    rounds what they are multiplied with to 8 bits; which operators it takes for such is a matter of its version.
    """
    others = {str(value.dtype).removeprefix("torch.") for value in net.values().values()} - {"float32"}
    if others:
        return (
            f"semantics float32 speaks about networks in float32, and this one has {', '.join(sorted(others))}: "
            "choose semantics real"
        )
    if net.graph.quantised:
        return (
            f"semantics float32 speaks about products in float32, and of {min(net.graph.quantised)!r}, which "
            "DequantizeLinear makes of integers, a runtime may compute them in integers: choose semantics real, or "
            "store such weights as float32"
        )
    return ""
