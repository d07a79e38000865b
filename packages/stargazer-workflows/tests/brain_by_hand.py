"""What scrna_clustering does to one sample, by scanpy alone: `python brain_by_hand.py COUNTS.h5ad FOLDER MIN_GENES`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

GENES = {"mt": ("MT-", "mt-"), "ribo": ("RPS", "RPL", "Rps", "Rpl"), "hb": ("HBA", "HBB", "Hba", "Hbb")}
RESOLUTIONS = (0.3, 0.5, 1.0)


def main(counts: str, folder: Path, min_genes: int) -> None:
    """Write the cells, and a table of markers of each resolution."""
    import anndata
    import numpy as np
    import scanpy as sc
    from scipy.stats import median_abs_deviation

    warnings.simplefilter("ignore")
    cells = anndata.read_h5ad(counts)
    cells.var_names_make_unique()
    for kind, prefix in GENES.items():
        cells.var[kind] = cells.var_names.str.startswith(prefix)
    sc.pp.calculate_qc_metrics(cells, qc_vars=list(GENES), inplace=True)
    kept = cells.obs["n_genes_by_counts"] >= min_genes
    for metric in ("log1p_total_counts", "log1p_n_genes_by_counts", "pct_counts_mt"):
        values = cells.obs[metric]
        if far := 5 * median_abs_deviation(values, nan_policy="omit"):
            kept &= values <= np.nanmedian(values) + far
            kept &= (values >= np.nanmedian(values) - far) | (metric == "pct_counts_mt")
    cells = cells[kept.to_numpy(bool)].copy()
    sc.pp.filter_genes(cells, min_cells=3)
    sc.pp.scrublet(cells, use_approx_neighbors=False, verbose=False)
    cells = cells[~cells.obs["predicted_doublet"].to_numpy(bool)].copy()
    sc.pp.normalize_total(cells)
    sc.pp.log1p(cells)
    sc.pp.highly_variable_genes(cells)
    sc.pp.pca(cells, 50, svd_solver="covariance_eigh")
    sc.pp.neighbors(cells, use_rep="X_pca", transformer="sklearn")
    sc.tl.umap(cells)
    for each in RESOLUTIONS:
        key = f"leiden_{each:g}"
        sc.tl.leiden(cells, each, key_added=key, flavor="igraph", directed=False, n_iterations=2)
        sc.tl.rank_genes_groups(cells, key, use_raw=False)
        sc.get.rank_genes_groups_df(cells, None).to_csv(folder / f"markers_{each:g}.csv", index=False)
    cells.write_h5ad(folder / "cells.h5ad")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
