"""In words: where an input violates a property, when the network is run and over the reals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from birdnn.records import Proved, Unknown, UnknownReason, Verdict, Violated, Witness

_SHOWN = 8

HOLDS: Mapping[bool | None, str] = {
    True: "over the reals and when run",
    False: "when run, not over the reals",
    None: "when run; over the reals it could not be told",
}
"""Does an input that violates when the network is run do so over the reals -> in words."""

REASONS: Mapping[UnknownReason, str] = {
    "timeout": "time is up",
    "memory": "memory limit",
    "boxes": "limit of boxes",
    "interrupted": "interrupted",
    "precision": "a box stays open that is too small to cut, as where the threshold is touched",
    "not_found": "no counterexample found, no proof tried",
    "not_executed": "violated over the reals, but in no run that was tried",
    "rejected": "the independent checker or another engine contradicts the proof",
}


def replay_text(replayed_by: Sequence[str], exactly: bool | None) -> str:
    """Who ran the network at an input that violates, and what is special of it."""
    said = f"replayed by {' and '.join(replayed_by)}"
    return said + {True: "", False: "; not over the reals", None: "; over the reals it could not be told"}[exactly]


def verdict_remark(name: str, verdict: Verdict) -> str:
    """What a verdict about the reals has to say of runs, or the other way round; empty where both agree."""
    match verdict:
        # No disagreement, for both are right: one speaks about the reals, the other about a run that rounds.
        case Proved(executed=witness) if witness is not None:
            who = " and ".join(witness.replayed_by)
            return (
                f"{name} is proved over the reals, and yet {who} rounds so that the input {input_text(witness.x)} "
                "violates it; semantics float32 asks about runs."
            )
        case Proved(touched=boxes) if boxes:
            return (
                f"{name} holds by nothing to spare: bounds reach its threshold, and {_boxes_text(boxes)} closed in "
                "exact arithmetic, which a certificate has no form for: none can be written."
            )
        case Violated(witness=witness, undecided=reason) if witness.exactly is False:
            rest = f", where nothing is decided ({REASONS[reason]})" if reason not in (None, "not_found") else ""
            # The search did decide over the reals then; only no run violates at that input.
            rest = "; another input violates there" if reason == "not_executed" else rest
            who = " and ".join(witness.replayed_by)
            return f"{name} is violated when {who} runs it; over the reals this input does not violate{rest}."
        # Raised by an allocation (`birdnn.verify.search`), after which no boxes are known; the limit of the search
        # counts its open ones.
        case Unknown(reason="memory", open_boxes=0):
            return (
                f"{name}: memory ran out, and smaller batches did not help: it takes a machine or a --device with more."
            )
        case Unknown(over_reals=x) if x:
            return (
                f"Over the reals the input {input_text(x)} violates {name}; no run of the network was found that does."
            )
    return ""


def _boxes_text(count: int) -> str:
    return f"{count:,} boxes were" if count > 1 else "1 box was"


def input_text(x: Sequence[float]) -> str:
    """An input, the first of its values where they are many."""
    more = f", ... {len(x)} values" if len(x) > _SHOWN else ""
    return f"[{', '.join(repr(value) for value in x[:_SHOWN])}{more}]"


def counterexample_text(witness: Witness) -> str:
    """A counterexample in VNN-COMP's format: ``((X_0 v)`` ... ``(Y_n v))``, one value a line, exact decimals."""
    values = [f"(X_{i} {v!r})" for i, v in enumerate(witness.x)] + [f"(Y_{i} {v!r})" for i, v in enumerate(witness.y)]
    return "(" + "\n".join(values) + ")\n"
