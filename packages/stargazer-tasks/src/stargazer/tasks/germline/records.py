"""Changes the records of a VCF as text: alleles in capitals, calls in deletions flagged; and counts them by filter."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs

__all__ = ["FIRST_BASE", "IN_DELETION", "count_records", "flag_calls_in_deletions", "write_capital_alleles"]

IN_DELETION = "InDeletion"
POS, REF, ALT, FILTER, FORMAT = 1, 3, 4, 6, 8
HEADER = (
    f'##FILTER=<ID={IN_DELETION},Description="Every sample with the alternative allele has lost this place: it lies in '
    "a deletion of all of the sample's copies\">\n"
    '##FORMAT=<ID=FT,Number=1,Type=String,Description="Filter of the genotype">\n'
)
BASES = "ACGTN"
FIRST_BASE: dict[int, int] = str.maketrans("RYSWKMBDHV", "ACCAGACAAA")


def write_capital_alleles(source: str, target: str, reference: str, samples: list[str] | None = None) -> None:
    """Copy a VCF as text, its REF and ALT in capitals: a reference writes repeats in small letters (soft-masking).

    Ambiguity codes, which a deletion can hold, become the first base that they stand for, as the VCF specification
    (section 1.6.1, REF) and `bcftools norm` have it.

    Args:
        reference: what `##reference` says instead of the path that the tool was given.
        samples: what its columns are called, if they are to have other names.
    """
    with open(target, "w", newline="") as changed:
        for line in _lines(source):
            if line.startswith("##reference="):
                line = f"##reference={reference}\n"
            elif not line.startswith("#"):
                fields = line.split("\t", FILTER)
                fields[REF] = fields[REF].upper().translate(FIRST_BASE)
                if "<" not in fields[ALT]:
                    fields[ALT] = fields[ALT].upper().translate(FIRST_BASE)
                line = "\t".join(fields)
            elif samples and line.startswith("#CHROM\t"):
                line = "\t".join([*line.split("\t")[: FORMAT + 1], *samples]) + "\n"
            changed.write(line)


def flag_calls_in_deletions(source: str, target: str) -> None:
    """Copy a sorted VCF as text, calls within a deletion of all copies of a sample flagged.

    Callers report them from reads that belong elsewhere. A genotype with an alternative allele at such a place has the
    filter `InDeletion` in FT; a record all of whose such genotypes have it, in FILTER too. A deletion counts if it
    passed the filters before.
    """
    lost: dict[int, list[_Part]] = {}
    contig = ""
    with open(target, "w", newline="") as changed:
        for line in _lines(source):
            if line.startswith("#CHROM"):
                changed.write(HEADER)
            elif not line.startswith("#"):
                fields = line.rstrip("\n").split("\t")
                if fields[0] != contig:
                    contig, lost = fields[0], {}
                line = "\t".join(_flagged(fields, lost)) + "\n"
            changed.write(line)


def count_records(path: str) -> dict[str, Any]:
    """How many records of a VCF pass and how many do not, by type: SNVs have alleles of one base, indels others.

    Returns:
        `{"pass": {"records", "snvs", "indels", "genotypes_in_deletions"},
        "filtered": {"records", "snvs", "indels", "by_filter": {NAME: n}}}`: the genotypes are those that FT flags in
        records that pass.
    """
    counts = {kind: Counter({"records": 0, "snvs": 0, "indels": 0}) for kind in ("pass", "filtered")}
    filters: Counter[str] = Counter()
    in_deletions = 0
    for line in _lines(path):
        if line.startswith("#"):
            continue
        fields = line.split("\t", FILTER + 1)
        passes = fields[FILTER] in ("PASS", ".")
        alleles = [fields[REF], *fields[ALT].split(",")]
        found = counts["pass" if passes else "filtered"]
        found["records"] += 1
        found["snvs"] += any(
            len(allele) == 1 == len(fields[REF]) and allele in BASES for allele in alleles[1:]
        )
        found["indels"] += any(
            len(allele) != len(fields[REF]) and allele[0] not in "<*" for allele in alleles[1:]
        )
        if passes:
            in_deletions += fields[FILTER + 1].count(f":{IN_DELETION}")
        else:
            filters.update(fields[FILTER].split(";"))
    return {
        "pass": {**counts["pass"], "genotypes_in_deletions": in_deletions},
        "filtered": {**counts["filtered"], "by_filter": dict(sorted(filters.items()))},
    }


@attrs.frozen
class _Part:
    """A part of a contig: first and last position, one-based and inclusive; none if it ends before it begins."""

    first: int
    last: int


def _flagged(fields: list[str], lost: dict[int, list[_Part]]) -> list[str]:
    """The fields of a record with its flags; what its samples have lost is added to `lost`, by their number."""
    if len(fields) <= FORMAT + 1:
        return fields
    alternatives = fields[ALT].split(",")
    changes = [_changed(int(fields[POS]), fields[REF], allele) for allele in alternatives]
    passes = fields[FILTER] in ("PASS", ".")
    carriers, inside = [], []
    for number, call in enumerate(fields[FORMAT + 1 :]):
        alleles = [int(each) for each in _genotype(call) if each.isdigit()]
        altered = [
            changes[each - 1] for each in alleles if each and alternatives[each - 1] not in ("*", "<*>")
        ]
        if not altered:
            continue
        carriers.append(number)
        begin = min(part.first for part in altered)
        here = lost[number] = [part for part in lost.get(number, ()) if part.last >= int(fields[POS])]
        if any(part.first <= begin <= part.last for part in here):
            inside.append(number)
        elif passes and len(altered) == len(_genotype(call)):
            here.append(_Part(max(part.first for part in altered), min(part.last for part in altered)))
    if not inside:
        return fields
    fields = list(fields)
    if inside == carriers:
        fields[FILTER] = IN_DELETION if passes else f"{fields[FILTER]};{IN_DELETION}"
    fields[FORMAT] += ":FT"
    for number, call in enumerate(fields[FORMAT + 1 :]):
        missing = fields[FORMAT].count(":") - call.count(":") - 1  # fields at the end may be left out
        fields[FORMAT + 1 + number] = (
            call + ":." * missing + (f":{IN_DELETION}" if number in inside else ":PASS")
        )
    return fields


def _changed(position: int, reference: str, allele: str) -> _Part:
    """Where an allele changes the reference, and how far it lacks bases from there on: of an SNV, nothing."""
    if allele.startswith("<") or allele == "*":
        return _Part(position, position - 1)
    shared = 0
    while shared < min(len(reference), len(allele)) and reference[shared] == allele[shared]:
        shared += 1
    return _Part(position + shared, position + shared + len(reference) - len(allele) - 1)


def _genotype(call: str) -> list[str]:
    return call.split(":", 1)[0].replace("|", "/").split("/")


def _lines(path: str) -> Iterator[str]:
    with gzip.open(path, "rt", newline="") if path.endswith(".gz") else open(path, newline="") as lines:
        yield from lines
