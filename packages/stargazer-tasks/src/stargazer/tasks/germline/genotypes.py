"""Tasks that call variants with GATK: haplotypes of each sample as GVCF, then the genotypes of a cohort, jointly."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import NamedTuple

from stargazer.assets import (
    Alignment,
    ConfigurationError,
    GenomicsDb,
    Intervals,
    InvalidAssetError,
    KnownSites,
    Reference,
    SequenceDict,
    Variants,
    VariantsIndex,
)
from stargazer.tasks.checks.contigs import compare, some
from stargazer.tasks.checks.headers import sam_contigs, variants_header
from stargazer.tasks.checks.indexes import END, needs_csi
from stargazer.tasks.environments import gatk_env, htslib_env
from stargazer.tasks.execution import pack, workspace
from stargazer.tasks.germline.ploidy import read_ploidy
from stargazer.tasks.regions import contigs_of, fai_of, intersection, read_bed, write_bed
from stargazer.tasks.tools import current_session, expect, gatk

__all__ = ["IndexedVariants", "check_for_gatk", "check_genomics_db", "combine_gvcfs", "genomics_db_import",
           "genotype_gvcfs", "haplotype_caller", "indexed", "intervals_by_ploidy", "reblock_gvcf"]  # fmt: skip

PLAIN = ("--add-output-vcf-command-line", "false", "--use-jdk-deflater", "true")
"""No command with its date in the header, and the same compressed bytes on every processor."""


class IndexedVariants(NamedTuple):
    """A bgzip VCF with its index."""

    variants: Variants
    variants_index: VariantsIndex


def indexed(variants: Variants, by: str) -> IndexedVariants:
    """What a tool of GATK wrote: a VCF, and beside it the index.

    Raises:
        ToolError: it did not.
    """
    assert variants.path is not None
    index = expect(variants.path.with_name(f"{variants.path.name}.tbi"), by=by)
    return IndexedVariants(variants, VariantsIndex(path=index, variants_cid=variants))


@htslib_env.task(tools=[])
async def check_for_gatk(
    reference: Reference, dictionary: SequenceDict, known_sites: list[KnownSites]
) -> None:
    """See that GATK can work with a reference and with known sites, before hours of work.

    Raises:
        InvalidAssetError: a contig that the index of a VCF of GATK does not reach the end of.
        FormatError: known sites of another reference: contigs of other lengths, or none in common.
    """
    assert dictionary.path is not None
    contigs = sam_contigs(dictionary.path.read_text())
    if needs_csi(contigs):
        long = [name for name, contig in contigs.items() if (contig.length or 0) >= END]
        raise InvalidAssetError(
            f"the reference {reference.build} has {some(long)} of {END:,} bases or more, which GATK cannot index: run "
            "with caller=bcftools"
        )
    for sites in known_sites:
        assert sites.path is not None
        header = variants_header(sites.path)
        if found := header.contigs:
            compare(
                f"the list of known sites {sites.name!r}", found, f"the reference {reference.build}", contigs
            )
        elif header.first and header.first not in contigs:
            raise InvalidAssetError(
                f"the list of known sites {sites.name!r} begins on {header.first!r}, which the reference "
                f"{reference.build} lacks; it has {some(contigs)}. Take it back (`stargazer rm {sites.cid}`), "
                "or give it its own build (`stargazer amend`)"
            )


@htslib_env.task(tools=[])
async def intervals_by_ploidy(
    reference: Reference,
    intervals: list[Intervals],
    sample: str,
    samples: list[str],
    ploidy: list[str],
    sex: list[str],
) -> dict[str, list[Intervals]]:
    """The parts of intervals by the copies that a sample has of them: `{"2": [...], "1": [...]}`, none of no copy.

    Args:
        reference: indexed by samtools_faidx.
        samples, ploidy, sex: as for call_variants; `sample` is one of them.

    Raises:
        InvalidAssetError: a ploidy or sex that cannot be read.
    """
    contigs = contigs_of(fai_of(reference))
    table, sexes = read_ploidy(ploidy, sex, samples, contigs)
    rows = [line.split(" ") for line in table.splitlines()]
    own = [row for row in rows if row[3] == sexes[samples.index(sample)] and row[0] in contigs]
    rank = {contig: number for number, contig in enumerate(contigs)}
    by_copies: dict[str, list[Intervals]] = {}
    for number, piece in enumerate(intervals):
        assert piece.path is not None
        regions = read_bed(piece.path, contigs, piece.name)
        parts: dict[int, list[tuple[str, int, int]]] = {}
        for contig, first, last, _, copies in own:
            parts.setdefault(int(copies), []).append((contig, int(first) - 1, int(last)))
        named = [region for each in parts.values() for region in each]
        chosen = {copies: intersection(regions, each) for copies, each in parts.items()}
        chosen[2] = sorted([*chosen.get(2, []), *intersection(regions, named, inverse=True)],
                           key=lambda region: (rank[region[0]], region[1]))  # fmt: skip
        for count, found in sorted(chosen.items()):
            if count and found:
                bed = workspace() / f"piece{number}-{count}.bed"
                write_bed(found, bed)
                by_copies.setdefault(str(count), []).append(
                    piece.evolve(path=bed, name=f"{piece.name}, ploidy {count}")
                )
    return by_copies


@gatk_env.task
async def haplotype_caller(
    alignment: Alignment,
    reference: Reference,
    intervals: Intervals,
    sample_ploidy: int = 2,
    emit_ref_confidence: bool = True,
) -> IndexedVariants:
    """Call SNVs and indels of a sample by assembling haplotypes again (GATK HaplotypeCaller).

    Poplin 2017, doi:10.1101/201178.

    Args:
        alignment: of one sample, sorted by coordinate and indexed, duplicates marked.
        reference: indexed, with its dictionary.
        intervals: where to call.
        sample_ploidy: copies of these intervals that the sample has.
        emit_ref_confidence: as GVCF (`-ERC GVCF`), which tells of every base how sure it is that there is no variant:
            for joint genotyping (genotype_gvcfs).

    Raises:
        ToolError: the alignment is damaged, not indexed, or has no read group.
    """
    calls = workspace() / "calls.vcf.gz"
    await gatk("HaplotypeCaller", "-R", reference.path, "-I", alignment.path, "-L", intervals.path, "-O", calls,
               *(["-ERC", "GVCF"] if emit_ref_confidence else []), "--sample-ploidy", sample_ploidy,
               "--native-pair-hmm-threads", 1, *PLAIN)  # fmt: skip
    return indexed(
        Variants(
            path=expect(calls, by="HaplotypeCaller"),
            samples=[alignment.sample],
            reference_cid=reference,
            caller="gatk",
            kind="gvcf" if emit_ref_confidence else "calls",
            build=reference.build,
        ),
        by="HaplotypeCaller",
    )


@gatk_env.task
async def reblock_gvcf(gvcf: Variants, reference: Reference) -> IndexedVariants:
    """A smaller GVCF: blocks of alike confidence joined, alleles without reads left out (GATK ReblockGVCF).

    Args:
        gvcf: indexed, of one sample.
        reference: indexed, with its dictionary.
    """
    target = workspace() / "reblocked.vcf.gz"
    await gatk("ReblockGVCF", "-R", reference.path, "-V", gvcf.path, "-O", target, "-do-qual-approx", *PLAIN)
    return indexed(gvcf.evolve(path=expect(target, by="ReblockGVCF")), by="ReblockGVCF")


@gatk_env.task
async def combine_gvcfs(
    gvcfs: list[Variants], reference: Reference, intervals: Intervals | None = None
) -> IndexedVariants:
    """One GVCF of several samples (GATK CombineGVCFs): for cohorts of up to some fifty.

    Args:
        gvcfs: indexed, each of other samples.
        reference: indexed, with its dictionary.
        intervals: only what overlaps them.

    Raises:
        InvalidAssetError: a sample is in two of them.
    """
    samples = _samples(gvcfs)
    combined = workspace() / "combined.vcf.gz"
    await gatk("CombineGVCFs", "-R", reference.path, *_inputs(gvcfs), "-O", combined,
               *(["-L", intervals.path] if intervals else []), *PLAIN)  # fmt: skip
    return indexed(
        gvcfs[0].evolve(path=expect(combined, by="CombineGVCFs"), samples=samples), by="CombineGVCFs"
    )


@gatk_env.task
async def genomics_db_import(gvcfs: list[Variants], intervals: Intervals) -> GenomicsDb:
    """The GVCFs of many samples as a database (GATK GenomicsDBImport).

    Its bytes differ from run to run: it numbers and dates what it holds.

    Args:
        gvcfs: indexed, each of other samples.
        intervals: that the database is of.

    Raises:
        ConfigurationError: GenomicsDB does not exist for this machine.
        InvalidAssetError: a sample is in two of them.
    """
    check_genomics_db()
    _samples(gvcfs)
    folder = workspace() / "genomicsdb"
    await gatk("GenomicsDBImport", *_inputs(gvcfs), "-L", intervals.path, "--genomicsdb-workspace-path", folder,
               "--merge-input-intervals", "true")  # fmt: skip
    archive = pack(expect(folder, by="GenomicsDBImport"), workspace() / "genomicsdb.tar")
    return GenomicsDb(path=archive, build=gvcfs[0].build, reference_cid=gvcfs[0].reference_cid)


def check_genomics_db() -> None:
    """Refuse a machine for which GenomicsDB does not exist.

    Raises:
        ConfigurationError: it is one.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        raise ConfigurationError(
            f"GenomicsDB does not exist for {platform.machine()}, and CombineGVCFs is too slow for so many samples: "
            "run this on a machine with an x86_64 processor, or call fewer samples together"
        )


@gatk_env.task
async def genotype_gvcfs(
    gvcf: Variants | GenomicsDb, reference: Reference, samples: list[str], intervals: Intervals | None = None
) -> IndexedVariants:
    """The genotypes of all samples at every site where one has a variant (GATK GenotypeGVCFs).

    Args:
        gvcf: indexed, of one sample or combined, or a database.
        reference: indexed, with its dictionary.
        samples: that it holds.
        intervals: where calls may begin: those of consecutive intervals can be joined (merge_vcfs).
    """
    calls = workspace() / "genotyped.vcf.gz"
    assert gvcf.path is not None
    source = gvcf.path if isinstance(gvcf, Variants) else f"gendb://{current_session().relative(gvcf.path)}"
    chosen = ["-L", intervals.path, "--only-output-calls-starting-in-intervals", "true"] if intervals else []
    await gatk("GenotypeGVCFs", "-R", reference.path, "-V", source, "-O", calls, *chosen, *PLAIN)
    return indexed(
        Variants(
            path=expect(calls, by="GenotypeGVCFs"),
            samples=sorted(samples),
            reference_cid=reference,
            caller="gatk",
            build=reference.build,
        ),
        by="GenotypeGVCFs",
    )


def _inputs(gvcfs: list[Variants]) -> list[Path | str | None]:
    return [word for gvcf in gvcfs for word in ("-V", gvcf.path)]


def _samples(gvcfs: list[Variants]) -> list[str]:
    samples = [sample for gvcf in gvcfs for sample in gvcf.samples]
    if twice := sorted({sample for sample in samples if samples.count(sample) > 1}):
        raise InvalidAssetError(f"{some(twice)} in two of the GVCFs: give those of a sample once")
    return sorted(samples)
