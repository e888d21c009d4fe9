"""How hard `compare` tries."""

from __future__ import annotations

from dataclasses import dataclass, field

from birdnn.verify import AttackSettings


def _thorough_attack() -> AttackSettings:
    return AttackSettings(evaluations=30_000)


def _light_attack() -> AttackSettings:
    return AttackSettings(evaluations=6_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """Effort of `compare_files`.

    Attributes:
        region_share: points of each property's region, as a share of those of the domain.
        search: for points that are far apart, for each output and sign, and for each change of decision.
        light_search: the same in regions, where the domain is searched too.
        searched: at most so many outputs, and so many changes of decision, are searched for; samples say which.
        replayed: of the points found for one of these, so many are run on the files.
        near: around the samples that are furthest apart, as a share of the place's width, a search begins.
        complete: a bound that exceeds what was found by no more than this share is tight enough,
            and one that is below `nothing` times the largest output.
        confidence: of each interval by itself.
        time_share: of a time limit, what sampling, searching and bounding may take, each of what is left.
    """

    region_share: float = 0.25
    search: AttackSettings = field(default_factory=_thorough_attack)
    light_search: AttackSettings = field(default_factory=_light_attack)
    searched: int = 8
    replayed: int = 8
    near: float = 0.02
    complete: float = 0.02
    nothing: float = 1e-6
    confidence: float = 0.95
    time_share: float = 0.25
