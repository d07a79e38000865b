"""Draws cells with matplotlib and scanpy, each picture from an h5ad into a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer.assets import InvalidAssetError
from stargazer.tasks.scrna.canvas import (
    ACCENT,
    INK,
    MOST,
    SOFT,
    colours,
    in_legend,
    legend,
    name_points,
    picture,
    slanted,
    styled,
    write,
)
from stargazer.tasks.scrna.cells import SAMPLE
from stargazer.tasks.scrna.notes import noted
from stargazer.tasks.scrna.parts import annotation, expression, first_markers, missing
from stargazer.tasks.scrna.quality import METRICS
from stargazer.tasks.scrna.unusual import differing_clusters

if TYPE_CHECKING:
    import anndata
    from matplotlib.axes import Axes

__all__ = ["dots", "knee", "umap", "variable_genes", "variance_ratio", "violins"]

LABELS = {
    "n_genes_by_counts": "genes of a cell",
    "total_counts": "counts of a cell",
    "pct_counts_mt": "mitochondrial counts (%)",
}
"""What is drawn of cells, and what people call it."""

WIDE = 40
"""Genes up to which a dot plot has them side by side; more are below each other, else a page is too narrow."""

PITCH = 0.27
"""Inches from a dot to the next."""

LEAST = 1.5
"""Inches of all rows of dots at least: beside them is the legend."""

TALL = 160
"""Genes of a dot plot: of many clusters each has fewer."""


def violins(source: str, target: str, groupby: str, filtered: str | None = None) -> None:
    """Draw metrics of cells by sample (plot_qc)."""
    import numpy as np

    cells = annotation(source)
    samples = _samples(cells, groupby)
    metrics = [name for name in LABELS if name in cells.obs and cells.obs[name].max() > 0]
    if not metrics:
        raise InvalidAssetError(
            f"the cells have none of {', '.join(LABELS)} in obs, or only zeros: run calculate_qc_metrics first"
        )
    told = noted(annotation(filtered) if filtered else cells, "filter_cells")
    names = list(samples.cat.categories)
    with picture(target, len(metrics) * max(2.3, 0.9 + 0.5 * len(names)), 3.2) as figure:
        for panel, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
            for place, name in enumerate(names):
                values = cells.obs.loc[samples == name, metric].to_numpy(float)
                values = values[np.isfinite(values)]
                if values.size:
                    _violin(panel, place, values, colours(cells, groupby, names)[place])
            panel.set_ylim(0, panel.get_ylim()[1])
            for place, name in enumerate(names):
                found = told.get(name if groupby in cells.obs else "", {}).get("thresholds", {})
                _lines(panel, place, _limits(found, metric))
            panel.set_xticks(range(len(names)), names, **slanted(names))
            panel.set_xlim(-0.6, len(names) - 0.4)
            panel.set_title(LABELS[metric])
            panel.grid(visible=True, axis="y")
            panel.set_axisbelow(True)


def knee(source: str, target: str, groupby: str) -> None:
    """Draw counts by rank (plot_knee)."""
    import numpy as np

    cells = annotation(source)
    if "total_counts" not in cells.obs:
        raise InvalidAssetError("the cells have no total_counts in obs: run calculate_qc_metrics first")
    samples = _samples(cells, groupby)
    names = list(samples.cat.categories)
    with picture(target, 4.6, 3.4) as figure:
        panel = figure.subplots()
        for name, colour in zip(names, colours(cells, groupby, names), strict=True):
            counts = np.sort(cells.obs.loc[samples == name, "total_counts"].to_numpy(float))[::-1]
            counts = counts[counts > 0]
            panel.plot(1 + np.arange(counts.size), counts, color=colour, linewidth=1.6, label=in_legend(name))
        panel.set(xscale="log", yscale="log", xlabel="rank of the barcode", ylabel="counts")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter("{x:,.0f}")
            axis.set_minor_formatter("")
        panel.grid(visible=True)
        legend(panel, names)


def variable_genes(source: str, target: str, n_names: int) -> None:
    """Draw genes by mean and dispersion (plot_highly_variable_genes)."""
    genes = annotation(source).var
    spread = next((name for name in ("dispersions_norm", "variances_norm") if name in genes), None)
    if spread is None or not {"means", "highly_variable"} <= set(genes):
        raise InvalidAssetError(
            "the cells have no highly variable genes in var: run highly_variable_genes first"
        )
    genes = genes[genes[spread].notna()]
    chosen = genes["highly_variable"].to_numpy(bool)
    with picture(target, 5.2, 3.4) as figure:
        panel = figure.subplots()
        for which, colour, label in (
            (~chosen, "#b6bec9", f"other genes: {(~chosen).sum():,}"),
            (chosen, "#2b6cb8", f"highly variable: {chosen.sum():,}"),
        ):
            panel.scatter(
                genes["means"][which], genes[spread][which], s=5, linewidths=0, color=colour, label=label
            )
        if spread == "variances_norm":
            panel.set_xscale("log")
        panel.set(xlabel="mean expression", ylabel=f"{spread.split('_')[0][:-1]}, normalised")
        panel.grid(visible=True)
        panel.set_axisbelow(True)
        panel.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=2.5)
        first = genes[chosen].sort_values(spread, ascending=False, kind="stable").head(n_names)
        figure.draw_without_rendering()  # places are known once it is laid out
        name_points(panel, zip(first["means"], first[spread], first.index, strict=True))


def variance_ratio(source: str, target: str) -> None:
    """Draw the variance of principal components (plot_pca_variance_ratio)."""
    import numpy as np

    uns = annotation(source).uns
    ratios = uns.get("pca", {}).get("variance_ratio")
    if ratios is None:
        raise InvalidAssetError("the cells have no principal components (uns['pca']): run pca first")
    percent = 100 * np.asarray(ratios, float)
    used = uns.get("neighbors", {}).get("params", {}).get("n_pcs")
    with picture(target, 4.6, 3.4) as figure:
        panel = figure.subplots()
        panel.plot(1 + np.arange(percent.size), percent, "o-", markersize=3, linewidth=0.8, color="#2b6cb8")
        if used is not None and 0 < int(used) < percent.size:
            panel.axvline(int(used) + 0.5, color=ACCENT, linewidth=1, linestyle=(0, (4, 3)))
            panel.annotate(
                f"{int(used)} are used", (int(used), percent.max()), xytext=(-4, 0),
                textcoords="offset points", ha="right", va="top", color=ACCENT,
            )  # fmt: skip
        panel.set(xlabel="principal component", ylabel="variance (%)")
        panel.set_ylim(0)
        panel.grid(visible=True, axis="y")


def umap(source: str, target: str, color: str) -> None:
    """Draw UMAP in a colour (plot_umap)."""
    import numpy as np
    import pandas as pd
    import scanpy as sc

    cells = annotation(source, obsm=["X_umap"])
    if "X_umap" not in cells.obsm:
        raise InvalidAssetError("the cells have no UMAP (X_umap in obsm): run umap first")
    if color in cells.obs:
        values = cells.obs[color]
        text = not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)
    elif color in cells.var_names:
        values, text = pd.Series(expression(source, [color])[:, 0], index=cells.obs_names), False
    else:
        raise missing("column of obs or gene", color, [*cells.obs.columns, *cells.var_names])
    look: dict[str, Any] = {"color_map": "viridis"}
    if text:
        values = values.astype("category").cat.remove_unused_categories()
        names = list(map(str, values.cat.categories))
        on_data = all(name.isdecimal() for name in names) and len(names) > 1  # the numbers of clusters
        if len(names) > MOST and not on_data:
            raise InvalidAssetError(
                f"{color!r} has {len(names):,} different values, of which no colours tell: draw a column of at most "
                f"{MOST} categories, or of numbers"
            )
        marked = _marked(cells, color, names)
        look = {
            "palette": colours(cells, color, names),
            "legend_loc": "on data" if on_data else "right margin",
            "legend_fontsize": 10 if on_data else 8,
            "legend_fontoutline": 3 if on_data else None,
        }
        values = values.cat.rename_categories([in_legend(name) for name in marked])
        if marked != names:
            look["title"] = f"{color}  (?: differs between seeds)"
    order = np.random.default_rng(0).permutation(cells.n_obs)
    shown = sc.AnnData(
        obs=pd.DataFrame({color: values.to_numpy() if not text else values.array}, index=cells.obs_names),
        obsm={"X_umap": np.asarray(cells.obsm["X_umap"])[:, :2]},
    )[order].copy()
    size = float(np.clip(120_000 / max(1, cells.n_obs), 2, 30))
    with picture(target, 5.6, 4.6) as figure:
        sc.pl.umap(
            shown, color=color, ax=figure.subplots(), show=False, frameon=False, size=size, na_color="#d5d9e0", **look
        )  # fmt: skip


def dots(source: str, target: str, n_genes: int) -> None:
    """Draw a dot plot of markers (plot_markers)."""
    import matplotlib.pyplot as plt
    import pandas as pd
    import scanpy as sc

    cells = annotation(source)
    ranked = cells.uns.get("rank_genes_groups")
    groupby = ranked and ranked["params"]["groupby"]
    if ranked is None or groupby not in cells.obs:
        raise InvalidAssetError("the cells have no ranked marker genes: run rank_genes_groups first")
    known = set(cells.var_names)
    n_genes = max(1, min(n_genes, TALL // len(ranked["names"].dtype.names)))
    markers = {
        group: [found["gene"] for found in first if found["gene"] in known]
        for group, first in first_markers(ranked, n_genes).items()
    }
    markers = {group: genes for group, genes in markers.items() if genes}
    if not markers:
        raise InvalidAssetError(
            f"no gene is higher in a cluster of {groupby} than elsewhere: there are no markers"
        )
    genes = list(dict.fromkeys(gene for group in markers.values() for gene in group))
    names = list(map(str, cells.obs[groupby].cat.categories))
    marked = dict(zip(names, _marked(cells, groupby, names), strict=True))
    shown = sc.AnnData(
        X=expression(source, genes),
        obs=pd.DataFrame({groupby: cells.obs[groupby].cat.rename_categories(marked)}),
        var=pd.DataFrame(index=genes),
    )
    with styled():
        plot = sc.pl.DotPlot(
            shown,
            {marked.get(group, group): genes for group, genes in markers.items()},
            groupby,
            standard_scale="var",
        )
        upright = sum(map(len, markers.values())) > WIDE
        plot.DEFAULT_CATEGORY_WIDTH = PITCH
        plot.DEFAULT_CATEGORY_HEIGHT = PITCH if upright else max(PITCH, LEAST / len(names))
        plot.style(cmap="Blues", largest_dot=120, dot_edge_lw=0.3, dot_edge_color=SOFT)
        plot.legend(colorbar_title="mean expression,\nscaled by gene", size_title="% of cells")
        if upright:
            plot.swap_axes()
        try:
            plot.make_figure()
            write(plot.fig, target)
        finally:
            plt.close(plot.fig)


def _samples(cells: anndata.AnnData, groupby: str) -> Any:
    """Of which sample each cell is; of one, if the cells have no column `sample`."""
    import pandas as pd

    if groupby in cells.obs:
        return cells.obs[groupby].astype(str).astype("category")
    if groupby != SAMPLE:
        raise missing("column of obs", groupby, cells.obs.columns)
    return pd.Series(["all cells"] * cells.n_obs, index=cells.obs_names, dtype="category")


def _marked(cells: anndata.AnnData, key: str, names: Sequence[str]) -> list[str]:
    """The names of clusters, those that differ between seeds with a question mark."""
    differing = differing_clusters(noted(cells, "stability"), key)
    return [f"{name}?" if name in differing else name for name in names]


def _violin(panel: Axes, place: int, values: Any, colour: str) -> None:
    import numpy as np

    drawn: Mapping[str, Any] = panel.violinplot(values, [place], widths=0.85, showextrema=False)
    for body in drawn["bodies"]:
        body.set(facecolor=colour, edgecolor=colour, alpha=0.45, linewidth=0.8)
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    panel.vlines(place, low, high, color=INK, linewidth=3)
    panel.plot(place, middle, "o", color="white", markersize=3, zorder=3)


def _limits(thresholds: Mapping[str, Any], metric: str) -> list[float]:
    """What filter_cells cut a metric off at, in the scale of the metric."""
    import numpy as np

    (short,) = [short for short, name in METRICS.items() if name == metric]
    limits = [thresholds.get(f"{end}_{short}") for end in ("min", "max")]
    limits += thresholds.get(f"nmads {metric}", [])
    limits += [
        limit if limit is None else float(np.expm1(limit))
        for limit in thresholds.get(f"nmads log1p_{metric}", [])
    ]
    return [limit for limit in limits if limit is not None]


def _lines(panel: Axes, place: int, values: Sequence[float]) -> None:
    """Lines where cells were cut off, as far as the violins reach."""
    for value in values:
        if 0 <= value <= panel.get_ylim()[1]:
            panel.hlines(
                value, place - 0.45, place + 0.45, color=ACCENT, linewidth=1.2, linestyle=(0, (3, 2))
            )
