"""Cells of an h5ad for tables and charts: coordinates, clusters, what a gene has, and what a selection holds."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import FormatError, InvalidAssetError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "QC_FIGURES",
    "Cells",
    "cluster_counts",
    "draw_umap",
    "markers_of",
    "open_cells",
    "qc_histograms",
]

QC_FIGURES = {
    "n_genes_by_counts": "genes of a cell",
    "total_counts": "counts of a cell",
    "pct_counts_mt": "mitochondrial counts (%)",
    "doublet_score": "doublet score",
}
"""What is known of a cell, and what people call it."""

COLOURS = (
    "#4c78a8", "#f58518", "#e45756", "#72b7b2", "#54a24b", "#eeca3b", "#b279a2", "#ff9da6", "#9d755d", "#bab0ac",
    "#9ecae9", "#ffbf79", "#b5cf6b", "#83bcb6", "#88d27a", "#b79a20", "#d6a5c9", "#843c39", "#d8b5a5", "#393b79",
)  # fmt: skip
"""Of groups, in their order, in charts and pictures; then they begin again."""

CLUSTERS = "leiden"
MOST_GROUPS = 40
"""Values of a column up to which each has a colour of its own."""
SEED = 0
MOST_POINTS = 5_000
"""Cells that a chart draws: a browser is slow with more."""
NEAR = 3
UMAP = "X_umap"


@attrs.frozen(eq=False)
class Cells:
    """The cells of an h5ad; of its matrix only the genes that are asked for are read.

    Attributes:
        path: of the file.
        table: `obs`, a row a cell.
        umap: two coordinates a cell; None where it has none.
        genes: their names.
    """

    path: Path
    table: pd.DataFrame
    umap: np.ndarray[Any, Any] | None
    genes: list[str]

    @property
    def groups(self) -> list[str]:
        """The columns by which cells can be told apart: of text, with few values; clusters first, however many."""
        found = [
            name
            for name in map(str, self.table)
            if not _is_numeric(self.table[name])
            and self.table[name].nunique() > 0
            and (name == CLUSTERS or self.table[name].nunique() <= MOST_GROUPS)
        ]
        return sorted(found, key=lambda name: (name != CLUSTERS, name != "sample"))

    @property
    def figures(self) -> list[str]:
        """The columns of QC that hold a number."""
        return [name for name in QC_FIGURES if name in self.table and _is_numeric(self.table[name])]

    def values(self, name: str) -> list[Any]:
        """Of each cell what it has in a column, or of a gene: text of a group, else a number.

        A gene's letters may be small or large where only one gene is meant.

        Raises:
            InvalidAssetError: there is no such column and no such gene; the message has those with names like it.
        """
        if name in self.table:
            column = self.table[name]
            return list(column.astype(float) if _is_numeric(column) else column.astype(str))
        alike = (
            [name] if name in self.genes else [gene for gene in self.genes if gene.lower() == name.lower()]
        )
        if len(alike) == 1:
            from stargazer.tasks import expression

            return [float(value) for value in expression(str(self.path), alike)[:, 0]]
        lower = {gene.lower(): gene for gene in reversed(self.genes)}
        near = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=NEAR, cutoff=0.6)]
        raise InvalidAssetError(
            f"the cells have no gene {name!r}" + (f"; near it: {', '.join(near)}" if near else "")
        )

    def points(self, name: str, most: int = MOST_POINTS) -> list[dict[str, Any]]:
        """At most so many cells, drawn at random and always the same, as points of the UMAP.

        Args:
            name: of a column or gene, which `value` is of.

        Returns:
            Rows of `cell`, `umap_1`, `umap_2` and `value`; none without a UMAP, nor of a cell that has no place in it.
        """
        import numpy as np

        if self.umap is None:
            return []
        count, names, values = len(self.table), list(map(str, self.table.index)), self.values(name)
        places: Sequence[int] = range(count)
        if count > most:
            places = sorted(map(int, np.random.default_rng(SEED).choice(count, most, replace=False)))
        return [
            {
                "cell": names[place],
                "umap_1": round(float(self.umap[place, 0]), 3),
                "umap_2": round(float(self.umap[place, 1]), 3),
                "value": values[place] if isinstance(values[place], str) else _finite(values[place]),
            }
            for place in places
            if np.isfinite(self.umap[place]).all()
        ]

    def within(self, ranges: Mapping[str, Sequence[float]]) -> list[bool]:
        """Whether each cell lies in a part of the UMAP.

        Args:
            ranges: the least and the most of `umap_1` and `umap_2`; of what is not named, all.
        """
        import numpy as np

        inside = np.ones(len(self.table), bool)
        if self.umap is not None:
            for place, name in enumerate(("umap_1", "umap_2")):
                if name in ranges:
                    low, high = sorted(ranges[name])
                    inside &= (self.umap[:, place] >= low) & (self.umap[:, place] <= high)
        return [bool(each) for each in inside]


def open_cells(path: str | Path) -> Cells:
    """The cells of an h5ad.

    Raises:
        FormatError: it is damaged, or no h5ad.
        ImportError: what reads it is not installed (the extra scrna).
    """
    import numpy as np
    from stargazer.tasks import annotation

    try:
        cells = annotation(str(path), [UMAP])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{Path(path).name} cannot be read as h5ad: {error}") from error
    umap = np.asarray(cells.obsm[UMAP])[:, :2] if UMAP in cells.obsm else None
    return Cells(Path(path), cells.obs, umap, list(map(str, cells.var_names)))


def cluster_counts(groups: Sequence[str], chosen: Sequence[bool]) -> list[dict[str, Any]]:
    """How many cells of each cluster are among the chosen ones, the cluster with most of them first.

    Args:
        groups: the cluster of each cell.
        chosen: whether it is chosen.

    Returns:
        `cluster`, its `cells` that are chosen, and their percentage of all chosen ones and of the cluster.
    """
    from collections import Counter

    whole = Counter(groups)
    inside = Counter(group for group, is_in in zip(groups, chosen, strict=True) if is_in)
    return [
        {
            "cluster": group,
            "cells": count,
            "% of selection": round(100 * count / inside.total(), 2),
            "% of cluster": round(100 * count / whole[group], 2),
        }
        for group, count in inside.most_common()
    ]


def markers_of(
    table: str | Path, clusters: Collection[str] | None = None, most: int = 10
) -> list[dict[str, Any]]:
    """The first marker genes of each cluster that it has more of than other cells, in the order of their ranks.

    Args:
        table: CSV of rank_genes_groups.
        clusters: whose; of all by default.
        most: genes of each.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    with open(table, newline="") as file:
        for row in csv.DictReader(file):
            of_cluster = found.setdefault(row["group"], [])
            higher = _number(row.get("logfoldchanges") or row["scores"])
            if (
                (clusters is None or row["group"] in clusters)
                and len(of_cluster) < most
                and (higher or 0) > 0
            ):
                of_cluster.append(
                    {
                        "cluster": row["group"],
                        "gene": row["names"],
                        "score": _number(row["scores"]),
                        "log2 fold change": _number(row.get("logfoldchanges")),
                        "adjusted p": _number(row.get("pvals_adj")),
                    }
                )
    return [row for rows in found.values() for row in rows]


def qc_histograms(before: pd.DataFrame, after: Collection[str], bins: int = 40) -> list[dict[str, Any]]:
    """How many cells have which genes, counts and mitochondrial share, before the filters and in the end.

    Args:
        before: `obs` of all cells.
        after: the names of those that are left.
        bins: of each figure; the last has all that lie above the 99.5th percentile.

    Returns:
        Rows of figure, sample, stage ("removed" or "kept"), low, high, cells.
    """
    import numpy as np

    kept = np.asarray(before.index.isin(list(after)))
    samples = before["sample"].astype(str) if "sample" in before else None
    rows = []
    for name, figure in QC_FIGURES.items():
        if name not in before or not _is_numeric(before[name]):
            continue
        values = before[name].to_numpy(float)
        finite = values[np.isfinite(values)]
        if not finite.size or finite.max() <= 0:
            continue
        edges = np.linspace(0, np.quantile(finite, 0.995) or finite.max(), bins + 1)
        for sample in sorted(set(samples)) if samples is not None else [""]:
            mine = np.isfinite(values) & (
                np.ones(len(values), bool) if samples is None else samples == sample
            )
            for stage, which in (("kept", kept), ("removed", ~kept)):
                counts, _ = np.histogram(np.minimum(values[mine & which], edges[-1]), edges)
                rows += [
                    {"figure": figure, "sample": sample, "stage": stage, "low": float(low), "high": float(high),
                     "cells": int(count)}
                    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
                    if count
                ]  # fmt: skip
    return rows


def draw_umap(cells: Cells, name: str) -> Figure:
    """All cells on their UMAP, as a picture: for more cells than a chart of a browser takes.

    Args:
        name: of the column or gene that colours them.

    Raises:
        InvalidAssetError: there is no such column and no such gene, or the cells have no UMAP.
    """
    import numpy as np
    from matplotlib.figure import Figure

    if cells.umap is None:
        raise InvalidAssetError("the cells have no UMAP (obsm/X_umap)")
    values = cells.values(name)
    figure = Figure(figsize=(8, 6), layout="constrained")
    panel = figure.subplots()
    x, y = cells.umap.T
    size = float(np.clip(60_000 / max(1, len(values)), 0.5, 12))
    if values and isinstance(values[0], str):
        for number, group in enumerate(sorted(set(values), key=_by_number)):
            inside = [value == group for value in values]
            panel.scatter(
                x[inside],
                y[inside],
                s=size,
                linewidths=0,
                color=COLOURS[number % len(COLOURS)],
                label=f" {group}",
            )
        panel.legend(markerscale=(30 / size) ** 0.5, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    else:
        drawn = panel.scatter(x, y, s=size, linewidths=0, c=values, cmap="viridis")
        figure.colorbar(drawn, label=name)
    panel.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[], title=f"{len(values):,} cells")
    return figure


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (1 << 30, name)


def _finite(value: float) -> float | None:
    """A number as JSON has it: NaN is none there."""
    import math

    return round(value, 4) if math.isfinite(value) else None


def _is_numeric(column: Any) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return bool(is_numeric_dtype(column)) and not is_bool_dtype(column)


def _number(text: str | None) -> float | None:
    """A number of four digits; None of what is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return float(f"{value:.4g}") if value == value else None
