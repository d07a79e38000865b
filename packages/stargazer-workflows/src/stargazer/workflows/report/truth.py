"""The sections of the report that only a run with known variants has: comparison with the truth, and inheritance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargazer.workflows.report import page, plots
from stargazer.workflows.report.numbers import NOTHING, count, percent, score, whole

__all__ = ["errors", "inheritance", "truth"]

TYPES = {"snv": "SNV", "indel": "indel"}
CALL_KINDS = {"missed": "missed", "false": "false call", "genotype": "wrong genotype"}
SCORES = (
    "sample",
    "type",
    "in truth",
    "called",
    "TP",
    "FP",
    "FN",
    "precision",
    "recall",
    "F1",
    "genotypes right",
)


def truth(comparison: Mapping[str, Any]) -> str:
    """Scores against the truth by sample and type."""
    rows = []
    for sample, scores in [*comparison["samples"].items(), ("all", comparison["total"])]:
        for kind, found in scores.items():
            counts = [count(found[key]) for key in ("truth", "calls", "tp", "fp", "fn")]
            shares = [score(found[key]) for key in ("precision", "recall", "f1", "genotype_concordance")]
            rows.append((sample, TYPES[kind], *counts, *shares))
    return page.section(
        "Comparison with the truth",
        page.table(SCORES, rows, range(2, 11)),
        page.figure(
            plots.truth_plot(comparison["samples"]),
            "Alleles in confident regions: found, called falsely, missed.",
        ),
        page.text(
            "False calls of high quality are expected: the family's genome has a copy of a sequence that the reference "
            "lacks, as real genomes do, and its reads align to the one that is there.",
            "note",
        ),
    )


def inheritance(found: Mapping[str, Any]) -> str:
    """Genotypes of the child that its parents cannot have passed on."""
    words = (
        f"{count(found['violations'])} of {count(found['sites'])} sites have a genotype of the child that its parents "
        f"cannot have passed on ({percent(found['rate'])}): Mendelian violations."
    )
    heads = ("place", "ref", "alt", "father", "mother", "child", "QUAL")
    rows = [
        (*_place(site), site["father"], site["mother"], site["child"], whole(site["quality"]))
        for site in found["listed"]
    ]
    return page.section("Inheritance", page.text(words), page.table(heads, rows, (6,)))


def errors(comparison: Mapping[str, Any]) -> str:
    """Missed and false calls, one by one."""
    heads = ("place", "ref", "alt", "type", "sample", "what", "truth", "call", "QUAL", "reads with alt")
    rows = [
        (
            *_place(error),
            TYPES[error["type"]],
            error["sample"],
            CALL_KINDS[error["kind"]],
            error["truth"] or NOTHING,
            error["call"] or NOTHING,
            whole(error["quality"]),
            NOTHING
            if None in (error["alt_depth"], error["depth"])
            else f"{error['alt_depth']} of {error['depth']}",
        )
        for error in comparison["errors"]
    ]
    more = comparison["errors_total"] - len(rows)
    return page.section(
        "Missed and false calls",
        page.table(heads, rows, (8, 9)),
        page.text(f"and {more:,} more", "note") if more > 0 else "",
    )


def _place(site: Mapping[str, Any]) -> tuple[str, str, str]:
    """Where a site is, and its alleles."""
    return f"{site['contig']}:{site['position']:,}", site["ref"], site["alt"]
