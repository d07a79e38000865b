"""Reads and writes the h5ad of a task in its child process, which keeps the last one in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stargazer.assets import AnnData, InvalidAssetError
from stargazer.tasks.tools import expect

if TYPE_CHECKING:
    import anndata

__all__ = ["COUNTS", "HARMONY", "SAMPLE", "annotated", "at_least", "load", "require", "save"]

SAMPLE = "sample"
"""The column of cells that says which sample each is of."""

COUNTS = "counts"
"""The layer of raw counts."""

HARMONY = "X_pca_harmony"
"""The principal components that Harmony moved, in obsm."""

_kept: list[tuple[tuple[int, ...], Any]] = []
"""The cells that were written last, by what tells their file from all others: the next task most often reads them."""


def load(path: str, *, keep: bool = False) -> anndata.AnnData:
    """The cells of an h5ad: those that this process wrote last where it is the same file, else read from disk.

    Args:
        keep: for the next task too: whoever says so changes nothing of them.
    """
    identity = _identity(path)
    known = _kept.pop() if _kept else None
    found: anndata.AnnData = known[1] if known and known[0] == identity else _read(path)
    if keep:
        _kept.append((identity, found))
    return found


def _read(path: str) -> anndata.AnnData:
    """The cells of an h5ad, with X by rows, as all steps take it, also where somebody else wrote it otherwise."""
    import anndata
    from scipy import sparse

    cells = anndata.read_h5ad(path)
    if cells.X is not None and getattr(cells.X, "format", None) != "csr":
        cells.X = sparse.csr_matrix(cells.X)
    return cells


def save(cells: anndata.AnnData, path: str) -> dict[str, Any]:
    """Write cells, uncompressed, with the same bytes for the same content; return the fields that an asset has of them.

    Returns:
        `n_obs` (cells), `n_vars` (genes) and the names of the `layers`.
    """
    cells.uns = _sorted(cells.uns)  # what is read back is in this order, and the bytes follow it
    for part in (cells.obsm, cells.varm, cells.obsp, cells.varp, cells.layers):
        for name in _names(part):
            part[name] = part.pop(name)
    cells.write_h5ad(path)
    _kept[:] = [(_identity(path), cells)]
    return {"n_obs": cells.n_obs, "n_vars": cells.n_vars, "layers": _names(cells.layers)}


def _names(part: Iterable[str | None]) -> list[str]:
    """What a part holds, sorted; to anndata 0.13 X is a layer as well, whose name is None."""
    return sorted(name for name in part if name is not None)


def _sorted(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _sorted(value) if isinstance(value, Mapping) else value
        for name, value in sorted(content.items())
    }


def annotated(cells: AnnData, path: Path, fields: dict[str, Any], *, stage: str) -> AnnData:
    """The asset of cells that a step has written.

    Args:
        fields: as `save` gives them.
        stage: the step.
    """
    return cells.evolve(path=expect(path, by=stage), stage=stage, **fields)


def require(
    cells: anndata.AnnData, part: Literal["obs", "var", "obsm", "layers"], names: Iterable[str], advice: str
) -> None:
    """Refuse cells that lack something that a step needs.

    Raises:
        InvalidAssetError: says what is missing, what there is, and what to do.
    """
    there = list(getattr(cells, part))
    if missing := [name for name in names if name not in there]:
        raise InvalidAssetError(
            f"the cells have no {', '.join(map(repr, missing))} in {part}; they have "
            f"{', '.join(map(repr, there)) or 'nothing'}: {advice}"
        )


def at_least(least: int, **values: int) -> None:
    """Refuse parameters below what they can be: scanpy takes some of them for others, from the end.

    Raises:
        InvalidAssetError: one is.
    """
    for name, value in values.items():
        if value < least:
            raise InvalidAssetError(f"{name}={value}: give at least {least}")


def _identity(path: str) -> tuple[int, ...]:
    """What stays when the store takes a file in: it renames it, and links lead to it."""
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
