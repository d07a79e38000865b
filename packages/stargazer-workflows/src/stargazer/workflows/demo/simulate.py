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

__all__ = ["FAMILY", "MANIFEST", "simulate_sample", "simulate_trio"]

VERSION = 1
"""Raised whenever the same seed would give other bytes."""
TRIO_LENGTH = 450_000
DEPTH = 30
FAMILY = "demo"
SAMPLES = ("demo-father", "demo-mother", "demo-child")
SEXES = ("male", "female", "female")
BARCODES = ("ATTACTCG+TATAGCCT", "TCCGGAGA+ATAGAGGC", "CGCTCATT+CCTATCCT")
FLOWCELL = "A01234:42:HSTARDSX7"
LANES = 2
CONTROL_LENGTH = 5_386
"""Bases of a control genome that is sequenced along, as phiX is: its reads do not map."""
MANIFEST = "simulation.json"


def simulate_trio(folder: str, seed: int = 42) -> dict[str, Any]:
    """Simulate a reference, a trio's variants and its sequencing into `folder`.

    Files: reference.fa, truth.vcf.gz with its .tbi (normalised, phased genotypes of the three samples),
    confident.bed (where short reads can be judged), pedigree.ped, and for each sample and lane a pair of
    gzipped FASTQ files. The same seed gives the same content everywhere; the compressed bytes depend on
    zlib's version too. The folder appears complete or not at all; if it holds this very simulation already,
    that is used.

    Args:
        folder: where to write; must not exist, unless it holds the same simulation.
        seed: a whole number >= 0.

    Returns:
        Paths and counts:
        `{"reference", "truth", "truth_index", "confident", "pedigree", "seed", "genome_length", "variants":
        {"snv", "indel"}, "samples": [{"sample", "role", "sex", "pairs", "lanes": [{"lane", "r1", "r2",
        "pairs"}]}]}`, in the order father, mother, child.

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
    what = {
        "simulation": "sample",
        "version": VERSION,
        "seed": seed,
        "pairs": pairs,
        "genome_length": genome_length,
    }
    return _written_once(Path(folder), what, genome_length, pairs, (FATHER,))


def _check_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidAssetError(f"{name}={value!r}: expected a whole number >= {least}")


def _written_once(
    folder: Path, what: dict[str, Any], length: int, pairs: int, samples: Sequence[int]
) -> dict[str, Any]:
    """Simulate in a folder beside `folder` that takes its name when everything is there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return _existing(folder, what)
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
            if not folder.exists():
                raise
            return _existing(folder, what)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return _with_paths(content, folder)


def _existing(folder: Path, what: dict[str, Any]) -> dict[str, Any]:
    """The content of a folder that another call has written, if it is this simulation and complete."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        same = {key: manifest.get(key) for key in what} == what
        if same and all((folder / name).stat().st_size == size for name, size in manifest["sizes"].items()):
            return _with_paths(manifest["content"], folder)
    except (OSError, ValueError, KeyError, AttributeError):
        pass
    raise StorageError(
        f"{str(folder)!r} exists and does not hold this simulation ({what!r}), complete: "
        "name another folder, or remove this one"
    )


def _with_paths(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Put the folder before the file names that the manifest holds."""
    placed = dict(content)
    for key in ("reference", "truth", "truth_index", "confident", "pedigree"):
        placed[key] = str(folder / content[key])
    placed["samples"] = [
        {
            **sample,
            "lanes": [
                {**lane, "r1": str(folder / lane["r1"]), "r2": str(folder / lane["r2"])}
                for lane in sample["lanes"]
            ],
        }
        for sample in content["samples"]
    ]
    return placed


def _write_reference(
    into: Path, genome: Sequence[Contig], variants: Sequence[Sequence[Variant]]
) -> dict[str, Any]:
    import pysam

    fasta: list[str] = []
    bed: list[str] = []
    rows: list[str] = []
    header = ["##fileformat=VCFv4.2", '##FILTER=<ID=PASS,Description="All filters passed">']
    for contig, found in zip(genome, variants, strict=True):
        fasta.append(contig.fasta())
        bed.extend(f"{contig.name}\t{start}\t{end}\n" for start, end in confident_intervals(contig))
        header.append(f"##contig=<ID={contig.name},length={len(contig.codes)}>")
        for variant in found:
            genotypes = "\t".join(genotype(variant, sample) for sample in (FATHER, MOTHER, CHILD))
            rows.append(
                f"{contig.name}\t{variant.position}\t.\t{variant.ref}\t{variant.alt}\t.\tPASS\t.\tGT\t{genotypes}\n"
            )
    header.append('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">')
    header.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(SAMPLES))
    (into / "reference.fa").write_text("".join(fasta), encoding="ascii")
    (into / "confident.bed").write_text("".join(bed), encoding="ascii")
    father, mother, child = SAMPLES
    (into / "pedigree.ped").write_text(
        f"{FAMILY}\t{father}\t0\t0\t1\t0\n{FAMILY}\t{mother}\t0\t0\t2\t0\n{FAMILY}\t{child}\t{father}\t{mother}\t2\t0\n",
        encoding="ascii",
    )
    with pysam.BGZFile(str(into / "truth.vcf.gz"), "wb", None) as truth:
        truth.write(("\n".join(header) + "\n" + "".join(rows)).encode("ascii"))
    pysam.tabix_index(str(into / "truth.vcf.gz"), preset="vcf", force=True)
    snvs = sum(variant.is_snv for found in variants for variant in found)
    return {
        "reference": "reference.fa",
        "truth": "truth.vcf.gz",
        "truth_index": "truth.vcf.gz.tbi",
        "confident": "confident.bed",
        "pedigree": "pedigree.ped",
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
        r1, r2 = (f"{SAMPLES[sample]}_S{sample + 1}_{lane}_R{mate}_001.fastq.gz" for mate in (1, 2))
        prefix = f"{FLOWCELL}:{number}"
        write_reads((into / r1, into / r2), template, fragments, prefix, BARCODES[sample], draws)
        lanes.append({"lane": lane, "r1": r1, "r2": r2, "pairs": len(fragments)})
    role = ("father", "mother", "child")[sample]
    return {"sample": SAMPLES[sample], "role": role, "sex": SEXES[sample], "pairs": pairs, "lanes": lanes}


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
