"""Reads to alignments: align, merge lanes, mark duplicates, index, and what there is to say about them."""

from __future__ import annotations

from typing import NamedTuple

from stargazer.assets import (
    R1,
    R2,
    AlignerIndex,
    Alignment,
    AlignmentIndex,
    DuplicateMetrics,
    InvalidAssetError,
    QcReport,
    Reference,
)

from stargazer.tasks.environments import align_env, htslib_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.regions import contigs_of
from stargazer.tasks.tools import current_session, expect
from stargazer.tasks.tools.aligners import bwa, bwa_mem3
from stargazer.tasks.tools.samtools import samtools

__all__ = ["MarkedDuplicates", "align_with_bwa", "align_with_bwa_mem3", "alignment_stats", "check_alignment",
           "flagstat", "index_alignment", "mark_duplicates", "merge_lanes", "read_group", "sort_alignment"]  # fmt: skip

BATCH_BASES = 10_000_000


class MarkedDuplicates(NamedTuple):
    """An alignment whose duplicates carry the flag 0x400, and how many there are."""

    alignment: Alignment
    metrics: DuplicateMetrics


def read_group(r1: R1) -> str:
    """The @RG line of reads as aligners take it, tabs written as backslash t (SAM specification, section 1.3)."""
    library, lane = r1.library or r1.sample, r1.lane or "1"
    fields = {
        "ID": ".".join([r1.sample, library, lane]) if r1.library else f"{r1.sample}.{lane}",
        "SM": r1.sample,
        "LB": library,
        "PL": r1.platform,
        "PU": lane,
    }
    return "\\t".join(["@RG", *(f"{tag}:{value}" for tag, value in fields.items())])


def _aligned(r1: R1, index: AlignerIndex) -> Alignment:
    return Alignment(
        path=workspace() / "aligned.bam",
        sample=r1.sample,
        library=r1.library,
        lane=r1.lane,
        reference_cid=index.reference_cid,
        sorted_by="coordinate",
    )


@align_env.task(tools=[bwa_mem3, samtools])
async def align_with_bwa_mem3(r1: R1, r2: R2, index: AlignerIndex) -> Alignment:
    """Align the read pairs of one read group, fill in mate tags, sort by coordinate.

    The records are those of `bwa mem`. Mate scores (`samtools fixmate -m`) are what marking duplicates needs.

    Raises:
        ToolError: the reads are no FASTQ, are truncated, or do not pair; the message names file and record.
    """
    aligned = _aligned(r1, index)
    threads = current_session().threads
    await (
        bwa_mem3("mem", "-t", threads, "-R", read_group(r1), index.path / "index", r1.path, r2.path)
        | samtools("fixmate", "--no-PG", "-m", "-u", "-", "-")
        | samtools("sort", "--no-PG", "-l", 1, "-@", threads - 1, "-m", "512M", "-T", workspace() / "sort",
                   "-o", aligned.path, "-")
    )  # fmt: skip
    expect(aligned.path, by="samtools sort")
    return aligned


@align_env.task(tools=[bwa, samtools])
async def align_with_bwa(r1: R1, r2: R2, index: AlignerIndex) -> Alignment:
    """As align_with_bwa_mem3, with the original bwa from PATH and its own index."""
    aligned = _aligned(r1, index)
    threads = current_session().threads
    await (
        bwa("mem", "-t", threads, "-K", BATCH_BASES, "-R", read_group(r1), index.path / "index", r1.path, r2.path)
        | samtools("fixmate", "--no-PG", "-m", "-u", "-", "-")
        | samtools("sort", "--no-PG", "-l", 1, "-@", threads - 1, "-m", "512M", "-T", workspace() / "sort",
                   "-o", aligned.path, "-")
    )  # fmt: skip
    expect(aligned.path, by="samtools sort")
    return aligned


@htslib_env.task(tools=[samtools])
async def merge_lanes(alignments: list[Alignment]) -> Alignment:
    """One coordinate-sorted alignment of all lanes of a sample, each with its read group (`samtools merge`)."""
    samples = {alignment.sample for alignment in alignments}
    if len(samples) != 1:
        raise InvalidAssetError(f"merge_lanes takes lanes of one sample, got {', '.join(sorted(samples))}")
    libraries = {alignment.library for alignment in alignments}
    merged = workspace() / "merged.bam"
    await samtools("merge", "--no-PG", "-l", 1, "-o", merged, *(alignment.path for alignment in alignments))
    library = libraries.pop() if len(libraries) == 1 else None
    return alignments[0].evolve(path=expect(merged, by="samtools merge"), lane=None, library=library)


@htslib_env.task(tools=[samtools])
async def mark_duplicates(alignment: Alignment) -> MarkedDuplicates:
    """Flag duplicate pairs of a coordinate-sorted alignment that has mate scores (`samtools markdup`)."""
    bam, metrics = workspace() / "marked.bam", workspace() / "metrics.txt"
    await samtools("markdup", "--no-PG", "-f", metrics, "-T", workspace() / "markdup", "-O", "bam,level=2",
                   alignment.path, bam)  # fmt: skip
    marked = alignment.evolve(path=expect(bam, by="samtools markdup"), duplicates_marked=True)
    return MarkedDuplicates(
        marked, DuplicateMetrics(path=metrics, sample=alignment.sample, alignment_cid=marked)
    )


@htslib_env.task(tools=[samtools])
async def sort_alignment(alignment: Alignment) -> Alignment:
    """Sort by coordinate (`samtools sort`)."""
    bam = workspace() / "sorted.bam"
    await samtools("sort", "--no-PG", "-T", workspace() / "sort", "-o", bam, alignment.path)
    return alignment.evolve(path=expect(bam, by="samtools sort"), sorted_by="coordinate")


@htslib_env.task(tools=[samtools])
async def index_alignment(alignment: Alignment) -> AlignmentIndex:
    """Offsets for random access to a coordinate-sorted alignment (`samtools index`)."""
    index = workspace() / "alignment.bai"
    await samtools("index", "-o", index, alignment.path)
    return AlignmentIndex(path=expect(index, by="samtools index"), alignment_cid=alignment)


@htslib_env.task(tools=[samtools])
async def check_alignment(alignment: Alignment, reference: Reference) -> Alignment:
    """Hand on an alignment from elsewhere, once it fits the reference and the sample it claims.

    Raises:
        InvalidAssetError: contigs that differ in length or with reads but not in the reference, no common contig,
            or read groups of another sample.
    """
    header = await samtools("view", "-H", alignment.path).text()
    lines = [dict(field.split(":", 1) for field in line.split("\t")[1:] if ":" in field) | {"type": line[:3]}
             for line in header.splitlines()]  # fmt: skip
    known = contigs_of(reference.path.with_name(reference.path.name + ".fai"))
    found = {line["SN"]: int(line["LN"]) for line in lines if line["type"] == "@SQ"}
    if not set(found) & set(known):
        raise InvalidAssetError(
            f"the alignment of {alignment.sample} and the reference {reference.build} have no contig in common: "
            f"{', '.join(list(found)[:3])} ... and {', '.join(list(known)[:3])} ...; it was aligned to another build"
        )
    for contig, length in found.items():
        if known.get(contig, length) != length:
            raise InvalidAssetError(
                f"the alignment of {alignment.sample} was made with another reference than {reference.build}: contig "
                f"{contig!r} has {length} bases there and {known[contig]} here"
            )
    counts = (line.split("\t") for line in (await samtools("idxstats", alignment.path).text()).splitlines())
    strange = [contig for contig, _, mapped, *_ in counts if int(mapped) and contig not in known and contig != "*"]
    if strange:
        raise InvalidAssetError(
            f"the alignment of {alignment.sample} has reads on {', '.join(strange[:3])}, which the reference "
            f"{reference.build} does not have"
        )
    samples = {line.get("SM", "") for line in lines if line["type"] == "@RG"}
    if samples != {alignment.sample}:
        named = ", ".join(sorted(filter(None, samples))) or "no sample"
        raise InvalidAssetError(
            f"the read groups of the alignment registered for {alignment.sample!r} name {named}; register it under that "
            "name, or correct its header with `samtools addreplacerg`"
        )
    return alignment


@htslib_env.task(tools=[samtools])
async def flagstat(alignment: Alignment) -> QcReport:
    """Counts of reads by flag (`samtools flagstat`), as JSON."""
    report = workspace() / "flagstat.json"
    await samtools("flagstat", "-O", "json", alignment.path, stdout=report)
    return QcReport(path=expect(report, by="samtools flagstat"), kind="flagstat", sample=alignment.sample,
                    alignment_cid=alignment)  # fmt: skip


@htslib_env.task(tools=[samtools])
async def alignment_stats(alignment: Alignment, reference: Reference) -> QcReport:
    """Lengths, qualities, insert sizes, coverage and errors (`samtools stats`)."""
    report = workspace() / "stats.txt"
    await samtools("stats", "-r", reference.path, alignment.path, stdout=report)
    return QcReport(path=expect(report, by="samtools stats"), kind="samtools_stats", sample=alignment.sample,
                    alignment_cid=alignment)  # fmt: skip
