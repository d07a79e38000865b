"""Reads of an h5ad what a plot or a summary needs: annotation, and some genes, but never the whole matrix."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer.assets import InvalidAssetError

if TYPE_CHECKING:
    import anndata

__all__ = ["annotation", "expression", "first_markers", "missing"]

CHUNK = 20_000
"""Cells of which all genes are in memory at once."""


def annotation(path: str, obsm: Iterable[str] = ()) -> anndata.AnnData:
    """The cells of an h5ad without their matrix: `obs`, `var`, `uns`, and of `obsm` what is named and there."""
    import anndata
    import h5py
    from anndata.io import read_elem

    with h5py.File(path) as file:
        places = file.get("obsm", {})
        return anndata.AnnData(
            obs=read_elem(file["obs"]),
            var=read_elem(file["var"]),
            uns=read_elem(file["uns"]) if "uns" in file else {},
            obsm={name: read_elem(places[name]) for name in obsm if name in places},
        )


def expression(path: str, genes: Sequence[str]) -> Any:
    """What X has of these genes, as an array of cells by genes; the matrix is read in pieces.

    Args:
        genes: that are there.
    """
    import h5py
    import numpy as np
    import scipy.sparse
    from anndata.io import read_elem, sparse_dataset

    with h5py.File(path) as file:
        places = [list(read_elem(file["var"]).index).index(gene) for gene in genes]
        dense = isinstance(file["X"], h5py.Dataset)
        matrix = file["X"] if dense else sparse_dataset(file["X"])
        if not dense and matrix.format == "csc":
            return np.asarray(matrix.to_memory()[:, places].todense())
        cells = matrix.shape[0]
        pieces = (matrix[start : min(cells, start + CHUNK)] for start in range(0, cells, CHUNK))
        taken = [
            piece[:, places].toarray() if scipy.sparse.issparse(piece) else piece[:, places]
            for piece in pieces
        ]
    return np.concatenate(taken) if taken else np.empty((0, len(places)))


def first_markers(ranked: Mapping[str, Any], n_genes: int) -> dict[str, list[dict[str, Any]]]:
    """The first marker genes of each cluster that are higher in it than elsewhere, from `uns["rank_genes_groups"]`.

    Returns:
        Of each cluster, in the order of the ranks, `gene`, `score`, `logfoldchange` (to base 2) and `pval_adj`; None
        where the method gives no such number.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for group in ranked["names"].dtype.names:
        columns = {
            name: ranked[key][group] if key in ranked else None
            for name, key in (
                ("score", "scores"),
                ("logfoldchange", "logfoldchanges"),
                ("pval_adj", "pvals_adj"),
            )
        }
        found[group] = []
        for place, gene in enumerate(ranked["names"][group]):
            values = {
                name: None if column is None else _finite(column[place]) for name, column in columns.items()
            }
            higher = values["score"] if columns["logfoldchange"] is None else values["logfoldchange"]
            if higher is not None and higher > 0:
                found[group].append({"gene": str(gene), **values})
            if len(found[group]) >= n_genes:
                break
    return found


def missing(what: str, name: str, known: Iterable[str]) -> InvalidAssetError:
    """The error that something of this name is not in the cells, with the names that are like it.

    Args:
        what: it was to be, as "column of obs or gene".
    """
    names = list(dict.fromkeys(map(str, known)))
    lower: dict[str, str] = {}
    for each in names:
        lower.setdefault(each.lower(), each)
    near = [lower[word] for word in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
    few = names if len(names) <= 12 else []
    advice = f"; near it: {', '.join(near)}" if near else f"; there is {', '.join(few)}" if few else ""
    return InvalidAssetError(f"the cells have no {what} {name!r}{advice}")


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
