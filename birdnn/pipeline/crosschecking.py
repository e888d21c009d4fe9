"""The same question to engines that others wrote, and what becomes of their answers.

A disagreement is a proof beside a replayed violation, or our counterexample that another engine cannot reproduce. What
is only undecided, refused or crashed contradicts nobody; nor does a proof over the reals contradict an input that
violates when the network is run, and not over the reals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from birdnn.crosscheck import auto_lirpa, marabou
from birdnn.crosscheck.engines import engine_named, require, version_of
from birdnn.crosscheck.marabou import ask_marabou
from birdnn.errors import EngineError
from birdnn.network import Network
from birdnn.pipeline.load import Loaded, model_bytes
from birdnn.printable import counted
from birdnn.records import (
    BoundName,
    EngineAnswer,
    EngineWord,
    Progress,
    Proved,
    Unknown,
    Verdict,
    Violated,
    Watch,
    Witness,
)
from birdnn.rounding import Semantics
from birdnn.sample.draw import draw_from_property
from birdnn.spec import Property
from birdnn.verify import AttackSettings, SearchSettings, verify
from birdnn.verify.frontier import Keeper
from birdnn.verify.spread import Helpers
from birdnn.verify.witness import Judge

OURS = "birdnn"

POINTS = 10_000
"""Replayed through onnxruntime where we found no counterexample."""

_REPLAYED = "float32 in onnxruntime, property exact"
_NO_ATTACK = AttackSettings(evaluations=1)
_BATCH = 128
_STREAM = 0xC4EC


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inquiry:
    """A question: is `prop` true of the network, of which we say `verdict`?"""

    loaded: Loaded
    prop: Property
    verdict: Verdict
    timeout_s: float
    seed: int
    watch: Watch

    def judge(self) -> Judge:
        """Decides with tolerance 0 whether points violate."""
        # `source` has the file's own numbers: by them it is told whether a point violates over the reals
        net = self.loaded.net
        return Judge(net.copy().float(), self.prop, self.loaded.replays, source=net)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an engine said; its name, version and time are the caller's business."""

    answer: EngineWord
    arithmetic: str
    detail: str = ""
    witness: Witness | None = None


def require_engines(names: Sequence[str]) -> None:
    """See that every engine is there before any work starts.

    Raises:
        EngineError: one is unknown, not installed, or cannot be imported.
    """
    for name in names:
        require(name)


def cross_checked(inquiry: Inquiry, names: Sequence[str], own_s: float) -> tuple[EngineAnswer, ...]:
    """Our own answer, which took ``own_s`` seconds, then that of each engine."""
    # ours first: whether somebody contradicts our proof is asked of the first answer
    answers = [_own_answer(inquiry.verdict, own_s)]
    for name in names:
        inquiry.watch.update(Progress(phase=f"asking {name} about {inquiry.prop.name}"))
        begun = time.monotonic()
        found = _ask_engine(inquiry, name)
        answers.append(
            EngineAnswer(
                engine=name,
                version=version_of(engine_named(name)) or "",
                answer=found.answer,
                arithmetic=found.arithmetic,
                seconds=time.monotonic() - begun,
                detail=found.detail or ("" if found.witness is None else _semantics_remark(found.witness)),
                witness=found.witness,
            )
        )
    return tuple(answers)


def disagreement(name: str, answers: Sequence[EngineAnswer], semantics: Semantics = "float32") -> str:
    """Who contradicts whom about property `name`, with every answer; empty where nobody does.

    Args:
        semantics: what our own proof speaks about; those of other engines speak about the reals.
    """
    words = {answer.answer for answer in answers}
    # a proof over the reals does not deny that a run violates by rounding: see `Witness.contradicts`
    spoken: set[Semantics] = {semantics if a.engine == OURS else "real" for a in answers if a.answer == "proved"}
    found = [a.witness for a in answers if a.answer == "violated" and a.witness is not None]
    clash = any(witness.contradicts(proof) for witness in found for proof in spoken)
    # the other contradiction: one engine has a point that violates, and another cannot reproduce it
    if not clash and not {"violated", "not_reproduced"} <= words:
        return ""
    told = ", ".join(f"{a.engine} {a.version} says {a.answer} ({a.arithmetic})".replace("  ", " ") for a in answers)
    points = [f"{a.engine} at {list(a.witness.x)} -> {list(a.witness.y)}" for a in answers if a.witness is not None]
    return f"{name}: {told}; {'; '.join(points)}"


def contradicting_witness(answers: Sequence[EngineAnswer]) -> Witness | None:
    """A replayed violation that someone else found of what we proved, and rather one over the reals too."""
    if not answers or answers[0].answer != "proved":
        return None
    found = [answer.witness for answer in answers if answer.answer == "violated" and answer.witness is not None]
    # one that violates over the reals too contradicts proofs of either kind
    return min(found, key=lambda witness: witness.exactly is False, default=None)


def _semantics_remark(witness: Witness) -> str:
    return "when run, not over the reals" if witness.exactly is False else ""


def decided_by(
    bound: BoundName,
    loaded: Loaded,
    prop: Property,
    settings: SearchSettings,
    watch: Watch,
    keeper: Keeper | None = None,
    helpers: Helpers | None = None,
) -> Verdict:
    """Verify by our search, on whosever bounds; a ``keeper`` keeps what it reaches, and ``helpers`` know ours only.

    Raises:
        EngineError: the engine whose bounds they are does not take the network.
    """
    if bound == "own":
        return verify(
            loaded.net, prop, settings=settings, replays=loaded.replays, watch=watch, keeper=keeper, helpers=helpers
        )
    # made here, so that a network that it does not take is refused before any work
    made = auto_lirpa.AutoLirpaBound(loaded.net, torch.device(settings.device))

    def make(net: Network, wanted: SearchSettings) -> auto_lirpa.AutoLirpaBound:
        del net, wanted
        return made

    verdict = verify(
        loaded.net, prop, settings=settings, replays=loaded.replays, watch=watch, bound=make, keeper=keeper
    )
    return verdict if isinstance(verdict, Violated) else replace(verdict, arithmetic=auto_lirpa.ARITHMETIC)


def _ask_engine(inquiry: Inquiry, name: str) -> Reply:
    """An engine's answer, whatever becomes of the engine."""
    if inquiry.watch.stopped():
        # no proof, no violation: nothing that could contradict anybody
        return Reply(answer="interrupted", arithmetic="")
    if inquiry.timeout_s <= 0:
        return Reply(answer="timeout", arithmetic="", detail="not begun: no time was left")
    try:
        return ASK[name](inquiry)
    except EngineError as error:
        return Reply(answer="refused", arithmetic="", detail=error.problem)
    except Exception as error:  # noqa: BLE001 - a foreign engine fails in whatever way it likes
        return Reply(answer="crash", arithmetic="", detail=f"{type(error).__name__}: {str(error)[:200]}")


def _own_answer(verdict: Verdict, seconds: float) -> EngineAnswer:
    found = _reply_of_verdict(verdict)
    return EngineAnswer(
        engine=OURS,
        version="",
        answer=found.answer,
        arithmetic=verdict.arithmetic,
        seconds=seconds,
        detail=found.detail,
        witness=found.witness,
    )


def _reply_of_verdict(verdict: Verdict) -> Reply:
    match verdict:
        case Proved():
            return Reply(answer="proved", arithmetic=verdict.arithmetic, detail=counted(verdict.boxes, "box", "boxes"))
        case Violated():
            return Reply(answer="violated", arithmetic=verdict.arithmetic, witness=verdict.witness)
        # apart from other reasons: what ran out of time has not given up by itself
        case Unknown(reason="timeout"):
            return Reply(answer="timeout", arithmetic=verdict.arithmetic, detail=counted(verdict.boxes, "box", "boxes"))
        case Unknown(reason="interrupted"):
            return Reply(answer="interrupted", arithmetic=verdict.arithmetic)
    return Reply(answer="unknown", arithmetic=verdict.arithmetic, detail=verdict.reason)


def _onnxruntime(inquiry: Inquiry) -> Reply:
    """Replays our counterexample; where there is none, fresh points."""
    judge = inquiry.judge()
    if isinstance(inquiry.verdict, Violated):
        witness = judge.replayed(torch.tensor(inquiry.verdict.witness.x, dtype=torch.float32))
        return Reply(answer="not_reproduced" if witness is None else "violated", arithmetic=_REPLAYED, witness=witness)
    # other points than a search with the same seed draws
    generator = torch.Generator().manual_seed(inquiry.seed + _STREAM)
    parts, n, until = draw_from_property(inquiry.prop, POINTS, generator), 0, time.monotonic() + inquiry.timeout_s
    for region, points in zip(inquiry.prop.regions, parts, strict=True):
        # in pieces, as each point is a run of the file: between two of them the clock is asked
        for some in torch.split(points, 500):
            if time.monotonic() > until or inquiry.watch.stopped():
                return Reply(answer="no_violation", arithmetic=_REPLAYED, detail=f"{n:,} points, then time was up")
            n += len(some)
            # float64 margins may be a rounding off: whether a point violates is decided exactly, by the judge
            close = some[region.margin(_replayed_outputs(inquiry.loaded, some)) <= 0]
            if (witness := judge.strongest_of(close)) is not None:
                return Reply(answer="violated", arithmetic=_REPLAYED, witness=witness)
    return Reply(answer="no_violation", arithmetic=_REPLAYED, detail=f"{n:,} uniform points")


def _replayed_outputs(loaded: Loaded, points: Tensor) -> Tensor:
    """Of the file itself, (n, outputs) float64."""
    replayed = [loaded.replays[0](point.numpy()) for point in points]
    return torch.from_numpy(np.stack(replayed)).double()


def _auto_lirpa(inquiry: Inquiry) -> Reply:
    """Our branch and bound on its bounds, without any attack: what it proves or finds is their doing."""
    # an attack of ours would find what the engine is then credited with
    settings = SearchSettings(timeout_s=inquiry.timeout_s, seed=inquiry.seed, attack=_NO_ATTACK, batch=_BATCH)
    return _reply_of_verdict(decided_by("auto_lirpa", inquiry.loaded, inquiry.prop, settings, inquiry.watch))


def _marabou(inquiry: Inquiry) -> Reply:
    """Marabou's answer; a point that it finds is replayed."""
    said = ask_marabou(
        model_bytes(inquiry.loaded), inquiry.prop, timeout_s=inquiry.timeout_s, stopped=inquiry.watch.stopped
    )
    # Marabou computes in float64 with tolerances: what it calls a solution is none before it has been replayed
    words: Mapping[str, EngineWord] = {"unsat": "proved", "sat": "near_miss"}
    answer: EngineWord = words.get(said.answer, said.answer)  # type: ignore[arg-type]
    found = Reply(answer=answer, arithmetic=marabou.ARITHMETIC, detail=said.detail)
    if said.answer != "sat":
        return found
    judge, x = inquiry.judge(), torch.tensor([said.x], dtype=torch.float64)
    # its point is float64: what is run are float32 points close to it that lie in the region
    points = [point for region in inquiry.prop.regions for point in judge.snap(region, x)]
    # a property may have several regions: the one that Marabou means is where its point moves least
    points.sort(key=lambda point: float((point.double() - x[0]).abs().max()))
    witness = next((w for point in points if (w := judge.replayed(point)) is not None), None)
    return found if witness is None else replace(found, answer="violated", witness=witness)


ASK: Mapping[str, Callable[[Inquiry], Reply]] = {
    "onnxruntime": _onnxruntime,
    "auto_lirpa": _auto_lirpa,
    "marabou": _marabou,
}
"""Engine -> how it is asked."""
