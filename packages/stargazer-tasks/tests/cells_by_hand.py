"""The steps of test_scrna_tasks by scanpy alone: `python cells_by_hand.py RAW.h5ad FOLDER`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

RESOLUTIONS = [0.3, 1.0]
GENES = {"mt": "MT-", "ribo": ("RPS", "RPL"), "hb": "HBA"}


def main(raw: str, folder: Path) -> None:
    """Write the cells and the table of markers."""
    import anndata
    import harmonypy
    import numpy as np
    import scanpy as sc
    from scipy.stats import median_abs_deviation

    warnings.simplefilter("ignore")
    cells = anndata.read_h5ad(raw)
    for kind, prefix in GENES.items():
        cells.var[kind] = cells.var_names.str.startswith(prefix)
    sc.pp.calculate_qc_metrics(cells, qc_vars=list(GENES), inplace=True)
    kept = (cells.obs["n_genes_by_counts"] >= 50) & (cells.obs["pct_counts_mt"] <= 40)
    for sample in ("s0", "s1"):
        of = cells.obs["sample"] == sample
        for metric in ("log1p_total_counts", "log1p_n_genes_by_counts", "pct_counts_mt"):
            values = cells.obs.loc[of, metric]
            far = 6 * median_abs_deviation(values)
            kept[of] &= values <= np.median(values) + far
            if metric != "pct_counts_mt":
                kept[of] &= values >= np.median(values) - far
    cells = cells[kept.to_numpy(bool)].copy()
    seen, _ = sc.pp.filter_genes(cells, min_cells=3, inplace=False)
    cells = cells[:, seen].copy()
    sc.pp.scrublet(cells, batch_key="sample", n_prin_comps=10, use_approx_neighbors=False, verbose=False)
    cells.layers["counts"] = cells.X.copy()
    sc.pp.normalize_total(cells)
    sc.pp.log1p(cells)
    sc.pp.highly_variable_genes(cells, n_top_genes=150, batch_key="sample")
    sc.pp.pca(cells, 20, svd_solver="covariance_eigh")
    moved = harmonypy.run_harmony(cells.obsm["X_pca"].astype(float), cells.obs, "sample", verbose=False)
    cells.obsm["X_pca_harmony"] = moved.Z_corr.astype(np.float32)
    sc.pp.neighbors(cells, use_rep="X_pca_harmony", transformer="sklearn")
    sc.tl.umap(cells)
    for each in RESOLUTIONS:
        sc.tl.leiden(
            cells, each, key_added=f"leiden_{each:g}", flavor="igraph", directed=False, n_iterations=2
        )
    cells.obs["leiden"] = cells.obs["leiden_1"]
    sc.tl.rank_genes_groups(cells, "leiden", use_raw=False)
    sc.get.rank_genes_groups_df(cells, None).to_csv(folder / "markers.csv", index=False)
    cells.write_h5ad(folder / "cells.h5ad")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
