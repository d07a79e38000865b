"""What the demo's tasks compute, from files to files: the truth comparison, the coverage profile, the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stargazer.workflows.demo.compare import compare_to_truth, mendelian_violations
from stargazer.workflows.demo.statistics import call_statistics

__all__ = ["WINDOW", "write_comparison", "write_coverage"]

WINDOW = 1000
"""Bases of one point of a coverage profile."""


def write_comparison(
    target: str, calls: str, truth: str, confident: str, reference: str, father: str, mother: str, child: str
) -> None:
    """Write as JSON how calls compare with the truth and with inheritance, and what they look like."""
    content = {
        "truth": compare_to_truth(calls, truth, confident, reference),
        "inheritance": mendelian_violations(calls, father, mother, child, confident),
        "statistics": call_statistics(calls),
    }
    Path(target).write_text(json.dumps(content, sort_keys=True) + "\n")


def write_coverage(target: str, depth: str) -> None:
    """Write as JSON the mean depth of each window of WINDOW bases, by contig, from `samtools depth -a`."""
    sums: dict[str, list[int]] = {}
    counts: dict[str, list[int]] = {}
    with open(depth) as lines:
        for line in lines:
            contig, position, count = line.rstrip("\n").rsplit("\t", 2)
            window = (int(position) - 1) // WINDOW
            totals, sizes = sums.setdefault(contig, []), counts.setdefault(contig, [])
            while len(totals) <= window:
                totals.append(0)
                sizes.append(0)
            totals[window] += int(count)
            sizes[window] += 1
    profile: dict[str, Any] = {
        contig: [round(total / size, 2) if size else 0.0 for total, size in zip(totals, counts[contig], strict=True)]
        for contig, totals in sums.items()
    }
    Path(target).write_text(json.dumps({"window": WINDOW, "contigs": profile}) + "\n")
