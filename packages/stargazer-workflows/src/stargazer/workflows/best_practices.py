"""The steps of GATK's best practices for germline short variants: base qualities, GVCFs, joint genotypes, hard filters.

Van der Auwera 2013, doi:10.1002/0471250953.bi1110s43; hard filters:
https://gatk.broadinstitute.org/hc/en-us/articles/360035890471
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from stargazer.assets import (
    Alignment,
    GenomicsDb,
    Intervals,
    InvalidAssetError,
    KnownSites,
    QcReport,
    Variants,
)
from stargazer.tasks import (
    IndexedVariants,
    apply_bqsr,
    base_recalibrator,
    check_for_gatk,
    check_genomics_db,
    collect_variant_calling_metrics,
    combine_gvcfs,
    compress_known_sites,
    gather_bqsr_reports,
    gatk,
    genomics_db_import,
    genotype_gvcfs,
    haplotype_caller,
    index_alignment,
    index_feature_file,
    intervals_by_ploidy,
    left_align_and_trim,
    merge_vcfs,
    split_contigs,
    split_intervals,
    variant_filtration,
)
from stargazer.workflows.environments import parallel
from stargazer.workflows.inputs import made_here
from stargazer.workflows.reference import PreparedReference

__all__ = [
    "HARD_FILTERS",
    "MOST_COMBINED",
    "Caller",
    "call_with_gatk",
    "chosen_caller",
    "compare_with_dbsnp",
    "indexed_sites",
    "known_sites_of",
    "recalibrate",
]

Caller = Literal["auto", "bcftools", "gatk"]

PIECE_BASES = 5_000_000
"""Of the reference or the intervals, that are called apart: the same on every machine, or results would differ."""

MOST_COMBINED = 50
"""Samples up to which CombineGVCFs joins GVCFs; beyond, GenomicsDB does, which needs less memory and time."""

SNV, OTHER = "vc.isSNP()", "!vc.isSNP()"
HARD_FILTERS = {
    "LowQual30": "QUAL < 30.0",
    "SNV_QD2": f"{SNV} && QD < 2.0",
    "SNV_SOR3": f"{SNV} && SOR > 3.0",
    "SNV_FS60": f"{SNV} && FS > 60.0",
    "SNV_MQ40": f"{SNV} && MQ < 40.0",
    "SNV_MQRankSum-12.5": f"{SNV} && MQRankSum < -12.5",
    "SNV_ReadPosRankSum-8": f"{SNV} && ReadPosRankSum < -8.0",
    "Indel_QD2": f"{OTHER} && QD < 2.0",
    "Indel_FS200": f"{OTHER} && FS > 200.0",
    "Indel_ReadPosRankSum-20": f"{OTHER} && ReadPosRankSum < -20.0",
}
"""By name, what marks a call: for SNVs, and for indels with all else."""


def chosen_caller(caller: Caller) -> tuple[Literal["bcftools", "gatk"], str]:
    """The caller of a run, and, where nobody said which, what there is to say of the choice.

    Raises:
        ToolError: GATK is wanted and not installed, or installed in a version that is not accepted.
    """
    if caller == "gatk":
        gatk.resolve()  # before hours of aligning
    if caller != "auto":
        return caller, ""
    if not any(source.find(gatk.name) for source in gatk.ordered()):
        return "bcftools", (
            "Variants were called with bcftools, for GATK is not installed: after `pip install 'stargazer-mcp[gatk]'` "
            "runs follow GATK's best practices, unless they say caller=bcftools."
        )
    return "gatk", "Variants were called with GATK, for it is installed: caller=bcftools calls with bcftools."


async def known_sites_of(build: str, prepared: PreparedReference, samples: Sequence[str]) -> list[KnownSites]:
    """The known sites that are registered for a build; and see that GATK can do what follows, before hours of aligning.

    Raises:
        InvalidAssetError: GATK cannot work with the reference.
        FormatError: known sites of another reference.
        ConfigurationError: more samples than CombineGVCFs can join, on a machine for which there is no GenomicsDB.
    """
    if len(samples) > MOST_COMBINED:
        check_genomics_db()
    registered = [sites for sites in await KnownSites.all(build=build) if not await made_here(sites)]
    known = list({sites.cid: sites for sites in registered}.values())
    await check_for_gatk(prepared.reference, prepared.dictionary, known)
    return known


async def indexed_sites(known: Sequence[KnownSites]) -> list[KnownSites]:
    """Known sites as GATK reads them, each with its index."""
    return await parallel([_indexed(sites) for sites in known])


async def _indexed(known_sites: KnownSites) -> KnownSites:
    compressed: KnownSites = await compress_known_sites(known_sites)
    await index_feature_file(compressed)
    return compressed


async def recalibrate(
    alignment: Alignment, prepared: PreparedReference, known: list[KnownSites], intervals: Intervals | None
) -> Alignment:
    """An alignment with its base qualities recalibrated, contig by contig; as it is without known sites.

    Args:
        alignment: sorted by coordinate, duplicates marked.
        known: indexed.
        intervals: where to learn from; everywhere by default.
    """
    if not known or alignment.recalibrated:
        return alignment
    _, contigs = await parallel((index_alignment(alignment), split_contigs(prepared.reference, intervals)))
    reports = await parallel(
        [base_recalibrator(alignment, prepared.reference, known, each) for each in contigs]
    )
    report = reports[0] if len(reports) == 1 else await gather_bqsr_reports(reports)
    recalibrated: Alignment = await apply_bqsr(alignment, prepared.reference, report)
    return recalibrated


async def call_with_gatk(
    alignments: Sequence[Alignment],
    prepared: PreparedReference,
    intervals: Intervals | None,
    ploidy: list[str],
    sex: list[str],
) -> tuple[IndexedVariants, list[Variants]]:
    """Joint calls of indexed alignments, normalised and filtered, and the GVCF of each sample.

    Raises:
        InvalidAssetError: a sample has no copy of what is to be called.
    """
    reference = prepared.reference
    in_order = sorted(alignments, key=lambda alignment: alignment.sample)
    samples = [alignment.sample for alignment in in_order]
    pieces = await split_intervals(reference, intervals, bases=PIECE_BASES)
    copies: list[dict[str, list[Intervals]]] = [{"2": pieces}] * len(samples)
    if ploidy:
        own = {  # its own sex alone: a sample that joins shall change nothing for the others
            sample: [item for item in sex if item.rpartition(":")[0] in ("", sample)] for sample in samples
        }
        copies = await parallel(
            [
                intervals_by_ploidy(reference, pieces, sample, [sample], ploidy, own[sample])
                for sample in samples
            ]
        )
    gvcfs = await parallel(
        [_gvcf(alignment, prepared, by_copies) for alignment, by_copies in zip(in_order, copies, strict=True)]
    )
    parts = await parallel([_genotyped(gvcfs, prepared, piece, samples) for piece in pieces])
    joint = parts[0] if len(parts) == 1 else (await merge_vcfs(parts)).variants
    normalised = (await left_align_and_trim(joint, reference)).variants
    return await variant_filtration(normalised, HARD_FILTERS), gvcfs


async def compare_with_dbsnp(variants: Variants, known: list[KnownSites]) -> list[QcReport]:
    """Which calls of each sample are known, and Ti/Tv of those and of the new ones, if dbSNP is among the known sites.

    dbSNP is what has that word in its name.
    """
    dbsnp = sorted((sites for sites in known if "dbsnp" in sites.name.lower()), key=lambda sites: sites.name)
    return [
        (await collect_variant_calling_metrics(variants, sites)).detail
        for sites in await indexed_sites(dbsnp[:1])
    ]


async def _gvcf(
    alignment: Alignment, prepared: PreparedReference, by_copies: dict[str, list[Intervals]]
) -> Variants:
    """The GVCF of a sample, from parts of equal ploidy."""
    if not by_copies:
        raise InvalidAssetError(
            f"{alignment.sample!r} has no copy of the intervals to call, by ploidy= and sex=: leave this sample out"
        )
    parts = await parallel(
        [
            haplotype_caller(alignment, prepared.reference, piece, int(copies))
            for copies, pieces in by_copies.items()
            for piece in pieces
        ]
    )
    whole: Variants = (
        parts[0].variants
        if len(parts) == 1
        else (await merge_vcfs([part.variants for part in parts])).variants
    )
    return whole


async def _genotyped(
    gvcfs: list[Variants], prepared: PreparedReference, piece: Intervals, samples: list[str]
) -> Variants:
    """The genotypes of a cohort in one piece."""
    source: Variants | GenomicsDb = gvcfs[0]
    if len(gvcfs) > MOST_COMBINED:
        source = await genomics_db_import(gvcfs, piece)
    elif len(gvcfs) > 1:
        source = (await combine_gvcfs(gvcfs, prepared.reference, piece)).variants
    called: Variants = (await genotype_gvcfs(source, prepared.reference, samples, piece)).variants
    return called
