"""Which records of reads stand for the same file, and the commands that name a lane or correct a mate."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from shlex import quote
from typing import TypeVar

from stargazer.assets import R1, R2, Alignment, AnnData, Asset, LinkKind, TenxH5, TenxMtx

__all__ = ["called_alike", "fullest", "identity", "is_said_by", "same_lane", "title", "to_be_named"]

Record = TypeVar("Record", R1, R2, Alignment, TenxH5, TenxMtx, AnnData)


def fullest(records: Sequence[Record]) -> list[Record]:
    """The records of a sample's files of a type, without those that say less of the same bytes than another does.

    So a file that was registered again with its lane is that lane.
    """
    kept: list[Record] = []
    for one in records:
        if any(is_said_by(one, other) for other in kept):
            continue
        kept = [other for other in kept if not is_said_by(other, one)] + [one]
    return [_linked(one, records) for one in kept]


def is_said_by(one: Asset, other: Asset) -> bool:
    """Whether all that a record says is said by another one of the same bytes; its companion aside."""
    if (one.asset_key, one.cid) != (other.asset_key, other.cid):
        return False
    companions = {name for name, link in one.links().items() if link.kind is LinkKind.COMPANION}
    return all(_given(one, name) in (None, _given(other, name)) for name in one.fields().keys() - companions)


def to_be_named(same: Sequence[R1], first: Sequence[R1], second: Sequence[R2]) -> str:
    """What to say of several r1 that are registered as one lane: a command for each that names its lane.

    Args:
        first, second: the reads of the sample.
    """
    taken = {r1.lane for r1 in first if r1.library == same[0].library}
    free = (name for number in count(1) if (name := f"L{number:03}") not in taken)
    unnamed = same[1:] if same[0].lane else same  # a lane that has a name keeps it
    commands = [
        f"\n  `stargazer amend {' '.join([identity(r1), *map(identity, _mates(r1, second))])} lane={next(free)}`"
        for r1 in unnamed
    ]
    return (
        f"{len(same)} r1 files: {', '.join(map(title, same))}. Name the lane of each pair:{''.join(commands)}\n"
        "A pair that is of another sample, and not of this one, gets sample= in the same way; `stargazer rm ID` takes "
        "back what should not be there"
    )


def same_lane(other: R1 | R2, as_of: R1 | R2) -> str:
    """The command that gives reads the sample, library and lane of their mates."""
    names = ("sample", "library", "lane")
    words = [
        quote(f"{name}={getattr(as_of, name) or ''}")
        for name in names
        if getattr(other, name) != getattr(as_of, name)
    ]
    return f"`stargazer amend {' '.join([identity(other), *words])}`"


def _given(asset: Asset, name: str) -> object:
    value: object = getattr(asset, name)
    return None if value == asset.fields()[name].default else value


def _linked(one: Record, records: Sequence[Record]) -> Record:
    """A record with the link of one that it takes the place of, if it has none itself."""
    if not isinstance(one, R2) or one.r1_cid:
        return one
    links = [
        other.r1_cid for other in records if isinstance(other, R2) and other.r1_cid and is_said_by(other, one)
    ]
    return one.copy(r1_cid=links[0]) if links else one


def _mates(r1: R1, second: Sequence[R2]) -> list[R2]:
    """The r2 that is linked to an r1 or, without links, is called like it."""
    linked = [r2 for r2 in second if r2.r1_cid == r1.cid]
    return linked or [r2 for r2 in second if not r2.r1_cid and called_alike(r1, r2)]


def called_alike(r1: R1, r2: R2) -> bool:
    """Whether the names of two files differ in a 1 and a 2 alone."""
    first, second = _name(r1), _name(r2)
    differing = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
    return len(first) == len(second) and differing == [("1", "2")]


def _name(reads: R1 | R2) -> str:
    return reads.record.name if reads.record else ""


def title(reads: R1 | R2) -> str:
    """A file as people know it, and its CID."""
    return f"{_name(reads)!r} ({reads.cid})" if _name(reads) else str(reads.cid)


def identity(reads: Asset) -> str:
    """What names this record alone, for a command."""
    return (reads.record.id if reads.record else "") or reads.cid or ""
