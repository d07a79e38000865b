"""Tasks that read the counts of cells by gene, from Cell Ranger's files or another's h5ad, and put samples together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stargazer.assets import AnnData, FormatError, InvalidAssetError, TenxH5, TenxMtx
from stargazer.tasks.checks.contigs import some
from stargazer.tasks.environments import scrna_env
from stargazer.tasks.execution import workspace
from stargazer.tasks.scrna import cellranger, h5ad
from stargazer.tasks.scrna.cells import SAMPLE, load, save
from stargazer.tasks.scrna.counts import finished, keepable, set_aside
from stargazer.tasks.scrna.memory import check_memory
from stargazer.tasks.scrna.notes import KEY, note_down, noted
from stargazer.tasks.tools import compute

if TYPE_CHECKING:
    import anndata

__all__ = ["concat", "read_10x_h5", "read_10x_mtx", "read_h5ad"]


@scrna_env.task
async def read_10x_h5(matrix: TenxH5, genome: str | None = None) -> AnnData:
    """Raw counts of a sample from the HDF5 file of Cell Ranger, as scanpy reads them (`scanpy.read_10x_h5`).

    Gene expression only: antibodies and guides are left out, which `uns["stargazer"]` notes. Names of genes are made
    unique. Cells without counts stay, for the filter to drop.

    Args:
        matrix: of Cell Ranger 2 to 9, or of others who write the same.
        genome: whose genes to keep where there are those of several (`GRCh38`); `all` keeps all.

    Raises:
        FormatError: the file is damaged or no matrix of counts; or barcodes are there twice.
        InvalidAssetError: there are several genomes and none was chosen, or not the one that was.
        ConfigurationError: it does not fit into memory.
    """
    path = workspace() / "counts.h5ad"
    fields = await compute(_read_10x_h5, source=matrix.path, target=path, said=_said(matrix), genome=genome)
    return AnnData(path=path, sample=matrix.sample, stage="counts", **fields)


@scrna_env.task
async def read_10x_mtx(matrix: TenxMtx, genome: str | None = None) -> AnnData:
    """Raw counts of a sample from a folder of Cell Ranger, as scanpy reads them (`scanpy.read_10x_mtx`).

    Its files are matrix.mtx, barcodes.tsv and features.tsv (genes.tsv), with .gz or without. The rest as read_10x_h5.

    Args:
        matrix: of Cell Ranger 2 to 9, or of others who write the same (STARsolo).
        genome: whose genes to keep where there are those of several (`GRCh38`); `all` keeps all.

    Raises:
        FormatError: a file is missing, damaged or not of the same run as the others; or barcodes are there twice.
        InvalidAssetError: there are several genomes and none was chosen, or not the one that was.
        ConfigurationError: it does not fit into memory.
    """
    path = workspace() / "counts.h5ad"
    fields = await compute(_read_10x_mtx, source=matrix.path, target=path, said=_said(matrix), genome=genome)
    return AnnData(path=path, sample=matrix.sample, stage="counts", **fields)


@scrna_env.task
async def read_h5ad(cells: AnnData, counts: str = "auto", genome: str | None = None) -> AnnData:
    """Raw counts from an h5ad of whatever origin, with the tables of its cells and genes (`anndata.read_h5ad`).

    What was computed from other counts is left out: embeddings, graphs, other layers. Genes that are called by Ensembl
    identifiers get their names from a column of names, where there is one (CELLxGENE). Names are made unique.

    Args:
        cells: with a sample, or with a column `sample` that says it of each cell.
        counts: where raw counts are: `X`, `raw`, or the name of a layer; `auto` takes the first of the layer `counts`,
            raw and X that holds integers alone.
        genome: whose genes to keep where there are those of several (`GRCh38`); `all` keeps all.

    Raises:
        FormatError: the file is damaged, no h5ad or of another version; has no raw counts, genes as rows, or a barcode
            twice.
        InvalidAssetError: no such matrix; or the sample, or one of several genomes, was not given.
        ConfigurationError: it does not fit into memory.
    """
    path = workspace() / "counts.h5ad"
    fields = await compute(
        _read_h5ad,
        source=cells.path,
        target=path,
        cid=cells.cid,
        said=_said(cells),
        counts=counts,
        genome=genome,
    )
    return AnnData(path=path, stage="counts", **fields)


@scrna_env.task
async def concat(cells: list[AnnData]) -> AnnData:
    """Several samples in one matrix, with the genes that all of them have (`anndata.concat`, join="inner").

    Samples come in the order of their names. Cells are called by sample and barcode (`pbmc_AAACCC...-1`), so that each
    name is one cell's. What is known of genes is that of the first sample; columns of cells are those of all. What was
    noted of each sample is kept in `uns["stargazer"]["samples"]`.

    Args:
        cells: at the same stage, each of other samples.

    Raises:
        InvalidAssetError: a sample is in two of them, they are at different stages, or have no gene in common.
        ConfigurationError: they do not fit into memory.
    """
    stages = sorted({each.stage or "none" for each in cells})
    if len(stages) != 1:
        raise InvalidAssetError(
            f"these cells are at different stages ({', '.join(stages)}): bring all of them to the same one first"
            if stages
            else "there are no cells to put together: give at least one sample"
        )
    path = workspace() / "together.h5ad"
    names = [each.sample or each.cid or "" for each in cells]
    fields = await compute(_concat, sources=[each.path for each in cells], target=path, titles=names)
    return AnnData(path=path, stage=cells[0].stage, sample=names[0] if len(names) == 1 else None, **fields)


def _said(matrix: TenxH5 | TenxMtx | AnnData) -> dict[str, str]:
    """What is registered of all cells of a matrix, by the column that gets it."""
    said = {SAMPLE: matrix.sample, "batch": matrix.batch, "condition": matrix.condition}
    return {column: value for column, value in said.items() if value is not None}


def _read_10x_h5(source: str, target: str, said: dict[str, str], genome: str | None) -> dict[str, Any]:
    check_memory("reading", source)
    title, notes = f"the 10x matrix of sample {said[SAMPLE]!r}", list[str]()
    cells = cellranger.read_h5(source, title, genome, notes)
    return _written(cells, target, title, "10x_h5", said, genome, notes)


def _read_10x_mtx(source: str, target: str, said: dict[str, str], genome: str | None) -> dict[str, Any]:
    check_memory("reading", source)
    title, notes = f"the 10x matrix of sample {said[SAMPLE]!r}", list[str]()
    cells = cellranger.read_folder(source, title, notes)
    return _written(cells, target, title, "10x_mtx", said, genome, notes)


def _read_h5ad(
    source: str, target: str, cid: str, said: dict[str, str], counts: str, genome: str | None
) -> dict[str, Any]:
    sample = said.get(SAMPLE)
    title, notes = f"the h5ad {f'of sample {sample!r}' if sample else cid}", list[str]()
    check_memory("reading", source)
    cells, place = h5ad.read_counts(source, title, counts, notes)
    if sample is None:
        samples = _own_samples(cells, title, cid)
        sample = samples[0] if len(samples) == 1 else None
        said = said | ({SAMPLE: sample} if sample is not None else {})
    for column, value in said.items():
        if column in cells.obs and {*map(str, cells.obs[column])} != {value}:
            set_aside(cells.obs, column, f"the cells are of {value!r}", notes)
    return _written(cells, target, title, f"h5ad {place}", said, genome, notes) | {SAMPLE: sample}


def _own_samples(cells: anndata.AnnData, title: str, cid: str) -> list[str]:
    """The samples that a file names for each of its cells.

    Raises:
        InvalidAssetError: it does not.
    """
    found = cells.obs.get(SAMPLE)
    if found is None or found.isna().any() or (found.astype(str).str.strip() == "").any():
        lack = "has no column 'sample'" if found is None else "does not name the sample of each cell"
        raise InvalidAssetError(f"{title}: of which sample? It {lack}: `stargazer amend {cid} sample=NAME`")
    cells.obs[SAMPLE] = found.astype(str).astype("category")
    return [str(name) for name in cells.obs[SAMPLE].cat.categories]


def _written(
    cells: anndata.AnnData,
    target: str,
    title: str,
    form: str,
    said: dict[str, str],
    genome: str | None,
    notes: list[str],
) -> dict[str, Any]:
    import pandas as pd

    for column, value in said.items() if cells.n_obs else ():
        cells.obs[column] = pd.Categorical([value] * cells.n_obs)
    return save(finished(cells, title, form, genome, notes), target)


def _concat(sources: list[str], target: str, titles: list[str]) -> dict[str, Any]:
    import anndata

    check_memory("concat", *sources)
    parts: dict[tuple[str, ...], anndata.AnnData] = {}
    for source, title in zip(sources, titles, strict=True):
        part = load(source)
        if SAMPLE not in part.obs:
            raise InvalidAssetError(
                f"{title} has no column 'sample': read it with read_h5ad or read_10x_h5 first"
            )
        names = tuple(sorted({*map(str, part.obs[SAMPLE])}))
        if twice := sorted({*names} & {name for known in parts for name in known}):
            raise InvalidAssetError(
                f"{some(twice)} in two of the matrices: give the cells of a sample once, or other names to the samples "
                "(`stargazer amend`)"
            )
        parts[names] = part
    ordered = [parts[names] for names in sorted(parts)]
    whole = [part.n_vars for part in ordered]
    for part in ordered:
        part.obs_names = [
            f"{sample}_{name}" for sample, name in zip(part.obs[SAMPLE], part.obs_names, strict=True)
        ]
    merged = anndata.concat(ordered, join="inner")
    if not merged.n_vars:
        raise InvalidAssetError(
            "the samples have no gene in common: "
            + "; ".join(f"{names[0]} has {some(parts[names].var_names)}" for names in sorted(parts))
            + ". Are they of one organism, and all with names or all with identifiers of genes?"
        )
    if not merged.obs_names.is_unique:
        raise FormatError(
            "two cells have the same name, made of sample and barcode: rename a sample (`stargazer amend`)"
        )
    merged.var = ordered[0].var.loc[merged.var_names].copy()
    merged.obs[SAMPLE] = merged.obs[SAMPLE].astype(str).astype("category")
    notes = [f"{names[0]}: {size - merged.n_vars:,} of {size:,} genes left out, which not all samples have"
             for names, size in zip(sorted(parts), whole, strict=True) if size > merged.n_vars]  # fmt: skip
    if left := sorted({str(name) for part in ordered for name in part.obs} - {*map(str, merged.obs)}):
        notes.append(f"columns of cells left out, which not all samples have: {', '.join(left)}")
    if differing := _differing_genes(ordered, merged):
        notes.append(f"{len(differing):,} genes have another identifier in another sample: {some(differing)}")
    keepable(merged.obs, "cells", "the matrix of all samples", notes)
    told = {", ".join(names): {step: noted(parts[names], step) for step in parts[names].uns.get(KEY, {})}
            for names in sorted(parts)}  # fmt: skip
    note_down(merged, "samples", told)
    samples = [name for names in sorted(parts) for name in names]
    note_down(merged, "concat", {"samples": samples, "n_vars": merged.n_vars, "notes": notes})
    return save(merged, target)


def _differing_genes(parts: list[anndata.AnnData], merged: anndata.AnnData) -> list[str]:
    """Genes of one name that are others by their identifiers, as where samples have different references."""
    if not all("gene_ids" in part.var for part in parts):
        return []
    first, *others = (part.var["gene_ids"].loc[merged.var_names].astype(str) for part in parts)
    return sorted({str(name) for other in others for name in merged.var_names[(first != other).to_numpy()]})
