"""Notes on files that were just registered: what the store had of them already, and what looks wrong in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from stargazer.assets import R1, R2, Asset, FormatError, IpFile
from stargazer.assets.formats import ambiguity_notes, first_reads, name_of, small_contigs
from stargazer.assets.keyvalues import fields_text
from stargazer.workflows.lanes import fullest, is_said_by, same_lane, to_be_named

if TYPE_CHECKING:
    from stargazer.storage import Store

__all__ = ["amended_notices", "notices"]

FEW = 5  # pairs, of each of which a note shows the command
ENOUGH = 30  # bases of a read, fewer of which may be those of another one
MOST_COMPARED = 100  # files of first reads, with which those that are added are compared

Reads = TypeVar("Reads", R1, R2)


def notices(store: Store, records: Sequence[IpFile], began: str) -> list[str]:
    """A line for each build given twice or with ambiguity codes, and for each file that was registered before.

    Args:
        records: of the files that were added.
        began: ISO 8601 in UTC, before they were; a record made earlier was there already.
    """
    lines: list[str] = []
    doubtful: list[str] = []
    for record in {record.id: record for record in records}.values():
        if record.created_at < began:
            lines.append(f"already registered: {record.name} as {_what(record)}")
        else:
            lines += _elsewhere(store, record) or _same_reads(store, record)
        kind = record.keyvalues.get("asset")
        if kind == "reference":
            doubtful += _same_build(store, record) + _ambiguity(record)
        doubtful += _same_lane(store, record)
        doubtful += _parted(store, record) if kind == "r2" else []
    return list(dict.fromkeys(doubtful)) + lines


def amended_notices(store: Store, records: Sequence[IpFile]) -> list[str]:
    """A line for reads that were amended and now lack their mates, or share a lane with others."""
    lines: list[str] = []
    for record in records:
        lines += _parted(store, record) + _same_lane(store, record)
    return list(dict.fromkeys(lines))


def _parted(store: Store, record: IpFile) -> list[str]:
    """Whether the mates that are linked are said to be of another sample or library."""
    reads = Asset.from_record(record)
    if isinstance(reads, R1):
        mates: Sequence[R1 | R2] = _reads(R2, store.query({"asset": "r2", "r1_cid": record.cid}))
    elif isinstance(reads, R2) and reads.r1_cid:
        mates = _reads(R1, store.query({"asset": "r1", "cid": record.keyvalues["r1_cid"]}))
    else:
        return []
    apart = [mate for mate in mates if (mate.sample, mate.library) != (reads.sample, reads.library)]
    if not apart or len(apart) < len(mates):
        return []
    name = apart[0].record.name if apart[0].record else apart[0].cid
    return [
        f"note: {record.name} and its mates {name} are said to be of two samples or libraries: for those of "
        f"{record.name}, {same_lane(apart[0], reads)}"
    ]


def _same_reads(store: Store, record: IpFile) -> list[str]:
    """Whether a file begins with the read of another one: most often the same reads, compressed or trimmed anew."""
    read = _first_read(record) if record.keyvalues.get("asset") == "r1" else None
    if read is None:
        return []
    others = [other for other in store.query({"asset": "r1"}) if other.cid != record.cid]
    for other in sorted(others, key=lambda other: other.created_at)[-MOST_COMPARED:]:
        there = _first_read(other)
        if there is None or there[0] != read[0]:
            continue
        shorter, longer = sorted((read[1], there[1]), key=len)
        if len(shorter) >= ENOUGH and shorter in longer:
            mates = store.query({"asset": "r2", "r1_cid": record.cid})
            ids = " ".join(each.id for each in (record, *mates))
            return [
                f"note: {record.name} and {other.name}, which is {_what(other)}, begin with the same read "
                f"({read[0][:60].decode('ascii', 'backslashreplace')}); where that is not meant, "
                f"`stargazer rm {'--all ' if mates else ''}{ids}` takes this registration back"
            ]
    return []


def _first_read(record: IpFile) -> tuple[bytes, bytes] | None:
    """Name and bases of the first read of a file that is here."""
    try:
        reads = first_reads(record.path) if record.path is not None else []
    except (FormatError, OSError):
        return None
    return (name_of(reads[0][0]), reads[0][1]) if reads else None


def _elsewhere(store: Store, record: IpFile) -> list[str]:
    """What else the same bytes are registered as."""
    others = [other for other in store.query({"cid": record.cid}) if other.id != record.id]
    if not others:
        return []
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    line = f"note: the bytes of {record.name} are also registered as {_what(others[0])}{more}"
    if any(_contradicts(record, other) for other in others):
        line += f"; where that is not meant, `stargazer rm {record.id}` takes this registration back"
    return [line]


def _same_build(store: Store, record: IpFile) -> list[str]:
    """Whether workflows that look for the reference of this build would find several."""
    build = record.keyvalues.get("build", "")
    references = store.query({"asset": "reference"})  # they are few: it is one look-up
    return [
        f"note: there is another reference build={build}; workflows need exactly one: "
        f"`stargazer rm {other.id}` takes the other back"
        for other in references
        if other.keyvalues.get("build", "") == build and other.id != record.id
    ][:1]


def _ambiguity(record: IpFile) -> list[str]:
    """What the ambiguity codes of a small reference mean; of a large one, prepare_reference says it."""
    if record.path is None:
        return []
    try:
        contigs = small_contigs(record.path) or ()
    except FormatError:  # of a file that was registered by an earlier version
        return []
    return [f"note: {note}" for note in ambiguity_notes(contigs, record.keyvalues.get("build", ""))]


def _contradicts(record: IpFile, other: IpFile) -> bool:
    """Whether the same reads are said to be of two samples or lanes."""
    one, two = Asset.from_record(record), Asset.from_record(other)
    if not isinstance(one, R1 | R2) or not isinstance(two, R1 | R2):
        return record.keyvalues.get("sample") != other.keyvalues.get("sample")
    return not is_said_by(one, two) and not is_said_by(two, one)


def _same_lane(store: Store, record: IpFile) -> list[str]:
    """Whether the sample of first reads has others of the same library and lane, which is most often none."""
    if record.keyvalues.get("asset") != "r1":
        return []
    of_sample = {"sample": record.keyvalues.get("sample", "")}
    first = fullest(_reads(R1, store.query({"asset": "r1", **of_sample})))
    lane_of = record.keyvalues.get("library"), record.keyvalues.get("lane")
    same = [r1 for r1 in first if (r1.library, r1.lane) == lane_of]
    if len(same) < 2:
        return []
    lane = f"lane {same[0].lane!r}" if same[0].lane else "no lane"
    said = f"{len(same)} r1 files: give each pair a lane of its own, `stargazer amend R1 R2 lane=L001`, and so on"
    if len(same) <= FEW:
        said = to_be_named(same, first, fullest(_reads(R2, store.query({"asset": "r2", **of_sample}))))
    return [f"note: sample {same[0].sample!r}, {lane}: {said}"]


def _reads(kind: type[Reads], records: Sequence[IpFile]) -> list[Reads]:
    return [asset for record in records if isinstance(asset := Asset.from_record(record), kind)]


def _what(record: IpFile) -> str:
    return fields_text(record.keyvalues) or record.keyvalues.get("asset", "file")
