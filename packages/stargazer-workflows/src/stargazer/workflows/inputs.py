"""Finds what a sample starts from: its pairs of read files by lane, or an alignment made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Literal, NoReturn

from stargazer.assets import (
    R1,
    R2,
    Alignment,
    AmbiguousAssetError,
    AnnData,
    Asset,
    AssetNotFoundError,
    Intervals,
    InvalidAssetError,
    ProvenanceDocument,
    TenxH5,
    TenxMtx,
)
from stargazer.tasks import refuse_long_reads
from stargazer.workflows.lanes import called_alike, fullest, identity, same_lane, title, to_be_named

__all__ = ["Lane", "Matrix", "Start", "find_start", "imported_alignment", "intervals_of", "lanes_of", "made_here",
           "matrix_of"]  # fmt: skip

Lane = tuple[R1, R2]
Matrix = TenxH5 | TenxMtx | AnnData
Start = Literal["auto", "reads", "alignment"]


async def find_start(sample: str, start: Start) -> list[Lane] | Alignment:
    """The lanes of a sample, or its alignment; where `start` is auto, the lanes if it has any reads.

    Raises:
        AssetNotFoundError, AmbiguousAssetError, InvalidAssetError: as lanes_of and imported_alignment.
    """
    if start == "alignment":
        return await imported_alignment(sample)
    has_reads = await R1.all(sample=sample) or await R2.all(sample=sample)
    if start == "auto" and not has_reads and await _imported_alignments(sample):
        return await imported_alignment(sample)
    return await lanes_of(sample)


async def lanes_of(sample: str) -> list[Lane]:
    """The read pairs of a sample by library and lane.

    An r2 goes with the r1 that it is linked to or, without a link, with that of its library and lane. Of a file that
    was registered again with more said of it, such as its lane, the fuller record counts.

    Raises:
        AssetNotFoundError: no reads of this sample, or reads without their mates.
        AmbiguousAssetError: several r1 or r2 of one lane.
        InvalidAssetError: a file registered as both r1 and r2, or for two lanes; reads of a platform with long ones.
    """
    first, second = fullest(await R1.all(sample=sample)), fullest(await R2.all(sample=sample))
    if not first and not second:
        known = sorted({r1.sample for r1 in await R1.all()})
        raise AssetNotFoundError(
            f"no reads of sample {sample!r}; the store has reads of {', '.join(map(repr, known)) or 'no sample'}. "
            f"Add them: `stargazer add R1.fq.gz asset=r1 {quote(f'sample={sample}')}`, and the mates with asset=r2"
        )
    first.sort(key=lambda r1: (r1.library or "", r1.lane or ""))
    _check_distinct(first, second)
    lanes = [(r1, _mate(r1, second) or await _lacks_mate(r1)) for r1 in first]
    paired = {id(r2) for _, r2 in lanes}
    for r2 in second:
        if id(r2) not in paired:
            await _lacks_mate(r2)
    for lane in lanes:
        refuse_long_reads(*lane)
    return lanes


async def imported_alignment(sample: str) -> Alignment:
    """The alignment of a sample that was registered, not made here.

    Raises:
        AssetNotFoundError, AmbiguousAssetError: not exactly one.
    """
    found = await _imported_alignments(sample)
    if not found:
        raise AssetNotFoundError(
            f"no registered alignment of sample {sample!r}; add one with `stargazer add FILE.bam asset=alignment "
            f"{quote(f'sample={sample}')}`"
        )
    if len(found) > 1:
        listing = "".join(f"\n  {alignment.cid}" for alignment in found)
        raise AmbiguousAssetError(
            f"{len(found)} registered alignments of sample {sample!r}, exactly one is needed; retract the others with "
            f"`stargazer rm CID`:{listing}"
        )
    return found[0]


async def intervals_of(name: str, build: str) -> Intervals:
    """The one registered interval list of a name; of several, that of a build.

    Raises:
        AssetNotFoundError, AmbiguousAssetError: not exactly one.
        InvalidAssetError: it is of another build.
    """
    of_build = [found for found in await Intervals.all(name=name) if found.build == build]
    chosen = of_build[0] if len(of_build) == 1 else await Intervals.one(name=name)
    if chosen.build not in (None, build):
        raise InvalidAssetError(f"the intervals {name!r} are of build {chosen.build!r}, not {build!r}")
    return chosen


async def matrix_of(sample: str) -> Matrix:
    """The counts of a sample's cells that were registered, not made here.

    Raises:
        AssetNotFoundError, AmbiguousAssetError: not exactly one file of them.
    """
    registered: list[Matrix] = [
        *fullest(await TenxH5.all(sample=sample)),
        *fullest(await TenxMtx.all(sample=sample)),
    ]
    registered += fullest([cells for cells in await AnnData.all(sample=sample) if not await made_here(cells)])
    found = {(matrix.cid, matrix.batch, matrix.condition): matrix for matrix in registered}
    if not found:
        raise AssetNotFoundError(
            f"no counts of sample {sample!r}; add them: `stargazer add filtered_feature_bc_matrix.h5 "
            f"{quote(f'sample={sample}')}`, Cell Ranger's folder of that name, or an h5ad"
        )
    if len(found) > 1:
        listing = "".join(
            f"\n  {matrix.cid} ({matrix.asset_key}{f', batch {matrix.batch!r}' if matrix.batch else ''}; "
            f"id {identity(matrix)})"
            for matrix in found.values()
        )
        raise AmbiguousAssetError(
            f"{len(found)} files of counts of sample {sample!r}, exactly one is needed; retract the others with "
            f"`stargazer rm CID`, or their ids:{listing}"
        )
    return next(iter(found.values()))


async def _lacks_mate(reads: R1 | R2) -> NoReturn:
    """Say where the mates of reads are, if they are registered otherwise, or that they are to be added.

    Raises:
        AssetNotFoundError: always.
    """
    other = "r2" if isinstance(reads, R1) else "r1"
    begins = f"{_named(reads)}: no {other} goes with {reads.asset_key} {reads.cid}; "
    for mate in await _registered_otherwise(reads):
        says_less = (reads.sample, reads.library) == (mate.sample, mate.library) and not reads.lane
        command = same_lane(reads, mate) if says_less else same_lane(mate, reads)
        if mate.sample != reads.sample:
            name = quote(mate.record.name) if mate.record and mate.record.name else f"{other.upper()}.fq.gz"
            command = (
                f"register that file for sample {reads.sample!r} too, `stargazer add {name} {_pairs(reads, other)}`; "
                f"both registrations count then. Only if it was wrong that the file is of sample {mate.sample!r}: "
                f"{command} takes it away from sample {mate.sample!r}"
            )
        raise AssetNotFoundError(
            f"{begins}{title(mate)} may be it, which is registered for {_named(mate)}: {command}"
        )
    raise AssetNotFoundError(
        f"{begins}add it with `stargazer add {other.upper()}.fq.gz {_pairs(reads, other)}`"
    )


async def _registered_otherwise(reads: R1 | R2) -> Sequence[R1 | R2]:
    """The mates by the link or, without one, those of the sample that are called alike."""
    if isinstance(reads, R1):
        linked = fullest(await R2.all(r1_cid=reads.cid)) if reads.cid else []
        of_sample = fullest(await R2.all(sample=reads.sample))
        return linked or [r2 for r2 in of_sample if not r2.r1_cid and called_alike(reads, r2)]
    if reads.r1_cid:
        return fullest(await R1.all(cid=reads.r1_cid))
    return [r1 for r1 in fullest(await R1.all(sample=reads.sample)) if called_alike(r1, reads)]


def _mate(r1: R1, second: list[R2]) -> R2 | None:
    linked = [r2 for r2 in second if r2.r1_cid == r1.cid]
    alike = [r2 for r2 in second if not r2.r1_cid and (r2.library, r2.lane) == (r1.library, r1.lane)]
    fitting = linked or alike
    if not fitting:
        return None
    if len(fitting) > 1:
        raise AmbiguousAssetError(
            f"{_named(r1)}: {len(fitting)} r2 files; take back all but one, with `stargazer rm` and the id:"
            + "".join(f"\n  {title(r2)}: `stargazer rm {identity(r2)}`" for r2 in fitting)
        )
    if fitting[0].cid == r1.cid:
        raise InvalidAssetError(
            f"{_named(r1)}: r1 and r2 are the same file, {title(r1)}; take back the wrong one, "
            f"`stargazer rm {identity(fitting[0])}` (r2) or `stargazer rm {identity(r1)}` (r1), and add the right "
            f"file: `stargazer add R2.fq.gz {_pairs(r1, 'r2')}`"
        )
    return fitting[0]


def _check_distinct(first: list[R1], second: list[R2]) -> None:
    """Refuse one file as two lanes, and two files as one."""
    ends: tuple[Sequence[R1 | R2], ...] = (first, second)
    for reads in ends:
        for number, one in enumerate(reads):
            for other in reads[:number]:
                if one.cid == other.cid:
                    raise InvalidAssetError(_twice(one, other, [*first, *second]))
    for r1 in first:
        same = [other for other in first if (other.library, other.lane) == (r1.library, r1.lane)]
        if len(same) > 1:
            raise AmbiguousAssetError(f"{_named(r1)}: {to_be_named(same, first, second)}")


def _twice(one: R1 | R2, other: R1 | R2, reads: Sequence[R1 | R2]) -> str:
    """What to say of one file that is registered as two lanes."""
    later, earlier = (one, other) if _age(one) >= _age(other) else (other, one)
    lane = [each for each in reads if (each.library, each.lane) == (later.library, later.lane)]
    ids = " ".join(identity(each) for each in lane)
    return (
        f"{_named(later)}: its {later.asset_key} is that of lane {earlier.lane!r}, {title(later)}; take back the lane "
        f"that it is not: `stargazer rm --all {ids}` takes back lane {later.lane!r}, which was registered later"
    )


def _age(reads: R1 | R2) -> str:
    return reads.record.created_at if reads.record else ""


def _named(reads: R1 | R2) -> str:
    given = {"sample": reads.sample, "library": reads.library, "lane": reads.lane}
    return ", ".join(f"{name} {value!r}" for name, value in given.items() if value) + (
        "" if reads.lane else ", no lane given"
    )


def _pairs(reads: R1 | R2, key: str) -> str:
    given = {"asset": key, "sample": reads.sample, "library": reads.library, "lane": reads.lane}
    return " ".join(quote(f"{name}={value}") for name, value in given.items() if value)


async def _imported_alignments(sample: str) -> list[Alignment]:
    return fullest([found for found in await Alignment.all(sample=sample) if not await made_here(found)])


async def made_here(asset: Asset) -> bool:
    """Whether a task made an asset, rather than somebody registered it."""
    return bool(await ProvenanceDocument.all(cid=asset.provenance_cid or "", kind="execution"))
