"""What raw counts have to be before anything is computed from them, and what is put right in them and noted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stargazer.assets import FormatError, InvalidAssetError
from stargazer.tasks.checks.contigs import some
from stargazer.tasks.scrna.notes import note_down

if TYPE_CHECKING:
    import anndata
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["finished", "flaw_of", "keepable", "set_aside"]

BOTH = "all"
"""The value of `genome` that keeps the genes of all genomes, under the names that they have."""

BARCODE = re.compile(r"(?:^|[_:.#-])[ACGT]{10,}(?:$|[_:.#-])")
ENSEMBL = re.compile(r"(?P<species>ENS[A-Z]*G)\d{11}(?:\.\d+)?")
ASSEMBLY = re.compile(
    r"(?P<genome>(?:GRC[a-z]|hg|mm|rn|dm|ce|danRer|galGal|susScr|bosTau|canFam|macFas|rheMac|panTro|xenTro|sacCer|BDGP|"
    r"WBcel|mRatBN|Rnor|Mmul|Sscrofa|TAIR)\d[A-Za-z0-9.-]*)_+(?=.)"
)
"""How Cell Ranger begins the names of genes where a reference holds several organisms: `GRCh38_ACTB`, `mm10___Actb`."""

FAMILIAR = frozenset(
    [
        "ACTB",
        "GAPDH",
        "MALAT1",
        "B2M",
        "TMSB4X",
        "EEF1A1",
        "RPLP0",
        "RPS18",
        "FTH1",
        "FTL",
        "VIM",
        "UBC",
        "MT-CO1",
        "MT-ND1",
        "MT-CYB",
    ]
)
"""Genes, in capitals, of which nearly every matrix of man or mouse has some."""

MOSTLY = 0.5  # of all names, by which they count as barcodes or genes
FEW_FAMILIAR = 3
LEAST_SPECIES = 0.01  # of all genes, by which those of an organism count as one of several


def flaw_of(values: NDArray[Any]) -> str:
    """Why values are no raw counts; "" if they may be."""
    import numpy as np

    if values.dtype.kind not in "iufb":
        return f"values of the type {values.dtype}"
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            found = values[~np.isfinite(values)][0]
            return "missing values (NaN)" if np.isnan(found) else "infinite values"
        if (wrong := values != np.floor(values)).any():
            return f"values that are no integers, as {values[wrong][0]:.6g}"
    if values.dtype.kind in "if" and (values < 0).any():
        return f"negative values, as {values[values < 0][0]:g}"
    return ""


def refuse_transposed(cells: anndata.AnnData, title: str) -> None:
    """Refuse a matrix with genes as rows, as far as names tell.

    Raises:
        FormatError: most genes are called as barcodes are, or most cells as genes.
    """
    genes, barcodes = list(map(str, cells.var_names)), list(map(str, cells.obs_names))
    why = ""
    if _share(genes, BARCODE.search) > MOSTLY:
        why = f"its genes are called as barcodes are ({some(genes)})"
    elif (
        _share(barcodes, ENSEMBL.fullmatch) > MOSTLY
        or len({*map(str.upper, barcodes)} & FAMILIAR) >= FEW_FAMILIAR
    ):
        why = f"its cells are called as genes are ({some(barcodes)})"
    if why:
        raise FormatError(
            f"{title} has genes as rows and cells as columns: {why}. Transpose it and add it again: `python -c "
            "\"import anndata; anndata.read_h5ad('x.h5ad').T.write_h5ad('transposed.h5ad')\"`"
        )


def choose_genome(
    cells: anndata.AnnData, genome: str | None, title: str, notes: list[str]
) -> anndata.AnnData:
    """The genes of one organism, where a matrix has those of several.

    Which gene is whose is read off `var["genome"]`, else off how names or identifiers begin (`GRCh38_`, `mm10___`),
    else off Ensembl identifiers (ENSG, ENSMUSG). What names begin with is taken off them then, for `mt-` to be found.

    Raises:
        InvalidAssetError: there are several and none was chosen, or none such.
    """
    import numpy as np

    labels, found = _genomes(cells.var)
    if genome and genome != BOTH and genome not in found:
        known = (
            f"it has {some(found)}"
            if found
            else "it does not say of which genome its genes are: leave genome out"
        )
        raise InvalidAssetError(f"{title} has no genes of genome={genome!r}; {known}")
    if len(found) > 1 and not genome:
        counts = ", ".join(f"{name} ({int(np.sum(labels == name)):,} genes)" for name in found)
        raise InvalidAssetError(
            f"{title} has genes of several genomes, {counts}: give genome={found[0]} to keep those of one, or "
            f"genome={BOTH} to keep them together"
        )
    if len(found) > 1 and genome != BOTH:
        kept = labels == genome
        notes.append(f"genes of {genome} kept, {int(np.sum(~kept)):,} of other genomes left out")
        cells = cells[:, kept].copy()
    if genome != BOTH and found:
        _strip(cells.var, genome or found[0], notes)
    return cells


def _genomes(var: pd.DataFrame) -> tuple[NDArray[Any], list[str]]:
    """The genome of each gene ("" where unknown), and which there are."""
    import numpy as np

    tables: list[list[str]] = []
    if "genome" in var:
        tables.append([str(value) for value in var["genome"]])
    names = [list(map(str, var.index)), *([list(map(str, var["gene_ids"]))] if "gene_ids" in var else [])]
    tables += [
        [found["genome"] if (found := ASSEMBLY.match(name)) else "" for name in each] for each in names
    ]
    present = [sorted({*labels} - {"", "nan", "NA"}) for labels in tables]
    for labels, genomes in zip(tables, present, strict=True):
        if len(genomes) > 1:
            return np.array(labels), genomes
    for each in reversed(names):  # identifiers first
        labels = [found["species"] if (found := ENSEMBL.fullmatch(name)) else "" for name in each]
        species = sorted({*labels} - {""})
        if len([name for name in species if labels.count(name) >= LEAST_SPECIES * len(labels)]) > 1:
            return np.array(labels), species
    for number, (labels, genomes) in enumerate(zip(tables, present, strict=True)):
        if genomes and (all(labels) or (number == 0 and "genome" in var)):
            return np.array(labels), genomes
    return np.array([""] * len(var)), []


def _strip(var: pd.DataFrame, genome: str, notes: list[str]) -> None:
    """Take the genome off the beginnings of names and identifiers where all of them have it."""

    def without(names: list[str]) -> list[str] | None:
        ends = [re.match(rf"{re.escape(genome)}_+(?=.)", name) for name in names]
        return (
            [name[end.end() :] for name, end in zip(names, ends, strict=True) if end] if all(ends) else None
        )

    if len(var) and (names := without(list(map(str, var.index)))):
        var.index = names
        notes.append(f"{genome}_ taken off the names of genes")
    if len(var) and "gene_ids" in var and (names := without(list(map(str, var["gene_ids"])))):
        var["gene_ids"] = names


def unique_genes(cells: anndata.AnnData, notes: list[str]) -> None:
    """Make the names of genes unique as scanpy does: the second `A` becomes `A-1`."""
    twice = sorted({*cells.var_names[cells.var_names.duplicated()]})
    if twice:
        cells.var_names_make_unique()
        notes.append(f"names that several genes have, made unique: {some(twice)}")


def finished(
    cells: anndata.AnnData, title: str, form: str, genome: str | None, notes: list[str]
) -> anndata.AnnData:
    """Raw counts as all further steps expect them: those of one organism, in a sparse matrix of cells by genes.

    Cells without any count stay: the filter drops them.

    Args:
        cells: as read, with whatever values.
        title: of the file, for errors.
        form: of the file, for the report.
        genome: whose genes to keep, where there are those of several; BOTH for all.
        notes: what was put right; more is added.

    Raises:
        FormatError: it is empty, has genes as rows, a barcode twice, or values that no count has.
        InvalidAssetError: the genome is not clear.
    """
    import numpy as np
    from scipy import sparse

    for number, what in ((cells.n_obs, "cells"), (cells.n_vars, "genes")):
        if not number:
            raise FormatError(
                f"{title} is empty: it has no {what}. Look at what wrote it, and add its result again"
            )
    refuse_transposed(cells, title)
    refuse_duplicates(cells.obs_names, title)
    cells = choose_genome(cells, genome, title, notes)
    matrix = sparse.csr_matrix(cells.X)
    if flaw := flaw_of(matrix.data):
        raise FormatError(
            f"{title} has {flaw}, and raw counts were expected: add the matrix before normalisation"
        )
    if not matrix.data.any():
        raise FormatError(
            f"{title} has no count above 0 in {cells.n_obs:,} cells and {cells.n_vars:,} genes: look at what wrote it"
        )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    cells.X = matrix.astype(np.float32, copy=False)
    if empty := int(np.sum(np.diff(matrix.indptr) == 0)):
        all_barcodes = " (all barcodes, as in raw_feature_bc_matrix?)" if empty > MOSTLY * cells.n_obs else ""
        notes.append(f"{empty:,} of {cells.n_obs:,} cells have no counts{all_barcodes}")
    unique_genes(cells, notes)
    keepable(cells.obs, "cells", title, notes)
    keepable(cells.var, "genes", title, notes)
    cells.uns.clear()
    note_down(cells, "reading",
              {"format": form, "n_obs": cells.n_obs, "n_vars": cells.n_vars, "notes": notes})  # fmt: skip
    return cells


def refuse_duplicates(names: pd.Index[Any], title: str) -> None:
    """Refuse barcodes of which two are the same: which counts are whose is not to be told.

    Raises:
        FormatError: there are such.
    """
    if twice := sorted({*map(str, names[names.duplicated()])}):
        raise FormatError(
            f"{title} has the barcode of more than one cell: {some(twice)}. If samples were put together, add each as "
            "a file of its own; else give each cell its own name (`obs_names_make_unique()` of AnnData)"
        )


def keepable(table: pd.DataFrame, what: str, title: str, notes: list[str]) -> None:
    """Turn columns that an h5ad cannot keep into text: those with values of several types.

    Args:
        what: the rows are.

    Raises:
        FormatError: two columns have one name.
    """
    from pandas.api.types import infer_dtype

    if twice := sorted({*map(str, table.columns[table.columns.duplicated()])}):
        raise FormatError(
            f"{title} has two columns {twice[0]!r} in its table of {what}: rename one and write it again"
        )
    for column in list(table.columns):
        values = table[column]
        name = str(column).replace("/", "_")
        if name != column or name == "_index":
            while name in table or name == "_index":
                name += "_"
            notes.append(
                f"the column {str(column)!r} of {what} is called {name!r}: an h5ad cannot keep that name"
            )
            table.columns = [name if each == column else each for each in table.columns]
        is_category = str(values.dtype) == "category"
        items = values.cat.categories.to_series() if is_category else values
        if items.dtype == object and infer_dtype(items, skipna=True) not in ("string", "empty"):
            table[name] = values.map(lambda value: value if _missing(value) else str(value)).astype(object)
            notes.append(f"the column {name!r} of {what} has values of several types: converted to text")


def set_aside(obs: pd.DataFrame, column: str, why: str, notes: list[str]) -> None:
    """Keep what a file has in a column of cells under another name too, for another column is to have its name."""
    name = f"original_{column}"
    while name in obs:
        name = f"original_{name}"
    obs[name] = obs[column]
    notes.append(f"the column {column!r} of the file is kept as {name!r}: {why}")


def _missing(value: Any) -> bool:
    return value is None or value != value


def _share(names: Sequence[str], test: Any) -> float:
    return sum(bool(test(name)) for name in names) / max(1, len(names))
