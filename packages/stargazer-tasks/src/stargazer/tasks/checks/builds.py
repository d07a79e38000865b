"""Which registered reference the contigs of a file are those of, and whether they fit the build that is given."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from stargazer.assets import Alignment, Asset, FormatError, KnownSites, Reference, Variants
from stargazer.storage import Lookup
from stargazer.tasks.checks.contigs import compare
from stargazer.tasks.checks.headers import Contig, alignment_header, variants_header
from stargazer.tasks.checks.sequences import sequences_of

__all__ = ["References", "alignment", "variants"]


class References:
    """The references that files can belong to: those registered together with them, then the store's."""

    def __init__(self, lookup: Lookup):
        self._lookup = lookup

    def fitting(
        self, contigs: Mapping[str, Contig], given: Mapping[str, str], *, in_part: bool = False
    ) -> list[Reference]:
        """The references that have these contigs: the same names and lengths in any order, no other checksum (M5).

        Args:
            given: what is said of the file: with a build, references of that build alone are looked at.
            in_part: the file need not name all contigs of the reference.
        """
        if not contigs:
            return []
        return [
            reference
            for reference, known in self._all
            if given.get("build") in (None, reference.build)
            and contigs.keys() <= known.keys()
            and (in_part or len(contigs) == len(known))
            and all(_is_same(contig, known[name]) for name, contig in contigs.items())
        ]

    def said(
        self, contigs: Mapping[str, Contig], given: Mapping[str, str], *, in_part: bool = False
    ) -> dict[str, str | Asset]:
        """The reference and its build where exactly one has these contigs, or where it is given."""
        if cid := given.get("reference_cid"):
            builds = {known.asset.build for known in self._lookup.find("reference", cid=cid)}  # type: ignore[attr-defined]
            return {"build": builds.pop()} if len(builds) == 1 else {}
        found = self.fitting(contigs, given, in_part=in_part)
        if len({reference.cid or str(id(reference)) for reference in found}) != 1:
            return {}
        builds = {reference.build for reference in found}
        return {"reference_cid": found[0]} | ({"build": builds.pop()} if len(builds) == 1 else {})

    @functools.cached_property
    def _all(self) -> list[tuple[Reference, Mapping[str, Contig]]]:
        """Each with its contigs; one that is given again beside the store's counts once."""
        found: list[tuple[Reference, Mapping[str, Contig]]] = []
        for known in self._lookup.find("reference"):
            contigs = sequences_of(known, self._lookup)
            if isinstance(known.asset, Reference) and contigs:
                again = any(
                    not other.cid and other.build == known.asset.build and same == contigs
                    for other, same in found
                )
                found += [] if again else [(known.asset, contigs)]
        return found


def alignment(asset: Alignment, path: Path, lookup: Lookup) -> bool | str:
    """The build that is given for an alignment against its contigs and its reference.

    Raises:
        FormatError: it was aligned to another one.
    """
    return _check(asset, path, lookup, alignment_header(path).contigs) if asset.build else False


def variants(asset: Variants | KnownSites, path: Path, lookup: Lookup) -> bool | str:
    """The build that is given for variants or sites against their contigs and their reference.

    Raises:
        FormatError: they are placed on another one.
    """
    if not asset.build:
        return False
    header = variants_header(path)
    contigs = header.contigs or ({header.first: Contig()} if header.first else {})
    return _check(asset, path, lookup, contigs)


def _check(
    asset: Alignment | Variants | KnownSites, path: Path, lookup: Lookup, contigs: Mapping[str, Contig]
) -> bool | str:
    """Raise FormatError where the build is contradicted by the reference that is given, or by all of that build."""
    given = f"build={asset.build}"
    known = lookup.target(asset, "reference_cid") if asset.reference_cid else None
    if known is not None:
        if known.asset.build != asset.build:  # type: ignore[attr-defined]
            raise FormatError(
                f"{path.name!r}: {given} was given, and reference_cid is that of the reference "
                f"{known.asset.build}: leave one of them out"  # type: ignore[attr-defined]
            )
        return True
    if not contigs:
        return f"{given}: its header names no contig"
    compared, problems = 0, []
    for reference in lookup.find("reference", build=asset.build or ""):
        if sequences := sequences_of(reference, lookup):
            compared += 1
            problems += _problem(contigs, sequences, asset.build or "")
    if compared and len(problems) == compared:
        raise FormatError(f"{path.name!r}: {given} was given, and {problems[0]}")
    return bool(compared) or _not_here(given, lookup, contigs)


def _problem(contigs: Mapping[str, Contig], sequences: Mapping[str, Contig], build: str) -> list[str]:
    try:
        compare("it", contigs, f"the reference {build}", sequences)
    except FormatError as error:
        return [str(error)]
    return []


def _not_here(given: str, lookup: Lookup, contigs: Mapping[str, Contig]) -> str:
    others = {reference.build for reference in References(lookup).fitting(contigs, {})}
    also = f"; its contigs are those of {', '.join(sorted(others))}" if others else ""
    return f"{given}: no reference of this build is registered here whose contigs are known{also}"


def _is_same(contig: Contig, there: Contig) -> bool:
    return (
        contig.length is not None
        and contig.length == there.length
        and contig.md5 in ("", there.md5 or contig.md5)
    )
