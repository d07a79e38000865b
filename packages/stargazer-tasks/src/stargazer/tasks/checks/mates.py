"""Checks that files of first and second reads hold mates: other reads of the same templates, in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from stargazer.assets import R1, R2, FormatError
from stargazer.assets.formats import (
    Record,
    are_interleaved,
    first_reads,
    last_read,
    mate_number,
    name_of,
    template_name,
)
from stargazer.storage import Known, Lookup
from stargazer.tasks.checks.headers import while_unchanged

__all__ = ["mates"]

_last_read = while_unchanged(last_read)

NUMBERS = {1: "first", 2: "second"}
ENOUGH = 30  # bases; fewer can be the same by chance
NO_CHANCE = 20  # bases, fewer of which are found within another read by chance


def mates(asset: R1 | R2, path: Path, lookup: Lookup) -> bool:
    """The first reads and, where that is cheap, the last one against those of the file of mates.

    Raises:
        FormatError: they are no mates, or the same reads; or the file holds first and second reads by turns.
    """
    if are_interleaved(first_reads(path)):
        name = quote(path.name)
        raise FormatError(
            f"{path.name!r} is interleaved: first and second reads by turns "
            f"({_names(first_reads(path)[:2])}): `stargazer add --interleaved {name} {_pairs(asset)}` "
            "splits it into both"
        )
    mate = _mate(asset, lookup)
    if mate is None or mate.path is None:
        return False
    here, there = (path.name, path), (_title(mate, mate.path), mate.path)
    _compare(*((here, there) if isinstance(asset, R1) else (there, here)))
    return True


def _mate(asset: R1 | R2, lookup: Lookup) -> Known | None:
    """The mates by the link, or else the only reads of the same sample, library and lane; None if that is not clear."""
    if isinstance(asset, R2) and asset.r1_cid:
        return lookup.target(asset, "r1_cid")
    if isinstance(asset, R1) and (linked := lookup.companions(asset, "r2", "r1_cid")):
        return linked[0]
    fields = {"sample": asset.sample, "library": asset.library, "lane": asset.lane}
    first, second = lookup.find("r1", **fields), lookup.find("r2", **fields)
    if len(first) != 1 or len(second) != 1 or second[0].asset.r1_cid:  # type: ignore[attr-defined]
        return None
    return second[0] if isinstance(asset, R1) else first[0]


def _compare(one: tuple[str, Path], two: tuple[str, Path]) -> None:
    """Raise FormatError where two files hold no mates."""
    titles = f"{one[0]!r} and {two[0]!r}"
    first, second = first_reads(one[1]), first_reads(two[1])
    both = list(zip(first, second, strict=False))
    for number, (a, b) in enumerate(both, 1):
        if template_name(name_of(a[0]), name_of(b[0])) is None:
            _refuse_names((one[0], two[0]), f"record {number}", a, b, first, second)
    if (a_last := _last_read(one[1])) and (b_last := _last_read(two[1])):
        both.append((a_last, b_last))
        if template_name(name_of(a_last[0]), name_of(b_last[0])) is None:
            _refuse_names((one[0], two[0]), "the last record", a_last, b_last, first, second)
    if _are_same(both):
        _refuse_same(titles, both[0][0])
    if sum(len(bases) for (_, bases, _), _ in both) < ENOUGH:
        return
    numbers = {(mate_number(a[0]), mate_number(b[0])) for a, b in both}
    if numbers in ({(1, 1)}, {(2, 2)}):
        what = NUMBERS[numbers.pop()[0] or 1]
        raise FormatError(
            f"{titles}: both hold the {what} reads of pairs, as they say ({_names(both[0])}): give the first and the "
            "second reads"
        )
    if numbers == {(2, 1)}:
        _refuse_exchanged(titles, *both[0])


def _refuse_names(
    names: tuple[str, str],
    where: str,
    a: Record,
    b: Record,
    first: Sequence[Record],
    second: Sequence[Record],
) -> None:
    """Say in which way the names of two reads that should be mates differ."""
    titles = f"{names[0]!r} and {names[1]!r}"
    if template_name(name_of(b[0]), name_of(a[0])) is not None:
        _refuse_exchanged(titles, a, b)
    begins = f"{titles}: {where}: the names differ: {_names([a, b])}: "
    others = {_bare(record): record for record in second}
    common = [(record, others[_bare(record)]) for record in first if _bare(record) in others]
    if _are_same(common):
        _refuse_same(titles, common[0][0])
    if common:
        raise FormatError(
            f"{begins}one of the files lacks reads, or they are in another order: pair them anew, for example with "
            f"`seqkit pair -1 {quote(names[0])} -2 {quote(names[1])}`, and add what that writes"
        )
    raise FormatError(
        f"{begins}these files are not mates: give the first and second reads of one run and lane; where a tool "
        "changed their names, the files from before it, or let mates have the same name, or names that end in /1 and /2"
    )


def _are_same(pairs: Sequence[tuple[Record, Record]]) -> bool:
    """Whether all are the same read twice, one of which may be trimmed or have other qualities.

    Reads of one letter alone, which no signal gives, and what may be in both by chance tell nothing.
    """
    told = 0
    for (_, a, _), (_, b, _) in pairs:
        shorter, longer = sorted((a.upper(), b.upper()), key=len)
        if shorter not in longer:
            return False
        tells = len(set(shorter)) > 1 and (shorter == longer or len(shorter) >= NO_CHANCE)
        told += len(shorter) if tells else 0
    return told >= ENOUGH


def _refuse_same(titles: str, read: Record) -> None:
    raise FormatError(
        f"{titles}: r1 and r2 hold the same reads ({_names([read])} and all others that were compared have the same "
        "bases in both): give the file of second reads as r2"
    )


def _refuse_exchanged(titles: str, a: Record, b: Record) -> None:
    raise FormatError(
        f"{titles}: the second reads were given as the first ({_names([a, b])}): exchange them, with asset=r1 for the "
        "file of first reads and asset=r2 for the other"
    )


def _bare(record: Record) -> bytes:
    """The name of a read without the number of a mate."""
    name = name_of(record[0])
    return name[:-2] if name[-2:-1] in (b"/", b".", b"_") and name[-1:] in (b"1", b"2") else name


def _names(records: Sequence[Record]) -> str:
    shown = (
        b" ".join(line.split(None, 2)[:2])[:60].decode("utf-8", "backslashreplace") for line, _, _ in records
    )
    return " and ".join(map(repr, shown))


def _title(known: Known, path: Path) -> str:
    return (known.asset.record.name if known.asset.record else "") or path.name


def _pairs(asset: R1 | R2) -> str:
    """The fields of reads as `add` takes them."""
    given = {"sample": asset.sample, "library": asset.library, "lane": asset.lane}
    if asset.platform != type(asset).fields()["platform"].default:
        given["platform"] = asset.platform
    return " ".join(quote(f"{name}={value}") for name, value in given.items() if value)
