"""Figures for the report from calls and alignments: qualities, allele balance, Ti/Tv, coverage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stargazer.assets import FormatError
from stargazer.tasks import quiet_htslib
from stargazer.workflows.demo.files import is_sequence, opened, passes

__all__ = ["call_statistics", "coverage", "write_coverage"]

QUALITY_STEP, QUALITY_LIMIT = 10, 500
BALANCE_BINS = 20
TRANSITIONS = frozenset({("A", "G"), ("G", "A"), ("C", "T"), ("T", "C")})
UNCOUNTED = 0x4 | 0x100 | 0x200 | 0x400 | 0x800
"""Flags of records without coverage: unmapped, secondary, failed, duplicate, supplementary."""


def call_statistics(calls: str) -> dict[str, Any]:
    """Describe a VCF or BCF file: counts, Ti/Tv, and distributions of QUAL and allele balance.

    Only records whose FILTER is PASS or unset count, apart from `records` and `filtered`. Histograms have
    one edge more than counts; the last bin of quality holds everything above.

    Args:
        calls: a VCF or BCF file; allele balance needs FORMAT/AD.

    Returns:
        `{"records", "filtered", "snv", "indel", "other", "transitions", "transversions", "ti_tv",
        "quality": {"edges", "snv", "indel"}, "samples": {sample: {"het", "hom_alt", "missing",
        "allele_balance": {"edges", "counts"}}}}`. Allele balance is the share of reads with the alternative
        allele at heterozygous sites of two alleles.

    Raises:
        FormatError: if the file cannot be read.
    """
    counts = dict.fromkeys(
        ("records", "filtered", "snv", "indel", "other", "transitions", "transversions"), 0
    )
    bins = QUALITY_LIMIT // QUALITY_STEP
    quality = {kind: [0] * bins for kind in ("snv", "indel")}
    edges = [index / BALANCE_BINS for index in range(BALANCE_BINS + 1)]
    with opened(calls) as variants:
        samples: dict[str, dict[str, Any]] = {
            sample: {
                "het": 0,
                "hom_alt": 0,
                "missing": 0,
                "allele_balance": {"edges": edges, "counts": [0] * BALANCE_BINS},
            }
            for sample in variants.header.samples
        }
        for record in variants:
            counts["records"] += 1
            if not passes(record):
                counts["filtered"] += 1
                continue
            kind = _kind(record.ref, record.alts or ())
            counts[kind] += 1
            if kind in quality and record.qual is not None:
                quality[kind][min(bins - 1, int(record.qual) // QUALITY_STEP)] += 1
            for alt in record.alts or () if kind == "snv" else ():
                change = (record.ref.upper(), alt.upper())
                counts["transitions" if change in TRANSITIONS else "transversions"] += 1
            for sample, tally in samples.items():
                _add_genotype(record.samples[sample], tally)
    return {
        **counts,
        "ti_tv": counts["transitions"] / counts["transversions"] if counts["transversions"] else None,
        "quality": {"edges": [QUALITY_STEP * index for index in range(bins + 1)], **quality},
        "samples": samples,
    }


def coverage(alignment: str, window: int = 1000) -> dict[str, Any]:
    """Measure how deeply an alignment covers its reference, and how much of it is duplicates.

    Counts each primary, mapped record that is no duplicate over the bases that it aligns to.

    Args:
        alignment: a BAM file in any order; it needs no index.
        window: bases that one value of a profile stands for.

    Returns:
        `{"mean": mean depth over all bases, "at_least": {"1", "10", "20": share of bases}, "reads": primary
        records, "mapped": share, "duplicates": share of mapped, "window": int, "contigs": {name: [mean
        depth of each window]}}`; shares are fractions, None without reads or bases.

    Raises:
        FormatError: if the file cannot be read.
    """
    import numpy as np
    import pysam

    reads = mapped = duplicates = 0
    try:
        with quiet_htslib(), pysam.AlignmentFile(alignment, "rb", check_sq=False) as records:
            lengths = dict(zip(records.references, records.lengths, strict=True))
            changes = [np.zeros(length + 1, dtype=np.int32) for length in lengths.values()]
            for record in records:
                if record.flag & 0x900:
                    continue
                reads += 1
                mapped += not record.is_unmapped
                duplicates += record.is_duplicate and not record.is_unmapped
                if not record.flag & UNCOUNTED:
                    change = changes[record.reference_id]
                    for start, end in record.get_blocks():
                        change[start] += 1
                        change[end] -= 1
    except (OSError, ValueError) as error:
        raise FormatError(f"{alignment!r} cannot be read as BAM: {error}") from error
    depths = [np.cumsum(change)[:-1] for change in changes]
    bases = sum(lengths.values())
    covered = {str(least): sum(int((depth >= least).sum()) for depth in depths) for least in (1, 10, 20)}
    return {
        "mean": sum(int(depth.sum()) for depth in depths) / bases if bases else None,
        "at_least": {least: count / bases if bases else None for least, count in covered.items()},
        "reads": reads,
        "mapped": mapped / reads if reads else None,
        "duplicates": duplicates / mapped if mapped else None,
        "window": window,
        "contigs": {name: _windows(depth, window) for name, depth in zip(lengths, depths, strict=True)},
    }


def write_coverage(target: str, alignment: str) -> None:
    """Write as JSON the depth of an alignment along its contigs (see `coverage`)."""
    Path(target).write_text(json.dumps(coverage(alignment)) + "\n")


def _windows(depth: Any, window: int) -> list[float]:
    return [round(float(depth[start : start + window].mean()), 2) for start in range(0, len(depth), window)]


def _kind(ref: str, alts: tuple[str, ...]) -> str:
    if not alts or not all(is_sequence(allele) for allele in (ref, *alts)):
        return "other"
    if all(len(alt) == len(ref) == 1 for alt in alts):
        return "snv"
    return "indel" if all(len(alt) != len(ref) for alt in alts) else "other"


def _add_genotype(values: Any, tally: dict[str, Any]) -> None:
    genotype: tuple[int | None, ...] = values.get("GT") or ()
    if not genotype or None in genotype:
        tally["missing"] += 1
    elif len(set(genotype)) > 1:
        tally["het"] += 1
        depths: tuple[int | None, ...] = tuple(values.get("AD") or ())
        known = [depth for depth in depths if depth is not None]
        total: int = sum(known)
        if len(known) == len(depths) == 2 and total:
            share = known[1] / total
            tally["allele_balance"]["counts"][min(BALANCE_BINS - 1, int(share * BALANCE_BINS))] += 1
    elif genotype[0]:
        tally["hom_alt"] += 1
