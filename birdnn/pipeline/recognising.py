"""Which property is which: by what it says, never by its file's name. The one place that compares properties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from birdnn.formats.files import stem_and_kind
from birdnn.formats.suite import Entry, Suite
from birdnn.meaning import Meaning, meaning_of, rounding_between
from birdnn.pipeline.load import Loaded, header_notes
from birdnn.spec import Property

Known = tuple[Suite, Entry]
"""A suite and its network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """Properties that somebody asked about beside those of a suite that apply to the network.

    Attributes:
        names: for each of them the suite's name for what it says; empty where the suite states no such thing.
        missing: the applicable ones that nobody asked about, by the suite's name.
        notes: what their names would not tell, one sentence each.
    """

    names: tuple[str, ...]
    missing: Mapping[str, Property] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def worded(self, known: Known | None, place: int, otherwise: str) -> str:
        """What the property at a place is about in the suite's words, where the suite states it; else as given."""
        return known[0].texts.get(self.names[place], otherwise) if known is not None else otherwise


def recognise_properties(known: Known | None, props: Sequence[Property]) -> Recognised:
    """Compare what properties say, in network units, with what the suite states for the network.

    Raises:
        FormatError: a property file of the suite cannot be read.
    """
    if known is None:
        return Recognised(names=("",) * len(props))
    suite, entry = known
    stated = {name: suite.property(name) for name in entry.applicable}
    # by normal form, not by text: bounds in another order, or in another version of VNN-LIB, say the same
    meanings = {name: meaning_of(prop) for name, prop in stated.items()}
    names, notes, rounded = [], [], {}
    for prop in props:
        # up to rounding, since a file in raw units or with fewer digits is still meant to be the suite's property
        name, off = _closest_meaning(meaning_of(prop), meanings, _file_stem(prop))
        names.append(name)
        if off:
            rounded[prop.name] = off
        if told := _wrong_name_note(prop, name, suite, entry):
            notes.append(told)
    if rounded:
        who = f"{', '.join(rounded)} {'is' if len(rounded) == 1 else 'are'}"
        largest = max(rounded.values())
        notes.append(f"Up to the rounding of numbers (by at most {largest:.1g}) {who} as suite {suite.name} states it.")
    # by name: what the suite states under two names stays here under the one that was not chosen
    missing = {name: prop for name, prop in stated.items() if name not in names}
    return Recognised(names=tuple(names), missing=missing, notes=tuple(notes))


def _closest_meaning(meaning: Meaning, stated: Mapping[str, Meaning], stem: str) -> tuple[str, float]:
    """The suite's name for what a property says, and how far their numbers differ; empty where there is none.

    Where the suite states one thing under two names, the file's own decides.
    """
    gaps = {name: gap for name, own in stated.items() if (gap := rounding_between(meaning, own)) is not None}
    name = min(gaps, key=lambda name: (gaps[name], name != stem), default="")
    return name, gaps.get(name, 0.0)


def _wrong_name_note(prop: Property, name: str, suite: Suite, entry: Entry) -> str:
    """What a file's name says wrongly of its content; empty where it does not."""
    stem = _file_stem(prop)
    if name and name != stem:
        other = f", not what it calls {stem}" if stem in entry.applicable else ""
        return f"{prop.name} says what suite {suite.name} calls {name}{other}."
    if not name and stem in entry.applicable:
        return (
            f"{prop.name} ({_file_place(prop)}) is not what suite {suite.name} calls {stem}: they say different things."
        )
    return ""


def network_notes(loaded: Loaded, props: Sequence[Property], *, by_name: bool = False) -> tuple[str, ...]:
    """What was inferred about the network and what a user should know, one sentence each; `by_name`: by ``--as``."""
    said = [*loaded.net.notes]
    if loaded.known is not None:
        suite, entry = loaded.known
        about = f"{entry.name} in suite {suite.name}"
        said.append(f"Taken as {about} (--as)." if by_name else f"The weights are those of {about}.")
        found = recognise_properties(loaded.known, props)
        if found.missing:
            said.append(f"Properties of the suite that apply to it and were not asked: {', '.join(found.missing)}.")
        said.extend(found.notes)
    return (*said, *header_notes(loaded, props))


# --- names


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Properties of which no two have the same name, unless they are the same file; and what to say of it."""

    props: tuple[Property, ...]
    notes: tuple[str, ...]


def named_apart(props: Iterable[Property], taken: Iterable[str] = ()) -> Named:
    """Give a number to a property whose name another one, which says something else, has already.

    Args:
        props: in the order in which they were asked about; the first keeps its name.
        taken: names that mean something else.
    """
    # "" is no content: a taken name is never the same property
    used: dict[str, str] = dict.fromkeys(taken, "")
    found, notes = [], []
    for prop in props:
        name, number = prop.name, 1
        # the first free number, for a file may be called "a (2)" itself
        while name in used and used[name] != _content_key(prop):
            number += 1
            name = f"{prop.name} ({number})"
        used[name] = _content_key(prop)
        if name != prop.name:
            notes.append(f"More than one property is called {prop.name}: {name} is that of {_file_place(prop)}.")
        found.append(prop if name == prop.name else replace(prop, name=name))
    return Named(props=tuple(found), notes=tuple(dict.fromkeys(notes)))


def _content_key(prop: Property) -> str:
    """Of a file; properties without one are never the same."""
    return prop.sha256 or f"object {id(prop)}"


def _file_stem(prop: Property) -> str:
    return stem_and_kind(prop.path)[0] if prop.path else prop.name


def _file_place(prop: Property) -> str:
    return str(Path(prop.path).resolve()) if prop.path else prop.name
