"""Says which figures of a germline run are unusual for human samples that Illumina machines have read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import attrs

__all__ = ["LEFT_OUT", "Usual", "unusual_calls", "unusual_reads"]

LEFT_OUT = 0.2
"""Of the reads of a sample: what is not properly paired in a usual library is less."""

ENOUGH = 1_000
"""SNVs from which on a ratio says something."""

SOME = 100
"""Calls from which on a share says something."""

DEEP = 20
"""Mean depth from which on nearly all of what was sequenced evenly is 10 deep."""


@attrs.frozen
class Usual:
    """What a figure usually is, and what it may mean if it is not."""

    figure: str
    least: float | None
    most: float | None
    means: str

    def judged(self, value: float | None, **of: str) -> Iterator[dict[str, Any]]:
        """What to say of a value, if it is unusual.

        Args:
            of: the sample, and the lane.
        """
        too_low = self.least is not None and value is not None and value < self.least
        if too_low or (self.most is not None and value is not None and value > self.most):
            bound, limit = ("at least", self.least) if too_low else ("at most", self.most)
            usual = {"bound": bound, "value": limit}
            yield {**of, "figure": self.figure, "value": value, "usual": usual, "means": self.means}


ANY_READS = Usual("reads", 1, None, "an empty file of reads")
READS = (
    Usual("mapped", 0.9, None, "contamination, adapters, or another reference than that of the species"),
    Usual("left_out", None, LEFT_OUT, "the two files of reads do not belong together, or failed reads"),
    Usual("mean_base_quality", 25, None, "a poor sequencing run"),
    Usual("mismatch_rate", None, 0.015, "poor base qualities, contamination, or a distant reference"),
)
DUPLICATES = Usual("duplicates", None, 0.3, "little DNA, or more sequencing than the library has molecules")
DEPTH = Usual("coverage.mean", 10, None, "many heterozygous variants are missed")
EVENNESS = Usual(
    "coverage.at_least.10", 0.9, None, "uneven coverage; if these are targeted reads, give intervals="
)
ANY_CALLS = Usual(
    "variants.pass.records",
    1,
    None,
    "too few reads, other intervals than meant, or samples like the reference",
)
TS_TV = Usual(
    "variants.pass.ts_tv",
    1.8,
    3.5,
    "false calls (at random it is 0.5), or no human genome (2.0 to 2.1, of exons about 3)",
)
HET_HOM = Usual(
    "calls_that_pass.het_hom",
    0.8,
    3.0,
    "lost alleles or related parents, where it is low; contamination, where it is high",
)
FILTERED = Usual("variants.filtered", None, 0.3, "low coverage, or poor reads")
MISSING = Usual("calls_that_pass.missing", None, 0.1, "low coverage: no genotype could be told at many calls")


def unusual_reads(
    samples: Mapping[str, Mapping[str, Any]], lanes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What is unusual in the reads of samples and lanes, and in how they cover what was to be covered.

    Returns:
        Of each its `sample` and, if it is of one, its `lane`; the `figure`, by where it is in the summary, with its
        `value`; what is `usual`, a `bound` ("at least" or "at most") and a `value`; and what it may mean (`means`).
    """
    means = [found["coverage"]["mean"] for found in samples.values()]
    alike = Usual("coverage.mean", round(median(means) / 2, 1) if len(means) > 2 else None, None,
                   "less than half of what the samples of this run have in the middle")  # fmt: skip
    found: list[dict[str, Any]] = []
    for name, figures in samples.items():
        found += _of_reads(figures, sample=name)
        if not figures["reads"]:
            continue
        coverage = figures["coverage"]
        found += DUPLICATES.judged(figures["duplicates"], sample=name)
        found += [*DEPTH.judged(coverage["mean"], sample=name)] or alike.judged(coverage["mean"], sample=name)
        if coverage["mean"] >= DEEP:
            found += EVENNESS.judged(coverage["at_least"]["10"], sample=name)
    for lane in lanes:
        found += _of_reads(lane, sample=lane["sample"], lane=f"{lane['library']} {lane['lane']}".strip())
    return found


def unusual_calls(
    counts: Mapping[str, Any], ts_tv: float, samples: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What is unusual in the calls of all samples (`sample` is empty), and of each.

    Args:
        counts: as `count_records` gives them.
        samples: with `calls_that_pass`.
    """
    passing, filtered = counts["pass"]["records"], counts["filtered"]["records"]
    found: list[dict[str, Any]] = []
    found += ANY_CALLS.judged(passing, sample="")
    if counts["pass"]["snvs"] >= ENOUGH:
        found += TS_TV.judged(ts_tv, sample="")
    if passing + filtered >= SOME:
        found += FILTERED.judged(round(filtered / (passing + filtered), 6), sample="")
    for name, figures in samples.items():
        calls = figures["calls_that_pass"]
        if calls and calls["snvs_het"] + calls["snvs_hom_alt"] >= ENOUGH:
            found += HET_HOM.judged(calls["het_hom"], sample=name)
        if calls and passing >= SOME:
            found += MISSING.judged(round(calls["missing"] / passing, 6), sample=name)
    return found


def _of_reads(figures: Mapping[str, Any], **of: str) -> Iterator[dict[str, Any]]:
    if not figures["reads"]:
        yield from ANY_READS.judged(0, **of)
        return
    for usual in READS:
        yield from usual.judged(figures[usual.figure], **of)
    length = figures["mean_read_length"]
    inserts = Usual("insert_size_median", length, None, "reads run into adapters, which were not trimmed")
    yield from inserts.judged(figures["insert_size_median"], **of)
