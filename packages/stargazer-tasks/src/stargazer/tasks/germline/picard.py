"""Tasks of Picard's tools, run through GATK: unaligned reads, sorting, duplicates, validation, metrics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

from stargazer.assets import (
    R1,
    R2,
    Alignment,
    DuplicateMetrics,
    Intervals,
    KnownSites,
    QcReport,
    Reference,
    ToolError,
    Variants,
)
from stargazer.tasks.environments import gatk_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.germline.alignment import MarkedDuplicates, read_group_fields
from stargazer.tasks.tools import current_session, expect, gatk, picard

__all__ = ["VariantCallingMetrics", "collect_alignment_summary_metrics", "collect_insert_size_metrics",
           "collect_variant_calling_metrics", "collect_wgs_metrics", "fastq_to_sam", "mark_duplicates",
           "merge_bam_alignment", "sort_sam", "validate_sam"]  # fmt: skip

BYTES = ("--USE_JDK_DEFLATER", "true")
"""The same compressed bytes on every processor: Intel's library writes others on another generation of it."""

QUIET = ("--VERBOSITY", "WARNING", "--QUIET", "true")

LENIENT = ("--VALIDATION_STRINGENCY", "SILENT")
"""Records that break the SAM specification are read as GATK's own tools read them; validate_sam counts them."""

STARTED = "# Started on:"


class VariantCallingMetrics(NamedTuple):
    """Counts of calls against known sites, of all samples together and of each."""

    summary: QcReport
    detail: QcReport


@gatk_env.task
async def fastq_to_sam(r1: R1, r2: R2) -> Alignment:
    """The reads of one read group as an unaligned BAM sorted by name (Picard FastqToSam).

    Raises:
        ToolError: the reads are no FASTQ, are truncated, or do not pair.
        InvalidAssetError: a name that cannot be in a read group.
    """
    bam = workspace() / "unaligned.bam"
    group = read_group_fields(r1)
    await gatk("FastqToSam", "-F1", r1.path, "-F2", r2.path, "-O", bam, "-RG", group["ID"], "-SM", group["SM"],
               "-LB", group["LB"], "-PL", group["PL"], "-PU", group["PU"], *BYTES, *QUIET)  # fmt: skip
    return Alignment(path=expect(bam, by="FastqToSam"), sample=r1.sample, library=r1.library, lane=r1.lane,
                     sorted_by="queryname")  # fmt: skip


@gatk_env.task
async def merge_bam_alignment(unaligned: Alignment, aligned: Alignment, reference: Reference) -> Alignment:
    """The aligned reads with what only the unaligned ones say of them, by coordinate (Picard MergeBamAlignment).

    The options are those of GATK's best practices (https://github.com/broadinstitute/warp).

    Args:
        unaligned: of the same reads, sorted by name (fastq_to_sam).
        reference: indexed, with its dictionary.
    """
    bam = workspace() / "merged.bam"
    await gatk("MergeBamAlignment", "--UNMAPPED_BAM", unaligned.path, "--ALIGNED_BAM", aligned.path, "-O", bam,
               "-R", reference.path, "--SORT_ORDER", "coordinate", "--EXPECTED_ORIENTATIONS", "FR",
               "--CLIP_ADAPTERS", "false", "--MAX_INSERTIONS_OR_DELETIONS", -1,
               "--PRIMARY_ALIGNMENT_STRATEGY", "MostDistant", "--ALIGNER_PROPER_PAIR_FLAGS", "true",
               "--UNMAP_CONTAMINANT_READS", "true", "--ATTRIBUTES_TO_RETAIN", "X0",
               "--ADD_PG_TAG_TO_READS", "false", *LENIENT, *BYTES, *QUIET)  # fmt: skip
    return aligned.evolve(path=expect(bam, by="MergeBamAlignment"), sorted_by="coordinate")


@gatk_env.task
async def sort_sam(
    alignment: Alignment, sort_order: Literal["coordinate", "queryname"] = "coordinate"
) -> Alignment:
    """Sort by coordinate or by name (Picard SortSam)."""
    bam = workspace() / "sorted.bam"
    await gatk("SortSam", "-I", alignment.path, "-O", bam, "--SORT_ORDER", sort_order, *LENIENT,
               *BYTES, *QUIET)  # fmt: skip
    return alignment.evolve(path=expect(bam, by="SortSam"), sorted_by=sort_order)


@gatk_env.task
async def mark_duplicates(alignments: list[Alignment]) -> MarkedDuplicates:
    """Flag duplicate pairs of a sample, library by library, and join its lanes (Picard MarkDuplicates).

    Args:
        alignments: of one sample, sorted by coordinate, with read groups: duplicates are looked for among the read
            groups of a library, wherever they are.

    Raises:
        ToolError: an alignment is damaged.
    """
    bam, metrics = workspace() / "marked.bam", workspace() / "metrics.txt"
    inputs = [word for alignment in alignments for word in ("-I", alignment.path)]
    await gatk("MarkDuplicates", *inputs, "-O", bam, "-M", metrics, "--PROGRAM_RECORD_ID", "null",
               "--ADD_PG_TAG_TO_READS", "false", "--COMPRESSION_LEVEL", 2, *LENIENT, *BYTES, *QUIET)  # fmt: skip
    libraries = {alignment.library for alignment in alignments}
    marked = alignments[0].evolve(
        path=expect(bam, by="MarkDuplicates"),
        duplicates_marked=True,
        lane=alignments[0].lane if len(alignments) == 1 else None,
        library=libraries.pop() if len(libraries) == 1 else None,
    )
    return MarkedDuplicates(
        marked, DuplicateMetrics(path=_undated(metrics), sample=marked.sample, alignment_cid=marked)
    )


@gatk_env.task
async def validate_sam(alignment: Alignment, reference: Reference | None = None) -> QcReport:
    """Counts of what breaks the SAM specification, by kind (Picard ValidateSamFile, mode SUMMARY).

    What is wrong is in the report and no error; a file that is not read to its end is one.
    """
    report = workspace() / "validation.txt"
    given = ["-R", reference.path] if reference else []
    try:
        await gatk("ValidateSamFile", "-I", alignment.path, "-O", report, *given, "--MODE", "SUMMARY", *QUIET)
    except ToolError:  # also where the file is read, and something in it is wrong
        if not report.exists() or "\nERROR:" not in report.read_text():
            raise
    return QcReport(path=_undated(expect(report, by="ValidateSamFile")), kind="validation", sample=alignment.sample,
                    alignment_cid=alignment)  # fmt: skip


@gatk_env.task
async def collect_alignment_summary_metrics(alignment: Alignment, reference: Reference) -> QcReport:
    """Reads, aligned bases, errors and strand balance, of each end and of pairs (Picard)."""
    report = workspace() / "alignment_summary.txt"
    await gatk("CollectAlignmentSummaryMetrics", "-I", alignment.path, "-O", report, "-R", reference.path,
               *LENIENT, *QUIET)  # fmt: skip
    return _report(report, "alignment_summary_metrics", alignment)


@gatk_env.task(tools=[picard])
async def collect_insert_size_metrics(alignment: Alignment) -> QcReport:
    """Insert sizes of pairs in bases, with their histogram (Picard CollectInsertSizeMetrics).

    Its plot is left out: that would need R. An alignment without pairs gives a report without figures.
    """
    report = workspace() / "insert_size.txt"
    stand_in = workspace() / "bin" / "Rscript"
    stand_in.parent.mkdir()
    stand_in.write_text("#!/bin/sh\n")
    stand_in.chmod(0o755)
    session = current_session()
    path = os.pathsep.join([str(stand_in.parent), session.process_environment().get("PATH", os.defpath)])
    session.environment = {**session.environment, "PATH": path}
    await picard("CollectInsertSizeMetrics", "-I", alignment.path, "-O", report, "-H", workspace() / "plot.pdf",
                 *LENIENT, *QUIET)  # fmt: skip
    if not report.exists():  # Picard writes nothing without pairs, and is content
        report.write_text("## no pairs\n")
    return _report(report, "insert_size_metrics", alignment)


@gatk_env.task
async def collect_wgs_metrics(
    alignment: Alignment, reference: Reference, intervals: Intervals | None = None, sample_size: int = 10_000
) -> QcReport:
    """Coverage by bases of good quality, and what was left out of it and why (Picard CollectWgsMetrics).

    Args:
        reference: indexed, with its dictionary.
        intervals: the bases that are looked at; all of the reference by default.
        sample_size: the draws for each depth that tell how well heterozygous SNVs would be seen. They take nearly all
            of the time where the genome is small.
    """
    report = workspace() / "wgs.txt"
    chosen: list[str | Path] = []
    if intervals:
        chosen = ["--INTERVALS", workspace() / "chosen.interval_list"]
        await gatk("BedToIntervalList", "-I", intervals.path, "-O", chosen[1], "-SD", reference.path, *QUIET)
    await gatk("CollectWgsMetrics", "-I", alignment.path, "-O", report, "-R", reference.path,
               "--SAMPLE_SIZE", sample_size, *chosen, *LENIENT, *QUIET)  # fmt: skip
    return _report(report, "wgs_metrics", alignment)


@gatk_env.task
async def collect_variant_calling_metrics(
    variants: Variants, known_sites: KnownSites
) -> VariantCallingMetrics:
    """Counts of calls, known and new, Ti/Tv, and het/hom by sample (Picard CollectVariantCallingMetrics).

    Args:
        variants, known_sites: indexed.
    """
    prefix = workspace() / "calls"
    await gatk(
        "CollectVariantCallingMetrics", "-I", variants.path, "--DBSNP", known_sites.path, "-O", prefix, *QUIET
    )
    summary, detail = (
        QcReport(
            path=_undated(
                expect(f"{prefix}.variant_calling_{kind}_metrics", by="CollectVariantCallingMetrics")
            ),
            kind=f"variant_calling_{kind}_metrics",
            sample=variants.only_sample,
            variants_cid=variants,
        )
        for kind in ("summary", "detail")
    )
    return VariantCallingMetrics(summary, detail)


def _report(path: Path, kind: str, alignment: Alignment) -> QcReport:
    return QcReport(
        path=_undated(expect(path, by=kind)), kind=kind, sample=alignment.sample, alignment_cid=alignment
    )


def _undated(path: Path) -> Path:
    """The same metrics without the time at which they were made."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(STARTED)))
    return path
