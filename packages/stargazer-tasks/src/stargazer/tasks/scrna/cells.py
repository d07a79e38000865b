"""Reads and writes the h5ad of a task in its child process, which keeps the last one in memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import anndata

__all__ = ["COUNTS", "load", "save"]

COUNTS = "counts"
"""The layer of raw counts."""

_kept: list[tuple[tuple[int, ...], Any]] = []
"""The cells that were written last, by what tells their file from all others: the next task most often reads them."""


def load(path: str) -> anndata.AnnData:
    """The cells of an h5ad: those that this process wrote last where it is the same file, else read from disk."""
    import anndata

    known = _kept.pop() if _kept else None  # whoever asks for them may change them
    if known is not None and known[0] == _identity(path):
        found: anndata.AnnData = known[1]
        return found
    return anndata.read_h5ad(path)


def save(cells: anndata.AnnData, path: str) -> dict[str, Any]:
    """Write cells, uncompressed, with the same bytes for the same content; return the fields that an asset has of them.

    Returns:
        `n_obs` (cells), `n_vars` (genes) and the names of the `layers`.
    """
    cells.write_h5ad(path)
    _kept[:] = [(_identity(path), cells)]
    return {"n_obs": cells.n_obs, "n_vars": cells.n_vars, "layers": sorted(cells.layers)}


def _identity(path: str) -> tuple[int, ...]:
    """What stays when the store takes a file in: it renames it, and links lead to it."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
