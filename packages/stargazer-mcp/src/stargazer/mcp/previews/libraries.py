"""What h5py and pysam say of a file: `python -m stargazer.mcp.previews.libraries hdf5|cram PATH`, as JSON on stdout."""

from __future__ import annotations

import json
import os
import resource
import sys
from itertools import islice
from typing import Any

__all__ = ["cram", "hdf5"]

SECONDS, MEMORY = 5, 4 << 30  # of processor time, and bytes of address space, which libraries take much of
SHOWN = 40  # members of a group
NAME = 80  # characters of a name
TEXT = 4 << 20  # of the header of a CRAM


def hdf5(path: str) -> dict[str, Any]:
    """The structure of an HDF5 file; of an h5ad its cells, genes, columns, layers and embeddings.

    Raises:
        OSError, ValueError, KeyError: it is damaged.
    """
    import h5py

    with h5py.File(path, "r") as file:
        obs, var = _member(file, "obs"), _member(file, "var")
        if obs is None or var is None:
            return {"kind": "hdf5", "holds": _shapes(file)}
        described: dict[str, Any] = {"kind": "h5ad"}
        described["n_obs"], described["obs"] = _table(obs)
        described["n_vars"], described["var"] = _table(var)
        if _member(file, "X") is not None:
            described["X"] = _shape(file, "X")
        for name in ("layers", "obsm", "varm", "obsp"):
            group = _member(file, name)
            if hasattr(group, "keys") and len(group):
                described[name] = _shapes(group)
        if hasattr(uns := _member(file, "uns"), "keys"):
            described["uns"] = [name[:NAME] for name in _names(uns)]
        return described


def _member(group: Any, name: str) -> Any:
    """A member of a group; None of one that is not there, or is a link: it may lead to any file of the machine."""
    from h5py import HardLink

    return group[name] if isinstance(group.get(name, getlink=True), HardLink) else None


def _shapes(group: Any) -> dict[str, str]:
    return {name[:NAME]: _shape(group, name) for name in _names(group)}


def _names(group: Any) -> list[str]:
    return [str(name) for name in islice(group, SHOWN)]


def _shape(group: Any, name: str) -> str:
    """A member in words: `559 x 20 float32`, `559 x 32,786 csr_matrix`, `group of 3`."""
    member = _member(group, name)
    if member is None:
        return "a link"
    shape = member.attrs.get("shape", getattr(member, "shape", None))
    if shape is None:
        return f"group of {len(member):,}"
    kind = str(member.attrs.get("encoding-type", "")) if hasattr(member, "keys") else str(member.dtype)
    return f"{' x '.join(f'{int(size):,}' for size in shape) or 'one'} {kind}"[:NAME]


def _table(table: Any) -> tuple[int | None, dict[str, Any]]:
    """Rows of an annotation, and its columns with what each holds."""
    if not hasattr(table, "keys"):  # one compound array: anndata before 0.7
        names = [str(name) for name in table.dtype.names or ()]
        return int(table.shape[0]), {
            "count": len(names),
            "columns": {name[:NAME]: "" for name in names[:SHOWN]},
        }
    index = str(table.attrs.get("_index", "_index"))
    data = _member(table, index)
    if hasattr(data, "keys"):
        data = _member(data, "values" if "values" in data else "codes")
    rows = None if data is None or not getattr(data, "shape", ()) else int(data.shape[0])
    names = [name for name in _names(table) if name not in (index, "__categories")]
    columns = {name[:NAME]: _column(table, name) for name in names}
    return rows, {"count": len(table) - (index in table), "columns": columns}


def _column(table: Any, name: str) -> str:
    column = _member(table, name)
    if column is None:
        return "a link"
    if not hasattr(column, "keys"):
        old = _member(table, "__categories")
        categories = None if old is None else _member(old, name)
        if categories is not None:
            return f"category of {len(categories):,}"
        kind = str(column.dtype)
        return "text" if kind == "object" else kind
    categories = _member(column, "categories")
    if categories is not None and getattr(categories, "shape", None):
        return f"category of {int(categories.shape[0]):,}"
    return str(column.attrs.get("encoding-type", "group"))[:NAME]


def cram(path: str) -> dict[str, Any]:
    """The header of a CRAM as text.

    Raises:
        OSError, ValueError: it is damaged.
    """
    import pysam

    pysam.set_verbosity(0)
    with pysam.AlignmentFile(path, "rc", check_sq=False) as file:
        text = str(file.header)
    return {"text": text[:TEXT], "whole": len(text) <= TEXT}


def main(words: list[str]) -> int:
    """Say what a file holds; status 1 with a line on stderr where that cannot be read."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kind, path = words
    try:
        said = {"hdf5": hdf5, "cram": cram}[kind](path)
    except Exception as error:  # whatever a library thinks of a damaged file
        sys.stderr.write(f"{type(error).__name__}: {error}\n".replace(path, os.path.basename(path)))
        return 1
    sys.stdout.write(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
