"""What names tell: the asset type of a file or folder, where they leave no doubt, and the names of mates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stargazer.assets import REGISTRY, FormatError, InvalidAssetError, load_asset_types

__all__ = [
    "UnknownNameError",
    "companion_type",
    "folder_parts",
    "guess_folder",
    "guess_type",
    "mates",
    "names_of_mates",
    "own_name",
    "primaries",
]

ENDINGS = {
    "alignment": (".bam", ".cram"),
    "reference": (".fa", ".fasta", ".fna", ".fa.gz", ".fasta.gz", ".fna.gz"),
    "intervals": (".bed", ".bed.gz"),
    "variants": (".vcf", ".vcf.gz", ".bcf"),
    "anndata": (".h5ad",),
    "sequence_dict": (".dict",),
    "tenx_h5": (".h5",),
}
FOLDERS = {"tenx_mtx": (("matrix.mtx",), ("barcodes.tsv",), ("features.tsv", "genes.tsv"))}
"""The files of a folder that is one asset: by type, the names that each may have, plain or with .gz behind them; the
first tells the type."""
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


class UnknownNameError(InvalidAssetError):
    """A file's name is like that of no asset type's files."""


def guess_type(name: str) -> str:
    """The asset type of a file by its name.

    Raises:
        UnknownNameError: no type's files are called so.
        InvalidAssetError: the name does not tell which of several; the message says what to give.
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
    for key, parts in FOLDERS.items():
        if any(lower.removesuffix(".gz").endswith(name) for names in parts for name in names):
            raise InvalidAssetError(
                f"{name!r} is one of the {len(parts)} files of a {key}: give the folder that holds them"
            )
    load_asset_types()
    raise UnknownNameError(
        f"what is {name!r}? give asset=TYPE, one of: {', '.join(sorted(set(REGISTRY) - {'file', 'provenance'}))}; "
        "or asset=file, to keep it as it is"
    )


def own_name(path: Path, given: Mapping[str, str], lookup: object) -> dict[str, str]:
    """What a file of no known type says of itself: its name. An entry point of `stargazer.fields`."""
    return {"name": path.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")}


def companion_type(name: str) -> str | None:
    """The asset type of a file that accompanies another one, by its name; None if it does not tell."""
    return next((key for ending, (key, _) in COMPANIONS.items() if name.lower().endswith(ending)), None)


def primaries(paths: Sequence[Path]) -> dict[Path, Path]:
    """The file that each index accompanies, where their names say so: `x.bam.bai` and `x.bai` go with `x.bam`."""
    by_name = {path.name: path for path in paths}
    found = {}
    for path in paths:
        key = companion_type(path.name)
        if key is not None:
            before = path.name.rpartition(".")[0]
            endings = ENDINGS[key.partition("_")[0]]
            names = [before, *(before + ending for ending in endings)]
            if first := next(
                (by_name[name] for name in names if name.lower().endswith(endings) and name in by_name), None
            ):
                found[path] = first
    return found


def guess_folder(names: Iterable[str]) -> str | None:
    """The asset type of a folder with these files; None if it is none that is one asset."""
    names = list(names)
    return next((key for key, (first, *_) in FOLDERS.items() if _prefixes(names, first)), None)


def folder_parts(key: str, names: Iterable[str]) -> dict[str, str]:
    """The files that belong to a folder of an asset type, by the plain name of each.

    Compressed files come before plain ones, and something may stand before all the names: `GSM1_matrix.mtx.gz`.

    Args:
        key: the type, one of FOLDERS.
        names: of all files in the folder.

    Raises:
        FormatError: one is missing, or there are several of the first.
    """
    names, parts = list(names), FOLDERS[key]
    prefixes = _prefixes(names, parts[0])
    if len(prefixes) > 1:
        raise FormatError(
            f"it holds {len(prefixes)} matrices ({', '.join(repr(prefix + parts[0][0]) for prefix in prefixes[:3])}"
            f"{', ...' if len(prefixes) > 3 else ''}): give each a folder of its own"
        )
    found = {}
    for candidates in parts:
        wanted = [f"{name}{end}" for name in candidates for end in (".gz", "")]
        prefix = prefixes[0] if prefixes else ""
        plain = next((name for name in wanted if f"{prefix}{name}" in names), None)
        if plain is None:
            raise FormatError(
                f"it lacks {prefix}{f' or {prefix}'.join(candidates)} (plain or .gz); it holds "
                f"{', '.join(map(repr, sorted(names)[:5])) or 'nothing'}"
            )
        found[plain] = f"{prefix}{plain}"
    return found


def _prefixes(names: Sequence[str], endings: Sequence[str]) -> list[str]:
    """What stands before the names that end so."""
    plain = (name.removesuffix(".gz") for name in names)
    return sorted({name.removesuffix(end) for name in plain for end in endings if name.endswith(end)})


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
