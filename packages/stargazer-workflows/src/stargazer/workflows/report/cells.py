"""The sections of a single-cell report on cells and genes: samples, filters, doublets, what clusters are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stargazer.workflows.report import page
from stargazer.workflows.report.numbers import NOTHING, count, percent, points, whole
from stargazer.workflows.report.pictures import Pictures

__all__ = ["cells", "doublets", "filters", "genes"]

Summary = Mapping[str, Any]

FILTERS = {
    "min_genes": "fewer genes than",
    "max_genes": "more genes than",
    "min_counts": "fewer counts than",
    "max_counts": "more counts than",
    "max_pct_mt": "more mitochondrial counts (%) than",
    "nmads log1p_total_counts": "counts outside",
    "nmads log1p_n_genes_by_counts": "genes outside",
    "nmads pct_counts_mt": "mitochondrial counts (%) outside",
}
"""What a filter of filter_cells removes."""

LOGARITHM = " log1p_"


def cells(summary: Summary, pictures: Pictures) -> str:
    """Cells by sample before and after, and what the median cell has."""
    rows = []
    for name, found in summary["samples"].items():
        medians = found["medians"]
        before = found["cells_before"]
        rows.append(
            (
                name,
                count(before),
                count(found["cells_after"]),
                count(found["cells"]),
                percent(found["cells"] / before if before else None),
                whole(medians.get("n_genes_by_counts")),
                whole(medians.get("total_counts")),
                points(medians.get("pct_counts_mt")),
            )
        )
    heads = (
        "sample",
        "cells read",
        "after filters",
        "in the end",
        "of those read",
        "genes",
        "counts",
        "mitochondrial",
    )
    return page.section(
        "Cells",
        page.table(heads, rows, range(1, len(heads))),
        page.text("In the end: also without predicted doublets, if these were removed. Genes, counts and the share of "
                  "mitochondrial counts are medians of the cells in the end.", "note"),
        page.plots(*pictures.of("violin"), *pictures.of("knee")),
    )  # fmt: skip


def filters(summary: Summary) -> str:
    """What each filter removed from each sample."""
    rows = [
        (
            name,
            FILTERS.get(filter_, filter_),
            _limits(filter_, found["thresholds"].get(filter_)),
            count(removed),
        )
        for name, found in summary["samples"].items()
        for filter_, removed in found["removed"].items()
        if removed or not _idle(filter_, summary)
    ]
    return page.section(
        "Filters",
        page.table(("sample", "removed are cells with", "threshold", "cells"), rows, (2, 3)),
        page.text(
            "A cell that fails several filters is counted in each. The two ends of a range are so many median "
            "absolute deviations (nmads) from the median of the sample.",
            "note",
        )
        if rows
        else "",
    )


def doublets(summary: Summary) -> str:
    """Doublets that Scrublet predicts, by sample."""
    rows = []
    for name, found in summary["samples"].items():
        if scrublet := found["doublets"]:
            rows.append(
                (
                    name,
                    count(scrublet.get("cells")),
                    count(scrublet["doublets"]),
                    percent(scrublet["share"]),
                    percent(scrublet.get("expected_doublet_rate")),
                    _threshold(scrublet.get("threshold")),
                    count(scrublet["left"]),
                )
            )
    heads = (
        "sample",
        "cells looked at",
        "doublets",
        "share",
        "expected",
        "threshold of the score",
        "left in",
    )
    return page.section("Doublets", page.table(heads, rows, range(1, len(heads))))


def genes(summary: Summary, pictures: Pictures) -> str:
    """The genes and principal components that clusters are made from, and how samples were brought together."""
    rows = []
    if found := summary["highly_variable_genes"]:
        by = ", chosen in each sample" if found["by_sample"] else ""
        flavor = f" (flavor {found['flavor']})" if found["flavor"] else ""
        rows.append(("highly variable genes", f"{count(found['genes'])} of {count(found['of'])}{flavor}{by}"))
        if found["first"]:
            rows.append(("the first of them", ", ".join(found["first"])))
    if found := summary["pca"]:
        rows.append(("principal components", f"{found['used']} of {found['components']} are used, with "
                     f"{percent(found['variance_of_used'])} of the variance"))  # fmt: skip
    if found := summary["integration"]:
        rows.append(
            ("samples brought together by", f"{found['method'].capitalize()}, over {found['batch_key']}")
        )
    elif len(summary["samples"]) > 1:
        rows.append(("samples brought together by", "nothing"))
    if found := summary["neighbors"]:
        exact = {True: "exact", False: "approximate", None: ""}[found["exact"]]
        space = found["use_rep"] or "X_pca"
        of = ", ".join(word for word in (exact, found["metric"], f"in {space}") if word)
        rows.append(("neighbours of a cell", f"{found['n_neighbors']} ({of})"))
    drawn = [*pictures.of("highly_variable_genes"), *pictures.of("pca_variance_ratio")]
    return page.section(
        "What clusters are made from", page.table(("", ""), rows, style="facts"), page.plots(*drawn)
    )


def _idle(name: str, summary: Summary) -> bool:
    """Whether a filter is of mitochondrial counts, and there are no such genes."""
    return name.endswith("_mt") and summary["mitochondrial_genes"] == 0


def _limits(name: str, value: Any) -> str:
    """A threshold, or the two of a filter by deviations, in the scale of what is filtered."""
    if not isinstance(value, list):
        return _threshold(value)
    if value == [None, None]:
        return "none: most cells are alike"
    logarithmic = LOGARITHM in name
    low, high = (
        _threshold(max(0.0, math.expm1(limit)) if logarithmic and limit is not None else limit)
        for limit in value
    )
    return f"{low if value[0] is not None else 0} to {high}"


def _threshold(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"
