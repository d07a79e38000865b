"""Reads what Cell Ranger writes, and what others write alike (STARsolo): one HDF5 file, or a folder of three files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import FormatError, InvalidAssetError
from stargazer.assets.formats import check_hdf5, opened
from stargazer.tasks.checks.contigs import some
from stargazer.tasks.checks.matrices import tenx_folder, tenx_genomes

if TYPE_CHECKING:
    import anndata
    import h5py
    import numpy as np

__all__ = ["read_folder", "read_h5"]

GENE_EXPRESSION = "Gene Expression"
COPY = "copy it again"


def read_h5(source: str, title: str, genome: str | None, notes: list[str]) -> anndata.AnnData:
    """Counts of gene expression in an HDF5 file of Cell Ranger, as `scanpy.read_10x_h5` reads them.

    Args:
        title: of the file, for errors.
        genome: to be read of a file of Cell Ranger 2, which has a matrix for each.
        notes: what is left out is added.

    Raises:
        FormatError: it is damaged, or something else.
        InvalidAssetError: of several genomes none is chosen.
    """
    import h5py

    path = Path(source)
    try:
        check_hdf5(path)
        genomes = tenx_genomes(path)
        if len(genomes) > 1 and genome not in genomes:
            raise InvalidAssetError(
                f"{title} has a matrix for each of {some(genomes)}: give genome={genomes[0]} to read one"
            )
        with h5py.File(path, "r") as file:
            if not genomes:
                made = _version3(file["matrix"])
            else:
                name = genome if genome in genomes else genomes[0]
                made = _version2(file[name])
                made.var["genome"] = name
    except FormatError as error:
        raise FormatError(f"{title}: {error}") from None
    except InvalidAssetError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FormatError(f"{title} cannot be read as Cell Ranger's HDF5: {error}; {COPY}") from None
    return _expressed(made, title, notes)


def read_folder(source: str, title: str, notes: list[str]) -> anndata.AnnData:
    """Counts of gene expression in a folder of Cell Ranger, as `scanpy.read_10x_mtx` reads them.

    Its files may be compressed or not, and as Cell Ranger 2 (genes.tsv) or 3 (features.tsv) names them.

    Args:
        title: of the folder, for errors.
        notes: what is left out is added.

    Raises:
        FormatError: a file is missing or damaged, or they do not belong together.
    """
    import anndata
    import pandas as pd
    from scipy import io, sparse

    try:
        matrix, barcodes, features = tenx_folder(Path(source))
    except FormatError as error:
        raise FormatError(f"{title}: {error}") from None
    cells, genes = _rows(barcodes, title, 1), _rows(features, title, 2)
    try:
        with opened(matrix) as file:
            counts = io.mmread(file, spmatrix=True)
    except FormatError as error:
        raise FormatError(f"{title}: {error}") from None
    except (OSError, ValueError, OverflowError, TypeError, EOFError) as error:
        raise FormatError(
            f"{title}: {matrix.name} cannot be read as Matrix Market: {error}; {COPY}"
        ) from None
    if counts.shape != (len(genes), len(cells)):
        rows, columns = counts.shape
        turned = " (it has cells as rows: transpose it)" if counts.shape == (len(cells), len(genes)) else ""
        raise FormatError(
            f"{title}: {matrix.name} has {rows:,} rows and {columns:,} columns{turned}, where {features.name} has "
            f"{len(genes):,} genes and {barcodes.name} {len(cells):,} barcodes: they are not of one run; {COPY} "
            "together"
        )
    var = pd.DataFrame({"gene_ids": [row[0] for row in genes]}, index=[row[1] for row in genes])
    if all(len(row) > 2 for row in genes):
        var["feature_types"] = [row[2] for row in genes]
    made = anndata.AnnData(
        sparse.csr_matrix(sparse.coo_matrix(counts).T),
        obs=pd.DataFrame(index=[row[0] for row in cells]),
        var=var,
    )
    return _expressed(made, title, notes)


def _version3(group: h5py.Group) -> anndata.AnnData:
    """As Cell Ranger 3 and later write it: several kinds of features in one matrix."""
    features = group["features"]
    is_of_probes = "gene_id" in features
    columns: dict[str, Any] = {"gene_ids": _text(features["gene_id" if is_of_probes else "id"])}
    if is_of_probes:
        columns["probe_ids"] = _text(features["id"])
    columns["feature_types"] = _text(features["feature_type"])
    for name, item in features.items():
        if name not in ("name", "feature_type", "id", "gene_id", "_all_tag_keys") and hasattr(item, "dtype"):
            columns[name] = item[()] if item.dtype.kind == "b" else _text(item)
    made = _matrix(group, columns, _text(features["name"]))
    if "filtered_barcodes" in group:
        made.obs["filtered_barcodes"] = group["filtered_barcodes"][()].astype(bool)
    return made


def _version2(group: h5py.Group) -> anndata.AnnData:
    """As Cell Ranger 2 and earlier wrote it: gene expression of one genome."""
    return _matrix(group, {"gene_ids": _text(group["genes"])}, _text(group["gene_names"]))


def _matrix(group: h5py.Group, columns: dict[str, Any], names: list[str]) -> anndata.AnnData:
    """The matrix of a group. What is stored by columns, the cells, is the same by rows of the transposed one."""
    import anndata
    import numpy as np
    import pandas as pd
    from scipy import sparse

    n_genes, n_cells = (int(size) for size in group["shape"][()])
    parts = (group["data"][()].astype(np.float32), group["indices"][()], group["indptr"][()])
    matrix = sparse.csr_matrix(parts, shape=(n_cells, n_genes))
    matrix.check_format()
    obs = pd.DataFrame(index=_text(group["barcodes"]))
    return anndata.AnnData(matrix, obs=obs, var=pd.DataFrame(columns, index=names))


def _text(dataset: h5py.Dataset) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in dataset[()].tolist()]


def _rows(path: Path, title: str, least: int) -> list[list[str]]:
    """The columns of each line of a table.

    Raises:
        FormatError: it is damaged, or a line has fewer than `least`.
    """
    try:
        with opened(path) as file:
            rows = [line.decode().rstrip("\r\n").split("\t") for line in file if line.strip()]
    except FormatError as error:
        raise FormatError(f"{title}: {error}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{title}: {path.name} is no text; {COPY}") from None
    for number, row in enumerate(rows, 1):
        if len(row) < least:
            raise FormatError(
                f"{title}: line {number} of {path.name} has {len(row)} of {least} columns: expected identifier and "
                "name of a gene, with a tab between them"
            )
    return rows


def _expressed(cells: anndata.AnnData, title: str, notes: list[str]) -> anndata.AnnData:
    """Without antibodies, guides and other features that are no genes.

    Raises:
        FormatError: nothing is left.
    """
    if "feature_types" not in cells.var or not cells.n_vars:
        return cells
    kinds: Any = cells.var["feature_types"]
    is_gene: np.ndarray[Any, Any] = (kinds == GENE_EXPRESSION).to_numpy()
    if is_gene.all():
        return cells
    others = ", ".join(f"{count:,} of {kind}" for kind, count in sorted(Counter(kinds[~is_gene]).items()))
    if not is_gene.any():
        raise FormatError(f"{title} has no gene expression: its features are {others}")
    notes.append(f"features that are no genes, left out: {others}")
    return cells[:, is_gene].copy()
