"""Calls of a VCF as rows for tables and charts, read only as far as they are asked for; the limit is said in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import InvalidAssetError
from stargazer.workflows.notebook.region import parse_region
from stargazer.workflows.variant_files import is_sequence, opened, passes, sample_names

__all__ = ["GENOTYPES", "TYPES", "Calls", "contig_counts", "contig_names", "read_calls"]

TYPES = ("SNV", "MNV", "insertion", "deletion", "other")
"""Of a call; `other` is symbolic, or has alternative alleles of several types."""

GENOTYPES = ("heterozygous", "homozygous alternative", "homozygous reference", "no call")

MOST_ROWS, MOST_READ = 10_000, 500_000
"""Calls that are given, and looked at, if not more are asked for."""

MOST_SAMPLES = 12
"""Samples whose genotypes are columns of the table of calls; of more, only the one that is asked for."""

COLUMNS = ("contig", "position", "ref", "alt", "type", "quality", "filter", "depth")
TRANSITIONS = ("AG", "GA", "CT", "TC")


@attrs.frozen
class Calls:
    """Some calls of a VCF.

    Attributes:
        rows: one for each call: contig, position, ref, alt, type, quality, filter, depth, and of each sample its
            genotype under the sample's name, or under `GT NAME` where it is called like another column.
        genotypes: one for each sample that has an alternative allele in one of these calls: what the call is, and
            sample, genotype, GT, depth, alternative_reads, and allele_balance, the share of these.
        samples: of the file.
        read: how many calls were looked at.
        limit: what was left out, in a sentence; "" if nothing was.
    """

    rows: list[dict[str, Any]]
    genotypes: list[dict[str, Any]]
    samples: list[str]
    read: int
    limit: str


def contig_names(path: str | Path) -> list[str]:
    """The contigs that the header of a VCF or BCF names, in its order.

    Raises:
        FormatError: it cannot be read.
    """
    with opened(str(path)) as variants:
        return list(variants.header.contigs)


def read_calls(
    path: str | Path,
    *,
    contig: str = "",
    region: str = "",
    types: Collection[str] = TYPES,
    least_quality: float = 0.0,
    only_passing: bool = False,
    sample: str = "",
    genotypes: Collection[str] = GENOTYPES,
    most: int = MOST_ROWS,
    most_read: int = MOST_READ,
) -> Calls:
    """Read the calls of a VCF or BCF that fit, from its beginning, up to a limit.

    Args:
        path: of the file; with its index beside it, a contig is read without what comes before.
        contig: to read; the whole file by default.
        region: where to read, as `parse_region` takes it: `chr17:7,000,000-7,700,000`; instead of `contig`. A call
            belongs to it that overlaps it.
        types: of TYPES.
        least_quality: of QUAL; a call without one fits only where this is 0.
        only_passing: leave out those whose FILTER is neither PASS nor unset.
        sample: whose genotypes are asked for; a call fits if any sample has such a genotype by default.
        genotypes: of GENOTYPES.
        most, most_read: calls that are given, and looked at.

    Raises:
        FormatError: the file cannot be read.
        InvalidAssetError: it has no such sample or contig, or what is given is no region.
    """
    rows: list[dict[str, Any]] = []
    alternatives: list[dict[str, Any]] = []
    read, limit = 0, ""
    samples = sample_names(str(path))
    _check_known("sample", sample, samples)
    contigs = contig_names(path)
    _check_known("contig", contig, contigs)
    start, end = 1, None
    if region.strip():
        contig, start, end = parse_region(region, contigs)
    asked = [sample] if sample else samples
    shown = samples if len(samples) <= MOST_SAMPLES else asked[:1]
    columns = {name: f"GT {name}" if name in COLUMNS else name for name in shown}
    with opened(str(path)) as variants:
        for record in _records(variants, contig, start - 1, end):
            if read == most_read:
                limit = (
                    f"Only the first {read:,} calls {f'of {contig}' if contig else 'of the file'} were looked at"
                    + ("." if contig else ": choose a contig to see others.")
                )
                break
            read += 1
            if (only_passing and not passes(record)) or (record.qual or 0.0) < least_quality:
                continue
            kind = _type(record)
            if kind not in types:
                continue
            if samples and not any(_kind(record.samples[name].get("GT")) in genotypes for name in asked):
                continue
            if len(rows) == most:
                limit = f"The first {most:,} calls that fit are here: narrow the filters to see others."
                break
            found = {name: _genotype(record.samples[name]) for name in {*asked, *shown}}
            call = {
                "contig": record.contig,
                "position": record.pos,
                "ref": record.ref,
                "alt": ",".join(record.alts or ()),
                "type": kind,
                "quality": None if record.qual is None else round(record.qual, 1),
                "filter": ";".join(record.filter.keys()) or ".",
            }
            rows.append(
                {**call, "depth": _depth(record), **{columns[name]: found[name]["GT"] for name in shown}}
            )
            alternatives += [
                {**call, "sample": name, **found[name]}
                for name in asked
                if found[name]["genotype"] in GENOTYPES[:2] and found[name]["genotype"] in genotypes
            ]
    if len(samples) > MOST_SAMPLES:
        limit = " ".join([limit, f"Of {len(samples)} samples the table shows one."]).strip()
    return Calls(rows, alternatives, samples, read, limit)


def contig_counts(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Calls by contig, in the order of the rows: how many of each type, and Ti/Tv of the SNVs (None without Tv).

    Args:
        rows: of `Calls`.
    """
    types: dict[str, Counter[str]] = {}
    changes: dict[str, Counter[bool]] = {}
    for row in rows:
        types.setdefault(row["contig"], Counter())[row["type"]] += 1
        changed = changes.setdefault(row["contig"], Counter())
        if row["type"] == "SNV":
            alleles = [alt for alt in row["alt"].split(",") if alt != "*"]
            changed.update(f"{row['ref']}{alt}".upper() in TRANSITIONS for alt in alleles)
    return [
        {
            "contig": contig,
            "calls": counts.total(),
            **{kind: counts[kind] for kind in TYPES if any(each[kind] for each in types.values())},
            "Ti/Tv": round(changes[contig][True] / changes[contig][False], 2)
            if changes[contig][False]
            else None,
        }
        for contig, counts in types.items()
    ]


def _check_known(what: str, name: str, known: list[str]) -> None:
    if name and name not in known:
        raise InvalidAssetError(f"the file has no {what} {name!r}; it has {', '.join(known) or 'none'}")


def _records(variants: Any, contig: str, start: int, end: int | None) -> Iterator[Any]:
    """The records of a region that is counted as BED does."""
    if not contig:
        yield from variants
    elif variants.index is not None:
        yield from variants.fetch(contig, start, end)
    else:
        yield from (
            record
            for record in variants
            if record.contig == contig and record.stop > start and (end is None or record.start < end)
        )


def _type(record: Any) -> str:
    kinds = {_type_of_allele(record.ref, alt) for alt in record.alts or () if alt != "*"}
    return kinds.pop() if len(kinds) == 1 else "other"


def _type_of_allele(ref: str, alt: str) -> str:
    if not is_sequence(alt):
        return "other"
    if len(alt) == len(ref):
        return "SNV" if len(alt) == 1 else "MNV"
    return "insertion" if len(alt) > len(ref) else "deletion"


def _kind(alleles: tuple[int | None, ...] | None) -> str:
    """Which of GENOTYPES the alleles of a sample are."""
    if not alleles or None in alleles:
        return GENOTYPES[3]
    if not any(alleles):
        return GENOTYPES[2]
    return GENOTYPES[0] if len(set(alleles)) > 1 else GENOTYPES[1]


def _genotype(values: Any) -> dict[str, Any]:
    """What a record says of a sample; None of what it does not say."""
    alleles = values.get("GT") or (None,)
    depths = values.get("AD") or ()
    known = bool(depths) and None not in depths
    alternative = sum(depths[1:]) if known else None
    return {
        "genotype": _kind(alleles),
        "GT": ("|" if values.phased and len(alleles) > 1 else "/").join(
            "." if allele is None else str(allele) for allele in alleles
        ),
        "depth": values.get("DP"),
        "alternative_reads": alternative,
        "allele_balance": round(alternative / sum(depths), 3)
        if alternative is not None and sum(depths)
        else None,
    }


def _depth(record: Any) -> int | None:
    """Reads of all samples: INFO/DP, else what the samples have together."""
    if "DP" in record.info:
        return int(record.info["DP"])
    depths = [values.get("DP") for values in record.samples.values()]
    known = [depth for depth in depths if depth is not None]
    return sum(known) if known else None
