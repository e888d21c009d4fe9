"""Falsification by itself: attacks that grow harder, on what bounds leave open."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice

from birdnn.network import Network
from birdnn.printable import counted
from birdnn.records import Replay, Unknown, Unwatched, Violated, Watch
from birdnn.spec import Property
from birdnn.verify.bounding import make_bound
from birdnn.verify.effort import attack_rounds, first_attack
from birdnn.verify.search import Search
from birdnn.verify.settings import SearchSettings


def falsify(
    net: Network,
    prop: Property,
    *,
    settings: SearchSettings,
    replays: Sequence[Replay],
    watch: Watch | None = None,
    rounds: int = 1,
) -> Violated | Unknown:
    """Look for a counterexample only: ``rounds`` attacks on each region, as the time allows.

    Rounds end at one that violates when run; the first round prefers one that violates over the reals as well.
    """
    search = Search(net, prop, settings, replays, watch or Unwatched())
    suspects = search.suspects(make_bound)
    polytopes = sum(len(suspect.region.unsafe) for suspect in suspects)
    first = first_attack(net, polytopes, settings.attack, settings.device)
    harder = islice(attack_rounds(net, polytopes, settings.attack, settings.device), rounds)
    # the first one is short, as before a search, and counts as no round
    for done, effort in enumerate(chain([first], harder) if suspects else ()):
        witness = search.attack(suspects, effort)
        if witness is not None:
            return Violated(witness=witness, boxes=0)
        reason = search.limit_reached()
        if reason is not None:
            # neither the first attack nor the one that the limit has ended is a whole round
            tried = _rounds_in_words(done - 1, len(suspects), len(prop.regions))
            return search.falsified(Unknown(reason=reason, boxes=0, tried=tried))
        # a whole round has looked for one that violates over the reals, too: a run that does is enough
        if search.executed is not None and done:
            return search.falsified(Unknown(reason="not_found", boxes=0))
    return Unknown(reason="not_found", boxes=0, tried=_rounds_in_words(rounds, len(suspects), len(prop.regions)))


def _rounds_in_words(rounds: int, attacked: int, regions: int) -> str:
    """What was done, in words; nothing where no round was finished."""
    if rounds < 1:
        return ""
    if not attacked:
        return "bounds, which leave nothing to attack"
    each = "1 input region" if regions == 1 else f"each of {regions} input regions"
    if attacked < regions:
        each = f"{attacked} of {regions} input regions, those that bounds leave open"
    return f"{counted(rounds, 'round')} of attack on {each}"
