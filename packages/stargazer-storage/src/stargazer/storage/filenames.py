"""What the name of a file tells: its asset type, where it leaves no doubt, and the names of mates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from stargazer.assets import REGISTRY, InvalidAssetError, load_asset_types

__all__ = ["guess_type", "mates", "names_of_mates"]

ENDINGS = {
    "alignment": (".bam", ".cram"),
    "reference": (".fa", ".fasta", ".fna", ".fa.gz", ".fasta.gz", ".fna.gz"),
    "intervals": (".bed", ".bed.gz"),
    "variants": (".vcf", ".vcf.gz", ".bcf"),
    "anndata": (".h5ad",),
    "sequence_dict": (".dict",),
}
COMPANIONS = {
    ".bai": ("alignment_index", "alignment_cid"),
    ".fai": ("reference_index", "reference_cid"),
    ".gzi": ("reference_gzi", "reference_cid"),
    ".bam.csi": ("alignment_index", "alignment_cid"),
    ".tbi": ("variants_index", "variants_cid"),
    ".csi": ("variants_index", "variants_cid"),
}
FASTQ_ENDING = re.compile(r"\.f(ast)?q(\.gz)?$", re.IGNORECASE)
FASTQ = re.compile(r".*\.f(ast)?q(\.gz)?", re.IGNORECASE | re.DOTALL)
MATE = re.compile(
    r"(?P<before>.*[._-]R|R|.*[._-](?=[12]\.f(?:ast)?q)|(?=[12]\.f(?:ast)?q))(?P<mate>[12])(?P<after>[._-].*)",
    re.IGNORECASE | re.DOTALL,
)


def guess_type(name: str) -> str:
    """The asset type of a file by its name.

    Raises:
        InvalidAssetError: the name does not tell; the message says what to give.
    """
    lower = name.lower()
    for key, endings in ENDINGS.items():
        if lower.endswith(endings):
            return key
    if FASTQ.fullmatch(name):
        if match := MATE.fullmatch(name):
            return f"r{match['mate']}"
        raise InvalidAssetError(f"{name!r}: first reads or their mates? give asset=r1 or asset=r2")
    for ending, (key, link) in COMPANIONS.items():
        if lower.endswith(ending):
            raise InvalidAssetError(
                f"{name!r} accompanies another file: give asset={key} {link}=CID (`stargazer query`)"
            )
    load_asset_types()
    raise InvalidAssetError(
        f"what is {name!r}? give asset=TYPE, one of: {', '.join(sorted(set(REGISTRY) - {'provenance'}))}"
    )


def mates(paths: Sequence[Path]) -> dict[Path, Path]:
    """The file of first reads of each file of second reads, where their names differ in nothing but 1 and 2."""
    there = set(paths)
    found = {}
    for path in paths:
        match = MATE.fullmatch(path.name)
        if match and match["mate"] == "2":
            first = path.with_name(f"{match['before']}1{match['after']}")
            if first in there:
                found[path] = first
    return found


def names_of_mates(name: str) -> tuple[str, str]:
    """What the files are called that an interleaved one is split into: `x.fq` into `x_R1.fq.gz` and `x_R2.fq.gz`."""
    stem = FASTQ_ENDING.sub("", name)
    match = MATE.fullmatch(f"{stem}.fq")
    before, after = (match["before"], match["after"]) if match else (f"{stem}_R", ".fq")
    return f"{before}1{after}.gz", f"{before}2{after}.gz"
