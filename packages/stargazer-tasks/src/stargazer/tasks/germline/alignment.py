"""Tasks from reads to alignments: align, sort, merge lanes, mark duplicates, index, count."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from stargazer.assets import (
    R1,
    R2,
    AlignerIndex,
    Alignment,
    AlignmentIndex,
    DuplicateMetrics,
    Intervals,
    InvalidAssetError,
    QcReport,
    Reference,
    ToolError,
)
from stargazer.assets.formats import name_of
from stargazer.tasks.aligner_index import index_prefix
from stargazer.tasks.checks.headers import sam_contigs
from stargazer.tasks.checks.indexes import needs_csi
from stargazer.tasks.checks.reads import LONG_READS
from stargazer.tasks.environments import align_env, htslib_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.quality import mapped_reads
from stargazer.tasks.regions import contigs_of, fai_of, read_bed
from stargazer.tasks.tools import Command, bwa, bwa_mem3, call, current_session, expect, samtools

__all__ = ["MarkedDuplicates", "align_with_bwa", "align_with_bwa_mem3", "alignment_stats", "check_pairs",
           "coverage_stats", "flagstat", "group_id", "index_alignment", "markdup", "merge_lanes", "read_group",
           "read_group_fields", "refuse_long_reads", "sort_alignment"]  # fmt: skip

BATCH_BASES = 10_000_000
"""Bases that bwa reads at once: fixed, so that the result is the same for any number of threads."""

ID_CHARACTERS = "!#$&'()*+,/;<=>?@[]^_`{|}~\""
"""Allowed in the ID of a read group, beside letters, digits and `.-_`; others, and what parts the ID, are escaped."""

DEEPEST = 1_000_000
"""Reads at a place up to which `samtools stats` counts each depth apart."""


class MarkedDuplicates(NamedTuple):
    """An alignment whose duplicates carry the flag 0x400, and how many there are."""

    alignment: Alignment
    metrics: DuplicateMetrics


def read_group(r1: R1) -> str:
    """The @RG line of reads as aligners take it, tabs written as backslash t (SAM specification, section 1.3).

    ID is `sample:lane` or `sample:library:lane`, percent-encoded where it must be: one for each lane.

    Raises:
        InvalidAssetError: a name with a backslash, which aligners would take for an escape.
    """
    return "\\t".join(["@RG", *(f"{tag}:{value}" for tag, value in read_group_fields(r1).items())])


def read_group_fields(r1: R1) -> dict[str, str]:
    """The fields of the read group of reads, by their tags.

    Raises:
        InvalidAssetError: as read_group.
    """
    lane = [r1.library, r1.lane or ""] if r1.library else [r1.lane] if r1.lane else []
    fields = {
        "ID": group_id(r1.sample, *lane),
        "SM": r1.sample,
        "LB": r1.library or r1.sample,
        "PL": r1.platform,
        "PU": r1.lane or r1.sample,
    }
    for tag, value in fields.items():
        if "\\" in value:
            raise InvalidAssetError(f"the reads of {r1.sample!r}: {value!r} cannot be the {tag} of a read group, where "
                                    "a backslash is an escape; register them under another name")  # fmt: skip
    return fields


def group_id(*parts: str) -> str:
    """The ID of a read group of what it is of, percent-encoded where it must be."""
    return ":".join(quote(part, safe=ID_CHARACTERS) for part in parts)


@align_env.task(tools=[bwa_mem3, samtools])
async def align_with_bwa_mem3(
    r1: R1, r2: R2, index: AlignerIndex, soft_clip_supplementary: bool = False
) -> Alignment:
    """Align the read pairs of one read group with BWA-MEM and sort by coordinate.

    The records are those of `bwa mem` with the mate tags of `samtools fixmate -m`, which marking duplicates needs.

    Args:
        soft_clip_supplementary: keep all bases of a read in each part of it that is aligned apart (`-Y`), as GATK's
            best practices have it: HaplotypeCaller looks at clipped bases.

    Raises:
        ToolError: the reads are no FASTQ, are truncated, or do not pair; the message names file and record. Or fewer
            records were sorted than the aligner gave.
        FormatError: the index is not one of bwa-mem3.
        InvalidAssetError: long reads; a name that cannot be in a read group.
    """
    refuse_long_reads(r1, r2)
    count = workspace() / "count.txt"
    mem = bwa_mem3(
        "mem",
        *(["-Y"] if soft_clip_supplementary else []),
        "-t",
        current_session().threads,
        "--count",
        count,
        "-R",
        read_group(r1),
        index_prefix(index),
        r1.path,
        r2.path,
    )
    aligned = await _sorted(mem, r1, index)
    await _check_count(aligned, int(count.read_text()), "bwa_mem3")
    return aligned


@align_env.task(tools=[bwa, samtools])
async def align_with_bwa(
    r1: R1, r2: R2, index: AlignerIndex, soft_clip_supplementary: bool = False
) -> Alignment:
    """As align_with_bwa_mem3, with the original bwa from PATH and its own index.

    The reads are checked first: bwa takes what is truncated or does not pair for shorter files.

    Raises:
        FormatError: the reads are no FASTQ, are truncated, or do not pair; or the index is not one of bwa.
        InvalidAssetError: long reads; a name that cannot be in a read group.
        ToolError: bwa is not on PATH, failed, or gave fewer records than there are reads.
    """
    refuse_long_reads(r1, r2)
    pairs = r1.path, r2.path
    plain, count = await call(check_pairs, r1=r1.path, r2=r2.path)
    if not plain:
        pairs = workspace() / "plain_R1.fq", workspace() / "plain_R2.fq"
        await call(write_plain, r1=r1.path, r2=r2.path, plain_r1=pairs[0], plain_r2=pairs[1])
    threads = current_session().threads
    soft_clip = ["-Y"] if soft_clip_supplementary else []
    mem = bwa(
        "mem", *soft_clip, "-t", threads, "-K", BATCH_BASES, "-R", read_group(r1), index_prefix(index), *pairs
    )
    aligned = await _sorted(mem, r1, index)
    await _check_count(aligned, 2 * count, "bwa", more=True)
    return await _without_programs(aligned)


async def _without_programs(aligned: Alignment) -> Alignment:
    """The same alignment without @PG lines: bwa's holds the number of threads. Provenance has the commands."""
    header, bare = workspace() / "header.sam", workspace() / "bare.bam"
    lines = (await samtools("view", "-H", "--no-PG", aligned.path).text()).splitlines(keepends=True)
    header.write_text("".join(line for line in lines if not line.startswith("@PG\t")))
    await samtools("reheader", "--no-PG", header, aligned.path, stdout=bare)
    return aligned.evolve(path=expect(bare, by="samtools reheader"))


async def _check_count(aligned: Alignment, count: int, aligner: str, *, more: bool = False) -> None:
    """Notice a tool that stopped early and said that all is well: by the index, which was written with the alignment.

    Args:
        count: records that there must be.
        more: or more: an aligner that does not tell gives a primary record for each read, and parts of some.

    Raises:
        ToolError: there are other records.
    """
    lines = (await samtools("idxstats", aligned.path).text()).splitlines()
    found = sum(
        int(mapped) + int(unmapped) for _, _, mapped, unmapped in (line.split("\t") for line in lines)
    )
    if found < count or (found > count and not more):
        least = "at least " if more else ""
        raise ToolError(
            f"{aligner}, samtools fixmate or samtools sort stopped early without saying so: {found:,} records are in "
            f"the alignment of {aligned.sample!r}, expected {least}{count:,}; nothing was registered. Run it again; if "
            "it happens again, see whether these tools are whole: `stargazer doctor`"
        )


def check_pairs(r1: str, r2: str) -> tuple[bool, int]:
    """Read two FASTQ files to the end: whether bwa reads them as they are meant (see `write_plain`), and their pairs.

    Raises:
        FormatError: they are no FASTQ, are truncated, or differ in length or names; the message names file and record.
    """
    from stargazer.tasks.tools.engines.bwa_mem3 import read_pairs

    plain, count = True, 0
    for count, (name, *mates) in enumerate(read_pairs(r1, r2), 1):  # noqa: B007
        plain = plain and all(_is_plain(name, line, bases) for line, bases, _ in mates)
    return plain, count


def write_plain(r1: str, r2: str, plain_r1: str, plain_r2: str) -> None:
    """Write read pairs for bwa: mates get their common name, of which it drops /1 and /2 alone, and - becomes N.

    With a - among the bases its lines end there.
    """
    from stargazer.tasks.tools.engines.bwa_mem3 import read_pairs

    with open(plain_r1, "wb") as first, open(plain_r2, "wb") as second:
        for name, *mates in read_pairs(r1, r2):
            for file, (_, bases, qualities) in zip((first, second), mates, strict=True):
                file.write(b"@%b\n%b\n+\n%b\n" % (name, bases.replace(b"-", b"N"), qualities))


def _is_plain(name: bytes, line: bytes, bases: bytes) -> bool:
    given = name_of(line)
    return given in (name, name + b"/" + given[-1:]) and b"-" not in bases


def refuse_long_reads(r1: R1, r2: R2) -> None:
    """Refuse what BWA-MEM, as it is set for short reads, would align badly: for workflows, before anything starts.

    Raises:
        InvalidAssetError: the reads are of a platform that makes long ones.
    """
    if r1.platform.upper() in LONG_READS:
        raise InvalidAssetError(
            f"the reads of {r1.sample!r} are of {r1.platform}, and BWA-MEM is set for short reads here: align them "
            "with minimap2, and call them with a caller for long reads (Clair3, DeepVariant). If they are short, "
            f"correct their platform: `stargazer amend {r1.cid} {r2.cid} platform=ILLUMINA`"
        )


async def _sorted(mem: Command, r1: R1, index: AlignerIndex) -> Alignment:
    """What an aligner prints, with mate tags, sorted by coordinate."""
    bam = workspace() / "aligned.bam"
    await (
        mem
        | samtools("fixmate", "--no-PG", "-m", "-p", "-u", "-", "-")
        | samtools("sort", "--no-PG", "-l", 1, "-@", current_session().threads - 1, "-m", "512M",
                   "-T", workspace() / "sort", "--write-index", "-o", bam, "-")
    )  # fmt: skip
    return Alignment(
        path=expect(bam, by="samtools sort"),
        sample=r1.sample,
        library=r1.library,
        lane=r1.lane,
        reference_cid=index.reference_cid,
        sorted_by="coordinate",
    )


@htslib_env.task(tools=[samtools])
async def merge_lanes(alignments: list[Alignment]) -> Alignment:
    """One coordinate-sorted alignment of several of one sample, each with its read groups (`samtools merge`).

    Raises:
        InvalidAssetError: they are of several samples.
    """
    samples = {alignment.sample for alignment in alignments}
    if len(samples) != 1:
        raise InvalidAssetError(f"merge_lanes takes lanes of one sample, got {', '.join(sorted(samples))}")
    libraries = {alignment.library for alignment in alignments}
    merged = workspace() / "merged.bam"
    await samtools(
        "merge", "--no-PG", "-c", "-l", 1, "-o", merged, *(alignment.path for alignment in alignments)
    )
    library = libraries.pop() if len(libraries) == 1 else None
    return alignments[0].evolve(path=expect(merged, by="samtools merge"), lane=None, library=library)


@htslib_env.task(tools=[samtools])
async def markdup(alignment: Alignment) -> MarkedDuplicates:
    """Flag duplicate pairs of one library, in a coordinate-sorted alignment with mate scores (`samtools markdup`).

    Flags that are there are cleared first: else the read that they leave could be taken for a copy of one of them.
    """
    bam, metrics = workspace() / "marked.bam", workspace() / "metrics.txt"
    await samtools("markdup", "--no-PG", "-c", "-f", metrics, "-T", workspace() / "markdup", "-O", "bam,level=2",
                   alignment.path, bam)  # fmt: skip
    marked = alignment.evolve(path=expect(bam, by="samtools markdup"), duplicates_marked=True)
    return MarkedDuplicates(
        marked,
        DuplicateMetrics(
            path=metrics, sample=alignment.sample, library=alignment.library, alignment_cid=marked
        ),
    )


@htslib_env.task(tools=[samtools])
async def sort_alignment(alignment: Alignment) -> Alignment:
    """Sort by coordinate (`samtools sort`)."""
    bam = workspace() / "sorted.bam"
    await samtools("sort", "--no-PG", "-m", "512M", "-T", workspace() / "sort", "-o", bam, alignment.path)
    return alignment.evolve(path=expect(bam, by="samtools sort"), sorted_by="coordinate")


@htslib_env.task(tools=[samtools])
async def index_alignment(alignment: Alignment) -> AlignmentIndex:
    """Offsets for random access to a coordinate-sorted alignment (`samtools index`): BAI, or CSI for long contigs.

    Raises:
        ToolError: it is not sorted by coordinate, or damaged.
    """
    index = workspace() / "alignment.index"
    header = await samtools("view", "-H", alignment.path).text()
    kind = ["-c"] if needs_csi(sam_contigs(header)) else []
    await samtools("index", *kind, "-o", index, alignment.path)
    return AlignmentIndex(path=expect(index, by="samtools index"), alignment_cid=alignment)


@htslib_env.task(tools=[samtools])
async def flagstat(alignment: Alignment) -> QcReport:
    """Counts of reads by flag (`samtools flagstat`), as JSON; that of the mapped ones is in the metadata too."""
    report = workspace() / "flagstat.json"
    await samtools("flagstat", "-O", "json", alignment.path, stdout=report)
    return QcReport(path=expect(report, by="samtools flagstat"), kind="flagstat", sample=alignment.sample,
                    library=alignment.library, lane=alignment.lane, mapped_reads=mapped_reads(report),
                    alignment_cid=alignment)  # fmt: skip


@htslib_env.task(tools=[samtools])
async def alignment_stats(alignment: Alignment, reference: Reference) -> QcReport:
    """Lengths, qualities, insert sizes, coverage and errors (`samtools stats`)."""
    report = workspace() / "stats.txt"
    await samtools("stats", "-c", f"1,{DEEPEST},1", "-r", reference.path, alignment.path, stdout=report)
    return QcReport(path=expect(report, by="samtools stats"), kind="samtools_stats", sample=alignment.sample,
                    library=alignment.library, lane=alignment.lane, alignment_cid=alignment)  # fmt: skip


@htslib_env.task(tools=[samtools])
async def coverage_stats(
    alignment: Alignment, reference: Reference, intervals: Intervals | None = None
) -> QcReport:
    """How many bases are how deep, duplicates left out (`samtools stats -d`): of intervals, or of all that has reads.

    Args:
        reference: indexed by samtools_faidx.
        intervals: where to look; everywhere by default.

    Raises:
        FormatError: intervals outside the reference.
    """
    report, targets = workspace() / "coverage.txt", workspace() / "targets.txt"
    within: list[str | Path] = []
    if intervals:
        assert intervals.path is not None
        regions = read_bed(intervals.path, contigs_of(fai_of(reference)), intervals.name)
        # samtools counts these from one, both ends included
        targets.write_text("".join(f"{contig}\t{start + 1}\t{end}\n" for contig, start, end in regions))
        within = ["-t", targets]
    await samtools("stats", "-d", "-c", f"1,{DEEPEST},1", *within, alignment.path, stdout=report)
    return QcReport(path=expect(report, by="samtools stats"), kind="coverage", sample=alignment.sample,
                    alignment_cid=alignment)  # fmt: skip
