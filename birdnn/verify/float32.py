"""Which networks can be spoken about as executed in float32."""

from __future__ import annotations

from birdnn.errors import MismatchError
from birdnn.network import Network


def require_float32(net: Network) -> None:
    """Refuse a network of which nobody can say what an execution in float32 is.

    Raises:
        MismatchError: it has numbers of another type.
    """
    others = other_types(net)
    if others:
        raise MismatchError(
            f"semantics float32 speaks about networks in float32, and this one has {', '.join(sorted(others))}: "
            "choose semantics real"
        )


def other_types(net: Network) -> set[str]:
    """Of its numbers, float32 left out."""
    return {str(value.dtype).removeprefix("torch.") for value in net.values().values()} - {"float32"}
