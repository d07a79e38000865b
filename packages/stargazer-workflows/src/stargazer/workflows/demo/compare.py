"""Comparison of called variants with the truth and with inheritance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from stargazer.assets import FormatError
from stargazer.workflows.demo.alleles import Allele
from stargazer.workflows.demo.files import Observation, observations, read_bed, read_fasta
from stargazer.workflows.variant_files import opened, passes, sample_names

__all__ = ["compare_to_truth", "mendelian_violations", "write_comparison"]

TYPES = ("snv", "indel")
LISTED = 200
"""Errors, or violations, that are listed one by one."""


@dataclass(frozen=True)
class _Match:
    """One allele of one sample in the truth, in the calls, or in both."""

    allele: Allele
    true: Observation | None
    called: Observation | None

    @property
    def outcome(self) -> str:
        if self.called is None:
            return "missed"
        if self.true is None:
            return "false"
        return "right" if self.true.copies == self.called.copies else "genotype"


def write_comparison(
    target: str, calls: str, truth: str, confident: str, reference: str, father: str, mother: str, child: str
) -> None:
    """Write as JSON how calls compare with the truth and with inheritance."""
    content = {
        "comparison": compare_to_truth(calls, truth, confident, reference),
        "inheritance": mendelian_violations(calls, father, mother, child, confident),
    }
    Path(target).write_text(json.dumps(content, sort_keys=True) + "\n")


def compare_to_truth(calls: str, truth: str, confident: str, reference: str) -> dict[str, Any]:
    """Compare calls with the truth, sample by sample, allele by allele, within the confident regions.

    Alleles are trimmed and left-aligned first, and substitutions of several bases taken apart. Records
    count if their FILTER is PASS or unset; an allele counts if its reference bases lie within one interval.

    Args:
        calls: a VCF or BCF file.
        truth: a VCF or BCF file with the same samples, or some of them.
        confident: a BED file.
        reference: the FASTA file (may be gzipped) that both VCFs refer to.

    Returns:
        `{"samples": {sample: {"snv": score, "indel": score}}, "total": {"snv": score, "indel": score},
        "errors": [...], "errors_total": int}`. A score holds `truth`, `calls`, `tp`, `fp`, `fn` (counts of
        alleles), `precision`, `recall`, `f1`, and `genotype_concordance`: the share of true positives whose
        number of copies is right (fractions; None where there is nothing to divide by). An error holds
        `sample`, `kind` ("missed", "false", or "genotype": the allele is right and its copies are not),
        `type`, `contig`, `position` (from 1), `ref`, `alt`, `truth` and `call` (genotypes or None),
        `quality`, `depth`, `alt_depth` (of the call, or None).

    Raises:
        FormatError: if a file cannot be read, no sample is in both, or a contig is not in the reference.
    """
    regions = read_bed(confident)
    sequences = read_fasta(reference, regions.contigs)
    true_samples, called_samples = sample_names(truth), sample_names(calls)
    samples = [sample for sample in true_samples if sample in called_samples]
    if not samples:
        raise FormatError(
            f"{calls!r} and {truth!r} have no sample in common: "
            f"{', '.join(called_samples) or 'none'} against {', '.join(true_samples) or 'none'}"
        )
    true = observations(truth, samples, regions, sequences)
    called = observations(calls, samples, regions, sequences)
    matches = {
        sample: [
            _Match(allele, true[sample].get(allele), called[sample].get(allele))
            for allele in sorted({*true[sample], *called[sample]})
        ]
        for sample in samples
    }
    everything = list(chain.from_iterable(matches.values()))
    errors = [
        _error(sample, match) for sample in samples for match in matches[sample] if match.outcome != "right"
    ]
    return {
        "samples": {sample: {kind: _score(matches[sample], kind) for kind in TYPES} for sample in samples},
        "total": {kind: _score(everything, kind) for kind in TYPES},
        "errors": errors[:LISTED],
        "errors_total": len(errors),
    }


def mendelian_violations(calls: str, father: str, mother: str, child: str, confident: str) -> dict[str, Any]:
    """Count the sites where a child's genotype cannot come from its parents'.

    A site counts if its FILTER is PASS or unset, all three have complete diploid genotypes, and one of them
    is not the reference. Sex chromosomes and mitochondria need another rule; the demo has none.

    Args:
        calls: a VCF or BCF file with the three samples.
        father: the name of the father's sample.
        mother: the name of the mother's sample.
        child: the name of the child's sample.
        confident: a BED file to stay within.

    Returns:
        `{"sites": int, "violations": int, "rate": float or None, "listed": [{"contig", "position", "ref",
        "alt", "father", "mother", "child", "quality"}]}`.

    Raises:
        FormatError: if a file cannot be read or a sample is not in it.
    """
    regions, names = read_bed(confident), sample_names(calls)
    for sample in (father, mother, child):
        if sample not in names:
            raise FormatError(
                f"sample {sample!r} is not in {calls!r}, which has {', '.join(names) or 'none'}"
            )
    sites, violations = 0, []
    with opened(calls) as variants:
        for record in variants:
            if (
                not record.alts
                or not passes(record)
                or not regions.hold(record.contig, record.start, record.stop)
            ):
                continue
            genotypes: list[Any] = [
                record.samples[sample].get("GT") or () for sample in (father, mother, child)
            ]
            if any(len(genotype) != 2 or None in genotype for genotype in genotypes) or not any(
                map(any, genotypes)
            ):
                continue
            sites += 1
            paternal, maternal, (one, other) = genotypes
            if not (one in paternal and other in maternal) and not (other in paternal and one in maternal):
                texts = ["/".join(map(str, sorted(genotype))) for genotype in genotypes]
                violations.append(
                    {
                        "contig": record.contig,
                        "position": record.pos,
                        "ref": record.ref,
                        "alt": ",".join(record.alts),
                        **dict(zip(("father", "mother", "child"), texts, strict=True)),
                        "quality": record.qual,
                    }
                )
    return {
        "sites": sites,
        "violations": len(violations),
        "rate": _share(len(violations), sites),
        "listed": violations[:LISTED],
    }


def _type(allele: Allele) -> str:
    return "snv" if len(allele[2]) == len(allele[3]) == 1 else "indel"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _score(matches: list[_Match], kind: str) -> dict[str, Any]:
    outcomes = [match.outcome for match in matches if _type(match.allele) == kind]
    right, missed, false = outcomes.count("right"), outcomes.count("missed"), outcomes.count("false")
    tp = right + outcomes.count("genotype")
    return {
        "truth": tp + missed,
        "calls": tp + false,
        "tp": tp,
        "fp": false,
        "fn": missed,
        "precision": _share(tp, tp + false),
        "recall": _share(tp, tp + missed),
        "f1": _share(2 * tp, 2 * tp + false + missed),
        "genotype_concordance": _share(right, tp),
    }


def _error(sample: str, match: _Match) -> dict[str, Any]:
    contig, position, ref, alt = match.allele
    called = match.called
    return {
        "sample": sample,
        "kind": match.outcome,
        "type": _type(match.allele),
        "contig": contig,
        "position": position,
        "ref": ref,
        "alt": alt,
        "truth": match.true and match.true.genotype,
        "call": called and called.genotype,
        "quality": called and called.quality,
        "depth": called and called.depth,
        "alt_depth": called and called.alt_depth,
    }
