"""A small h5ad as a clustering run ends in: two samples, three clusters of which one differs between seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CELLS, GENES, MITOCHONDRIAL, CLUSTERS = 150, 60, 5, 3
DIFFERING = "2"
"""The cluster that other seeds do not find."""

STABILITY = {
    "resolutions": [
        {"resolution": 0.5, "clusters": 3, "seeds": 3, "ari_min": 0.8, "ari_mean": 0.85, "ari_to_next": 0.7,
         "jaccard": {"0": 0.99, "1": 0.8, DIFFERING: 0.5}},
        {"resolution": 1.0, "clusters": 4, "seeds": 3, "ari_min": 0.96, "ari_mean": 0.97, "ari_to_next": None,
         "jaccard": {"0": 0.9, "1": 0.9, "2": 0.9, "3": 0.9}},
    ],
    "recommended": 1.0,
    "chosen": 0.5,
}  # fmt: skip
FILTERED = {
    "a": {"cells_before": 100, "cells_after": 80, "genes_before": 70, "genes_after": GENES,
          "removed": {"min_genes": 3, "nmads log1p_total_counts": 17},
          "thresholds": {"min_genes": 20, "nmads log1p_total_counts": [3.0, 6.0]}},
    "b": {"cells_before": 80, "cells_after": 75, "genes_before": 70, "genes_after": GENES,
          "removed": {"min_genes": 5}, "thresholds": {"min_genes": 20}},
}  # fmt: skip
SCRUBLET = {
    "a": {
        "threshold": 0.25,
        "doublets": 5,
        "cells": 80,
        "expected_doublet_rate": 0.05,
        "use_approx_neighbors": False,
    },
    "b": {
        "threshold": None,
        "doublets": 0,
        "cells": 75,
        "expected_doublet_rate": 0.05,
        "use_approx_neighbors": False,
    },
}


def clustered() -> Any:
    """The cells, 75 of each sample, 50 of each cluster, with what scanpy and our steps leave in them."""
    import anndata
    import numpy as np
    import pandas as pd
    import scanpy as sc
    from scipy import sparse

    rng = np.random.default_rng(0)
    cluster = np.arange(CELLS) % CLUSTERS
    means = rng.gamma(1.0, 1.0, GENES) * np.ones((CLUSTERS, 1))
    for number in range(CLUSTERS):
        means[number, MITOCHONDRIAL + 10 * number : MITOCHONDRIAL + 10 * number + 6] *= 9
    counts = rng.poisson(means[cluster]).astype(np.float32)
    cells = anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame(index=[f"cell{number}" for number in range(CELLS)]),
        var=pd.DataFrame(
            index=[f"MT-{number}" if number < MITOCHONDRIAL else f"Gene{number}" for number in range(GENES)]
        ),
    )
    cells.obs["sample"] = pd.Categorical(np.where(np.arange(CELLS) < CELLS // 2, "a", "b"))
    cells.var["mt"] = cells.var_names.str.startswith("MT-")
    cells.obs["n_genes_by_counts"] = (counts > 0).sum(1)
    cells.obs["total_counts"] = counts.sum(1)
    cells.obs["pct_counts_mt"] = 100 * counts[:, :MITOCHONDRIAL].sum(1) / counts.sum(1)
    cells.obs["predicted_doublet"] = False
    cells.layers["counts"] = cells.X.copy()
    sc.pp.normalize_total(cells)
    sc.pp.log1p(cells)
    sc.pp.highly_variable_genes(cells, n_top_genes=30)
    sc.pp.pca(cells, n_comps=10, svd_solver="covariance_eigh")
    cells.obsm["X_umap"] = cells.obsm["X_pca"][:, :2].copy()
    cells.uns["neighbors"] = {
        "params": {"n_neighbors": 15, "metric": "euclidean", "use_rep": "X_pca", "n_pcs": 6}
    }
    cells.obs["leiden_0.5"] = pd.Categorical(cluster.astype(str))
    cells.obs["leiden"] = cells.obs["leiden_0.5"].copy()
    sc.tl.rank_genes_groups(cells, "leiden", method="t-test")
    cells.uns["stargazer"] = {
        "filter_cells": json.dumps(FILTERED),
        "scrublet": json.dumps(SCRUBLET),
        "stability": json.dumps(STABILITY),
        "pca": json.dumps({"svd_solver": "covariance_eigh"}),
        "neighbors": json.dumps({"exact": True, "transformer": "sklearn"}),
    }
    return cells


def write_clustered(folder: Path) -> None:
    """Write them to `cells.h5ad` of a folder."""
    clustered().write_h5ad(folder / "cells.h5ad")
