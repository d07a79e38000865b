"""How much memory a step on cells takes, estimated from the structure of its files before anything is loaded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stargazer.assets import ConfigurationError, FormatError
from stargazer.assets.formats import opened
from stargazer.storage import Settings
from stargazer.tasks.checks.matrices import DAMAGED, matrix_head, tenx_folder, tenx_genomes

if TYPE_CHECKING:
    import h5py

__all__ = ["NEEDS", "Need", "Sizes", "check_memory", "estimate", "sizes_of"]

LIBRARIES = 460_000_000
"""Bytes of a process that has imported scanpy and done nothing yet: measured, as all that follows."""


class Need(NamedTuple):
    """What a step takes at its peak, in bytes, beside the libraries and the cells that it loads.

    For each value that is stored of X, for each cell, for each cell and gene, and at all.
    """

    value: float = 0
    cell: float = 0
    cell_and_gene: float = 0
    fixed: float = 0


NEEDS = {
    "reading": Need(value=32, cell=1_000),
    "concat": Need(value=9, cell=1_000),
    "calculate_qc_metrics": Need(value=10, cell=1_000),
    "filter_cells": Need(value=17, cell=1_000),
    "scrublet": Need(value=25, cell_and_gene=20, fixed=200e6),
    "normalize_total": Need(value=17),
    "highly_variable_genes": Need(value=17),
    "pca": Need(value=4, cell=1_000, fixed=320e6),
    "neighbors": Need(cell=2_000, fixed=150e6),
    "umap": Need(cell=2_000, fixed=150e6),
    "leiden": Need(cell=6_000, fixed=150e6),
    "rank_genes_groups": Need(value=10, cell=1_000, fixed=260e6),
}
"""By step. Measured in one process: scanpy 1.11.5 on simulated cells, 3,000, 5,000 and 20,000 with 1,330 of 20,000
genes each, everything compiled; the peak of the resident set (VmHWM, set back through /proc/self/clear_refs after
`malloc_trim`) above what there was before. In bytes for each value: QC 9.6, filter 16, normalise 16, HVG 17, concat
8; for each cell: neighbours 1,750, umap 2,000, leiden 4,700; in all: pca 210 to 310 MB, markers 235 to 270 MB.
Reading, by our readers: 18.8 of HDF5, 30.4 of Matrix Market, 17.8 of an h5ad. Scrublet has six dense matrices of
its variable genes, of cells and twice as many simulated doublets: 430 kB a cell with 3,116 such genes, and 26 kB
with 79. Between 6 and 16 of 100 genes are variable; 14 are counted on. Of the peaks of whole processes in runs of
our tasks with 10,000 and 20,000 cells the estimates were 1.04 to 3.4 times."""

DENSE = 0.1  # of the values of a dense matrix, that are taken to be other than 0
TEXT = 80  # bytes of a text in a table, as Python has it


class Sizes(NamedTuple):
    """Of a file: cells, genes, values that are stored of X, bytes of what is loaded, cells of the largest sample."""

    n_obs: int
    n_vars: int
    values: int
    loaded: int
    largest: int


def check_memory(step: str, *sources: str, available: int | None = None) -> None:
    """Refuse a step that would take more memory than there is, before it has begun.

    A file that cannot be read is not judged: the step says better what is wrong with it.

    Args:
        step: one of NEEDS.
        sources: paths of the h5ad of the step, of each where it takes several; or of Cell Ranger's files.
        available: bytes; what tasks on this machine may take by default (STARGAZER_MEMORY, or nine tenths of the
            machine's, or of the container's).

    Raises:
        ConfigurationError: with the estimate, what is available, and what to do.
    """
    try:
        found = [sizes_of(Path(source)) for source in sources]
    except (FormatError, EOFError, *DAMAGED):
        return
    available = Settings.load().memory if available is None else available
    needed = estimate(step, found)
    if needed > available:
        cells, values = sum(each.n_obs for each in found), sum(each.values for each in found)
        raise ConfigurationError(
            f"{step} of {cells:,} cells by {max(each.n_vars for each in found):,} genes ({values:,} values) takes "
            f"about {_size(needed)} of memory, and {_size(available)} are available. Instead:\n"
            "  - fewer cells at a time: sample by sample, filtered before they are put together, or a part of them\n"
            f"  - a machine with {_size(needed * 10 / 9)} or more, or more of this one's (STARGAZER_MEMORY=SIZE)\n"
            "  - a cluster: `stargazer config` says how tasks run there (STARGAZER_MODE=cloud)"
        )


def estimate(step: str, sizes: list[Sizes]) -> int:
    """Bytes of memory that a process takes at the peak of a step, with libraries and the cells of these files."""
    need = NEEDS[step]
    values, cells = sum(each.values for each in sizes), sum(each.n_obs for each in sizes)
    loaded = 0 if step == "reading" else sum(each.loaded for each in sizes)
    areas = sum(each.largest * each.n_vars for each in sizes)
    peak = need.value * values + need.cell * cells + need.cell_and_gene * areas + need.fixed
    return int(LIBRARIES + loaded + peak)


def sizes_of(path: Path) -> Sizes:
    """Sizes of an h5ad, of Cell Ranger's HDF5, or of its folder, from their structure alone.

    Raises:
        FormatError: it is none of these, or damaged.
    """
    if path.is_dir():
        with opened(tenx_folder(path)[0]) as file:
            n_vars, n_obs, values = matrix_head(file, "matrix.mtx")
        return Sizes(n_obs, n_vars, values, 0, n_obs)
    import h5py

    with h5py.File(path, "r") as file:
        if "obs" not in file:
            group = file[(tenx_genomes(path) or ["matrix"])[0]]
            n_vars, n_obs = (int(size) for size in group["shape"][()])
            return Sizes(n_obs, n_vars, int(group["data"].shape[0]), 0, n_obs)
        loaded: list[int] = []
        file.visititems(lambda _, item: loaded.append(_bytes(item)) if hasattr(item, "dtype") else None)
        places = ["X", "raw/X", *(f"layers/{name}" for name in file.get("layers", ()))]
        if not (found := [name for name in places if name in file]):
            raise FormatError(f"{path.name!r} holds no matrix")
        matrix = file[found[0]]
        n_obs, n_vars = _shape(matrix)
        is_sparse = hasattr(matrix, "keys")
        values = int(matrix["data"].shape[0] if is_sparse else DENSE * n_obs * n_vars)
        return Sizes(n_obs, n_vars, values, sum(loaded), _largest_sample(file, n_obs))


def _largest_sample(file: h5py.File, n_obs: int) -> int:
    """Cells of the sample that has most; all cells where the file does not say it."""
    codes = file.get("obs/sample/codes")
    if codes is None:
        return n_obs
    return max(Counter(codes[()].tolist()).values(), default=0)


def _shape(matrix: h5py.Group | h5py.Dataset) -> tuple[int, int]:
    shape = matrix.attrs["shape"] if hasattr(matrix, "keys") else matrix.shape
    n_obs, n_vars = (int(size) for size in shape)
    return n_obs, n_vars


def _bytes(dataset: h5py.Dataset) -> int:
    """Of an array when it is loaded; None is kept as one without a size."""
    return int((dataset.size or 0) * (TEXT if dataset.dtype.kind == "O" else dataset.dtype.itemsize))


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
