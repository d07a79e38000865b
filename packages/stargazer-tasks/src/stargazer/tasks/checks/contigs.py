"""Compares the contigs of a file with those of the reference and the build that it is said to be of."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

from stargazer.assets import Alignment, Asset, FormatError, KnownSites, Reference, Variants
from stargazer.assets.formats import small_contigs
from stargazer.storage import Known, Lookup
from stargazer.tasks.checks.headers import Contig, alignment_header, sam_contigs, variants_header

__all__ = [
    "CONTIGS_UNKNOWN",
    "build",
    "build_of",
    "compare",
    "contigs",
    "fai_rows",
    "fitting",
    "not_here",
    "reference_of",
    "sequences_of",
    "small_sequences",
    "some",
]

CONTIGS_UNKNOWN = (
    "the contigs of that reference are not known on this machine (its index or dictionary would tell)"
)


def contigs(asset: Alignment | Variants | KnownSites, path: Path, lookup: Lookup) -> bool | str:
    """Names, lengths and checksums (M5) of the contigs of a file against the reference that it claims.

    Raises:
        FormatError: it was aligned to, or is placed on, another one.
    """
    known = lookup.target(asset, "reference_cid") if asset.reference_cid else None
    reference = sequences_of(known, lookup) if known else None
    if known is None or not reference:
        return not_here(asset, "reference_cid", CONTIGS_UNKNOWN)
    found = _contigs(asset, path)
    if not found and not isinstance(asset, Alignment):
        return f"reference_cid={asset.reference_cid}: its header names no contig"
    compare(repr(path.name), found, f"the reference {build_of(known)}", reference)
    return True


def build(asset: Alignment | Variants | KnownSites, path: Path, lookup: Lookup) -> bool | str:
    """The build that is given for a file against its reference, or else against all references of that build.

    Raises:
        FormatError: it was aligned to, or is placed on, another one.
    """
    if not asset.build:
        return False
    found, given = _contigs(asset, path), f"build={asset.build}"
    known = lookup.target(asset, "reference_cid") if asset.reference_cid else None
    if known is not None:
        if build_of(known) != asset.build:
            raise FormatError(
                f"{path.name!r}: {given} was given, and reference_cid is that of the reference "
                f"{build_of(known)}: leave one of them out"
            )
        return True
    if not found:
        return f"{given}: its header names no contig"
    compared, problems = 0, list[FormatError]()
    for reference in lookup.find("reference", build=asset.build):
        if sequences := sequences_of(reference, lookup):
            compared += 1
            try:
                compare("it", found, f"the reference {asset.build}", sequences)
            except FormatError as problem:
                problems.append(problem)
    if compared and len(problems) == compared:
        raise FormatError(f"{path.name!r}: {given} was given, and {problems[0]}")
    if compared:
        return True
    others = {reference.build for reference in fitting(lookup, found, {})}
    also = f"; its contigs are those of {', '.join(sorted(others))}" if others else ""
    return f"{given}: no reference of this build is registered here whose contigs are known{also}"


def _contigs(asset: Alignment | Variants | KnownSites, path: Path) -> Mapping[str, Contig]:
    """Those of its header; of variants whose header names none, the contig of the first record."""
    if isinstance(asset, Alignment):
        return alignment_header(path).contigs
    header = variants_header(path)
    return header.contigs or ({header.first: Contig()} if header.first else {})


def fitting(
    lookup: Lookup, contigs: Mapping[str, Contig], given: Mapping[str, str], *, in_part: bool = False
) -> list[Reference]:
    """The references that have these contigs: the same names and lengths in any order, no other checksum (M5).

    Args:
        given: what is said of the file: with a build, references of that build alone are looked at.
        in_part: the file need not name all contigs of the reference.
    """
    return [
        reference
        for reference, known in _references(lookup)
        if given.get("build") in (None, reference.build)
        and contigs
        and contigs.keys() <= known.keys()
        and (in_part or len(contigs) == len(known))
        and all(_is_same(contig, known[name]) for name, contig in contigs.items())
    ]


def reference_of(
    lookup: Lookup, contigs: Mapping[str, Contig], given: Mapping[str, str], *, in_part: bool = False
) -> dict[str, str | Asset]:
    """The reference and its build where exactly one has these contigs, or where it is given."""
    said: dict[str, str | Asset] = {}
    if cid := given.get("reference_cid"):
        builds = {build_of(known) for known in lookup.find("reference", cid=cid)}
    else:
        found = fitting(lookup, contigs, given, in_part=in_part)
        if len({reference.cid or str(id(reference)) for reference in found}) != 1:
            return {}
        builds, said["reference_cid"] = {reference.build for reference in found}, found[0]
    return said | ({"build": builds.pop()} if len(builds) == 1 else {})


@functools.lru_cache(maxsize=1)  # for all files that are added together
def _references(lookup: Lookup) -> list[tuple[Reference, Mapping[str, Contig]]]:
    """The references that files can belong to, each with its contigs: those added together with them, then the store's.

    One that is given again beside the store's counts once.
    """
    found: list[tuple[Reference, Mapping[str, Contig]]] = []
    for known in lookup.find("reference"):
        contigs = sequences_of(known, lookup)
        if isinstance(known.asset, Reference) and contigs:
            again = any(
                not other.cid and other.build == known.asset.build and same == contigs
                for other, same in found
            )
            found += [] if again else [(known.asset, contigs)]
    return found


def not_here(asset: Asset, link: str, what: str) -> bool | str:
    """Why what a link points at cannot be looked at; False if there is no link."""
    value = getattr(asset, link)
    cid = value.cid if isinstance(value, Asset) else value
    return f"{link}={cid}: {what}" if cid else False


def compare(title: str, contigs: Mapping[str, Contig], of: str, reference: Mapping[str, Contig]) -> None:
    """See that contigs do not contradict those of a reference, which may hold some of them alone.

    Args:
        title, of: what the file and the reference are called in errors.

    Raises:
        FormatError: no contig in common, or one of another length or checksum (M5).
    """
    common = contigs.keys() & reference.keys()
    if not common:
        raise FormatError(
            f"{title} and {of} have no contig in common: {some(contigs)} and {some(reference)}; "
            "it belongs to another build, or to none"
        )
    way_out = "use the reference that it was made with (`stargazer add` it, with a build= of its own)"
    for contig in (contig for contig in contigs if contig in common):
        here, there = contigs[contig], reference[contig]
        if None not in (here.length, there.length) and here.length != there.length:
            raise FormatError(
                f"{title} does not belong to {of}: contig {contig!r} has {here.length:,} bases in its header and "
                f"{there.length:,} in the reference; {way_out}"
            )
        if here.md5 and there.md5 and here.md5 != there.md5:
            raise FormatError(
                f"{title} does not belong to {of}: the sequence of contig {contig!r} has another checksum (M5) in "
                f"its header, {here.md5}, than in the reference, {there.md5}; {way_out}"
            )


def some(names: Iterable[str]) -> str:
    """The first three of some names, quoted."""
    names = list(names)
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "") if names else "none"


def sequences_of(reference: Known, lookup: Lookup, *, dictionary: bool = True) -> Mapping[str, Contig] | None:
    """The contigs of a reference by name, in order; None if nothing that tells them is on this machine.

    Args:
        dictionary: its sequence dictionary may be asked.
    """
    if reference.path is not None and (found := small_sequences(reference.path)):
        return found
    if dictionary:
        for known in lookup.companions(reference.asset, "sequence_dict", "reference_cid"):
            if known.path is not None:
                return sam_contigs(known.path.read_text(errors="replace"))
    for known in lookup.companions(reference.asset, "reference_index", "reference_cid"):
        if known.path is not None:
            return {name: Contig(length) for name, length, *_ in fai_rows(known.path)}
    return None


def fai_rows(path: Path) -> list[tuple[str, int, int, int, int]]:
    """The rows of a FASTA index: name, length in bases, offset in bytes, bases and bytes of a line.

    Raises:
        FormatError: it is no FASTA index.
    """
    rows = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        fields = line.split("\t")
        try:
            name, (length, offset, bases, width) = fields[0], map(int, fields[1:])
            if min(length, offset, bases, width) < 0:
                raise ValueError
        except ValueError:
            raise FormatError(
                f"{path.name!r}, line {number}: not a FASTA index (name, length, offset, bases and bytes of a line, "
                f"separated by tabs): {line[:60]!r}; make it with `samtools faidx`"
            ) from None
        rows.append((name, length, offset, bases, width))
    return rows


def small_sequences(path: Path) -> Mapping[str, Contig] | None:
    """The contigs of a small FASTA; None of a large one, and of one that is no valid reference."""
    with contextlib.suppress(FormatError):
        if found := small_contigs(path):
            return {contig.name: Contig(contig.length, contig.md5) for contig in found}
    return None


def build_of(known: Known) -> str:
    """The build of a reference."""
    return str(getattr(known.asset, "build", ""))


def _is_same(contig: Contig, there: Contig) -> bool:
    return (
        contig.length is not None
        and contig.length == there.length
        and contig.md5 in ("", there.md5 or contig.md5)
    )
