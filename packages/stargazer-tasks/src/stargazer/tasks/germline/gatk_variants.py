"""Tasks that change calls with GATK: filter, select, merge, normalise."""

from __future__ import annotations

from typing import Literal

from stargazer.assets import Intervals, InvalidAssetError, Reference, Variants
from stargazer.tasks.environments import gatk_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.germline.genotypes import PLAIN, IndexedVariants, indexed
from stargazer.tasks.tools import bcftools, expect, gatk

__all__ = ["left_align_and_trim", "merge_vcfs", "select_variants", "variant_filtration"]

Kind = Literal["SNP", "INDEL", "MIXED", "MNP", "SYMBOLIC", "NO_VARIATION"]


@gatk_env.task
async def variant_filtration(variants: Variants, filters: dict[str, str]) -> IndexedVariants:
    """Mark calls by hard filters, and the others PASS (GATK VariantFiltration).

    Args:
        filters: by the name that goes into FILTER, the JEXL expression that marks: `{"QD2": "QD < 2.0"}`. One about an
            annotation that a call lacks does not mark it.

    Raises:
        ToolError: an expression that cannot be read.
    """
    target = workspace() / "filtered.vcf.gz"
    given = [word for name, expression in filters.items()
             for word in ("--filter-name", name, "--filter-expression", expression)]  # fmt: skip
    await gatk("VariantFiltration", "-V", variants.path, "-O", target, *given, *PLAIN)
    return indexed(
        variants.evolve(path=expect(target, by="VariantFiltration"), filtered=True), by="VariantFiltration"
    )


@gatk_env.task
async def select_variants(
    variants: Variants,
    select_type: list[Kind] | None = None,
    exclude_filtered: bool = False,
    samples: list[str] | None = None,
    intervals: Intervals | None = None,
) -> IndexedVariants:
    """Those of the calls that are of some types, pass, are of some samples, or lie in intervals (GATK SelectVariants).

    Args:
        variants: indexed, if intervals are given.
        select_type: all of them by default.
        exclude_filtered: only calls that pass their filters, or were never filtered.
        samples: only their genotypes, and the sites where one of them has a variant.

    Raises:
        InvalidAssetError: a sample that the calls do not have.
    """
    if strange := sorted(set(samples or []) - set(variants.samples)):
        raise InvalidAssetError(
            f"the calls have no sample {strange[0]!r}; they have {', '.join(variants.samples)}"
        )
    target = workspace() / "selected.vcf.gz"
    await gatk("SelectVariants", "-V", variants.path, "-O", target,
               *(word for kind in select_type or [] for word in ("--select-type-to-include", kind)),
               *(["--exclude-filtered", "true"] if exclude_filtered else []),
               *(word for sample in samples or [] for word in ("-sn", sample)),
               *(["--exclude-non-variants", "true"] if samples else []),
               *(["-L", intervals.path] if intervals else []), *PLAIN)  # fmt: skip
    chosen = sorted(samples) if samples else variants.samples
    return indexed(
        variants.evolve(path=expect(target, by="SelectVariants"), samples=chosen), by="SelectVariants"
    )


@gatk_env.task
async def merge_vcfs(parts: list[Variants]) -> IndexedVariants:
    """Join calls, or the GVCF, of the same samples in several intervals, sorted (Picard MergeVcfs)."""
    target = workspace() / "merged.vcf.gz"
    await gatk("MergeVcfs", *(word for part in parts for word in ("-I", part.path)), "-O", target,
               "--USE_JDK_DEFLATER", "true", "--VERBOSITY", "WARNING", "--QUIET", "true")  # fmt: skip
    return indexed(parts[0].evolve(path=expect(target, by="MergeVcfs")), by="MergeVcfs")


@gatk_env.task(tools=[gatk, bcftools])
async def left_align_and_trim(variants: Variants, reference: Reference) -> IndexedVariants:
    """Write indels as far left and as short as can be (GATK LeftAlignAndTrimVariants).

    Tan 2015, doi:10.1093/bioinformatics/btv112.

    Args:
        reference: indexed, with its dictionary.
    """
    aligned, header, target = (
        workspace() / name for name in ("aligned.vcf.gz", "header.vcf", "normalised.vcf.gz")
    )
    await gatk("LeftAlignAndTrimVariants", "-R", reference.path, "-V", variants.path, "-O", aligned, *PLAIN)
    lines = (await bcftools("view", "--no-version", "-h", expect(aligned, by="GATK")).text()).splitlines(
        keepends=True
    )
    header.write_text("".join(_with_cid(line, reference) for line in lines))
    await bcftools("reheader", "-h", header, "-o", target, aligned)
    await bcftools("index", "--tbi", expect(target, by="bcftools reheader"))
    return indexed(variants.evolve(path=target, normalised=True), by="bcftools index")


def _with_cid(line: str, reference: Reference) -> str:
    """A line of a header, the path of the reference replaced by its CID."""
    return f"##reference=ipfs://{reference.cid}\n" if line.startswith("##reference=") else line
