"""Small matrices of cells for tests, and the files of Cell Ranger that hold them."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

N_CELLS, N_GENES = 12, 9
GENES = [f"GENE{number}" for number in range(N_GENES)]
BARCODES = [f"AAACCCAAGG{'ACGT'[number % 4]}{'ACGT'[number // 4]}-1" for number in range(N_CELLS)]


def some_counts(n_cells: int = N_CELLS, n_genes: int = N_GENES, seed: int = 0) -> Any:
    """Integers, of which about half are 0."""
    import numpy as np

    return np.random.default_rng(seed).poisson(0.8, size=(n_cells, n_genes)).astype(np.float32)


def cells_of(counts: Any = None, **tables: Any) -> Any:
    """An AnnData of some counts, named as Cell Ranger and Ensembl name cells and genes."""
    import anndata
    import pandas as pd
    from scipy import sparse

    counts = some_counts() if counts is None else counts
    made = anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame(index=BARCODES[: counts.shape[0]]),
        var=pd.DataFrame(index=GENES[: counts.shape[1]]),
    )
    for column, values in tables.items():
        made.obs[column] = values
    return made


def write_folder(
    folder: Path,
    counts: Any = None,
    *,
    features: Sequence[Sequence[str]] | None = None,
    barcodes: Sequence[str] = BARCODES,
    compressed: bool = True,
    version: int = 3,
    prefix: str = "",
) -> Path:
    """The three files of Cell Ranger 2 or 3."""
    counts = some_counts() if counts is None else counts
    n_cells, n_genes = counts.shape
    if features is None:
        features = [(f"ENSG{number:011}", GENES[number], "Gene Expression") for number in range(n_genes)]
    entries = [(gene + 1, cell + 1, counts[cell, gene]) for cell in range(n_cells) for gene in range(n_genes)
               if counts[cell, gene]]  # fmt: skip
    is_whole = all(float(value).is_integer() for *_, value in entries)
    texts = {
        "matrix.mtx": f"%%MatrixMarket matrix coordinate {'integer' if is_whole else 'real'} general\n%\n"
        f"{n_genes} {n_cells} {len(entries)}\n"
        + "".join(f"{gene} {cell} {value:g}\n" for gene, cell, value in entries),
        "barcodes.tsv": "".join(f"{barcode}\n" for barcode in barcodes),
        "features.tsv" if version == 3 else "genes.tsv": "".join(
            "\t".join(row[: 3 if version == 3 else 2]) + "\n" for row in features
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if compressed:
            (folder / f"{prefix}{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            (folder / f"{prefix}{name}").write_text(text)
    return folder


def write_h5(path: Path, counts: Any = None, features: Mapping[str, Sequence[str]] | None = None) -> Path:
    """The HDF5 file of Cell Ranger 3."""
    import h5py
    from scipy import sparse

    counts = some_counts() if counts is None else counts
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        _write_matrix(group, sparse.csr_matrix(counts))
        n_genes = counts.shape[1]
        columns = {
            "id": [f"ENSG{number:011}" for number in range(n_genes)],
            "name": GENES[:n_genes],
            "feature_type": ["Gene Expression"] * n_genes,
            "genome": ["GRCh38"] * n_genes,
            **(features or {}),
        }
        for name, values in columns.items():
            group[f"features/{name}"] = [value.encode() for value in values]
    return path


def write_h5_of_version2(path: Path, by_genome: Mapping[str, Any]) -> Path:
    """The HDF5 file of Cell Ranger 2: a group for each genome."""
    import h5py
    from scipy import sparse

    with h5py.File(path, "w") as file:
        for genome, counts in by_genome.items():
            group = file.create_group(genome)
            _write_matrix(group, sparse.csr_matrix(counts))
            group["genes"] = [f"ENSG{number:011}".encode() for number in range(counts.shape[1])]
            group["gene_names"] = [name.encode() for name in GENES[: counts.shape[1]]]
    return path


def _write_matrix(group: Any, matrix: Any) -> None:
    group["data"] = matrix.data.astype("int32")
    group["indices"] = matrix.indices.astype("int64")
    group["indptr"] = matrix.indptr.astype("int64")
    group["shape"] = [matrix.shape[1], matrix.shape[0]]
    group["barcodes"] = [name.encode() for name in BARCODES[: matrix.shape[0]]]
