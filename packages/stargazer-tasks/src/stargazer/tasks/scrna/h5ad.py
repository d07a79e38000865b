"""Reads raw counts from an h5ad that somebody else wrote: in a layer, in raw, or in X, as they come."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import FormatError, InvalidAssetError
from stargazer.assets.formats import check_hdf5
from stargazer.tasks.checks.contigs import some
from stargazer.tasks.scrna.cells import COUNTS
from stargazer.tasks.scrna.counts import ENSEMBL, MOSTLY, flaw_of, set_aside

if TYPE_CHECKING:
    import anndata
    import h5py
    import pandas as pd
    from scipy import sparse

__all__ = ["read_counts"]

AUTO = "auto"
PLACES = {"X": "X", "raw": "raw/X"}
"""Where a matrix lies in the file, by the value of `counts` that means it; any other is the name of a layer."""

WRITTEN = "0.1.0"
"""The version of the file's encoding that anndata has written since 0.8; there is no other yet."""

PART = 1 << 22  # values that are looked at together

SYMBOLS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_names", "symbol")
"""Columns with the names of genes in files whose genes are called by Ensembl identifiers (CELLxGENE has the first)."""

IDENTIFIERS = ("gene_id", "ensembl_id", "ensembl", "feature_id")

COMPUTED = ("highly_variable", "highly_variable_rank", "highly_variable_nbatches", "highly_variable_intersection",
            "means", "dispersions", "dispersions_norm", "variances", "variances_norm", "mean", "std")  # fmt: skip
"""Columns of genes that scanpy computed: of other counts than these may be."""

LATER = re.compile(r"leiden(_[0-9.e+-]+)?|doublet_score|predicted_doublet")
"""Columns of cells that a later step writes or the summary reads: clusters and doublets that somebody else found."""

REWRITE = (
    "write it again with the anndata that wrote it, in today's layout: `python -c \"import anndata; "
    "anndata.read_h5ad('x.h5ad').write_h5ad('new.h5ad')\"`"
)


def read_counts(source: str, title: str, counts: str, notes: list[str]) -> tuple[anndata.AnnData, str]:
    """Raw counts with the tables of cells and genes, and where they were; what was computed from them is left out.

    Args:
        title: of the file, for errors.
        counts: `X`, `raw`, a layer's name, or AUTO: the first of the layer `counts`, raw and X that holds integers.
        notes: what is left out is added.

    Raises:
        FormatError: the file is damaged, or no h5ad, or of another version, or has no raw counts there.
        InvalidAssetError: it has no such matrix.
    """
    import anndata
    import h5py

    path = Path(source)
    try:
        check_hdf5(path)
        with h5py.File(path, "r") as file:
            _check_layout(file)
            place = _place(file, counts, title)
            matrix = _sparse(file[place])
            obs, var = _table(file["obs"]), _table(file["raw/var" if place == PLACES["raw"] else "var"])
            left = [f"{group}: {', '.join(sorted(file[group]))}" for group in ("obsm", "varm", "obsp", "varp", "uns")
                    if group in file and len(file[group])]  # fmt: skip
            others = [name for name in _places(file) if _places(file)[name] != place]
    except FormatError as error:
        raise FormatError(f"{title}: {error}") from None
    except InvalidAssetError:
        raise
    except Exception as error:  # anndata raises many kinds, and its own, for what it cannot read
        cause = str(error).strip().splitlines()
        raise FormatError(
            f"{title} cannot be read: {cause[0] if cause else type(error).__name__}. It is damaged, or of another "
            f"version of anndata: copy it again, or {REWRITE}"
        ) from None
    if matrix.shape != (len(obs), len(var)):
        raise FormatError(
            f"{title} is damaged: {place} has {matrix.shape[0]:,} cells and {matrix.shape[1]:,} genes, its tables "
            f"{len(obs):,} and {len(var):,}"
        )
    if left or others:
        notes.append(
            "left out, for it is computed again: "
            + "; ".join([*(f"matrix {name}" for name in others), *left])
        )
    for column in [name for name in obs if LATER.fullmatch(str(name))]:
        set_aside(obs, column, "a later step gives that name to its own", notes)
        del obs[column]
    return anndata.AnnData(matrix, obs=obs, var=_named(var, notes)), place


def _check_layout(file: h5py.File) -> None:
    """Refuse what is no h5ad, and those of versions that nobody reads any more or yet.

    Raises:
        FormatError: it is such.
    """
    if missing := [name for name in ("obs", "var") if name not in file]:
        hint = "; this is Cell Ranger's: give asset=tenx_h5" if "matrix" in file else ""
        raise FormatError(
            f"it is HDF5, but no h5ad: it lacks {missing[0]!r} and has {some(list(file))}{hint}"
        )
    if any(hasattr(file[name], "dtype") for name in ("obs", "var")):
        raise FormatError(
            f"it was written by anndata 0.6 or older, whose layout is not read any more: {REWRITE}"
        )
    version = file.attrs.get("encoding-version", WRITTEN)
    if version != WRITTEN:
        raise FormatError(
            f"its layout has the version {version!r}, and {WRITTEN!r} is known: it is of a newer anndata; {REWRITE}"
        )


def _places(file: h5py.File) -> dict[str, str]:
    """Every matrix in the file: the value of `counts` that means it, and where it lies."""
    found = {f"{name}": f"layers/{name}" for name in file.get("layers", ())}
    return found | {name: place for name, place in PLACES.items() if place in file}


def _place(file: h5py.File, counts: str, title: str) -> str:
    """Where raw counts lie.

    Raises:
        FormatError: they are no counts.
        InvalidAssetError: there is no such matrix.
    """
    places = _places(file)
    if not places:
        raise FormatError("it holds no matrix: neither X nor raw nor a layer")
    if counts != AUTO and counts not in places:
        raise InvalidAssetError(
            f"{title} has no counts={counts!r}; it has {', '.join(f'counts={name}' for name in places)}"
        )
    order = [name for name in (COUNTS, "raw", "X") if name in places] if counts == AUTO else [counts]
    flaws = {}
    for name in order:
        if not (flaw := _flaw(file[places[name]])):
            return places[name]
        flaws[name] = flaw
    others = [name for name in places if name not in order and not _flaw(file[places[name]])]
    found = "; ".join(f"{name} has {flaw}" for name, flaw in flaws.items())
    advice = (
        f"{some(others)} {'holds' if len(others) == 1 else 'hold'} integers: give counts={others[0]}"
        if others
        else "no other matrix in it holds integers: add the file from before normalisation"
    )
    raise FormatError(f"raw counts were expected, and {found or 'there is neither raw nor X'}; {advice}")


def _flaw(matrix: h5py.Group | h5py.Dataset) -> str:
    """Why a matrix holds no raw counts; "" if it may."""
    return next((flaw for values in _parts(matrix) if (flaw := flaw_of(values))), "")


def _parts(matrix: h5py.Group | h5py.Dataset) -> Iterator[Any]:
    """The values of a matrix, some at a time."""
    values = matrix["data"] if hasattr(matrix, "keys") else matrix
    width = values.shape[1] if len(values.shape) > 1 else 1
    step = max(1, PART // max(1, width))
    for start in range(0, values.shape[0], step):
        yield values[start : start + step]


def _sparse(matrix: h5py.Group | h5py.Dataset) -> sparse.csr_matrix:
    """A matrix by rows; a dense one is never in memory as a whole."""
    import numpy as np
    from anndata.io import read_elem
    from scipy import sparse

    if hasattr(matrix, "keys"):
        return sparse.csr_matrix(read_elem(matrix))
    if len(matrix.shape) != 2:
        raise FormatError(f"{matrix.name} is no matrix: it has {len(matrix.shape)} dimensions")
    parts = [sparse.csr_matrix(values.astype(np.float32, copy=False)) for values in _parts(matrix)]
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_matrix(matrix.shape, dtype=np.float32)


def _table(group: h5py.Group) -> pd.DataFrame:
    from anndata.io import read_elem

    table: pd.DataFrame = read_elem(group)
    table.index = table.index.astype(str)
    table.index.name = None
    return table


def _named(var: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Call genes by their names where the file has both these and Ensembl identifiers, which become `gene_ids`."""
    names = list(map(str, var.index))
    if names and sum(bool(ENSEMBL.fullmatch(name)) for name in names) > MOSTLY * len(names):
        column = next((column for column in SYMBOLS if column in var), None)
        if column:
            symbols = [
                str(new) if new == new and new else old for new, old in zip(var[column], names, strict=True)
            ]
            var["gene_ids"] = names
            var.index = symbols
            notes.append(
                f"genes are called as the column {column!r} says, and their identifiers kept as gene_ids"
            )
        else:
            notes.append(
                "genes are called by Ensembl identifiers: mitochondrial and others are not known by these"
            )
    elif "gene_ids" not in var and (known := next((name for name in IDENTIFIERS if name in var), None)):
        var["gene_ids"] = [str(value) for value in var[known]]
    if computed := [name for name in COMPUTED if name in var]:
        notes.append(f"columns of genes left out, for they are computed again: {', '.join(computed)}")
    return var.drop(columns=computed)
