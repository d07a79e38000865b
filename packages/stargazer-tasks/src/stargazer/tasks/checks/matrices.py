"""Checks of matrices of cells and genes by their structure alone; of HDF5 where h5py is installed."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import attrs
from stargazer.assets import AnnData, FormatError, TenxH5, TenxMtx
from stargazer.assets.formats import GZIP, check_whole
from stargazer.storage import Lookup, folder_parts

__all__ = [
    "DAMAGED",
    "Structure",
    "anndata",
    "matrix_head",
    "structure",
    "tenx_folder",
    "tenx_genomes",
    "tenx_h5",
    "tenx_mtx",
]

DAMAGED = (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError)
"""What h5py raises of a file that is not whole."""

LONGEST = 1 << 16  # bytes of a line in the head of a matrix
TENX_PARTS = ("data", "indices", "indptr", "shape", "barcodes")


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


def tenx_h5(asset: TenxH5, path: Path, lookup: Lookup) -> bool | str:
    """Groups and lengths of Cell Ranger's HDF5.

    Raises:
        FormatError: it is something else, or damaged.
    """
    try:
        import h5py
    except ImportError:
        return "what it holds: h5py is not installed (`pip install h5py`)"
    try:
        with h5py.File(path, "r") as file:
            check_whole(file)
        for genome in tenx_genomes(path) or ["matrix"]:
            with h5py.File(path, "r") as file:
                _check_tenx(file[genome], genome)
    except FormatError as error:
        raise FormatError(f"{path.name!r}: {error}") from None
    except DAMAGED as error:
        raise FormatError(
            f"{path.name!r} cannot be read as HDF5 of Cell Ranger: {error}; copy it again"
        ) from None
    return True


def tenx_mtx(asset: TenxMtx, path: Path, lookup: Lookup) -> bool | str:
    """The three files of a matrix of Cell Ranger: how each begins, and that it has as many lines as the others say.

    Raises:
        FormatError: one is missing or damaged, or they do not belong together.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            members = {
                member.name.removeprefix("./"): member for member in tar.getmembers() if member.isfile()
            }

            def opener(name: str) -> IO[bytes]:
                found = tar.extractfile(members[name])
                assert found is not None
                return found

            folder = next((name.rpartition("/")[0] for name in sorted(members) if "matrix.mtx" in name), "")
            inside = {name.removeprefix(f"{folder}/"): name for name in members if name.startswith(folder)}
            matrix, barcodes, features = (inside[name] for name in folder_parts("tenx_mtx", inside).values())
            with _text(opener(matrix)) as file:
                rows, columns, _ = matrix_head(file, matrix)
            for name, wanted, what in ((barcodes, columns, "barcodes"), (features, rows, "genes")):
                if (found := _lines(opener, name)) != wanted:
                    raise FormatError(f"{name} has {found:,} lines, and {matrix} {wanted:,} {what}")
    except FormatError as error:
        raise FormatError(
            f"{path.name!r} is no matrix of Cell Ranger: {error}; copy the folder again"
        ) from None
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path.name!r} cannot be read as a matrix of Cell Ranger: {error}") from None
    return True


def tenx_genomes(path: Path) -> list[str]:
    """The groups of a file of Cell Ranger 2, one for each genome; none of one of Cell Ranger 3 and later.

    Raises:
        FormatError: it is neither.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if "matrix" in file:
            return []
        if found := [
            name for name, group in file.items() if hasattr(group, "keys") and "gene_names" in group
        ]:
            return found
        names = ", ".join(map(repr, list(file)[:5])) or "nothing"
        hint = ""
        if "barcode_idx" in file or "molecule_idx" in file:
            hint = "; this is molecule_info.h5: give filtered_feature_bc_matrix.h5"
        elif "obs" in file and "var" in file:
            hint = "; this is an h5ad: give asset=anndata"
        raise FormatError(
            f"it is HDF5, but no matrix of Cell Ranger: expected 'matrix', it has {names}{hint}"
        )


def matrix_head(file: IO[bytes], name: str) -> tuple[int, int, int]:
    """Rows, columns and entries of a matrix in the Matrix Market format.

    Raises:
        FormatError: it does not begin as such.
    """
    line = file.readline(LONGEST)
    if not line.startswith(b"%%MatrixMarket matrix coordinate"):
        raise FormatError(f"{name} begins with {line[:20]!r}, expected '%%MatrixMarket matrix coordinate'")
    while line.startswith(b"%"):
        line = file.readline(LONGEST)
    words = line.split()
    if len(words) != 3 or not all(word.isdigit() for word in words):
        raise FormatError(f"{name} has no sizes: expected rows, columns and entries, got {line[:40]!r}")
    rows, columns, entries = map(int, words)
    return rows, columns, entries


def tenx_folder(folder: Path) -> tuple[Path, Path, Path]:
    """Matrix, barcodes and features in a folder of Cell Ranger, or in the only folder that it holds.

    Raises:
        FormatError: one is missing.
    """
    names = [path.name for path in folder.iterdir()]
    if len(names) == 1 and (folder / names[0]).is_dir():
        folder, names = folder / names[0], [path.name for path in (folder / names[0]).iterdir()]
    matrix, barcodes, features = folder_parts("tenx_mtx", names).values()
    return folder / matrix, folder / barcodes, folder / features


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
            check_whole(file)
            layers = sorted(file["layers"]) if "layers" in file else []
            return Structure(layers, {"n_obs": _length(file["obs"]), "n_vars": _length(file["var"])})
    except FormatError:
        raise
    except DAMAGED as error:
        raise FormatError(f"{path.name!r} cannot be read as h5ad: {error}; copy it again") from None


def _length(table: Any) -> int | None:
    """Rows of an annotation table, which is a group of columns (anndata 0.7 and later) or one compound array."""
    data = table.get(table.attrs.get("_index", "_index")) if hasattr(table, "keys") else table
    if hasattr(data, "keys"):  # texts or categories with what is missing marked (anndata 0.13)
        data = data.get("values", data.get("codes"))
    return None if data is None or not getattr(data, "shape", ()) else int(data.shape[0])


def _check_tenx(group: Any, name: str) -> None:
    """See that the parts of a matrix are there, and have the lengths that they say of one another."""
    features = ("features/name", "features/id") if name == "matrix" else ("gene_names", "genes")
    if missing := [part for part in (*TENX_PARTS, *features) if part not in group]:
        raise FormatError(f"it is no matrix of Cell Ranger: {name!r} lacks {missing[0]!r}; copy it again")
    n_genes, n_cells = (int(size) for size in group["shape"][()])
    for part, wanted in (
        ("barcodes", n_cells),
        ("indptr", n_cells + 1),
        *((each, n_genes) for each in features),
    ):
        if (found := group[part].shape[0]) != wanted:
            raise FormatError(
                f"its matrix has {n_genes:,} genes and {n_cells:,} cells, and {part!r} {found:,} entries where "
                f"{wanted:,} were expected; copy it again"
            )


def _lines(opener: Callable[[str], IO[bytes]], name: str) -> int:
    with _text(opener(name)) as file:
        return sum(1 for line in file if line.strip())


def _text(file: IO[bytes]) -> IO[bytes]:
    """A file to be read, decompressed if it is gzip."""
    head = file.read(len(GZIP))
    file.seek(0)
    return cast(IO[bytes], gzip.open(file)) if head == GZIP else file
