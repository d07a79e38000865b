"""Tasks that recalibrate base qualities by what differs from the reference where no variant is known (GATK BQSR)."""

from __future__ import annotations

import shutil
from pathlib import Path

from stargazer.assets import Alignment, BqsrReport, Intervals, KnownSites, KnownSitesIndex, Reference
from stargazer.assets.formats import first_bytes, is_bgzf, opened
from stargazer.tasks.checks.headers import bam_header
from stargazer.tasks.environments import gatk_env, htslib_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.tools import bcftools, expect, gatk

__all__ = [
    "apply_bqsr",
    "base_recalibrator",
    "compress_known_sites",
    "gather_bqsr_reports",
    "index_feature_file",
]


@htslib_env.task(tools=[bcftools])
async def compress_known_sites(known_sites: KnownSites) -> KnownSites:
    """Known sites as bgzip VCF, which can be indexed (`bcftools view`); those that are so are handed on."""
    assert known_sites.path is not None
    if is_bgzf(first_bytes(known_sites.path)[0]) and known_sites.path.name.endswith(".vcf.gz"):
        return known_sites
    compressed = workspace() / "known_sites.vcf.gz"
    await bcftools("view", "--no-version", "-Oz", "-o", compressed, _readable(known_sites.path))
    return known_sites.evolve(path=expect(compressed, by="bcftools view"))


def _readable(path: Path) -> Path:
    """The same VCF for bcftools, which takes no tab after the last column's name; old files of dbSNP have one."""
    with opened(path) as lines:
        header = []
        for line in lines:
            header.append(line)
            if not line.startswith(b"##"):
                break
        if not header or not header[-1].rstrip(b"\r\n").endswith(b"\t"):
            return path
        readable = workspace() / "readable.vcf"
        with open(readable, "wb") as copy:
            copy.writelines([*header[:-1], header[-1].rstrip() + b"\n"])
            shutil.copyfileobj(lines, copy)
    return readable


@gatk_env.task
async def index_feature_file(known_sites: KnownSites) -> KnownSitesIndex:
    """Offsets for random access to known sites in a bgzip VCF: TBI (GATK IndexFeatureFile).

    Raises:
        ToolError: they are not sorted, or no bgzip VCF (compress_known_sites).
    """
    index = workspace() / "known_sites.vcf.gz.tbi"
    await gatk("IndexFeatureFile", "-I", known_sites.path, "-O", index)
    return KnownSitesIndex(path=expect(index, by="IndexFeatureFile"), known_sites_cid=known_sites)


@gatk_env.task
async def base_recalibrator(
    alignment: Alignment,
    reference: Reference,
    known_sites: list[KnownSites],
    intervals: Intervals | None = None,
    compute_indel_bqsr_tables: bool = False,
    enable_baq: bool = False,
) -> BqsrReport:
    """Count mismatches by reported quality, cycle and context, apart from known sites (GATK BaseRecalibrator).

    Args:
        alignment: sorted by coordinate and indexed, duplicates marked.
        reference: indexed, with its dictionary.
        known_sites: indexed.
        intervals: whole contigs; all of them by default. A contig in parts would count the reads across each cut twice.
        compute_indel_bqsr_tables, enable_baq: as of the tool.

    Reads of which nothing says the platform are taken for those of Illumina.

    Raises:
        ToolError: the known sites are of another reference.
    """
    table = workspace() / "recalibration.table"
    known = [word for sites in known_sites for word in ("--known-sites", sites.path)]
    await gatk("BaseRecalibrator", "-R", reference.path, "-I", alignment.path, *known, "-O", table,
               *(["-L", intervals.path] if intervals else []),
               *(["--compute-indel-bqsr-tables", "true"] if compute_indel_bqsr_tables else []),
               *(["--enable-baq", "true"] if enable_baq else []), *_default_platform(alignment))  # fmt: skip
    return BqsrReport(
        path=expect(table, by="BaseRecalibrator"), sample=alignment.sample, alignment_cid=alignment
    )


def _default_platform(alignment: Alignment) -> list[str]:
    """What to take reads for whose read group names no platform: GATK refuses them otherwise."""
    assert alignment.path is not None
    unnamed = any(not group.get("PL") for group in bam_header(alignment.path).read_groups)
    return ["--default-platform", "ILLUMINA"] if unnamed else []


@gatk_env.task
async def gather_bqsr_reports(reports: list[BqsrReport]) -> BqsrReport:
    """One table of those of several sets of contigs of an alignment (GATK GatherBQSRReports)."""
    table = workspace() / "recalibration.table"
    await gatk(
        "GatherBQSRReports", *(word for report in reports for word in ("-I", report.path)), "-O", table
    )
    return reports[0].evolve(path=expect(table, by="GatherBQSRReports"))


@gatk_env.task
async def apply_bqsr(alignment: Alignment, reference: Reference, report: BqsrReport) -> Alignment:
    """Write base qualities anew by a recalibration table (GATK ApplyBQSR).

    Args:
        alignment: that the table was made of.
        reference: indexed, with its dictionary.
    """
    bam = workspace() / "recalibrated.bam"
    await gatk("ApplyBQSR", "-R", reference.path, "-I", alignment.path, "--bqsr-recal-file", report.path, "-O", bam,
               "--create-output-bam-index", "false", "--add-output-sam-program-record", "false",
               "--use-jdk-deflater", "true")  # fmt: skip
    return alignment.evolve(path=expect(bam, by="ApplyBQSR"), recalibrated=True)
