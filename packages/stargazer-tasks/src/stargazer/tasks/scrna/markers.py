"""Tasks that name what sets clusters apart, and write what other programs read: marker genes, tables of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from stargazer.assets import AnnData, InvalidAssetError, Table
from stargazer.tasks.environments import scrna_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.scrna.cells import annotated, load, require, save
from stargazer.tasks.scrna.memory import check_memory
from stargazer.tasks.tools import compute, expect

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RankedGenes", "rank_genes_groups", "write_csv"]


class RankedGenes(NamedTuple):
    """Cells with the marker genes of their clusters, and these as a table."""

    cells: AnnData
    markers: Table


@scrna_env.task
async def rank_genes_groups(
    cells: AnnData,
    groupby: str = "leiden",
    method: Literal["t-test", "wilcoxon", "t-test_overestim_var", "logreg"] = "t-test",
    corr_method: Literal["benjamini-hochberg", "bonferroni"] = "benjamini-hochberg",
    tie_correct: bool = False,
) -> RankedGenes:
    """The genes that each cluster has more of than all other cells (scanpy.tl.rank_genes_groups), on log1p values.

    p-values are of the same cells that made the clusters: they rank genes, and test nothing.

    Args:
        cells: clustered.
        groupby: column of the clusters.
        method, corr_method, tie_correct: as of scanpy.

    Returns:
        The cells, and a table of all genes of all clusters: group, names, scores, logfoldchanges, pvals, pvals_adj.

    Raises:
        InvalidAssetError: no such column, or only one cluster in it.
    """
    target, table = workspace() / "cells.h5ad", workspace() / "markers.csv"
    fields = await compute(_rank_genes_groups, source=cells.path, target=target, table=table, groupby=groupby,
                           method=method, corr_method=corr_method, tie_correct=tie_correct)  # fmt: skip
    ranked = annotated(cells, target, fields, stage="rank_genes_groups")
    markers = Table(
        path=expect(table, by="rank_genes_groups"), kind="markers", sample=cells.sample, anndata_cid=ranked
    )
    return RankedGenes(ranked, markers)


def _rank_genes_groups(
    source: str, target: str, table: str, groupby: str, method: str, corr_method: str, tie_correct: bool
) -> dict[str, Any]:
    import scanpy as sc

    check_memory("rank_genes_groups", source)
    cells = load(source)
    require(cells, "obs", [groupby], "give another groupby")
    cells.obs[groupby] = labels = _labels(cells.obs[groupby])
    sizes = labels.value_counts(sort=False)
    several = [name for name, size in sizes.items() if size > 1]  # scanpy refuses a cluster of one cell
    if len(sizes) < 2 or not several:
        raise InvalidAssetError(
            f"{groupby!r} has {len(sizes)} cluster only: there is nothing to compare; give a higher resolution"
        )
    groups = "all" if len(several) == len(sizes) else several
    sc.tl.rank_genes_groups(cells, groupby, groups=groups, method=method, corr_method=corr_method,
                            tie_correct=tie_correct, use_raw=False)  # fmt: skip
    ranked = sc.get.rank_genes_groups_df(cells, None)
    if "group" not in ranked:  # scanpy leaves it out where there is one
        ranked.insert(0, "group", several[0])
    ranked.to_csv(table, index=False, lineterminator="\n")
    return save(cells, target)


def _labels(column: pd.Series[Any]) -> pd.Series[Any]:
    """Clusters as categories whose names are text, as scanpy wants them; none without a cell."""
    labels = column.astype("category").cat.remove_unused_categories()
    if any(not isinstance(name, str) for name in labels.cat.categories):
        labels = labels.cat.rename_categories([str(name) for name in labels.cat.categories])
    return labels


@scrna_env.task
async def write_csv(cells: AnnData) -> Table:
    """One row a cell: its barcode, what is known of it, and its UMAP coordinates.

    Args:
        cells: with any annotation.
    """
    table = workspace() / "cells.csv"
    await compute(_write_csv, source=cells.path, table=table)
    return Table(path=expect(table, by="write_csv"), kind="cells", sample=cells.sample, anndata_cid=cells)


def _write_csv(source: str, table: str) -> None:
    cells = load(source, keep=True)
    rows = cells.obs.rename(columns={name: f"original_{name}" for name in ("cell", "umap_1", "umap_2")})
    if "X_umap" in cells.obsm:
        rows["umap_1"], rows["umap_2"] = cells.obsm["X_umap"].T
    rows.to_csv(table, index_label="cell", lineterminator="\n")
