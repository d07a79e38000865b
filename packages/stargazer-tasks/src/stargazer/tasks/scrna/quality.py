"""Tasks that look at the quality of cells: QC metrics, filters by thresholds or deviations, doublets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stargazer.assets import AnnData, InvalidAssetError
from stargazer.tasks.checks.contigs import some
from stargazer.tasks.environments import scrna_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.scrna.cells import SAMPLE, annotated, load, require, save
from stargazer.tasks.scrna.memory import check_memory
from stargazer.tasks.scrna.notes import note_down
from stargazer.tasks.tools import compute

if TYPE_CHECKING:
    import anndata
    import numpy as np
    from scipy import sparse

__all__ = ["calculate_qc_metrics", "filter_cells", "scrublet"]

GENES = {"mt": r"^MT[-:]", "ribo": r"^RP[SL]", "hb": r"^HB[^P]"}
"""Mitochondrial, ribosomal and haemoglobin genes by their names, in upper case: human and mouse alike."""

PERCENT_TOP = (50, 100, 200, 500)

DEVIATING = {
    "log1p_total_counts": "either way",
    "log1p_n_genes_by_counts": "either way",
    "pct_counts_mt": "upwards",
}
"""Metrics by which cells are outliers, and which way (Heumos 2023, doi:10.1038/s41576-023-00586-w)."""


@scrna_env.task
async def calculate_qc_metrics(cells: AnnData) -> AnnData:
    """How many genes and molecules each cell has, and the share of those that mark a damaged one.

    The values are those of scanpy.pp.calculate_qc_metrics(qc_vars=["mt", "ribo", "hb"], inplace=True), computed without
    what it compiles first. Cells get n_genes_by_counts, total_counts, their log1p, pct_counts_in_top_50_genes (and 100,
    200, 500), and total and pct_counts of mitochondrial (mt), ribosomal (ribo) and haemoglobin (hb) genes; genes get
    n_cells_by_counts, mean_counts, pct_dropout_by_counts, total_counts.

    Args:
        cells: with raw counts.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(_calculate_qc_metrics, source=cells.path, target=target)
    return annotated(cells, target, fields, stage="calculate_qc_metrics")


def _calculate_qc_metrics(source: str, target: str) -> dict[str, Any]:
    import numpy as np

    check_memory("calculate_qc_metrics", source)
    cells = load(source)
    names = cells.var_names.str.upper()
    for kind, pattern in GENES.items():
        cells.var[kind] = names.str.match(pattern)
    counts = cells.X
    counts.eliminate_zeros()
    obs, var = cells.obs, cells.var
    obs["n_genes_by_counts"] = counts.getnnz(axis=1)
    obs["log1p_n_genes_by_counts"] = np.log1p(obs["n_genes_by_counts"])
    obs["total_counts"] = _sums(counts, 1)
    obs["log1p_total_counts"] = np.log1p(obs["total_counts"])
    shares = _shares_of_top(counts, [top for top in PERCENT_TOP if top <= cells.n_vars])
    for top, share in shares.items():
        obs[f"pct_counts_in_top_{top}_genes"] = share * 100
    with np.errstate(invalid="ignore"):
        for kind in GENES:
            obs[f"total_counts_{kind}"] = _sums(counts[:, cells.var[kind].to_numpy()], 1)
            obs[f"log1p_total_counts_{kind}"] = np.log1p(obs[f"total_counts_{kind}"])
            obs[f"pct_counts_{kind}"] = obs[f"total_counts_{kind}"] / obs["total_counts"] * 100
    var["n_cells_by_counts"] = counts.getnnz(axis=0)
    var["mean_counts"] = np.asarray(counts.sum(axis=0, dtype=np.float64)).ravel() / cells.n_obs
    var["log1p_mean_counts"] = np.log1p(var["mean_counts"])
    var["pct_dropout_by_counts"] = (1 - var["n_cells_by_counts"] / cells.n_obs) * 100
    var["total_counts"] = _sums(counts, 0)
    var["log1p_total_counts"] = np.log1p(var["total_counts"])
    return save(cells, target)


def _sums(counts: sparse.csr_matrix, axis: int) -> np.ndarray[Any, Any]:
    """Sums of molecules, in the type of the counts as scanpy has them."""
    import numpy as np

    return np.asarray(counts.sum(axis=axis)).ravel()


def _shares_of_top(counts: sparse.csr_matrix, tops: list[int]) -> dict[int, np.ndarray[Any, Any]]:
    """The share of each cell's molecules that its so many most abundant genes have: sums of integers are exact."""
    import numpy as np

    found = {top: np.full(counts.shape[0], np.nan) for top in tops}
    for cell, (begin, end) in enumerate(zip(counts.indptr[:-1], counts.indptr[1:], strict=True)):
        if begin == end:
            continue
        sums = np.cumsum(-np.sort(-counts.data[begin:end]), dtype=np.float64)
        for top in tops:
            found[top][cell] = sums[min(top, end - begin) - 1] / sums[-1]
    return found


@scrna_env.task
async def filter_cells(
    cells: AnnData,
    min_genes: int | None = None,
    max_genes: int | None = None,
    min_counts: int | None = None,
    max_counts: int | None = None,
    max_pct_mt: float | None = None,
    nmads: float | None = None,
    min_cells: int = 3,
) -> AnnData:
    """Keep the cells within thresholds, and the genes that enough of them have (scanpy.pp.filter_cells, filter_genes).

    Each sample is looked at on its own, and thresholds that are given hold for each.

    Args:
        cells: with QC metrics.
        min_genes, max_genes, min_counts, max_counts: of a cell, inclusive; no limit by default.
        max_pct_mt: percent of a cell's molecules that are mitochondrial, inclusive.
        nmads: median absolute deviations from the sample's median beyond which a cell is an outlier, by log1p of
            molecules, log1p of genes, and (upwards) the mitochondrial share; of a metric in which most cells are
            the same, none is.
        min_cells: that a gene is seen in.

    Raises:
        InvalidAssetError: there are no QC metrics, or no cell of a sample is left; the message says what removed how
            many.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(_filter_cells, source=cells.path, target=target, nmads=nmads, min_cells=min_cells,
                           limits={"min_genes": min_genes, "max_genes": max_genes, "min_counts": min_counts,
                                   "max_counts": max_counts, "max_pct_mt": max_pct_mt})  # fmt: skip
    return annotated(cells, target, fields, stage="filter_cells")


METRICS = {"genes": "n_genes_by_counts", "counts": "total_counts", "pct_mt": "pct_counts_mt"}


def _filter_cells(
    source: str, target: str, limits: dict[str, float | None], nmads: float | None, min_cells: int
) -> dict[str, Any]:
    import numpy as np

    check_memory("filter_cells", source)
    cells = load(source)
    require(cells, "obs", METRICS.values(), "run calculate_qc_metrics first")
    kept = np.ones(cells.n_obs, bool)
    told: dict[str, Any] = {}
    for sample, members in _samples(cells).items():
        obs = cells.obs[members]
        thresholds: dict[str, Any] = {name: limit for name, limit in limits.items() if limit is not None}
        outside = {}
        for name, limit in thresholds.items():
            end, _, short = name.partition("_")
            values = obs[METRICS[short]].to_numpy()
            outside[name] = _beyond(values, limit, None) if end == "min" else _beyond(values, None, limit)
        if nmads is not None:
            for metric, way in DEVIATING.items():
                values = obs[metric].to_numpy()
                low, high = _limits(values, nmads)
                if way == "upwards":
                    low = None
                outside[f"nmads {metric}"] = _beyond(values, low, high)
                thresholds[f"nmads {metric}"] = [low, high]
        bad = np.any([*outside.values(), obs["total_counts"].to_numpy() == 0], axis=0)
        kept[members] = ~bad
        told[sample] = {
            "cells_before": len(obs),
            "cells_after": int((~bad).sum()),
            "genes_before": cells.n_vars,
            "removed": {name: int(found.sum()) for name, found in outside.items()},
            "thresholds": thresholds,
        }
    if emptied := {sample: found for sample, found in told.items() if not found["cells_after"]}:
        raise InvalidAssetError(_nothing_left(emptied, len(told)))
    cells = cells[kept].copy()
    seen = cells.X.getnnz(axis=0) >= min_cells
    if not seen.any():
        raise InvalidAssetError(
            f"no gene is seen in min_cells={min_cells} of the {cells.n_obs:,} cells that are left: lower min_cells"
        )
    cells = cells[:, seen].copy()
    for sample in told.values():
        sample["genes_after"] = cells.n_vars
    note_down(cells, "filter_cells", told)
    return save(cells, target)


def _samples(cells: anndata.AnnData) -> dict[str, np.ndarray[Any, Any]]:
    """The cells of each sample; all of them where nobody says whose they are."""
    import numpy as np

    if SAMPLE not in cells.obs:
        return {"": np.ones(cells.n_obs, bool)}
    if unnamed := int(cells.obs[SAMPLE].isna().sum()):
        raise InvalidAssetError(f"{unnamed:,} of {cells.n_obs:,} cells are of no sample: run read_h5ad first")
    return {name: (cells.obs[SAMPLE] == name).to_numpy() for name in sorted(cells.obs[SAMPLE].unique())}


def _beyond(values: np.ndarray[Any, Any], low: float | None, high: float | None) -> np.ndarray[Any, Any]:
    """Which values are below one limit or above another; None is no limit."""
    import numpy as np

    beyond = np.zeros(len(values), bool)
    if low is not None:
        beyond |= values < low
    if high is not None:
        beyond |= values > high
    return beyond


def _limits(values: np.ndarray[Any, Any], nmads: float) -> tuple[float | None, float | None]:
    """So many deviations from the median; none where most cells have one value, of which nothing deviates by chance.

    So it is with the mitochondrial share of nuclei: any cell with a molecule of it would be an outlier.
    """
    import numpy as np

    middle = float(np.nanmedian(values))
    deviation = float(np.nanmedian(np.abs(values - middle)))
    return (middle - nmads * deviation, middle + nmads * deviation) if deviation else (None, None)


def _nothing_left(emptied: dict[str, Any], samples: int) -> str:
    reasons = []
    for sample, found in emptied.items():
        removed = ", ".join(f"{name} removes {count:,}" for name, count in found["removed"].items() if count)
        reasons.append(
            f"of {found['cells_before']:,} cells of {sample or 'all'} {removed or 'all are empty'}"
        )
    of = "" if len(emptied) == samples else f" of {some(emptied)}"
    advice = f", or leave out {some(emptied)}" if of else ""
    return f"no cell{of} is left after filtering; {'; '.join(reasons)}: widen these thresholds{advice}"


@scrna_env.task
async def scrublet(
    cells: AnnData,
    expected_doublet_rate: float = 0.05,
    sim_doublet_ratio: float = 2.0,
    n_prin_comps: int = 30,
    threshold: float | None = None,
    use_approx_neighbors: bool = False,
    remove: bool = False,
    random_state: int = 0,
) -> AnnData:
    """Score each cell as a doublet, sample by sample, and mark those above the threshold (scanpy.pp.scrublet).

    Wolock 2019, doi:10.1016/j.cels.2018.11.005. Neighbours are exact by default, where scanpy's are approximate: that
    takes a tenth of the time, and scores correlate by .99997.

    Args:
        cells: with raw counts.
        expected_doublet_rate, sim_doublet_ratio, n_prin_comps, random_state: as of scanpy.
        threshold: of the score; found between the two peaks of simulated doublets by default.
        use_approx_neighbors: as scanpy's default.
        remove: take the marked cells out.

    Raises:
        InvalidAssetError: too few cells or genes for so many principal components.
    """
    target = workspace() / "cells.h5ad"
    fields = await compute(_scrublet, source=cells.path, target=target, remove=remove, threshold=threshold,
                           expected_doublet_rate=expected_doublet_rate, sim_doublet_ratio=sim_doublet_ratio,
                           n_prin_comps=n_prin_comps, use_approx_neighbors=use_approx_neighbors,
                           random_state=random_state)  # fmt: skip
    return annotated(cells, target, fields, stage="scrublet")


def _scrublet(source: str, target: str, remove: bool, **options: Any) -> dict[str, Any]:
    import numpy as np
    import scanpy as sc

    check_memory("scrublet", source)
    cells = load(source)
    cells.obs["doublet_score"] = np.nan
    cells.obs["predicted_doublet"] = False
    told = {}
    for sample, members in _samples(cells).items():
        alone = cells[members].copy()
        try:
            sc.pp.scrublet(alone, verbose=False, **options)
        except ValueError as error:
            raise InvalidAssetError(
                f"doublets of {sample or 'the cells'!r} ({alone.n_obs:,} cells, {alone.n_vars:,} genes) cannot be "
                f"told: {error}; run without doublets, or lower n_prin_comps={options['n_prin_comps']}"
            ) from error
        cells.obs.loc[members, "doublet_score"] = alone.obs["doublet_score"]
        # none without a threshold, and none among cells of fewer than three genes, which scanpy leaves out
        cells.obs.loc[members, "predicted_doublet"] = alone.obs["predicted_doublet"].eq(True)
        found = alone.uns["scrublet"]
        told[sample] = {
            "cells": alone.n_obs,
            "doublets": int(cells.obs.loc[members, "predicted_doublet"].sum()),
            "threshold": float(found["threshold"]) if "threshold" in found else None,
            "expected_doublet_rate": options["expected_doublet_rate"],
            "use_approx_neighbors": options["use_approx_neighbors"],
        }
    if remove:
        cells = cells[~cells.obs["predicted_doublet"].to_numpy(bool)].copy()
    note_down(cells, "scrublet", told)
    return save(cells, target)
