"""What is seen first of a report: a verdict, the headline figures, and what is unusual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stargazer.workflows.report import page
from stargazer.workflows.report.figures import Figures, Form
from stargazer.workflows.report.numbers import NOTHING, count, decimal, depth, percent, tenths, whole

__all__ = ["FIGURES", "headlines", "typical", "unusual", "verdict"]

FIGURES: Mapping[str, tuple[str, Form]] = {
    "reads": ("reads", count),
    "mapped": ("mapped reads", percent),
    "left_out": ("reads not properly paired, or failed", percent),
    "mean_base_quality": ("mean base quality", tenths),
    "mismatch_rate": ("mismatches", percent),
    "insert_size_median": ("insert size, median", whole),
    "duplicates": ("duplicates", percent),
    "coverage.mean": ("mean coverage", depth),
    "coverage.at_least.10": ("bases at least 10 deep", percent),
    "variants.pass.records": ("calls that pass", count),
    "variants.pass.ts_tv": ("Ti/Tv of SNVs", decimal),
    "variants.filtered": ("calls that are filtered", percent),
    "calls_that_pass.het_hom": ("het/hom of SNVs", decimal),
    "calls_that_pass.missing": ("calls without a genotype", percent),
}
"""What people call a figure of `unusual`, and how it is written."""


def verdict(summary: Figures, alike: str = "usual human samples", results: str = "the calls") -> str:
    """Whether anything is unusual, in a sentence.

    Args:
        alike: what the figures are like, if nothing is unusual.
        results: what is used of the run.
    """
    number = len(summary["unusual"])
    if not number:
        return page.verdict("Nothing unusual.", f"Every figure that is judged is as in {alike}.", good=True)
    return page.verdict(
        f"{number} unusual figure{'s' if number > 1 else ''}.",
        f"Look below before {results} are used: the table says what may be behind it.",
        good=False,
    )


def headlines(summary: Figures) -> str:
    """The figures that are looked at first; of several samples the one in the middle, and their range."""
    passing, filtered = summary["variants"]["pass"], summary["variants"]["filtered"]
    read = [found for found in summary["samples"].values() if found["reads"]]
    return page.tiles(
        [
            (count(passing["records"]), f"calls that pass; {count(filtered['records'])} are filtered"),
            (count(passing["snvs"]), "SNVs"),
            (count(passing["indels"]), "indels"),
            (decimal(passing["ts_tv"] if passing["snvs"] else None), "Ti/Tv of SNVs"),
            typical("mean coverage", [found["coverage"]["mean"] for found in read], depth),
            typical("of bases 20 deep", [found["coverage"]["at_least"]["20"] for found in read], percent),
            typical("of reads mapped", [found["mapped"] for found in read], percent),
            typical("duplicates", [found["duplicates"] for found in read], percent),
        ]
    )


def unusual(summary: Figures, figures: Mapping[str, tuple[str, Form]] = FIGURES) -> str:
    """Which figures are unusual, and what they may mean.

    Args:
        figures: what people call each, and how it is written.
    """
    rows = []
    for found in summary["unusual"]:
        name, shown = figures[found["figure"]]
        cluster = f"cluster {found['cluster']}" if found.get("cluster") else ""
        of = f"{found['sample'] or cluster or 'all samples'} {found.get('lane', '')}".strip()
        usual = f"{found['usual']['bound']} {shown(found['usual']['value'])}"
        rows.append((of, name, page.Unusual(shown(found["value"])), usual, found["means"]))
    return page.section(
        "What to look at", page.table(("", "figure", "here", "usual", "may mean"), rows, (2, 3))
    )


def typical(label: str, values: Sequence[float], shown: Form) -> tuple[str, str]:
    """For a tile: the one in the middle of the values that samples have, and their range."""
    if not values:
        return NOTHING, label
    ordered = sorted(values)
    least, most = shown(ordered[0]), shown(ordered[-1])
    spread = f", {least} to {most}" if least != most else ""
    return shown(ordered[(len(ordered) - 1) // 2]), label + spread
