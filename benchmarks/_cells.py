"""Matrices of single cells for benchmarks: 10,000 real ones of the mouse brain, and simulated ones of any number."""

from __future__ import annotations

import zipfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import zarr
from scipy import sparse

__all__ = ["MOUSE_BRAIN", "TYPES", "convert", "simulate"]

MOUSE_BRAIN = "scrna/mouse_brain_10k_x_1k.zarr.zip"
"""In STARGAZER_TEST_DATA: 10x Genomics' 1.3 million brain cells of E18 mice, 10,000 of them by 1,000 genes."""

TYPES = 12
MARKERS = 250  # genes that a type has more of than others
BURST = 0.6  # parameter of the logarithmic distribution of molecules that come together
BLOCK = 5_000  # cells drawn at once


def convert(data: Path, target: Path) -> None:
    """Write the mouse-brain cells as an h5ad of raw counts."""
    store = zarr.storage.ZipStore(data / MOUSE_BRAIN, mode="r")
    with zipfile.ZipFile(data / MOUSE_BRAIN) as archive:
        folder = archive.namelist()[0].partition("/")[0]
    group = zarr.open_group(store, path=folder, mode="r")
    tables = []
    for name in ("obs", "var"):
        table = pd.DataFrame(group[name][:])
        table.index = table.pop("index").str.decode("utf-8")
        tables.append(table)
    cells = anndata.AnnData(sparse.csr_matrix(group["X"][:].astype(np.float32)), *tables)
    cells.var["gene_ids"] = cells.var["gene_ids"].str.decode("utf-8")
    cells.var_names_make_unique()
    cells.write_h5ad(target)


def simulate(target: Path, cells: int, genes: int = 20_000, bursts: float = 900.0, seed: int = 1) -> None:
    """Write cells of known types as an h5ad of raw counts, sparse from the first draw on.

    A gene's molecules are a Poisson number of bursts of logarithmic sizes: together a negative binomial number, whose
    variance is 1 / (1 - BURST) times its mean.

    Args:
        bursts: of a cell, on average (a cell's own number is log-normal).
    """
    draws = np.random.default_rng(seed)
    common = draws.lognormal(0.0, 1.6, genes)
    profiles = np.tile(common, (TYPES, 1))
    for profile in profiles:
        markers = draws.choice(genes, MARKERS, replace=False)
        profile[markers] = common.mean() * draws.lognormal(1.0, 0.5, MARKERS)
    profiles[:, -13:] = 0.04 * profiles.sum(1, keepdims=True) / 13  # mitochondrial
    edges = np.cumsum(profiles, axis=1)
    edges /= edges[:, -1:]
    types = draws.choice(TYPES, cells, p=np.arange(1, TYPES + 1) / np.arange(1, TYPES + 1).sum())
    blocks = []
    for start in range(0, cells, BLOCK):
        kinds = types[start : start + BLOCK]
        counts = draws.poisson(bursts * draws.lognormal(-0.06, 0.35, len(kinds)))
        rows = np.repeat(np.arange(len(kinds), dtype=np.int32), counts)
        columns = np.empty(len(rows), np.int32)
        where = kinds[rows]
        for kind in range(TYPES):
            chosen = where == kind
            columns[chosen] = np.searchsorted(edges[kind], draws.random(int(chosen.sum())))
        sizes = draws.logseries(BURST, len(rows)).astype(np.float32)
        blocks.append(sparse.coo_matrix((sizes, (rows, columns)), shape=(len(kinds), genes)).tocsr())
    names = [f"Gene{number}" for number in range(genes - 13)] + [f"mt-{number}" for number in range(13)]
    obs = pd.DataFrame({"type": pd.Categorical([f"T{kind:02}" for kind in types])},
                       index=[f"cell{number}" for number in range(cells)])  # fmt: skip
    anndata.AnnData(sparse.vstack(blocks, format="csr"), obs, pd.DataFrame(index=names)).write_h5ad(target)
