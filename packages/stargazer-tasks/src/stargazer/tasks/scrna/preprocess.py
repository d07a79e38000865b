"""Tasks from counts to coordinates: normalise, choose genes, principal components, integration of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from stargazer.assets import AnnData, InvalidAssetError
from stargazer.tasks.environments import scrna_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.scrna.cells import COUNTS, HARMONY, annotated, at_least, load, require, save
from stargazer.tasks.scrna.memory import check_memory
from stargazer.tasks.scrna.notes import note_down
from stargazer.tasks.tools import compute

if TYPE_CHECKING:
    import anndata

__all__ = ["harmony_integrate", "highly_variable_genes", "normalize_total", "pca"]


@scrna_env.task
async def normalize_total(cells: AnnData, target_sum: float | None = None) -> AnnData:
    """Scale each cell to the same number of molecules and take log1p (scanpy.pp.normalize_total, scanpy.pp.log1p).

    The raw counts are kept in the layer `counts` first.

    Args:
        cells: with raw counts.
        target_sum: molecules of a cell afterwards; the median of all cells by default.

    Raises:
        InvalidAssetError: they are normalised already.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(_normalize_total, source=cells.path, target=target, target_sum=target_sum)
    return annotated(cells, target, fields, stage="normalize_total")


def _normalize_total(source: str, target: str, target_sum: float | None) -> dict[str, Any]:
    import scanpy as sc

    check_memory("normalize_total", source)
    cells = load(source)
    if COUNTS in cells.layers or "log1p" in cells.uns:
        raise InvalidAssetError("the cells are normalised already: give the ones with raw counts")
    cells.layers[COUNTS] = cells.X.copy()
    sc.pp.normalize_total(cells, target_sum=target_sum)
    sc.pp.log1p(cells)
    return save(cells, target)


@scrna_env.task
async def highly_variable_genes(
    cells: AnnData,
    n_top_genes: int | None = None,
    flavor: Literal["seurat", "cell_ranger"] = "seurat",
    min_disp: float = 0.5,
    min_mean: float = 0.0125,
    max_mean: float = 3.0,
    batch_key: str | None = None,
) -> AnnData:
    """Mark the genes that differ most among cells (scanpy.pp.highly_variable_genes).

    Args:
        cells: normalised.
        n_top_genes: how many; by default those within min_disp, min_mean and max_mean.
        flavor, min_disp, min_mean, max_mean: as of scanpy.
        batch_key: column of the cells by which genes are chosen batch by batch and joined.

    Raises:
        InvalidAssetError: no such column, or cells without a batch; no gene that differs.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(_highly_variable_genes, source=cells.path, target=target, n_top_genes=n_top_genes,
                           flavor=flavor, min_disp=min_disp, min_mean=min_mean, max_mean=max_mean,
                           batch_key=batch_key)  # fmt: skip
    return annotated(cells, target, fields, stage="highly_variable_genes")


def _highly_variable_genes(
    source: str, target: str, batch_key: str | None, n_top_genes: int | None, **options: Any
) -> dict[str, Any]:
    import scanpy as sc

    if n_top_genes is not None:
        at_least(1, n_top_genes=n_top_genes)
    check_memory("highly_variable_genes", source)
    cells = load(source)
    require(cells, "layers", [COUNTS], "run normalize_total first")
    if batch_key is not None and _batches(cells, batch_key, "give another batch_key") < 2:
        batch_key = None
    try:
        sc.pp.highly_variable_genes(cells, batch_key=batch_key, n_top_genes=n_top_genes, **options)
    except ValueError as error:
        raise InvalidAssetError(
            f"genes that differ among {cells.n_obs:,} cells cannot be chosen from {cells.n_vars:,}: "
            f"{str(error).partition(': Index(')[0]}"
        ) from error
    if not cells.var["highly_variable"].any():
        raise InvalidAssetError(
            f"no gene of {cells.n_vars:,} differs enough among the {cells.n_obs:,} cells: "
            "give n_top_genes=, or a lower min_disp="
        )
    return save(cells, target)


def _batches(cells: anndata.AnnData, key: str, advice: str) -> int:
    """How many batches a column names, which becomes one of categories, as scanpy wants it.

    Raises:
        InvalidAssetError: no such column, or cells of no batch.
    """
    require(cells, "obs", [key], advice)
    if unnamed := int(cells.obs[key].isna().sum()):
        raise InvalidAssetError(f"{key!r} names no batch for {unnamed:,} of {cells.n_obs:,} cells: {advice}")
    cells.obs[key] = cells.obs[key].astype("category").cat.remove_unused_categories()
    return len(cells.obs[key].cat.categories)


@scrna_env.task
async def pca(
    cells: AnnData,
    n_comps: int = 50,
    svd_solver: Literal["covariance_eigh", "arpack", "randomized"] = "covariance_eigh",
    random_state: int = 0,
) -> AnnData:
    """Principal components of the highly variable genes (scanpy.pp.pca).

    The solver is covariance_eigh by default: results of scanpy's own (arpack) depend on the number of threads.

    Args:
        cells: with highly variable genes.
        n_comps: components; fewer where there are fewer cells or genes.
        svd_solver, random_state: as of scanpy.

    Raises:
        InvalidAssetError: there are no highly variable genes, or too few cells.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(_pca, source=cells.path, target=target, n_comps=n_comps, svd_solver=svd_solver,
                           random_state=random_state)  # fmt: skip
    return annotated(cells, target, fields, stage="pca")


def _pca(source: str, target: str, n_comps: int, svd_solver: str, random_state: int) -> dict[str, Any]:
    import scanpy as sc
    from threadpoolctl import threadpool_limits

    check_memory("pca", source)
    at_least(1, n_comps=n_comps)
    cells = load(source)
    require(cells, "var", ["highly_variable"], "run highly_variable_genes first")
    most = min(cells.n_obs, int(cells.var["highly_variable"].sum())) - 1
    if most < 1:
        raise InvalidAssetError(
            f"{cells.n_obs:,} cells with {most + 1} highly variable genes have no principal components: "
            "filter less, or give a higher n_top_genes="
        )
    with threadpool_limits(
        1, user_api="blas"
    ):  # more threads take longer to find the vectors of so small a matrix
        sc.pp.pca(
            cells,
            min(n_comps, most),
            svd_solver=svd_solver,
            random_state=random_state,
            mask_var="highly_variable",
        )
    cells.obsm.pop(HARMONY, None)  # of other components
    note_down(cells, "pca", {"svd_solver": svd_solver})
    return save(cells, target)


@scrna_env.task
async def harmony_integrate(cells: AnnData, key: str = "sample", random_state: int = 0) -> AnnData:
    """Move the cells of all batches together in the space of principal components (Harmony, by harmonypy).

    Korsunsky 2019, doi:10.1038/s41592-019-0619-0. The result is in obsm `X_pca_harmony`.

    Args:
        cells: with principal components.
        key: column of the cells that names the batches.
        random_state: of the clusters that Harmony begins with.

    Raises:
        InvalidAssetError: no such column, cells without a batch, or only one batch in it.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(
        _harmony_integrate, source=cells.path, target=target, key=key, random_state=random_state
    )
    return annotated(cells, target, fields, stage="harmony_integrate")


def _harmony_integrate(source: str, target: str, key: str, random_state: int) -> dict[str, Any]:
    import harmonypy
    import numpy as np

    cells = load(source)
    require(cells, "obsm", ["X_pca"], "run pca first")
    if (batches := _batches(cells, key, "give another key")) < 2:
        raise InvalidAssetError(f"{key!r} has {batches} batch only: there is nothing to integrate")
    components = cells.obsm["X_pca"].astype(np.float64)
    moved = harmonypy.run_harmony(components, cells.obs, key, random_state=random_state, verbose=False).Z_corr
    note_down(cells, "harmony", {"batch_key": key})
    cells.obsm[HARMONY] = np.ascontiguousarray(moved, np.float32)
    return save(cells, target)
