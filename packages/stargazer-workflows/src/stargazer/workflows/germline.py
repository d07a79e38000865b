"""Germline short variants: from reads or alignments of one or several samples to filtered, indexed calls."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, NamedTuple

from stargazer.assets import (
    R1,
    R2,
    AlignerIndex,
    Alignment,
    AlignmentIndex,
    AmbiguousAssetError,
    AssetNotFoundError,
    DuplicateMetrics,
    Intervals,
    InvalidAssetError,
    QcReport,
    Reference,
    Variants,
    VariantsIndex,
)
from stargazer.tasks.germline.alignment import (
    align_with_bwa,
    align_with_bwa_mem3,
    alignment_stats,
    check_alignment,
    flagstat,
    index_alignment,
    mark_duplicates,
    merge_lanes,
    sort_alignment,
)
from stargazer.tasks.germline.variants import (
    call_variants,
    filter_variants,
    gather_variants,
    index_variants,
    normalise_variants,
    variant_stats,
)
from stargazer.tasks.reference import split_intervals
from stargazer.tasks.reports import summarise_germline

from stargazer.workflows.environments import workflow_env
from stargazer.workflows.parallel import parallel
from stargazer.workflows.reference import Aligner, Indexer, prepare_reference

__all__ = ["GermlineCalls", "PreprocessedSample", "germline_short_variant_discovery", "preprocess_sample"]

FILTER = "QUAL<30"


class PreprocessedSample(NamedTuple):
    """One alignment of all lanes of a sample, indexed, duplicates marked, with its statistics.

    `metrics` is None for an alignment from elsewhere, whose duplicates are left as they are.
    """

    alignment: Alignment
    index: AlignmentIndex
    metrics: DuplicateMetrics | None
    flagstat: QcReport
    stats: QcReport


class GermlineCalls(NamedTuple):
    """Filtered calls of all samples with their index, the alignments they rest on, and a QC summary."""

    variants: Variants
    index: VariantsIndex
    alignments: list[Alignment]
    stats: QcReport
    summary: QcReport


@workflow_env.task
async def preprocess_sample(
    sample: str,
    build: str,
    contigs: list[str] | None = None,
    aligner: Aligner = "bwa-mem3",
    indexer: Indexer = "wheel",
) -> PreprocessedSample:
    """Align every lane of a sample, merge, mark duplicates, index and count.

    Args:
        sample: whose reads are registered as r1 and r2, one pair of files a lane.
        build: of the reference.
        contigs, aligner, indexer: as for prepare_reference.

    Raises:
        AssetNotFoundError: no reads of this sample, or a lane without its mates.
        AmbiguousAssetError: two files of the same lane.
    """
    prepared = await prepare_reference(build, contigs, aligner, indexer)
    assert prepared.aligner_index is not None
    return await _from_reads(sample, prepared.reference, prepared.aligner_index)


@workflow_env.task
async def germline_short_variant_discovery(
    samples: list[str],
    build: str,
    start: Literal["auto", "reads", "alignment"] = "auto",
    intervals: str | None = None,
    contigs: list[str] | None = None,
    aligner: Aligner = "bwa-mem3",
    indexer: Indexer = "wheel",
) -> GermlineCalls:
    """Call, normalise and filter SNVs and indels of one or several samples, jointly.

    Args:
        samples: their names, as registered with their reads or alignments.
        build: of the reference.
        start: from reads, from a registered alignment, or (auto) from reads where a sample has any.
        intervals: name of registered intervals to call in; the whole reference by default.
        contigs, aligner, indexer: as for prepare_reference.

    Raises:
        InvalidAssetError: no sample, or an alignment that does not fit the reference.
        AssetNotFoundError, AmbiguousAssetError: a sample, reference or intervals that cannot be found, or not one only.
    """
    if not samples:
        raise InvalidAssetError("give at least one sample: samples=NA12878")
    if len(set(samples)) != len(samples):
        raise InvalidAssetError(f"samples names one twice: {', '.join(samples)}")
    starts = dict(zip(samples, await parallel([_start(sample, start) for sample in samples]), strict=True))
    chosen = await Intervals.one(name=intervals) if intervals else None
    needed: Aligner = aligner if "reads" in starts.values() else "none"
    prepared = await prepare_reference(build, contigs, needed, indexer)
    reference = prepared.reference
    ready = await parallel(
        [
            _from_reads(sample, reference, prepared.aligner_index)
            if starts[sample] == "reads"
            else _from_alignment(sample, reference)
            for sample in samples
        ]
    )
    alignments = [sample.alignment for sample in ready]
    called = await _call(alignments, reference, chosen)
    normalised = await normalise_variants(called, reference)
    filtered = await filter_variants(normalised, exclude=FILTER)
    index, stats = await parallel([index_variants(filtered), variant_stats(filtered)])
    summary = await summarise_germline(
        filtered, stats, [sample.flagstat for sample in ready], [sample.stats for sample in ready], reference
    )
    return GermlineCalls(filtered, index, alignments, stats, summary)


async def _start(sample: str, start: str) -> str:
    """Where to begin with a sample: at its reads or at its alignment."""
    if start == "auto":
        return "reads" if await R1.all(sample=sample) or not await _imported_alignments(sample) else "alignment"
    return start


async def _from_reads(sample: str, reference: Reference, index: AlignerIndex | None) -> PreprocessedSample:
    assert index is not None
    align = align_with_bwa if index.aligner == "bwa" else align_with_bwa_mem3
    lanes = await parallel([align(r1, r2, index) for r1, r2 in await _lanes(sample)])
    merged = lanes[0] if len(lanes) == 1 else await merge_lanes(lanes)
    marked = await mark_duplicates(merged)
    counted = await _counted(marked.alignment, reference)
    return counted._replace(metrics=marked.metrics)


async def _from_alignment(sample: str, reference: Reference) -> PreprocessedSample:
    found = await _imported_alignments(sample)
    if len(found) != 1:
        error = AmbiguousAssetError if found else AssetNotFoundError
        listing = "".join(f"\n  {alignment.cid}" for alignment in found)
        raise error(
            f"{len(found)} registered alignments of sample {sample!r}, exactly one is needed{listing}\n"
            + (f"retract the others with `stargazer rm CID`" if found else
               f"add one with `stargazer add FILE.bam asset=alignment sample={sample} sorted_by=coordinate`")
        )  # fmt: skip
    alignment = found[0]
    if alignment.reference_cid not in (None, reference.cid):
        raise InvalidAssetError(f"the alignment of {sample!r} names {alignment.reference_cid} as its reference, "
                                f"{reference.build} is {reference.cid}")  # fmt: skip
    if alignment.sorted_by != "coordinate":
        alignment = await sort_alignment(alignment)
    await index_alignment(alignment)
    return await _counted(await check_alignment(alignment, reference), reference)


async def _counted(alignment: Alignment, reference: Reference) -> PreprocessedSample:
    index, flags, stats = await parallel(
        [index_alignment(alignment), flagstat(alignment), alignment_stats(alignment, reference)]
    )
    return PreprocessedSample(alignment, index, None, flags, stats)


async def _call(alignments: list[Alignment], reference: Reference, intervals: Intervals | None) -> Variants:
    pieces = await split_intervals(reference, intervals)
    parts = await parallel([call_variants(alignments, reference, piece) for piece in pieces])
    return parts[0] if len(parts) == 1 else await gather_variants(parts)


async def _imported_alignments(sample: str) -> list[Alignment]:
    """Alignments of a sample that were registered, not made here."""
    from stargazer.assets import ProvenanceDocument

    imports = {document.cid for document in await ProvenanceDocument.all(kind="import")}
    return [alignment for alignment in await Alignment.all(sample=sample) if alignment.provenance_cid in imports]


async def _lanes(sample: str) -> list[tuple[R1, R2]]:
    """The read pairs of a sample, lane by lane."""
    first, second = await R1.all(sample=sample), await R2.all(sample=sample)
    if not first:
        known = sorted({r1.sample for r1 in await R1.all()})
        raise AssetNotFoundError(
            f"no reads of sample {sample!r}; the store has reads of {', '.join(known) if known else 'no sample'}. Add them: "
            f"`stargazer add R1.fq.gz asset=r1 sample={sample}` and the same with r2"
        )
    mates: dict[tuple[str | None, str | None], list[R2]] = defaultdict(list)
    for r2 in second:
        mates[r2.library, r2.lane].append(r2)
    pairs: list[tuple[R1, R2]] = []
    seen: set[tuple[str | None, str | None]] = set()
    for r1 in sorted(first, key=lambda r1: (r1.library or "", r1.lane or "")):
        lane = (r1.library, r1.lane)
        name = f"sample {sample!r}, library {r1.library or '(none)'}, lane {r1.lane or '(none)'}"
        if lane in seen:
            raise AmbiguousAssetError(
                f"{name}: several r1 files; give each a lane of its own (`stargazer add ... lane=L002`), "
                "or retract the wrong one with `stargazer rm CID`"
            )
        seen.add(lane)
        fitting = [r2 for r2 in mates[lane] if r2.r1_cid in (None, r1.cid)]
        if len(fitting) != 1:
            error = AmbiguousAssetError if fitting else AssetNotFoundError
            raise error(f"{name}: {len(fitting)} r2 files go with r1 {r1.cid}, exactly one is needed")
        pairs.append((r1, fitting[0]))
    return pairs
