"""Calls that spell the true sequences by other alleles, told from wrong ones: haplotypes are compared, as vcfeval does.

An insertion beside a deletion, or two indels in a repeat, can be written in several ways that are all normalised.
Where called and true alleles differ, both are put into the reference; if the sequences are the same, the alleles are
taken for the true ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stargazer.workflows.demo.alleles import Allele
from stargazer.workflows.demo.cohort import MITOCHONDRION, Cohort
from stargazer.workflows.demo.files import Observation

__all__ = ["respelled"]

NEAR, MARGIN = 100, 50
"""Bases between two differences that are looked at together; bases on both sides of them that are compared too."""


def respelled(
    cohort: Cohort, sequences: Mapping[str, str], number: int, calls: Mapping[Allele, Observation]
) -> dict[Allele, Observation]:
    """The calls of the `number`-th sample, with the true alleles where theirs give the same sequences.

    Args:
        sequences: the reference, by contig.
        calls: of this sample, normalised.
    """
    truth = cohort.truth()[list(cohort.reads)[number]]
    different = sorted(
        allele
        for allele in truth.keys() | calls.keys()
        if allele not in truth or allele not in calls or calls[allele].copies != truth[allele]
    )
    result = dict(calls)
    for contig, start, end in _windows(different, [*truth, *calls]):
        haplotypes = [
            _spelled(sequences[contig], start, end, changes)
            for changes in _carried(cohort, number, contig, start, end)
        ]
        called = [a for a in calls if _within(a, contig, start, end)]
        true = [a for a in truth if _within(a, contig, start, end)]
        changes = sorted((*_change(allele), calls[allele].copies) for allele in called)
        if not called or not true or not _explain(sequences[contig], start, end, haplotypes, changes):
            continue
        one = calls[called[0]]
        for allele in called:
            del result[allele]
        for allele in true:
            result[allele] = Observation(truth[allele], one.genotype, one.quality, one.depth, one.alt_depth)
    return result


def _windows(different: Sequence[Allele], alleles: Sequence[Allele]) -> Iterator[tuple[str, int, int]]:
    """Stretches with differences, from 0, end excluded, that no allele crosses the ends of."""
    found: list[tuple[str, int, int]] = []
    for contig, position, ref, _ in different:
        end = position - 1 + len(ref)
        if found and found[-1][0] == contig and position - 1 - found[-1][2] < NEAR:
            found[-1] = contig, found[-1][1], max(found[-1][2], end)
        else:
            found.append((contig, position - 1, end))
    spans = {contig: sorted((p - 1, p - 1 + len(r)) for c, p, r, _ in alleles if c == contig)
             for contig in {contig for contig, *_ in found}}  # fmt: skip
    for contig, start, end in found:
        start, end = max(0, start - MARGIN), end + MARGIN
        while crossing := [s for s in spans[contig] if s[0] < start < s[1] or s[0] < end < s[1]]:
            start, end = min(start, *(s for s, _ in crossing)), max(end, *(e for _, e in crossing))
        yield contig, start, end


def _within(allele: Allele, contig: str, start: int, end: int) -> bool:
    return allele[0] == contig and start <= allele[1] - 1 and allele[1] - 1 + len(allele[2]) <= end


def _change(allele: Allele) -> tuple[int, str, str]:
    """Where it changes what into what, from 0, without the base that an indel is anchored on."""
    _, position, ref, alt = allele
    return (position - 1, ref, alt) if len(ref) == len(alt) else (position, ref[1:], alt[1:])


def _carried(
    cohort: Cohort, number: int, contig: str, start: int, end: int
) -> Iterator[list[tuple[int, str, str]]]:
    """The changes in a stretch, of each of the sample's haplotypes."""
    for haplotype in (2 * number, 2 * number + 1)[: 1 if contig == MITOCHONDRION else 2]:
        alleles = [
            (contig, v.position, v.ref, v.alt) for v in cohort.variants[contig] if v.carriers[haplotype]
        ]
        yield sorted(_change(allele) for allele in alleles if _within(allele, contig, start, end))


def _spelled(sequence: str, start: int, end: int, changes: Sequence[tuple[int, str, str]]) -> str:
    pieces = []
    for position, ref, alt in changes:
        pieces += [sequence[start:position], alt]
        start = position + len(ref)
    return "".join([*pieces, sequence[start:end]])


def _explain(
    sequence: str, start: int, end: int, haplotypes: list[str], calls: list[tuple[int, str, str, int]]
) -> bool:
    """Whether the calls, each put on as many haplotypes as it has copies, can give these."""
    everywhere = tuple(range(len(haplotypes)))
    todo: list[tuple[int, list[tuple[str, int]]]] = [(0, [("", start) for _ in haplotypes])]
    while todo:
        index, built = todo.pop()
        if index == len(calls):
            whole = [made + sequence[at:end] for made, at in built]
            if whole == haplotypes:
                return True
            continue
        position, ref, alt, copies = calls[index]
        for chosen in [everywhere] if copies == len(everywhere) else [(which,) for which in everywhere]:
            longer = [
                (made + sequence[at:position] + alt, position + len(ref)) if which in chosen else (made, at)
                for which, (made, at) in enumerate(built)
            ]
            if all(built[which][1] <= position for which in chosen) and all(
                wanted.startswith(made) for (made, _), wanted in zip(longer, haplotypes, strict=True)
            ):
                todo.append((index + 1, longer))
    return False
