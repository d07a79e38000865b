"""Figures of a summary as rows for tables and charts: of samples, of their coverage, and counts of values in bins."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from stargazer.assets import Asset, FormatError

__all__ = ["binned", "coverage_rows", "read_summary", "sample_figures"]


def read_summary(asset: Asset) -> dict[str, Any]:
    """The figures of a run's summary.

    Raises:
        FormatError: it holds none.
    """
    import json

    assert asset.path is not None
    try:
        content = json.loads(asset.path.read_bytes())
    except ValueError as error:
        raise FormatError(f"the summary {asset.cid} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise FormatError(f"the summary {asset.cid} holds no figures")
    return content


def sample_figures(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a germline run found of each sample: reads, coverage and calls that pass; shares in percent."""
    rows = []
    for name, found in summary["samples"].items():
        coverage, calls = found.get("coverage") or {}, found.get("calls_that_pass") or {}
        rows.append(
            {
                "sample": name,
                "reads": found["reads"],
                "mapped %": round(100 * found["mapped"], 2),
                "dup. %": round(100 * found["duplicates"], 2),
                "mean depth": coverage.get("mean"),
                "10x %": round(100 * coverage.get("at_least", {}).get("10", 0.0), 2),
                "SNV het": calls.get("snvs_het"),
                "SNV hom": calls.get("snvs_hom_alt"),
                "het/hom": calls.get("het_hom"),
                "indels": calls.get("indels"),
            }
        )
    return rows


def coverage_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How many bases of each sample have which depth: `sample`, `depth`, `share` of the bases in percent."""
    rows = []
    for name, found in summary["samples"].items():
        depths, bases = found.get("coverage", {}).get("depths") or {}, found.get("coverage", {}).get("bases")
        for place, count in enumerate(depths.get("counts", ())):
            if bases:
                rows.append(
                    {"sample": name, "depth": place * depths["step"], "share": round(100 * count / bases, 4)}
                )
    return rows


def binned(
    rows: Iterable[Mapping[str, Any]], figure: str, by: str, bins: int = 40, most: float | None = None
) -> list[dict[str, Any]]:
    """How many rows have which value of a figure, in bins from zero on.

    Args:
        rows: those without a value do not count.
        figure, by: their names; `by` tells groups apart.
        bins: at most so many, each a round number wide.
        most: the highest value; the last bin has what lies above. By default the 99.5th percentile.

    Returns:
        Rows of the group under its name, `low`, `high` and `rows`.
    """
    pairs = [(row[by], float(row[figure])) for row in rows if row.get(figure) is not None]
    if not pairs:
        return []
    values = sorted(value for _, value in pairs)
    top = most or values[min(len(values) - 1, int(0.995 * len(values)))] or 1.0
    width = _round(top / bins)
    last = max(0, math.ceil(top / width) - 1)
    counts = Counter((group, min(last, int(value / width))) for group, value in pairs)
    return [
        {by: group, "low": round(place * width, 6), "high": round((place + 1) * width, 6), "rows": count}
        for (group, place), count in sorted(counts.items(), key=lambda item: (str(item[0][0]), item[0][1]))
    ]


def _round(width: float) -> float:
    """The next of 1, 2, 5, 10, ... that is no less, of any power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= width * (1 - 1e-9))
