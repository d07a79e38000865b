"""Simulated single cells: two samples of five known types, with doublets and damaged cells, in Cell Ranger's format."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from stargazer.workflows.demo.draws import Array, Draws
from stargazer.workflows.demo.names import CELL_SAMPLES, DAMAGED, DOUBLET, MANIFEST

__all__ = ["SEED", "simulate_cells"]

TYPES = ("A", "B", "C", "D", "E")
TYPE_SHARES = (0.35, 0.25, 0.2, 0.12, 0.08)
SEED = 42
DOUBLET_SHARE, DAMAGED_SHARE = 0.04, 0.04
GENES, CELLS = 1_200, 900
"""Genes of the simulated species; cells of a sample."""
MARKERS = 30
"""Genes that a type has more of than all others."""
MOLECULES = 7.7
"""Logarithm of a cell's molecules, on average."""
MITOCHONDRIAL = ("ATP6", "ATP8", "CO1", "CO2", "CO3", "CYB", "ND1", "ND2", "ND3", "ND4", "ND4L", "ND5", "ND6")
MITOCHONDRIAL_SHARE, DAMAGED_MITOCHONDRIAL_SHARE = 0.04, 0.35


def simulate_cells(folder: str, seed: int = SEED) -> dict[str, Any]:
    """Simulate the cells of two samples into `folder`, which does not exist yet, or is complete.

    A type has marker genes of its own; the second sample has a batch effect on every gene. A doublet has the molecules
    of two cells; a damaged cell has few molecules, and many of its mitochondria.

    Returns:
        `samples`, each with its name and `folder` of matrix.mtx.gz, barcodes.tsv.gz and features.tsv.gz; and `truth`, a
        CSV of sample, barcode and type. All as paths.
    """
    made = {
        "samples": [{"sample": sample, "folder": os.path.join(folder, sample)} for sample in CELL_SAMPLES],
        "truth": os.path.join(folder, "truth.csv"),
    }
    if os.path.isfile(os.path.join(folder, MANIFEST)):
        return made
    folder = os.path.abspath(folder)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".simulate", dir=os.path.dirname(folder)))
    try:
        work.chmod(0o755)
        _simulate(work, seed)
        (work / MANIFEST).write_text(json.dumps({"seed": seed}))
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return made


def _simulate(folder: Path, seed: int) -> None:
    draws = Draws(seed, 1)
    names = [f"GENE{number + 1}" for number in range(GENES - len(MITOCHONDRIAL))]
    names += [f"MT-{name}" for name in MITOCHONDRIAL]
    common = np.exp(draws.normal(0.0, 1.2, len(names) - len(MITOCHONDRIAL)))
    profiles = []
    for number in range(len(TYPES)):
        profile = common.copy()
        markers = slice(number * MARKERS, (number + 1) * MARKERS)
        profile[markers] = common.mean() * np.exp(draws.normal(1.4, 0.4, MARKERS))
        profiles.append(profile)
    for other in range(len(TYPES)):  # what marks one type is rare in the others
        for number, profile in enumerate(profiles):
            if other != number:
                profile[other * MARKERS : (other + 1) * MARKERS] *= 0.3
    truth = ["sample,barcode,type"]
    for number, sample in enumerate(CELL_SAMPLES):
        batch = np.exp(draws.normal(0.0, 0.35 * number, len(common)))
        types, counts = _cells([profile * batch for profile in profiles], Draws(seed, 2, number))
        barcodes = _barcodes(len(types), Draws(seed, 3, number))
        truth += [f"{sample},{barcode},{name}" for barcode, name in zip(barcodes, types, strict=True)]
        _write(folder / sample, names, barcodes, counts)
    (folder / "truth.csv").write_text("\n".join([*truth, ""]))


def _cells(profiles: list[Array], draws: Draws) -> tuple[list[str], Array]:
    """Types of cells, and molecules by cell and gene."""
    chosen = draws.weighted(TYPE_SHARES, CELLS)
    second = draws.weighted(TYPE_SHARES, CELLS)
    kinds = draws.weighted((DOUBLET_SHARE, DAMAGED_SHARE, 1 - DOUBLET_SHARE - DAMAGED_SHARE), CELLS)
    molecules = np.exp(draws.normal(MOLECULES, 0.25, CELLS))
    names = []
    counts = np.zeros((CELLS, len(profiles[0]) + len(MITOCHONDRIAL)), np.int64)
    for cell, (first, other, kind) in enumerate(zip(chosen, second, kinds, strict=True)):
        profile, total, share = profiles[first], molecules[cell], MITOCHONDRIAL_SHARE
        name = TYPES[first]
        if kind == 0 and first != other:
            name, total = DOUBLET, total * 1.8
            profile = profile / profile.sum() + profiles[other] / profiles[other].sum()
        elif kind == 1:
            name, total, share = DAMAGED, total * 0.3, DAMAGED_MITOCHONDRIAL_SHARE
        mitochondrial = np.full(len(MITOCHONDRIAL), share / len(MITOCHONDRIAL))
        weights = np.concatenate([(1 - share) * profile / profile.sum(), mitochondrial])
        genes = draws.weighted(weights.tolist(), int(total))
        counts[cell] = np.bincount(genes, minlength=len(weights))
        names.append(name)
    return names, counts


def _barcodes(count: int, draws: Draws) -> list[str]:
    letters = np.array(list("ACGT"))[draws.integers(0, 4, 2 * count, 16)]
    different = list(dict.fromkeys("".join(row) for row in letters.tolist()))
    return [f"{barcode}-1" for barcode in different[:count]]


def _write(folder: Path, names: list[str], barcodes: list[str], counts: Array) -> None:
    """The three files of Cell Ranger 3 and later; genes are the rows of the matrix."""
    folder.mkdir()
    cells, genes = np.nonzero(counts)
    rows = np.column_stack([genes + 1, cells + 1, counts[cells, genes]]).tolist()
    matrix = ["%%MatrixMarket matrix coordinate integer general", f"{len(names)} {len(barcodes)} {len(rows)}"]
    matrix += [f"{gene} {cell} {count}" for gene, cell, count in rows]
    features = [f"SIM{number:05}\t{name}\tGene Expression" for number, name in enumerate(names, 1)]
    for name, lines in (("matrix.mtx", matrix), ("barcodes.tsv", barcodes), ("features.tsv", features)):
        text = "\n".join([*lines, ""]).encode()
        (folder / f"{name}.gz").write_bytes(gzip.compress(text, 6, mtime=0))
