"""Alignments to variants: call jointly, gather, normalise, filter, index, and count."""

from __future__ import annotations

from stargazer.assets import Alignment, Intervals, QcReport, Reference, Variants, VariantsIndex
from stargazer.tasks.checks.headers import variants_header
from stargazer.tasks.checks.indexes import needs_csi
from stargazer.tasks.environments import htslib_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.tools import expect
from stargazer.tasks.tools.bcftools import bcftools

__all__ = ["call_variants", "filter_variants", "gather_variants", "index_variants", "normalise_variants",
           "variant_stats"]  # fmt: skip


@htslib_env.task(tools=[bcftools])
async def call_variants(
    alignments: list[Alignment], reference: Reference, intervals: Intervals | None = None
) -> Variants:
    """Call SNVs and indels jointly over indexed alignments (`bcftools mpileup | bcftools call -m -v`).

    One record for each site at which any sample differs from the reference, with allele depths (Li, 2011,
    doi:10.1093/bioinformatics/btr509). The profile for Illumina reads calls indels from the consensus of the reads.

    Args:
        alignments: of one sample each, indexed.
        reference: indexed by samtools_faidx.
        intervals: where to call; everywhere by default.
    """
    calls = workspace() / "calls.vcf.gz"
    regions = ["-R", intervals.path] if intervals else []
    await (
        bcftools("mpileup", "--no-version", "-X", "illumina", "-f", reference.path, "-a", "FORMAT/AD,FORMAT/DP",
                 *regions, "-Ou", *(alignment.path for alignment in alignments))
        | bcftools("call", "--no-version", "-m", "-v", "-Oz", "-o", calls)
    )  # fmt: skip
    return Variants(
        path=expect(calls, by="bcftools call"),
        samples=sorted({alignment.sample for alignment in alignments}),
        reference_cid=reference,
        caller="bcftools",
    )


@htslib_env.task(tools=[bcftools])
async def gather_variants(parts: list[Variants]) -> Variants:
    """Join calls of consecutive intervals (`bcftools concat`)."""
    joined = workspace() / "joined.vcf.gz"
    await bcftools("concat", "--no-version", "-Oz", "-o", joined, *(part.path for part in parts))
    return parts[0].evolve(path=expect(joined, by="bcftools concat"))


@htslib_env.task(tools=[bcftools])
async def normalise_variants(variants: Variants, reference: Reference) -> Variants:
    """Left-align indels and check reference alleles (`bcftools norm`; Tan 2015, doi:10.1093/bioinformatics/btv112)."""
    normalised = workspace() / "normalised.vcf.gz"
    await bcftools("norm", "--no-version", "-f", reference.path, "-Oz", "-o", normalised, variants.path)
    return variants.evolve(path=expect(normalised, by="bcftools norm"), normalised=True)


@htslib_env.task(tools=[bcftools])
async def filter_variants(variants: Variants, exclude: str = "QUAL<30", name: str = "LowQual") -> Variants:
    """Mark calls that meet an expression with a name in FILTER, and the others PASS (`bcftools filter -s -e`)."""
    filtered = workspace() / "filtered.vcf.gz"
    await bcftools("filter", "--no-version", "-s", name, "-e", exclude, "-Oz", "-o", filtered, variants.path)
    return variants.evolve(path=expect(filtered, by="bcftools filter"), filtered=True)


@htslib_env.task(tools=[bcftools])
async def index_variants(variants: Variants) -> VariantsIndex:
    """Offsets for random access to calls (`bcftools index`): TBI, or CSI for long contigs."""
    assert variants.path is not None
    index = workspace() / "variants.index"
    kind = "--csi" if needs_csi(variants_header(variants.path).contigs) else "--tbi"
    await bcftools("index", kind, "-o", index, variants.path)
    return VariantsIndex(path=expect(index, by="bcftools index"), variants_cid=variants)


@htslib_env.task(tools=[bcftools])
async def variant_stats(variants: Variants) -> QcReport:
    """Counts by type, transitions and transversions, indel lengths, depth, per sample (`bcftools stats -s -`)."""
    report = workspace() / "stats.txt"
    await bcftools("stats", "-s", "-", variants.path, stdout=report)
    return QcReport(path=expect(report, by="bcftools stats"), kind="variant_stats", sample=variants.only_sample,
                    variants_cid=variants)  # fmt: skip
