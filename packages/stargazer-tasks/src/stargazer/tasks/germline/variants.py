"""Tasks from alignments to variants: call jointly, gather, normalise, filter, index, count, summarise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from stargazer.assets import (
    Alignment,
    AssetNotFoundError,
    DuplicateMetrics,
    Intervals,
    InvalidAssetError,
    QcReport,
    Reference,
    Variants,
    VariantsIndex,
)
from stargazer.tasks import quality
from stargazer.tasks.checks.contigs import compare, some
from stargazer.tasks.checks.headers import Contig, bam_header, is_cram, sam_contigs, variants_header
from stargazer.tasks.checks.indexes import needs_csi
from stargazer.tasks.environments import htslib_env, report_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.germline.ploidy import read_ploidy
from stargazer.tasks.germline.records import flag_calls_in_deletions, write_capital_alleles
from stargazer.tasks.regions import contigs_of, fai_of
from stargazer.tasks.tools import bcftools, call, current_session, expect

__all__ = ["MAX_DEPTH", "call_variants", "check_max_depth", "check_ploidy", "filter_variants", "gather_variants",
           "index_variants", "normalise_variants", "summarise_germline", "variant_stats"]  # fmt: skip

INDELS = ("--indels-2.0", "-p", "--indel-size", 80, "-h", 300)
"""How `bcftools mpileup` looks for indels: benchmarks/accuracy.py measures it; docs/workflows.md says why."""

MAX_DEPTH = 100_000
"""Reads of an alignment at a place that are looked at: enough not to bite in whole genomes, exomes or panels, and
little enough to keep a piled-up repeat within memory."""

MOST_DEPTH = 2**31 - 1
AWKWARD = re.compile(r"\s|^#")
"""In the name of a sample: what the table of `bcftools call --samples-file` cannot hold."""


@htslib_env.task(tools=[])
async def check_ploidy(reference: Reference, samples: list[str], ploidy: list[str], sex: list[str]) -> None:
    """See that ploidies and sexes can be read, before hours of work.

    Args:
        reference: indexed by samtools_faidx.
        samples, ploidy, sex: as for call_variants.

    Raises:
        InvalidAssetError: one cannot be read, or a contig or sample is not there; the message shows an example.
    """
    read_ploidy(ploidy, sex, samples, contigs_of(fai_of(reference)))


@htslib_env.task(tools=[bcftools])
async def call_variants(
    alignments: list[Alignment],
    reference: Reference,
    intervals: Intervals | None = None,
    ploidy: list[str] | None = None,
    sex: list[str] | None = None,
    max_depth: int = MAX_DEPTH,
) -> Variants:
    """Call SNVs and indels jointly over indexed alignments (`bcftools mpileup | bcftools call -m -v`).

    One record for each site at which any sample differs from the reference, with allele depths (Li, 2011,
    doi:10.1093/bioinformatics/btr509). REF and ALT are in capitals, also where the reference is soft-masked.

    Args:
        alignments: of one sample each, indexed, with the contigs of the reference in its order (check_alignment).
        reference: indexed by samtools_faidx; with its dictionary, where alignments name checksums (M5).
        intervals: where to call; everywhere by default.
        ploidy: copies of contigs, as `CONTIG:COPIES` or `CONTIG:SEX:COPIES`; `GRCh37` and `GRCh38` stand for their sex
            chromosomes and chrM. Two copies by default.
        sex: of the samples, as `SAMPLE:M` or `SAMPLE:F`.
        max_depth: reads of an alignment in one place, beyond which those that begin at one position are left out.

    Raises:
        FormatError: an alignment has contigs of other lengths or checksums than the reference.
        InvalidAssetError: an alignment has other contigs than the reference, or in another order; a ploidy, sex or
            depth that cannot be.
    """
    check_max_depth(max_depth)
    contigs = contigs_of(fai_of(reference))
    _check_contigs(alignments, reference, contigs)
    samples = [alignment.sample for alignment in alignments]
    raw, calls = workspace() / "raw.vcf.gz", workspace() / "calls.vcf.gz"
    regions = ["-R", intervals.path] if intervals else []
    copies: list[str | Path] = []
    by_file: list[str] = []
    if ploidy or sex:
        table, sexes = read_ploidy(ploidy or [], sex or [], samples, contigs)
        if any(AWKWARD.search(sample) for sample in samples):
            by_file = [current_session().relative(Path(str(alignment.path))) for alignment in alignments]
        tables, names = workspace() / "ploidy.txt", workspace() / "samples.txt"
        tables.write_text(table)
        names.write_text(
            "".join(f"{name}\t{sex}\n" for name, sex in zip(by_file or samples, sexes, strict=True))
        )
        copies = ["--ploidy-file", tables, "--samples-file", names]
    await (
        bcftools("mpileup", "--no-version", *INDELS, "-d", max_depth, "-L", max_depth, "-f", reference.path,
                 "-a", "FORMAT/AD,FORMAT/DP", *regions, *(["--ignore-RG"] if by_file else []), "-Ou",
                 *(alignment.path for alignment in alignments))
        | bcftools("call", "--no-version", "-m", "-v", *copies, "-Oz1", "-o", raw)
    )  # fmt: skip
    expect(raw, by="bcftools call")
    return Variants(
        path=await _with_capital_alleles(raw, calls, reference, samples if by_file else None),
        samples=sorted(set(samples)),
        reference_cid=reference,
        caller="bcftools",
        build=reference.build,
    )


def check_max_depth(max_depth: int) -> None:
    """Refuse a depth that cannot be, or that `bcftools mpileup` would take for another number.

    Raises:
        InvalidAssetError: it is one.
    """
    if not 1 <= max_depth <= MOST_DEPTH:
        raise InvalidAssetError(f"max_depth: expected 1 to {MOST_DEPTH:,} reads, got {max_depth:,}")


def _check_contigs(alignments: list[Alignment], reference: Reference, contigs: dict[str, int]) -> None:
    """Refuse alignments whose contigs are not those of the reference: mpileup goes by their numbers alone."""
    assert reference.path is not None
    dictionary = reference.path.with_name(reference.path.name.removesuffix(".gz")).with_suffix(".dict")
    known = {name: Contig(length) for name, length in contigs.items()}
    if dictionary.exists():
        known |= {name: found for name, found in sam_contigs(dictionary.read_text()).items() if name in known}
    for alignment in alignments:
        assert alignment.path is not None
        title = f"the alignment of {alignment.sample!r}"
        if is_cram(alignment.path):
            raise InvalidAssetError(
                f"{title} is CRAM: convert it to BAM (`samtools view -b -T reference.fa`)"
            )
        found = bam_header(alignment.path).contigs
        if not dictionary.exists() and any(contig.md5 for contig in found.values()):
            raise AssetNotFoundError(
                f"{title} names checksums of its contigs (M5), and the reference {reference.build} has no dictionary "
                "to compare them with: call sequence_dictionary first"
            )
        compare(title, found, f"the reference {reference.build}", known)
        if list(found) != list(contigs):
            other = [name for name in found if name not in contigs] or [
                name for name in contigs if name not in found
            ]
            what = f"not the same: {some(other)}" if other else f"in another order: {some(found)}"
            raise InvalidAssetError(
                f"the contigs of {title} and of the reference {reference.build} are {what}: give it those of the "
                "reference with check_alignment; if it was made with an aligner index from elsewhere, that index is of "
                "another reference (`stargazer rm` it)"
            )


async def _with_capital_alleles(
    source: Path, target: Path, reference: Reference, samples: list[str] | None = None
) -> Path:
    """A VCF compressed, with REF and ALT in capitals, that names its reference by CID.

    Args:
        samples: other names of its columns, if they are to have some.
    """
    text = workspace() / "capitals.vcf"
    title = f"ipfs://{reference.cid}"
    await call(write_capital_alleles, source=source, target=text, reference=title, samples=samples)
    await bcftools("view", "--no-version", "-Oz", "-o", target, text)
    return expect(target, by="bcftools view")


@htslib_env.task(tools=[bcftools])
async def gather_variants(parts: list[Variants]) -> Variants:
    """Join calls of consecutive intervals (`bcftools concat`)."""
    joined = workspace() / "joined.vcf.gz"
    await bcftools("concat", "--no-version", "-Oz", "-o", joined, *(part.path for part in parts))
    return parts[0].evolve(path=expect(joined, by="bcftools concat"))


@htslib_env.task(tools=[bcftools])
async def normalise_variants(variants: Variants, reference: Reference) -> Variants:
    """Left-align indels and check reference alleles (`bcftools norm`; Tan 2015, doi:10.1093/bioinformatics/btv112)."""
    aligned, normalised = workspace() / "aligned.vcf.gz", workspace() / "normalised.vcf.gz"
    await bcftools("norm", "--no-version", "-f", reference.path, "-Oz1", "-o", aligned, variants.path)
    return variants.evolve(
        path=await _with_capital_alleles(expect(aligned, by="bcftools norm"), normalised, reference),
        normalised=True,
    )


@htslib_env.task(tools=[bcftools])
async def filter_variants(variants: Variants, exclude: str = "QUAL<30", name: str = "LowQual") -> Variants:
    """Mark calls that meet an expression with a name in FILTER, and the others PASS (`bcftools filter -s -e`).

    Calls in a deletion of all copies of each sample that has them are marked InDeletion: callers make them from reads
    that belong elsewhere. Genotypes in a deletion are marked so in FT.
    """
    filtered, flagged, target = (
        workspace() / each for each in ("marked.vcf.gz", "flagged.vcf", "filtered.vcf.gz")
    )
    await bcftools("filter", "--no-version", "-s", name, "-e", exclude, "-Oz1", "-o", filtered, variants.path)
    await call(flag_calls_in_deletions, source=expect(filtered, by="bcftools filter"), target=flagged)
    await bcftools("view", "--no-version", "-Oz", "-o", target, flagged)
    return variants.evolve(path=expect(target, by="bcftools view"), filtered=True)


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
    """Counts of calls that pass their filters, or were never filtered (`bcftools stats -f .,PASS -s -`).

    By type, with transitions and transversions, lengths of indels, depth, and by sample.
    """
    report = workspace() / "stats.txt"
    await bcftools("stats", "-f", ".,PASS", "-s", "-", variants.path, stdout=report)
    return QcReport(path=expect(report, by="bcftools stats"), kind="variant_stats", sample=variants.only_sample,
                    variants_cid=variants)  # fmt: skip


@report_env.task
async def summarise_germline(
    variants: Variants,
    variant_stats: QcReport,
    flagstats: list[QcReport],
    alignment_stats: list[QcReport],
    reference: Reference,
    reference_report: QcReport,
    checks: list[QcReport],
    settings: dict[str, Any],
    coverage: list[QcReport],
    lanes: list[QcReport],
    duplicates: list[DuplicateMetrics],
    picard: list[QcReport],
) -> QcReport:
    """One JSON document of a germline run: what to know of it, and all figures of reads, coverage and calls.

    Args:
        flagstats, alignment_stats: one for each sample, in the same order.
        reference: indexed by samtools_faidx.
        reference_report: of check_reference.
        checks: of check_alignment, for each alignment from elsewhere.
        settings: as the run had them: `caller` and `why_this_caller` (if nobody said which), `aligner`, `contigs`,
            `intervals` (a name), `ploidy`, `sex`, `max_depth`, `filters` (expressions by name), `known_sites` (names of
            those used), `marked_elsewhere` (samples whose duplicates were marked before).
        coverage: of coverage_stats, one for each sample, in the same order.
        lanes: flagstat and alignment_stats of the lanes of samples that have several.
        duplicates: metrics of samtools markdup, or of MarkDuplicates.
        picard: metrics of GATK and Picard, whose tables are taken as they are.
    """
    target = workspace() / "summary.json"
    await call(
        quality.summarise_germline,
        target=target,
        calls=variants.path,
        variant_stats=variant_stats.path,
        samples=[
            {"sample": flags.sample, "flagstat": flags.path, "stats": stats.path, "coverage": depths.path}
            for flags, stats, depths in zip(flagstats, alignment_stats, coverage, strict=True)
        ],
        lanes=[
            {
                "sample": report.sample,
                "library": report.library,
                "lane": report.lane,
                report.kind: report.path,
            }
            for report in lanes
        ],
        duplicates=[
            {"sample": metrics.sample, "library": metrics.library, "metrics": metrics.path}
            for metrics in duplicates
        ],
        picard=[{"sample": report.sample, "kind": report.kind, "metrics": report.path} for report in picard],
        fai=fai_of(reference),
        reference_report=reference_report.path,
        checks=[check.path for check in checks],
        settings=settings,
    )
    return QcReport(path=target, kind="summary", sample=variants.only_sample, variants_cid=variants)
