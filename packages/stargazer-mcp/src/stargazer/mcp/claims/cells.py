"""Rows of an h5ad: its cells, or its genes, with their columns and the expression of single genes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stargazer.assets import FormatError
from stargazer.assets.formats import check_whole
from stargazer.assets.keyvalues import composed
from stargazer.mcp.claims.conditions import SAMPLE, Column, Row
from stargazer.mcp.claims.numbers import is_number
from stargazer.mcp.claims.verdicts import Unverifiable, near
from stargazer.mcp.strict_json import shortened

__all__ = ["Cells"]

GENE = "gene:"
INDEX = "index"
CHUNK = 20_000  # cells of which all genes are in memory at once
INSTALL = "install the extra and check again: pip install 'stargazer-mcp[scrna]'"


class Cells:
    """An open h5ad, its rows those of obs or var.

    Args:
        path: of the file.
        axis: obs or var.

    Raises:
        Unverifiable: what reads it is not installed; it is no h5ad.
    """

    passed_over: Callable[[Row], bool] | None = None

    def __init__(self, path: Path, axis: Any):
        try:
            import h5py
            from anndata.io import read_elem
        except ImportError:
            raise Unverifiable(
                "an h5ad can be read with the extra scrna alone, which is not installed", INSTALL
            ) from None
        if axis not in ("obs", "var"):
            raise Unverifiable(f"no axis {shortened(axis)}", "the axis is obs (cells) or var (genes)")
        self.axis = axis
        self.noun = "cells" if axis == "obs" else "genes"
        self.file = h5py.File(path, "r")
        try:
            check_whole(self.file)
        except FormatError as error:
            self.file.close()
            raise Unverifiable(str(error)) from None
        self.table = read_elem(self.file[axis])
        self.samples: list[str] = []
        if SAMPLE in self.file["obs"]:
            of_cells = self.table[SAMPLE] if axis == "obs" else read_elem(self.file["obs"][SAMPLE])
            self.samples = sorted({composed(str(name)) for name in of_cells if not _is_missing(name)})
        self.read: dict[str, Column] = {}

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def rows(self) -> Iterator[Row]:
        """The number of every row."""
        return iter(range(len(self.table)))

    def column(self, name: str, query: Mapping[str, Any]) -> Column:
        """A column of obs or var, `index`, or with `gene:NAME` what a gene has in X or in the layer of the query."""
        layer = str(query.get("layer") or "X")
        key = f"{layer}\t{name}"
        if key not in self.read:
            if name.startswith(GENE) and self.axis == "obs":
                values = self._expression(name.removeprefix(GENE), layer)
            elif name in self.table:
                values = self.table[name].astype(object).tolist()
            elif name == INDEX:
                values = list(map(str, self.table.index))
            else:
                names = [*map(str, self.table.columns), INDEX]
                then = f"name a column of {self.axis}, or gene:NAME for what cells have of a gene"
                raise Unverifiable(f"{self.axis} has no column {shortened(name)}", then, near(name, names))
            known: list[Any] = []
            if name in self.table and not name.startswith(GENE):
                kind = self.table[name].dtype
                is_flag = kind.kind == "b" or kind.name == "boolean"
                known = [True, False] if is_flag else list(getattr(kind, "categories", ()))
            is_numeric = bool(values) and all(is_number(value) or _is_missing(value) for value in values)
            rows = [() if _is_missing(value) else (value,) for value in values]
            self.read[key] = Column(
                name, rows.__getitem__, tuple(known), closed=bool(known), numeric=is_numeric and not known
            )
        return self.read[key]

    def _expression(self, gene: str, layer: str) -> list[Any]:
        """What every cell has of a gene.

        Raises:
            Unverifiable: no such gene or layer, or no such values.
        """
        import h5py
        import numpy as np
        import scipy.sparse
        from anndata.io import read_elem, sparse_dataset

        layers = {"X": "X", **{each: f"layers/{each}" for each in self.file.get("layers", ())}}
        if "raw" in self.file:
            layers["raw"] = "raw/X"
        if layer not in layers or layers[layer] not in self.file:
            raise Unverifiable(
                f"no layer {shortened(layer)}", "name a layer that the file has", near(layer, layers)
            )
        genes = list(map(str, read_elem(self.file["raw/var" if layer == "raw" else "var"]).index))
        if genes.count(gene) != 1:
            several = "several genes are called" if gene in genes else "no gene"
            raise Unverifiable(f"{several} {shortened(gene)}", "name a gene of var", near(gene, genes))
        place, stored = genes.index(gene), self.file[layers[layer]]
        matrix = stored if isinstance(stored, h5py.Dataset) else sparse_dataset(stored)
        if not isinstance(stored, h5py.Dataset) and matrix.format == "csc":
            pieces = [matrix[:, place : place + 1]]
        else:
            starts = range(0, matrix.shape[0], CHUNK)
            pieces = [matrix[start : start + CHUNK][:, place : place + 1] for start in starts]
        arrays = [piece.toarray() if scipy.sparse.issparse(piece) else piece for piece in pieces]
        values: list[Any] = np.concatenate([array.ravel() for array in arrays]).tolist() if arrays else []
        return values


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or value != value
