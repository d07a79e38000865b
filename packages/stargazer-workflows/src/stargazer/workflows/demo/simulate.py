"""Simulated data sets: a trio with its truth for the demo, and single samples of any size."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stargazer.assets import InvalidAssetError, StorageError
from stargazer.workflows.demo.draws import Array, Draws
from stargazer.workflows.demo.genome import Contig, N, confident_intervals, hidden_copy, make_genome
from stargazer.workflows.demo.names import MANIFEST, TRIO
from stargazer.workflows.demo.reads import READ_LENGTH, draw_fragments, write_reads
from stargazer.workflows.demo.variation import (
    CHILD,
    FATHER,
    MOTHER,
    Variant,
    genotype,
    haplotype_codes,
    make_variants,
)

__all__ = ["simulate_sample", "simulate_trio"]

VERSION = 1
"""Raised whenever the same seed would give other bytes."""
TRIO_LENGTH = 450_000
DEPTH = 30
BARCODES = ("ATTACTCG+TATAGCCT", "TCCGGAGA+ATAGAGGC", "CGCTCATT+CCTATCCT")
FLOWCELL = "A01234:42:HSTARDSX7"
LANES = 2
CONTROL_LENGTH = 5_386
"""Bases of a control genome that is sequenced along, as phiX is: its reads do not map."""
NAMES = {
    "reference": "reference.fa",
    "truth": "truth.vcf.gz",
    "truth_index": "truth.vcf.gz.tbi",
    "confident": "confident.bed",
}


def simulate_trio(folder: str, seed: int = 42) -> dict[str, Any]:
    """Simulate a reference, a trio's variants and its sequencing into `folder`.

    Files: reference.fa, truth.vcf.gz with its .tbi (normalised, phased genotypes of the three samples),
    confident.bed (where short reads can be judged), and for each sample and lane a pair of gzipped FASTQ
    files. The same seed gives the same content everywhere; the compressed bytes depend on zlib's version
    too. The folder appears complete or not at all; if it holds this very simulation already, that is used.

    Args:
        folder: where to write; must not exist, unless it holds the same simulation.
        seed: a whole number >= 0.

    Returns:
        Paths and counts:
        `{"reference", "truth", "truth_index", "confident", "genome_length", "variants": {"snv", "indel"},
        "samples": [{"sample", "pairs", "lanes": [{"lane", "r1", "r2", "pairs"}]}]}`, in the order father,
        mother, child.

    Raises:
        InvalidAssetError: for a seed that is not a whole number >= 0.
        StorageError: if the folder exists and holds something else.
    """
    _check_count("seed", seed, 0)
    what = {"simulation": "trio", "version": VERSION, "seed": seed}
    pairs = TRIO_LENGTH * DEPTH // (2 * READ_LENGTH)
    return _written_once(Path(folder), what, TRIO_LENGTH, pairs, (FATHER, MOTHER, CHILD))


def simulate_sample(
    folder: str, pairs: int, seed: int = 42, genome_length: int = TRIO_LENGTH
) -> dict[str, Any]:
    """Simulate a reference of `genome_length` bases and `pairs` read pairs of one sample, for benchmarks.

    Writes and returns what `simulate_trio` does, with the trio's father as the only sample with reads.

    Raises:
        InvalidAssetError: for a number out of range.
        StorageError: if the folder exists and holds something else.
    """
    _check_count("seed", seed, 0)
    _check_count("pairs", pairs, 1)
    _check_count("genome_length", genome_length, 50_000)
    what = {"simulation": "sample", "version": VERSION, "seed": seed, "pairs": pairs,
            "genome_length": genome_length}  # fmt: skip
    return _written_once(Path(folder), what, genome_length, pairs, (FATHER,))


def _check_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidAssetError(f"{name}={value!r}: expected a whole number >= {least}")


def _written_once(
    folder: Path, what: dict[str, Any], length: int, pairs: int, samples: Sequence[int]
) -> dict[str, Any]:
    """Simulate in a folder beside `folder` that takes its name when everything is there."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            seed = what["seed"]
            genome = make_genome(length, seed)
            variants = [make_variants(contig, seed, number) for number, contig in enumerate(genome, 1)]
            content = _write_reference(beside, genome, variants)
            content["samples"] = [
                _write_sample(beside, genome, variants, sample, pairs, seed) for sample in samples
            ]
            sizes = {path.name: path.stat().st_size for path in sorted(beside.iterdir())}
            manifest = {**what, "content": content, "sizes": sizes}
            (beside / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
            beside.chmod(0o755)
            try:
                os.rename(beside, folder)
            except OSError:
                if not folder.exists():  # else another call was faster
                    raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return _content(folder, what)


def _content(folder: Path, what: dict[str, Any]) -> dict[str, Any]:
    """The content of a folder, its files with their paths, if it is this simulation and complete."""

    def placed(item: dict[str, Any]) -> dict[str, Any]:
        return {
            key: str(folder / value) if key in (*NAMES, "r1", "r2") else value for key, value in item.items()
        }

    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"), object_hook=placed)
        if manifest.items() >= what.items() and all(
            (folder / name).stat().st_size == size for name, size in manifest["sizes"].items()
        ):
            content: dict[str, Any] = manifest["content"]
            return content
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    raise StorageError(
        f"{str(folder)!r} exists and does not hold this simulation ({what!r}), complete: "
        "name another folder, or remove this one"
    )


def _write_reference(
    into: Path, genome: Sequence[Contig], variants: Sequence[Sequence[Variant]]
) -> dict[str, Any]:
    import pysam

    rows: list[str] = []
    bed: list[str] = []
    header = ["##fileformat=VCFv4.2", '##FILTER=<ID=PASS,Description="All filters passed">']
    for contig, found in zip(genome, variants, strict=True):
        bed += [f"{contig.name}\t{start}\t{end}\n" for start, end in confident_intervals(contig)]
        header.append(f"##contig=<ID={contig.name},length={len(contig.codes)}>")
        for variant in found:
            genotypes = [genotype(variant, sample) for sample in (FATHER, MOTHER, CHILD)]
            fields = contig.name, str(variant.position), ".", variant.ref, variant.alt, ".", "PASS", ".", "GT"
            rows.append("\t".join([*fields, *genotypes]))
    header.append('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">')
    header.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(TRIO))
    fasta = "".join(contig.fasta() for contig in genome)
    (into / NAMES["reference"]).write_text(fasta, encoding="ascii")
    (into / NAMES["confident"]).write_text("".join(bed), encoding="ascii")
    truth = str(into / NAMES["truth"])
    with pysam.BGZFile(truth, "wb", None) as file:
        file.write("".join(f"{line}\n" for line in [*header, *rows]).encode("ascii"))
    pysam.tabix_index(truth, preset="vcf", force=True)
    snvs = sum(variant.is_snv for found in variants for variant in found)
    return {
        **NAMES,
        "genome_length": sum(len(contig.codes) for contig in genome),
        "variants": {"snv": snvs, "indel": len(rows) - snvs},
    }


def _write_sample(
    into: Path,
    genome: Sequence[Contig],
    variants: Sequence[Sequence[Variant]],
    sample: int,
    pairs: int,
    seed: int,
) -> dict[str, Any]:
    draws = Draws(seed, 3, sample + 1)
    template = _template(genome, variants, sample, seed)
    lanes = []
    for number, fragments in enumerate(draw_fragments(template, pairs, LANES, draws), 1):
        lane = f"L{number:03}"
        r1, r2 = (f"{TRIO[sample]}_S{sample + 1}_{lane}_R{mate}_001.fastq.gz" for mate in (1, 2))
        prefix = f"{FLOWCELL}:{number}"
        write_reads((into / r1, into / r2), template, fragments, prefix, BARCODES[sample], draws)
        lanes.append({"lane": lane, "r1": r1, "r2": r2, "pairs": len(fragments)})
    return {"sample": TRIO[sample], "pairs": pairs, "lanes": lanes}


def _template(
    genome: Sequence[Contig], variants: Sequence[Sequence[Variant]], sample: int, seed: int
) -> Array:
    """All that is sequenced of a sample: two haplotypes, what the reference lacks, and the control genome.

    N stands between the sequences: no fragment spans two.
    """
    haplotypes = [
        haplotype_codes(contig, found, haplotype)
        for haplotype in (2 * sample, 2 * sample + 1)
        for contig, found in zip(genome, variants, strict=True)
    ]
    gap = np.full(700, N, dtype=np.uint8)
    control = Draws(seed, 4).bytes(CONTROL_LENGTH) & 3
    hidden = hidden_copy(genome, seed)
    return np.concatenate([*haplotypes, control, gap, hidden, gap, hidden, gap])
