"""Whether an h5ad holds the layers and has the size that are claimed, where h5py is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stargazer.assets import AnnData
from stargazer.assets.errors import FormatError
from stargazer.storage.checking import Lookup

__all__ = ["anndata"]


def anndata(asset: AnnData, path: Path, lookup: Lookup) -> bool:
    """Layers and size of a matrix, from the structure of the file alone.

    Raises:
        FormatError: it is damaged, lacks a layer, or has another size.
    """
    try:
        import h5py
    except ImportError:
        return False
    try:
        with h5py.File(path, "r") as file:
            layers = sorted(file["layers"]) if "layers" in file else []
            sizes = {"n_obs": _length(file, "obs"), "n_vars": _length(file, "var")}
    except (OSError, KeyError, RuntimeError) as error:
        raise FormatError(f"{path.name!r} cannot be read as h5ad: {error}; copy it again") from None
    for layer in asset.layers:
        if layer not in layers:
            raise FormatError(
                f"{path.name!r} has no layer {layer!r}; it has {', '.join(map(repr, layers)) or 'none'}"
            )
    for name, found in sizes.items():
        given = getattr(asset, name)
        if None not in (given, found) and given != found:
            raise FormatError(f"{path.name!r} has {name}={found}, and {name}={given} was given")
    return True


def _length(file: Any, table: str) -> int | None:
    """Rows of an annotation table, which is a group of columns (anndata 0.7 and later) or one compound array."""
    node = file[table]
    index = node.attrs.get("_index", "_index") if hasattr(node, "keys") else None
    data = node if index is None else node.get(index)
    return None if data is None or not getattr(data, "shape", ()) else int(data.shape[0])
