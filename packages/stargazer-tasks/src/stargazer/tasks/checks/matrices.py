"""Checks that an h5ad holds the layers and has the size that are claimed, where h5py is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets import AnnData, FormatError
from stargazer.storage import Lookup

__all__ = ["Structure", "anndata", "structure"]


@attrs.frozen
class Structure:
    """Of a matrix: its layers, and its sizes by field (None: not known)."""

    layers: list[str]
    sizes: Mapping[str, int | None]


def anndata(asset: AnnData, path: Path, lookup: Lookup) -> bool | str:
    """Layers and size of a matrix, from the structure of the file alone.

    Raises:
        FormatError: it is damaged, lacks a layer, or has another size.
    """
    found = structure(path)
    if found is None:
        claims = [
            f"{name}={size}" for name in ("n_obs", "n_vars") if (size := getattr(asset, name)) is not None
        ]
        claims += [f"layers={','.join(asset.layers)}"] if asset.layers else []
        return f"{', '.join(claims)}: h5py is not installed (`pip install h5py`)" if claims else False
    for layer in asset.layers:
        if layer not in found.layers:
            raise FormatError(
                f"{path.name!r} has no layer {layer!r}; it has {', '.join(map(repr, found.layers)) or 'none'}"
            )
    for name, size in found.sizes.items():
        given = getattr(asset, name)
        if None not in (given, size) and given != size:
            raise FormatError(f"{path.name!r} has {name}={size}, and {name}={given} was given")
    return True


def structure(path: Path) -> Structure | None:
    """What a matrix holds; None where h5py is not installed.

    Raises:
        FormatError: it is damaged.
    """
    try:
        import h5py
    except ImportError:
        return None
    try:
        with h5py.File(path, "r") as file:
            for table in ("obs", "var"):
                if table not in file:
                    raise FormatError(
                        f"{path.name!r} is HDF5, but no h5ad: it has no {table!r}; "
                        f"it has {', '.join(map(repr, file)) or 'nothing'}"
                    )
            layers = sorted(file["layers"]) if "layers" in file else []
            return Structure(layers, {"n_obs": _length(file["obs"]), "n_vars": _length(file["var"])})
    except FormatError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path.name!r} cannot be read as h5ad: {error}; copy it again") from None


def _length(table: Any) -> int | None:
    """Rows of an annotation table, which is a group of columns (anndata 0.7 and later) or one compound array."""
    data = table.get(table.attrs.get("_index", "_index")) if hasattr(table, "keys") else table
    return None if data is None or not getattr(data, "shape", ()) else int(data.shape[0])
