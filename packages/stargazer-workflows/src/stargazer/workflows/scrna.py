"""The workflow of single cells: from counts of one or several samples to clusters, marker genes and a report."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from stargazer.assets import AnnData, InvalidAssetError, Plot, QcReport, Table, TenxH5, TenxMtx
from stargazer.assets.keyvalues import composed
from stargazer.tasks import (
    RankedGenes,
    calculate_qc_metrics,
    concat,
    filter_cells,
    harmony_integrate,
    highly_variable_genes,
    leiden,
    neighbors,
    normalize_total,
    pca,
    plot_highly_variable_genes,
    plot_knee,
    plot_markers,
    plot_pca_variance_ratio,
    plot_qc,
    plot_umap,
    rank_genes_groups,
    read_10x_h5,
    read_10x_mtx,
    read_h5ad,
    scrublet,
    summarise_cells,
    umap,
    write_csv,
)
from stargazer.workflows.environments import parallel, workflow_env
from stargazer.workflows.inputs import Matrix, matrix_of
from stargazer.workflows.report import lineage_steps, scrna_report

__all__ = ["Clustering", "scrna_clustering"]

RESOLUTIONS = (0.3, 0.5, 1.0)

MOST_SEEDS = 2**32
"""numpy's random numbers begin with any of so many."""

DRAWN = 4
"""Clusters, the largest, whose first marker gene is drawn on the UMAP."""


class Clustering(NamedTuple):
    """Clustered cells, the marker genes of each cluster, a table of the cells, plots, and a page that shows them."""

    cells: AnnData
    markers: Table
    table: Table
    plots: list[Plot]
    summary: QcReport
    report: QcReport


@workflow_env.task
async def scrna_clustering(
    samples: list[str],
    counts: str = "auto",
    genome: str | None = None,
    min_genes: int = 100,
    max_genes: int | None = None,
    min_counts: int | None = None,
    max_counts: int | None = None,
    max_pct_mt: float | None = None,
    nmads: float | None = 5.0,
    min_cells: int = 3,
    doublets: Literal["remove", "mark", "none"] = "remove",
    expected_doublet_rate: float = 0.05,
    target_sum: float | None = None,
    n_top_genes: int | None = None,
    flavor: Literal["seurat", "cell_ranger"] = "seurat",
    n_comps: int = 50,
    integrate: Literal["auto", "harmony", "none"] = "auto",
    n_neighbors: int = 15,
    n_pcs: int | None = None,
    metric: Literal["euclidean", "manhattan", "chebyshev", "cosine", "correlation"] = "euclidean",
    min_dist: float = 0.5,
    spread: float = 1.0,
    resolutions: list[float] | None = None,
    resolution: float | None = None,
    seeds: int = 5,
    method: Literal["t-test", "wilcoxon", "t-test_overestim_var", "logreg"] = "t-test",
    genes: list[str] | None = None,
    random_state: int = 0,
) -> Clustering:
    """Cluster the cells of one or several samples, and find the marker genes of each cluster.

    Parameters have scanpy's names and defaults, but for neighbours, doublets' neighbours and the solver of the
    principal components, which are exact or do not depend on the number of threads: the report says so.
    Cells are filtered as in scanpy's tutorial (min_genes, min_cells), and of each sample those beyond five deviations
    from the median (nmads; Heumos 2023, doi:10.1038/s41576-023-00586-w).

    Args:
        samples: their names, as registered with their counts: Cell Ranger's .h5 or folder, or an h5ad.
        counts: where an h5ad has its raw counts: X, raw, the name of a layer, or (auto) where they are found.
        genome: of counts that have several.
        min_genes, max_genes, min_counts, max_counts, max_pct_mt, nmads, min_cells: as of filter_cells.
        doublets: remove them, only mark them, or do not look for them.
        expected_doublet_rate: as of scrublet.
        target_sum: molecules of a cell after normalising; the median by default.
        n_top_genes, flavor: as of highly_variable_genes.
        n_comps: principal components.
        integrate: move the samples together with Harmony; (auto) where there are several. Batches are moved together
            in place of samples where each sample has one (`batch=`), and they differ.
        n_neighbors, n_pcs, metric: of the graph.
        min_dist, spread: of the UMAP.
        resolutions: of the clusters, 0.3, 0.5 and 1.0 by default; each is reported with how stable it is.
        resolution: of the clusters that get markers; by default the highest whose clusters do not depend on the seed.
        seeds: clusterings of each resolution that are compared.
        method: of the marker genes.
        genes: to draw on the UMAP; by default the first marker genes of the largest clusters.
        random_state: seed of every step that has one.

    Raises:
        InvalidAssetError: no sample, a parameter that cannot be, or cells that a step cannot work on.
        AssetNotFoundError, AmbiguousAssetError: a sample without counts, or with several files of them.
        ConfigurationError: a step needs more memory than there is.
    """
    samples = composed(samples)  # as they are registered
    if not samples:
        raise InvalidAssetError("give at least one sample: samples=pbmc")
    if len(set(samples)) != len(samples):
        raise InvalidAssetError(f"samples names one twice: {', '.join(samples)}")
    if integrate == "harmony" and len(samples) == 1:
        raise InvalidAssetError("integrate=harmony moves several samples together: leave it out for one")
    if not 0 < expected_doublet_rate < 1:
        raise InvalidAssetError(
            f"expected_doublet_rate={expected_doublet_rate:g}: give a share of the cells, as 0.05"
        )
    if target_sum is not None and target_sum <= 0:
        raise InvalidAssetError(f"target_sum={target_sum:g}: give a number of molecules, as 10000")
    if not 0 <= random_state < MOST_SEEDS:
        raise InvalidAssetError(f"random_state={random_state}: give a number from 0 to {MOST_SEEDS - 1}")
    wanted = list(resolutions or RESOLUTIONS)
    if min(wanted) <= 0 or seeds < 1:
        raise InvalidAssetError(
            f"resolutions={','.join(map(str, wanted))}, seeds={seeds}: give numbers above zero"
        )
    names = [f"{each:g}" for each in wanted]  # as their columns are called
    if resolution is not None and f"{resolution:g}" not in names:
        raise InvalidAssetError(
            f"resolution={resolution:g} is not among resolutions={','.join(names)}: add it there"
        )
    found = await parallel([matrix_of(sample) for sample in samples])
    read = await parallel([_read(matrix, counts, genome) for matrix in found])
    together = read[0] if len(read) == 1 else await concat(read)
    measured = await calculate_qc_metrics(together)
    cells = kept = await filter_cells(
        measured, min_genes, max_genes, min_counts, max_counts, max_pct_mt, nmads, min_cells
    )
    if doublets != "none":
        cells = await scrublet(
            cells, expected_doublet_rate, remove=doublets == "remove", random_state=random_state
        )
    batch_key = _batch_key(found)
    cells = await normalize_total(cells, target_sum)
    cells = await highly_variable_genes(cells, n_top_genes, flavor, batch_key=batch_key)
    cells = await pca(cells, n_comps, random_state=random_state)
    if batch_key and integrate != "none":
        cells = await harmony_integrate(cells, batch_key, random_state)
    cells = await neighbors(cells, n_neighbors, n_pcs, metric, random_state)
    cells = await umap(cells, min_dist, spread, random_state)
    cells = await leiden(cells, wanted, resolution, seeds=seeds, random_state=random_state)
    ranked = await rank_genes_groups(cells, method=method)
    settings = {
        "counts": counts,
        "genome": genome,
        "min_genes": min_genes,
        "max_genes": max_genes,
        "min_counts": min_counts,
        "max_counts": max_counts,
        "max_pct_mt": max_pct_mt,
        "nmads": nmads,
        "min_cells": min_cells,
        "doublets": doublets,
        "expected_doublet_rate": expected_doublet_rate,
        "target_sum": target_sum,
        "n_top_genes": n_top_genes,
        "flavor": flavor,
        "integrate": "harmony" if batch_key and integrate != "none" else "none",
        "n_comps": n_comps,
        "n_neighbors": n_neighbors,
        "n_pcs": n_pcs,
        "metric": metric,
        "min_dist": min_dist,
        "spread": spread,
        "resolutions": wanted,
        "resolution": resolution,
        "seeds": seeds,
        "method": method,
        "random_state": random_state,
    }
    table = await write_csv(ranked.cells)
    plots = await _plots(measured, kept, ranked, genes, batch_key)
    given = {
        name: value for name, value in settings.items() if value is not None
    }  # Flyte takes no None in a dict
    summary = await summarise_cells(ranked.cells, given)
    report = await scrna_report(summary, plots, await lineage_steps(summary, *plots))
    return Clustering(ranked.cells, ranked.markers, table, plots, summary, report)


async def _plots(
    measured: AnnData, kept: AnnData, ranked: RankedGenes, genes: list[str] | None, batch_key: str | None
) -> list[Plot]:
    """What a biologist looks at, in the order of the steps.

    Args:
        measured, kept: the cells before and after filtering.
        genes: to draw on the UMAP; the first markers of the largest clusters by default.
        batch_key: by which several samples are integrated.
    """
    cells = ranked.cells
    if genes is None:
        table = (await ranked.markers.fetch()).path
        assert table is not None
        genes = first_markers(table, DRAWN)
    colours = dict.fromkeys(["leiden", *(["sample", batch_key] if batch_key else []), *genes])
    return [
        await plot_qc(measured, kept),
        await plot_knee(measured),
        await plot_highly_variable_genes(cells),
        await plot_pca_variance_ratio(cells),
        *[await plot_umap(cells, colour) for colour in colours],
        await plot_markers(cells),
    ]


def first_markers(table: Path, clusters: int) -> list[str]:
    """The first marker gene of each of the first clusters, of a table of rank_genes_groups."""
    with open(table, newline="") as file:
        first: dict[str, str] = {}
        for row in csv.DictReader(file):
            first.setdefault(row["group"], row["names"])
    return list(dict.fromkeys(list(first.values())[:clusters]))


def _batch_key(matrices: Sequence[Matrix]) -> str | None:
    """The column of the cells by which they are integrated: batches, where every sample has one, and they differ."""
    batches = {matrix.batch for matrix in matrices}
    if len(batches) > 1 and None not in batches:
        return "batch"
    return "sample" if len(matrices) > 1 else None


async def _read(matrix: Matrix, counts: str, genome: str | None) -> AnnData:
    if isinstance(matrix, TenxH5):
        return await read_10x_h5(matrix, genome)
    if isinstance(matrix, TenxMtx):
        return await read_10x_mtx(matrix, genome)
    return await read_h5ad(matrix, counts, genome)
