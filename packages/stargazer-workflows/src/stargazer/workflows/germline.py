"""The workflows of germline short variants: from reads or alignments of samples to filtered, indexed calls."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from stargazer.assets import (
    AlignerIndex,
    Alignment,
    AlignmentIndex,
    DuplicateMetrics,
    Intervals,
    InvalidAssetError,
    KnownSites,
    QcReport,
    Reference,
    Variants,
    VariantsIndex,
)
from stargazer.assets.keyvalues import composed
from stargazer.tasks import (
    MAX_DEPTH,
    CheckedAlignment,
    IndexedVariants,
    MarkedDuplicates,
    align_with_bwa,
    align_with_bwa_mem3,
    alignment_stats,
    call_variants,
    check_alignment,
    check_max_depth,
    check_ploidy,
    coverage_stats,
    filter_variants,
    flagstat,
    gather_variants,
    index_alignment,
    index_variants,
    mark_duplicates,
    markdup,
    merge_lanes,
    normalise_variants,
    sequence_dictionary,
    sort_alignment,
    split_intervals,
    split_libraries,
    summarise_germline,
    variant_stats,
)
from stargazer.workflows.best_practices import (
    HARD_FILTERS,
    Caller,
    call_with_gatk,
    chosen_caller,
    compare_with_dbsnp,
    indexed_sites,
    known_sites_of,
    recalibrate,
)
from stargazer.workflows.environments import parallel, workflow_env
from stargazer.workflows.inputs import Lane, Start, find_start, intervals_of, lanes_of
from stargazer.workflows.reference import Aligner, Indexer, PreparedReference, prepare_reference
from stargazer.workflows.report import germline_report, lineage_steps

__all__ = ["GermlineCalls", "PreprocessedSample", "germline_short_variant_discovery", "preprocess_sample"]

FILTER = "QUAL<30"
FILTERS = {"LowQual": FILTER, "InDeletion": "in a deletion of all copies of every sample that has the call"}
"""By name, what marks a call of bcftools."""

READS_A_PIECE = 100_000
"""Mapped reads, of all samples, for each piece of the reference that is called apart."""


class PreprocessedSample(NamedTuple):
    """One alignment of all lanes of a sample, indexed, duplicates marked, with its statistics.

    `metrics` has an item for each library whose duplicates were marked here: none where an alignment from elsewhere
    says that they are. `checks` has what was changed in an alignment from elsewhere, and what it lacks. `lanes` has the
    flagstat and the statistics of each lane, where there are several.
    """

    alignment: Alignment
    alignment_index: AlignmentIndex
    metrics: list[DuplicateMetrics]
    flagstat: QcReport
    stats: QcReport
    checks: list[QcReport]
    lanes: list[QcReport]


class MarkedSample(NamedTuple):
    """A sample with its duplicates marked, before base qualities are recalibrated; fields as of PreprocessedSample."""

    alignment: Alignment
    metrics: list[DuplicateMetrics]
    checks: list[QcReport]
    lanes: list[QcReport]


class GermlineCalls(NamedTuple):
    """Filtered calls of all samples with their index, the alignments they rest on, a QC summary, and a page of it.

    `gvcfs` has one for each sample that GATK called.
    """

    variants: Variants
    variants_index: VariantsIndex
    alignments: list[Alignment]
    gvcfs: list[Variants]
    stats: QcReport
    summary: QcReport
    report: QcReport


@workflow_env.task
async def preprocess_sample(
    sample: str,
    build: str,
    contigs: list[str] | None = None,
    aligner: Aligner = "bwa-mem3",
    indexer: Indexer = "wheel",
    caller: Caller = "auto",
) -> PreprocessedSample:
    """Align every lane of a sample, mark duplicates library by library, merge, index and count.

    Args:
        sample: whose reads are registered as r1 and r2, one pair of files a lane.
        build: of the reference.
        contigs, aligner, indexer: as for prepare_reference.
        caller: as for germline_short_variant_discovery: for GATK, base qualities are recalibrated too.

    Raises:
        AssetNotFoundError: no reads of this sample, or a lane without its mates.
        AmbiguousAssetError: two files of the same lane.
    """
    lanes = await lanes_of(sample)
    prepared = await prepare_reference(build, contigs, aligner, indexer)
    if chosen_caller(caller)[0] == "gatk":
        return await _for_gatk(lanes, prepared, await known_sites_of(build, prepared, [sample]), None)
    return await _from_reads(lanes, prepared)


@workflow_env.task
async def germline_short_variant_discovery(
    samples: list[str],
    build: str,
    start: Start = "auto",
    intervals: str | None = None,
    contigs: list[str] | None = None,
    aligner: Aligner = "bwa-mem3",
    indexer: Indexer = "wheel",
    ploidy: list[str] | None = None,
    sex: list[str] | None = None,
    max_depth: int = MAX_DEPTH,
    caller: Caller = "auto",
) -> GermlineCalls:
    """Call, normalise and filter SNVs and indels of one or several samples, jointly.

    With GATK: its best practices for germline short variants. Base qualities are recalibrated with the known sites
    that are registered for the build (`asset=known_sites build=...`), if there are any; each sample gets a GVCF; hard
    filters mark calls. With bcftools: calls from the pile of reads, which takes less time and finds fewer long indels.

    Args:
        samples: their names, as registered with their reads or alignments.
        build: of the reference.
        start: from reads, from a registered alignment, or (auto) from reads where a sample has any.
        intervals: name of registered intervals to call in; the whole reference by default.
        contigs, aligner, indexer: as for prepare_reference.
        ploidy: copies of a contig where they are not two: chrM:1, by sex chrX:M:1,chrY:M:1,chrY:F:0, or GRCh37 or
            GRCh38 for chrM, chrX and chrY of these.
        sex: of the samples, as NA12891:M,NA12892:F.
        max_depth: reads of a sample that bcftools looks at in one place; where there are more, the summary says so.
        caller: gatk, bcftools, or (auto) GATK where it is installed; the summary says which.

    Raises:
        InvalidAssetError: no sample, or an alignment that does not fit the reference or the build; a ploidy, sex or
            depth that cannot be.
        AssetNotFoundError, AmbiguousAssetError: a sample, reference or intervals that cannot be found, or not one only.
    """
    samples, sex = composed(samples), composed(sex)  # as they are registered
    if not samples:
        raise InvalidAssetError("give at least one sample: samples=NA12878")
    check_max_depth(max_depth)
    by, why = chosen_caller(caller)
    if by == "gatk" and max_depth != MAX_DEPTH:
        raise InvalidAssetError(
            "max_depth= is for caller=bcftools: GATK chooses reads in its own way; leave it out"
        )
    if len(set(samples)) != len(samples):
        raise InvalidAssetError(f"samples names one twice: {', '.join(samples)}")
    found = await parallel([find_start(sample, start) for sample in samples])
    from_reads = any(isinstance(each, list) for each in found)
    if contigs and not all(isinstance(each, list) for each in found):
        raise InvalidAssetError("contigs= chooses what reads are aligned to; to call an alignment in parts of the "
                                "reference only, register them as BED and give intervals=NAME")  # fmt: skip
    chosen = await intervals_of(intervals, build) if intervals else None
    prepared = await prepare_reference(build, contigs, aligner if from_reads else "none", indexer)
    reference = prepared.reference
    # Intervals and ploidies are checked here, before the hours of aligning.
    pieces = await split_intervals(reference, chosen) if chosen else [None]
    if ploidy or sex:
        await check_ploidy(reference, samples, ploidy or [], sex or [])
    known: list[KnownSites] = []
    if by == "gatk":
        known = await known_sites_of(build, prepared, samples)
        ready = await parallel([_for_gatk(each, prepared, known, chosen) for each in found])
        alignments = [sample.alignment for sample in ready]
        calling = call_with_gatk(alignments, prepared, chosen, ploidy or [], sex or [])
    else:
        ready = await parallel(
            [
                _from_alignment(each, prepared)
                if isinstance(each, Alignment)
                else _from_reads(each, prepared)
                for each in found
            ]
        )
        alignments = [sample.alignment for sample in ready]
        if (count := _pieces([sample.flagstat for sample in ready])) > 1:
            pieces = await split_intervals(reference, chosen, count)
        calling = _call_with_bcftools(alignments, reference, pieces, ploidy, sex, max_depth)
    ((filtered, index), gvcfs), coverage = await parallel(
        (calling, parallel([coverage_stats(alignment, reference, chosen) for alignment in alignments]))
    )
    stats = await variant_stats(filtered)
    compared = await compare_with_dbsnp(filtered, known)
    settings = {
        "caller": by,
        "why_this_caller": why,
        "aligner": aligner if from_reads else "",
        "contigs": contigs or [],
        "ploidy": ploidy or [],
        "sex": sex or [],
        "max_depth": max_depth,
        "filters": HARD_FILTERS if by == "gatk" else FILTERS,
        "known_sites": [sites.name for sites in known],
    }
    summary, report = await _reported(filtered, stats, ready, prepared, chosen, settings, coverage, compared)
    return GermlineCalls(filtered, index, alignments, gvcfs, stats, summary, report)


async def _call_with_bcftools(
    alignments: list[Alignment],
    reference: Reference,
    pieces: Sequence[Intervals | None],
    ploidy: list[str] | None,
    sex: list[str] | None,
    max_depth: int,
) -> tuple[IndexedVariants, list[Variants]]:
    """Joint calls, normalised and filtered; and no GVCF, which bcftools does not need."""
    called = await parallel(
        [call_variants(alignments, reference, piece, ploidy, sex, max_depth) for piece in pieces]
    )
    gathered = called[0] if len(called) == 1 else await gather_variants(called)
    filtered: Variants = await filter_variants(await normalise_variants(gathered, reference), exclude=FILTER)
    return IndexedVariants(filtered, await index_variants(filtered)), []


async def _reported(
    variants: Variants,
    stats: QcReport,
    ready: list[PreprocessedSample],
    prepared: PreparedReference,
    chosen: Intervals | None,
    settings: dict[str, Any],
    coverage: list[QcReport],
    picard: list[QcReport],
) -> tuple[QcReport, QcReport]:
    """The summary of a run, and the page that shows it.

    Args:
        chosen: where was called, if not everywhere.
        settings: of the caller, as summarise_germline takes them.
        picard: metrics of the calls, if there are any.
    """
    reference = prepared.reference
    summary = await summarise_germline(
        variants,
        stats,
        [sample.flagstat for sample in ready],
        [sample.stats for sample in ready],
        reference,
        prepared.report,
        [check for sample in ready for check in sample.checks],
        {
            **settings,
            "intervals": chosen.name if chosen else "",
            "marked_elsewhere": [
                sample.alignment.sample for sample in ready if sample.checks and not sample.metrics
            ],
        },
        coverage,
        [report for sample in ready for report in sample.lanes],
        [metrics for sample in ready for metrics in sample.metrics],
        picard,
    )
    return summary, await germline_report(summary, await lineage_steps(summary))


async def _aligned(
    lanes: list[Lane], prepared: PreparedReference, soft_clip_supplementary: bool = False
) -> list[Alignment]:
    assert prepared.aligner_index is not None
    index: AlignerIndex = prepared.aligner_index
    align = align_with_bwa if index.aligner == "bwa" else align_with_bwa_mem3
    return await parallel([align(r1, r2, index, soft_clip_supplementary) for r1, r2 in lanes])


async def _for_gatk(
    found: list[Lane] | Alignment,
    prepared: PreparedReference,
    known: list[KnownSites],
    intervals: Intervals | None,
) -> PreprocessedSample:
    """A sample as GATK's best practices have it before calling, from its lanes or an alignment from elsewhere."""
    sample, indexed = await parallel((_marked_for_gatk(found, prepared), indexed_sites(known)))
    recalibrated = await recalibrate(sample.alignment, prepared, indexed, intervals)
    counted = await _counted(recalibrated, prepared, sample.metrics, sample.checks)
    return counted._replace(lanes=sample.lanes)


async def _marked_for_gatk(found: list[Lane] | Alignment, prepared: PreparedReference) -> MarkedSample:
    checks: list[QcReport] = []
    metrics: list[DuplicateMetrics] = []
    is_marked = False
    if isinstance(found, Alignment):
        checked, is_marked, report = await _checked(found, prepared)
        checks = [report]
        parts = [checked if checked.sorted_by == "coordinate" else await sort_alignment(checked)]
    else:
        parts = await _aligned(found, prepared, soft_clip_supplementary=True)
    several = parts if len(parts) > 1 else []  # of one lane, the figures are those of the sample
    counting = _counted_lanes(several, prepared.reference)
    if is_marked:
        return MarkedSample(parts[0], metrics, checks, await counting)
    marked, lanes = await parallel((mark_duplicates(parts), counting))
    return MarkedSample(marked.alignment, [marked.metrics], checks, lanes)


async def _from_reads(lanes: list[Lane], prepared: PreparedReference) -> PreprocessedSample:
    aligned = await _aligned(lanes, prepared)
    libraries = [list(group) for _, group in itertools.groupby(aligned, key=lambda lane: lane.library)]
    several = aligned if len(aligned) > 1 else []  # of one lane, the figures are those of the sample
    ready, counted = await parallel(
        (_ready(libraries, prepared), _counted_lanes(several, prepared.reference))
    )
    return ready._replace(lanes=counted)


async def _marked(library: list[Alignment]) -> MarkedDuplicates:
    marked: MarkedDuplicates = await markdup(await _merged(library))
    return marked


async def _merged(alignments: list[Alignment]) -> Alignment:
    return alignments[0] if len(alignments) == 1 else await merge_lanes(alignments)


async def _checked(alignment: Alignment, prepared: PreparedReference) -> CheckedAlignment:
    """An alignment from elsewhere that fits the reference."""
    reference = prepared.reference
    own = alignment.reference_cid if isinstance(alignment.reference_cid, str) else None
    others = await Reference.all(cid=own) if own not in (None, reference.cid) else []
    for field, wanted in (("reference_cid", reference.cid), ("build", reference.build)):
        given = getattr(alignment, field)
        if given not in (None, wanted) and not others and own != reference.cid:
            raise InvalidAssetError(
                f"the alignment of {alignment.sample!r} is registered with {field}={given}, and the reference "
                f"{reference.build} has {wanted}: run with build= of the reference that it was aligned to"
            )
    # of another reference the sequences count: it may differ in the order of its contigs, or have some more
    aligned_to = await sequence_dictionary(others[0]) if others else None
    checked: CheckedAlignment = await check_alignment(alignment, reference, prepared.dictionary, aligned_to)
    return checked


async def _from_alignment(alignment: Alignment, prepared: PreparedReference) -> PreprocessedSample:
    checked, duplicates_marked, report = await _checked(alignment, prepared)
    if not duplicates_marked:
        libraries = [[library] for library in await split_libraries(checked)]
        return await _ready(libraries, prepared, [report])
    ready = checked if checked.sorted_by == "coordinate" else await sort_alignment(checked)
    return await _counted(ready, prepared, [], [report])


async def _ready(
    libraries: list[list[Alignment]], prepared: PreparedReference, checks: Sequence[QcReport] = ()
) -> PreprocessedSample:
    """Libraries of one sample with their duplicates marked, as one alignment."""
    marked = await parallel([_marked(library) for library in libraries])
    alignment = await _merged([library.alignment for library in marked])
    return await _counted(alignment, prepared, [library.metrics for library in marked], checks)


async def _counted(
    alignment: Alignment,
    prepared: PreparedReference,
    metrics: list[DuplicateMetrics],
    checks: Sequence[QcReport],
) -> PreprocessedSample:
    index, flags, stats = await parallel(
        (index_alignment(alignment), flagstat(alignment), alignment_stats(alignment, prepared.reference))
    )
    return PreprocessedSample(alignment, index, metrics, flags, stats, list(checks), [])


async def _counted_lanes(lanes: list[Alignment], reference: Reference) -> list[QcReport]:
    both = [(flagstat(lane), alignment_stats(lane, reference)) for lane in lanes]
    reports: list[QcReport] = await parallel([report for pair in both for report in pair])
    return reports


def _pieces(flagstats: list[QcReport]) -> int:
    """In how many pieces to call: work follows the reads, not the bases of the reference."""
    return max(1, round(sum(report.mapped_reads or 0 for report in flagstats) / READS_A_PIECE))
