"""Tasks that draw cells as a biologist would show them, each one picture in PNG whose bytes depend on its content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stargazer.assets import AnnData, Plot
from stargazer.tasks.environments import scrna_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.scrna import drawings
from stargazer.tasks.tools import Library, compute, expect

__all__ = ["plot_highly_variable_genes", "plot_knee", "plot_markers", "plot_pca_variance_ratio", "plot_qc",
           "plot_umap"]  # fmt: skip

TOOLS = (*scrna_env.tools, Library("matplotlib", extra="scrna"))


@scrna_env.task(tools=TOOLS)
async def plot_qc(cells: AnnData, filtered: AnnData | None = None, groupby: str = "sample") -> Plot:
    """Violins of the genes, the counts and the mitochondrial share of cells, by sample.

    The kind of the plot is `violin`. Lines in it are the thresholds of filter_cells.

    Args:
        cells: with the metrics of calculate_qc_metrics.
        filtered: the same after filter_cells, if `cells` are those before; its thresholds are drawn.
        groupby: the column of obs that says of which sample a cell is; without `sample` all are of one.

    Raises:
        InvalidAssetError: no metrics, or no such column.
    """
    return await _plot(
        cells, drawings.violins, "violin", groupby=groupby, filtered=filtered and filtered.path
    )


@scrna_env.task(tools=TOOLS)
async def plot_knee(cells: AnnData, groupby: str = "sample") -> Plot:
    """The counts of barcodes in the order of their rank, both logarithmic, a line for each sample.

    The kind of the plot is `knee`. Where a matrix has all barcodes, its knee parts cells from empty droplets.

    Args:
        cells: with the metrics of calculate_qc_metrics.
        groupby: the column of obs that says of which sample a cell is; without `sample` all are of one.

    Raises:
        InvalidAssetError: no metrics, or no such column.
    """
    return await _plot(cells, drawings.knee, "knee", groupby=groupby)


@scrna_env.task(tools=TOOLS)
async def plot_highly_variable_genes(cells: AnnData, n_names: int = 10) -> Plot:
    """Genes by their mean and their normalised dispersion, those that were chosen in colour.

    The kind of the plot is `highly_variable_genes`.

    Args:
        cells: with what highly_variable_genes finds.
        n_names: so many of the most variable genes are named, but where names would cover each other.

    Raises:
        InvalidAssetError: no highly variable genes were looked for.
    """
    return await _plot(cells, drawings.variable_genes, "highly_variable_genes", n_names=n_names)


@scrna_env.task(tools=TOOLS)
async def plot_pca_variance_ratio(cells: AnnData) -> Plot:
    """The share of variance that each principal component has, and how many of them the neighbours use.

    The kind of the plot is `pca_variance_ratio`.

    Args:
        cells: with principal components (`uns["pca"]`).

    Raises:
        InvalidAssetError: there are none.
    """
    return await _plot(cells, drawings.variance_ratio, "pca_variance_ratio")


@scrna_env.task(tools=TOOLS)
async def plot_umap(cells: AnnData, color: str) -> Plot:
    """UMAP with cells coloured by cluster, by sample, by a metric, or by a gene.

    The kind of the plot is `umap_` and the colour, as `umap_leiden`. The cells of all categories are drawn in a mixed
    order, so that none hides another; of numbers the highest are on top. Clusters that differ between the seeds of
    Leiden have a question mark: a mean best Jaccard index below 0.75 (Hennig 2007, doi:10.1016/j.csda.2006.11.025).

    Args:
        cells: with `X_umap` in obsm.
        color: a column of obs, or a gene, whose values in X are drawn.

    Raises:
        InvalidAssetError: no UMAP; no such column or gene; texts in more than 102 categories.
    """
    return await _plot(cells, drawings.umap, f"umap_{color}", color=color)


@scrna_env.task(tools=TOOLS)
async def plot_markers(cells: AnnData, n_genes: int = 4) -> Plot:
    """Dot plot of the first marker genes of each cluster: size is the share of cells, colour the mean expression.

    The kind of the plot is `dotplot`. Expression is scaled for each gene from its least to its highest cluster
    (`standard_scale="var"` of scanpy). Clusters that differ between the seeds of Leiden have a question mark, as in
    plot_umap.

    Args:
        cells: with log-normalised values in X and the result of rank_genes_groups.
        n_genes: of each cluster, by their rank; only those that are higher in it than in the other cells;
            fewer where clusters are so many that there would be more than 160.

    Raises:
        InvalidAssetError: markers were not ranked; none is higher in any cluster.
    """
    return await _plot(cells, drawings.dots, "dotplot", n_genes=n_genes)


async def _plot(cells: AnnData, draw: Callable[..., None], kind: str, **arguments: Any) -> Plot:
    picture = workspace() / "plot.png"
    await compute(draw, source=cells.path, target=picture, **arguments)
    return Plot(path=expect(picture, by="matplotlib"), kind=kind, sample=cells.sample, anndata_cid=cells)
