"""What differs in two alignments, or in two sets of variants, in a few lines: for `stargazer diff`."""

from __future__ import annotations

import collections
import heapq
import itertools
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

from stargazer.assets import FormatError
from stargazer.tasks.checks.headers import quiet_htslib

__all__ = ["alignments", "variants"]

_RECORDS = 5_000_000  # compared in either file: a summary is not worth more
_SHOWN = 5  # examples of each kind

_Place: TypeAlias = tuple[int, int]
_Placed: TypeAlias = tuple[_Place, Hashable, tuple[Any, ...]]
"""Where a record is, what makes it the same record in the other file, and what may differ in it."""


def variants(a: Path, b: Path) -> list[str]:
    """What differs in two VCF or BCF files: samples, contigs, sites, and the columns of those in both.

    Raises:
        FormatError: one cannot be read, or is not sorted.
    """
    import pysam

    with quiet_htslib(), _opened(pysam.VariantFile, a) as one, _opened(pysam.VariantFile, b) as other:
        headers = one.header, other.header
        samples = [list(header.samples) for header in headers]
        lines = _only("sample", *samples)
        contigs = [{name: contig.length for name, contig in header.contigs.items()} for header in headers]
        lines += _contigs(*contigs)
        ranks = _ranks(*contigs)
        shared = [name for name in samples[0] if name in samples[1]]
        names = ["QUAL", "FILTER", "INFO", *(f"genotypes of {name}" for name in shared)]
        sites = _sites(one, ranks, shared), _sites(other, ranks, shared)
        return lines + _joined("variants", sites, names, lambda place, key: _site(place, key, list(ranks)))


def alignments(a: Path, b: Path) -> list[str]:
    """What differs in two BAM files: header, numbers of reads, and the fields of reads that are at the same place.

    Raises:
        FormatError: one cannot be read, or is not sorted by coordinate although its header says so.
    """
    import pysam

    def opened(path: str) -> Any:
        return pysam.AlignmentFile(path, check_sq=False)

    with quiet_htslib(), _opened(opened, a) as one, _opened(opened, b) as other:
        headers = [file.header.to_dict() for file in (one, other)]
        lines = [line for tag in ("HD", "RG", "PG", "CO") for line in _header(tag, *headers)]
        contigs = [dict(zip(file.references, file.lengths, strict=True)) for file in (one, other)]
        lines += _contigs(*contigs)
        if one.is_cram or other.is_cram:
            return [*lines, "reads are compared in BAM alone: CRAM needs its reference"]
        orders = [header.get("HD", {}).get("SO", "unknown") for header in headers]
        if orders != ["coordinate", "coordinate"]:
            return [*lines, "reads are compared where both files are sorted by coordinate"]
        ranks = _ranks(*contigs)
        names = ["flags", "mapping quality", "CIGAR", "mate", "bases", "qualities", "tags"]
        reads = _reads(one, ranks), _reads(other, ranks)
        return lines + _joined("reads", reads, names, lambda place, key: _read(place, key, list(ranks)))


def _sites(file: Any, ranks: dict[str, int], samples: list[str]) -> Iterator[_Placed]:
    """The records of variants, each with its alternative alleles in one order: theirs has no meaning."""
    columns = [9 + list(file.header.samples).index(name) for name in samples]
    numbers = {name: str(field.number) for name, field in file.header.info.items()}
    for record in file:
        fields = str(record).rstrip("\n").split("\t")
        alleles = fields[4].split(",")
        order = sorted(range(len(alleles)), key=alleles.__getitem__)
        calls = [dict(zip(fields[8].split(":"), fields[i].split(":"), strict=False)) for i in columns]
        genotypes = [_genotype(call.get("GT", ""), order) for call in calls]
        info = ";".join(_info(item, numbers, order) for item in fields[7].split(";"))
        rank = ranks.setdefault(fields[0], len(ranks))  # a header need not name its contigs
        key = fields[3], ",".join(alleles[number] for number in order)
        yield (rank, int(fields[1])), key, (*fields[5:7], info, *genotypes)


def _genotype(text: str, order: list[int]) -> str:
    """A genotype, its alleles numbered in another order."""
    rank = {str(number + 1): str(place) for place, number in enumerate(order, 1)}
    return re.sub(r"\d+", lambda match: rank.get(match[0], match[0]), text)


def _info(item: str, numbers: Mapping[str, str], order: list[int]) -> str:
    """A field of INFO, a value for each alternative allele (Number=A), or for each allele (R), in another order."""
    name, _, text = item.partition("=")
    first = {"A": 0, "R": 1}.get(numbers.get(name, ""))
    values = text.split(",")
    if first is None or len(values) != len(order) + first:
        return item
    return f"{name}={','.join([*values[:first], *(values[first + number] for number in order)])}"


def _site(place: _Place, key: Any, contigs: list[str]) -> str:
    return f"{contigs[place[0]]}:{place[1]:,} {key[0]}>{key[1]}"


def _reads(file: Any, ranks: Mapping[str, int]) -> Iterator[_Placed]:
    for read in file:
        rank = ranks[read.reference_name] if read.reference_id >= 0 else len(ranks)
        kept = read.flag & 0x9C0  # first, second, secondary, supplementary: which of its name's records it is
        mate = read.next_reference_name, read.next_reference_start, read.template_length
        values = (read.flag, read.mapping_quality, read.cigarstring, mate, read.query_sequence,
                  read.qual, sorted(map(str, read.get_tags())))  # fmt: skip
        yield (rank, read.reference_start), (read.query_name, kept), values


def _read(place: _Place, key: Any, contigs: list[str]) -> str:
    where = f"{contigs[place[0]]}:{place[1] + 1:,}" if place[0] < len(contigs) else "unplaced"
    return f"{where} {key[0]}"


def _joined(
    what: str,
    sides: tuple[Iterable[_Placed], Iterable[_Placed]],
    names: list[str],
    told: Callable[[_Place, Any], str],
) -> list[str]:
    """Records of two sorted files, place by place: in constant memory, whatever their size."""
    both, totals, differing = 0, [0, 0], collections.Counter[str]()
    only: tuple[list[str], list[str]] = ([], [])
    alone = [0, 0]
    merged = heapq.merge(*(_sorted(records, side) for side, records in enumerate(sides)), key=itemgetter(0))
    for place, group in itertools.groupby(merged, key=itemgetter(0)):
        found: tuple[dict[Hashable, list[Any]], ...] = ({}, {})
        for _, side, key, values in group:
            found[side].setdefault(key, []).append(values)
            totals[side] += 1
        for key in {**found[0], **found[1]}:
            records = [side.get(key, []) for side in found]
            for values in zip(*records, strict=False):
                both += 1
                differing.update(name for name, x, y in zip(names, *values, strict=True) if x != y)
            for side, other in ((0, 1), (1, 0)):
                more = max(0, len(records[side]) - len(records[other]))
                alone[side] += more
                only[side].extend([told(place, key)] * min(more, _SHOWN - len(only[side])))
        if max(totals) >= _RECORDS:
            break
    lines = [
        f"{what}: {totals[0]:,} in A, {totals[1]:,} in B; {both:,} in both, "
        f"{alone[0]:,} only in A, {alone[1]:,} only in B"
    ]
    lines += [f"  of those in both, other {name}: {differing[name]:,}" for name in names if differing[name]]
    for side, letter in enumerate("AB"):
        lines += [f"  only in {letter}: {example}" for example in only[side]]
    return lines + ([f"compared: the first {_RECORDS:,}"] if max(totals) >= _RECORDS else [])


def _sorted(records: Iterable[_Placed], side: int) -> Iterator[tuple[_Place, int, Hashable, tuple[Any, ...]]]:
    """The records of one side, with which it is; FormatError where they are not sorted."""
    last: _Place = (-1, -1)
    for place, key, values in records:
        if place < last:
            raise FormatError(
                f"not sorted by coordinate: position {place[1] + 1:,} comes after {last[1] + 1:,}"
            )
        last = place
        yield place, side, key, values


def _ranks(a: Iterable[str], b: Iterable[str]) -> dict[str, int]:
    """The order of contigs that both files follow, if they follow one."""
    return {name: rank for rank, name in enumerate(dict.fromkeys([*a, *b]))}


def _contigs(a: Mapping[str, int | None], b: Mapping[str, int | None]) -> list[str]:
    lines = _only("contig", list(a), list(b))
    lengths = [f"{name} ({a[name]} in A, {b[name]} in B)" for name in a if name in b and a[name] != b[name]]
    if lengths:
        lines.append(f"contigs of another length: {_some(lengths)}")
    return lines


def _header(tag: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Lines of a header that only one file has."""
    sides = [side.get(tag, []) for side in (a, b)]
    texts = [[_spelled(tag, line) for line in (side if isinstance(side, list) else [side])] for side in sides]
    return _only(f"@{tag}", *texts)


def _spelled(tag: str, line: Any) -> str:
    fields = [f"{key}:{value}" for key, value in line.items()] if isinstance(line, dict) else [str(line)]
    return " ".join([f"@{tag}", *fields])


def _only(what: str, a: list[str], b: list[str]) -> list[str]:
    lines = []
    for letter, names, others in (("A", a, set(b)), ("B", b, set(a))):
        if alone := [name for name in names if name not in others]:
            lines.append(f"{what}{'s' if len(alone) > 1 else ''} only in {letter}: {_some(alone)}")
    return lines


def _some(words: list[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN:,} more" if len(words) > _SHOWN else "")


def _opened(opener: Callable[[str], Any], path: Path) -> Any:
    try:
        return opener(str(path))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path.name!r}: {error}") from error
