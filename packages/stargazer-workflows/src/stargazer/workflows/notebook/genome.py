"""The genome browser: reads and calls over a reference in igv.js, which has its files read part by part from here."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer.assets import (
    Alignment,
    Asset,
    AssetNotFoundError,
    FormatError,
    InvalidAssetError,
    KnownSites,
    Reference,
    StargazerError,
    StorageError,
    Variants,
    current_client,
)
from stargazer.tasks import quiet_htslib
from stargazer.workflows.notebook.app import marimo, of_the_extra
from stargazer.workflows.notebook.region import first_names, parse_region
from stargazer.workflows.variant_files import opened

if TYPE_CHECKING:
    from anywidget import AnyWidget

__all__ = ["call_locus", "calls_in_region", "genome_browser"]

MOST_PART = 4 * 1024 * 1024
"""Bytes of a file in one answer, as index.js asks for them."""

MOST_UNINDEXED = 5_000_000
"""Bytes of a VCF that the page reads as a whole where it has no index."""

FIRST_BASES = 10_000
"""What is shown of the first contig, if no locus is asked for."""

FLANK = 60
"""Bases that are shown on either side of a call."""


async def genome_browser(reference: Reference | str, *files: Asset | str, locus: str = "") -> Any:
    """Reads and calls over their reference, in a browser that can be moved from here and tells where it was moved to.

        browser = await genome_browser(reference, calls, alignment, locus="chr20:10,000,000-10,000,200")
        browser.locus = "chr20:10,001,000"  # in another cell: it moves
        browser.region  # what is looked at, as "chr20:10000940-10001060"

    Args:
        reference: with its index; an asset or its CID.
        files: alignments (BAM) and variants (VCF) with their indices; assets or their CIDs, drawn in this order.
        locus: what is shown first, as `parse_region` takes it, a single position with some bases around it. The
            beginning of the first contig by default.

    Returns:
        A marimo element of the widget. `locus` is from here to the page, `region` from the page to here.

    Raises:
        ConfigurationError: the extra `notebook` is not installed.
        AssetNotFoundError: no record has such a CID, or an index is missing; the message says what makes it.
        InvalidAssetError: a file that cannot be drawn, of another reference, or no such locus.
        FormatError: a file cannot be read.
        StorageError, IntegrityError: its verified bytes cannot be had.
    """
    mo = marimo()
    base = await _fetched(reference)
    if not isinstance(base, Reference):
        raise InvalidAssetError(
            f"{_called(base)} is no reference: give the reference first, then reads and calls"
        )
    contigs = _contigs(base)
    files_read = _Files()
    described = {
        "fasta": files_read.add(_path(base)),
        "fai": files_read.add(_beside(base, ".fai")),
        "gzi": files_read.add(gzi) if (gzi := _beside(base, ".gzi")).exists() else None,
        "name": base.build,
    }
    tracks, notes = [], []
    for file in files:
        track = await _track(await _fetched(file), contigs, files_read)
        tracks.append(track.described)
        notes += [track.note] if track.note else []
    first, length = next(iter(contigs.items()))
    start = parse_locus(locus, contigs) if locus else f"{first}:1-{min(length, FIRST_BASES)}"
    widget = _widget_class()(
        files_read, contigs, reference=described, tracks=tracks, start=start, note="\n".join(notes)
    )
    return mo.ui.anywidget(widget)


def call_locus(call: Mapping[str, Any], flank: int = FLANK) -> str:
    """Where a call is, with some bases on either side, as `genome_browser` takes it.

    Args:
        call: a row of `Calls`: its contig, position and ref count.
        flank: bases on either side.
    """
    start, end = int(call["position"]), int(call["position"]) + len(call["ref"]) - 1
    return f"{call['contig']}:{max(1, start - flank)}-{end + flank}"


def calls_in_region(rows: Iterable[Mapping[str, Any]], region: str) -> list[Mapping[str, Any]]:
    """The calls that begin in a region.

    Args:
        rows: of `Calls`.
        region: as the browser tells it, `contig:start-end`; "" has none.
    """
    if not region:
        return []
    contig, _, bounds = region.rpartition(":")
    start, _, end = bounds.partition("-")
    return [row for row in rows if row["contig"] == contig and int(start) <= row["position"] <= int(end)]


def parse_locus(locus: str, contigs: Mapping[str, int]) -> str:
    """A region as people write it, as `contig:start-end` within its contig; a position with some bases around it.

    Args:
        locus: as `parse_region` takes it.
        contigs: of the reference, with their lengths.

    Raises:
        InvalidAssetError: the reference has no such region.
    """
    contig, start, end = parse_region(locus, contigs)
    length = contigs[contig]
    if start > length:
        raise InvalidAssetError(f"{locus!r} is not within {contig}, which has the bases 1 to {length}")
    if start == end:
        start, end = max(1, start - FLANK), start + FLANK
    return f"{contig}:{start}-{min(end or length, length)}"


class _Files:
    """The files that a page may read, by number; nothing else is."""

    def __init__(self) -> None:
        self._known: list[tuple[Path, int, int]] = []

    def add(self, path: Path) -> int:
        """The number of a file.

        Raises:
            InvalidAssetError: it is empty.
            StorageError: it cannot be read.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise StorageError(f"{path.name!r} cannot be read: {error.strerror}") from error
        if not status.st_size:
            raise InvalidAssetError(f"{path.name!r} is empty: there is nothing to draw")
        self._known.append((path, status.st_size, status.st_mtime_ns))
        return len(self._known) - 1

    def described(self) -> list[dict[str, Any]]:
        """Names and sizes in bytes, by number."""
        return [{"name": path.name, "size": size} for path, size, _ in self._known]

    def read(self, number: object, start: object, end: object) -> bytes:
        """The bytes of a file from `start` to before `end`.

        Raises:
            InvalidAssetError: no such file or part.
            StorageError: it is gone, or is not what it was when it was verified.
        """
        if not (isinstance(number, int) and 0 <= number < len(self._known)):
            raise InvalidAssetError(f"there is no file {number!r}: the page reads {len(self._known)} files")
        path, size, changed = self._known[number]
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start <= end <= size):
            raise InvalidAssetError(f"{path.name!r} has no bytes {start!r} to {end!r}: it has {size}")
        if end - start > MOST_PART:
            raise InvalidAssetError(f"at most {MOST_PART} bytes are read at once, not {end - start}")
        again = "run the cell of the genome browser again"
        try:
            with path.open("rb") as file:
                file.seek(start)
                found = file.read(end - start)
            status = path.stat()
        except OSError as error:
            raise StorageError(f"{path.name!r} is not here any more ({error.strerror}): {again}") from error
        if (status.st_size, status.st_mtime_ns) != (size, changed) or len(found) != end - start:
            raise StorageError(f"{path.name!r} was changed since it was opened: {again}")
        return found


@attrs.frozen
class _Track:
    """What the page is told of a file, and what the user is."""

    described: dict[str, Any]
    note: str


async def _fetched(file: Asset | str) -> Asset:
    """An asset with its verified bytes here, and its companions beside it."""
    if isinstance(file, Asset):
        return await file.fetch()
    records = await current_client().query_files({"cid": file})
    if not records:
        raise AssetNotFoundError(
            f"no record has the CID {file!r}: `stargazer list` shows those that there are"
        )
    assets = [Asset.from_record(record) for record in records]  # of the same bytes, of several types perhaps
    drawn = (asset for asset in assets if isinstance(asset, Reference | Alignment | Variants | KnownSites))
    return await next(drawn, assets[0]).fetch()


async def _track(file: Asset, contigs: Mapping[str, int], read: _Files) -> _Track:
    path = _path(file)
    match file:
        case Alignment():
            number, offsets = read.add(path), _index_of_alignment(file)
            index: Path | None = offsets
            lengths, used = _contigs_of_alignment(path, offsets)
            kind = {"type": "alignment", "format": "bam", "name": file.sample, "height": 220}
        case Variants() | KnownSites():
            number, index = read.add(path), _index_of_variants(file)
            lengths, used = _contigs_of_variants(path, index)
            known = file.name if isinstance(file, KnownSites) else ""
            calls = (
                f"calls of {', '.join(file.samples[:3])}"
                if isinstance(file, Variants) and file.samples
                else "calls"
            )
            kind = {"type": "variant", "format": "vcf", "name": known or calls}
        case _:
            raise InvalidAssetError(
                f"{_called(file)} cannot be drawn: the genome browser shows alignments (BAM) and variants (VCF)"
            )
    return _Track(
        {**kind, "file": number, "index": None if index is None else read.add(index)},
        _compared(file, contigs, lengths, used),
    )


def _contigs(reference: Reference) -> dict[str, int]:
    """The contigs of an indexed reference and their lengths.

    Raises:
        AssetNotFoundError: it has no index.
        FormatError: its index cannot be read.
    """
    index, gzi = _beside(reference, ".fai"), _beside(reference, ".gzi")
    if not index.exists() or (_path(reference).suffix == ".gz" and not gzi.exists()):
        raise AssetNotFoundError(
            f"{_called(reference)} has no index here: `stargazer run prepare_reference build={reference.build}`, "
            "or in Python `await samtools_faidx(reference)`, makes it"
        )
    try:
        rows = [line.split("\t") for line in index.read_text().splitlines()]
        found = {name: int(length) for name, length, *_ in rows}
    except (OSError, ValueError) as error:
        raise FormatError(f"the index of {_called(reference)} cannot be read: {error}") from error
    if not found:
        raise InvalidAssetError(f"{_called(reference)} has no contigs: there is nothing to draw")
    return found


def _index_of_alignment(alignment: Alignment) -> Path:
    path = _path(alignment)
    if path.suffix != ".bam":
        raise InvalidAssetError(
            f"{_called(alignment)} is CRAM, which the genome browser does not read: "
            "`await sort_alignment(alignment)` writes it as BAM, `await index_alignment(alignment)` indexes that"
        )
    if (index := _first_of(path, ".bai", ".csi")) is None:
        hint = (
            ""
            if alignment.sorted_by == "coordinate"
            else "`await sort_alignment(alignment)`, and of its result "
        )
        raise AssetNotFoundError(
            f"{_called(alignment)} has no index, without which no region of it can be read: "
            f"{hint}`await index_alignment(alignment)` makes it; they are in `stargazer.tasks`"
        )
    return index


def _index_of_variants(variants: Variants | KnownSites) -> Path | None:
    path = _path(variants)
    if path.suffix == ".bcf":
        raise InvalidAssetError(
            f"{_called(variants)} is BCF, which the genome browser does not read: "
            "`bcftools view -O z` writes it as VCF, `stargazer add` registers that"
        )
    index = _first_of(path, ".tbi", ".csi")
    if index is None and (size := path.stat().st_size) > MOST_UNINDEXED:
        raise AssetNotFoundError(
            f"{_called(variants)} has no index, and {size / 1e6:,.1f} MB are too much to be read as a whole "
            f"(at most {MOST_UNINDEXED / 1e6:g} MB): `await index_variants(variants)` of `stargazer.tasks` makes one; "
            "a VCF that is not bgzip is compressed with bgzip first, and added again"
        )
    return index


def _contigs_of_alignment(path: Path, index: Path) -> tuple[dict[str, int], list[str]]:
    """The contigs that a BAM names with their lengths, and those that have reads."""
    import pysam

    with _readable(path), pysam.AlignmentFile(str(path), index_filename=str(index)) as reads:
        statistics = reads.get_index_statistics()
        lengths = dict(zip(reads.references, reads.lengths, strict=True))
    return lengths, [contig.contig for contig in statistics if contig.total]


def _contigs_of_variants(path: Path, index: Path | None) -> tuple[dict[str, int], list[str]]:
    """The contigs that a VCF names, with their lengths if it says them, and those that have calls."""
    import pysam

    with opened(str(path)) as variants:
        named = {name: contig.length for name, contig in variants.header.contigs.items() if contig.length}
        if index is None:
            return named, list({record.contig: None for record in variants})
    with _readable(path), pysam.TabixFile(str(path), index=str(index)) as indexed:
        return named, list(indexed.contigs)


def _compared(file: Asset, contigs: Mapping[str, int], lengths: Mapping[str, int], used: list[str]) -> str:
    """What the reference lacks of a file, in a sentence, or "".

    Raises:
        InvalidAssetError: it lacks all of it, or has a contig of another length: it is another reference.
    """
    for name in used:
        if name in contigs and contigs[name] != lengths.get(name, contigs[name]):
            raise InvalidAssetError(
                f"{_called(file)} is of another reference: its {name} has {lengths[name]:,} bases, "
                f"that of the reference {contigs[name]:,}"
            )
    lacking = [name for name in used if name not in contigs]
    if not lacking:
        return ""
    if len(lacking) == len(used):
        raise InvalidAssetError(
            f"the reference lacks every contig of {_called(file)}: that has {first_names(lacking)}, "
            f"the reference {first_names(contigs)}; give the reference that it was made with"
        )
    return f"The reference lacks {first_names(lacking)} of {_called(file)}: what is there is not shown."


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        with quiet_htslib():
            yield
    except (OSError, ValueError) as error:
        raise FormatError(f"{path.name!r} or its index cannot be read: {error}") from error


def _called(file: Asset) -> str:
    """How a message calls a file."""
    name = getattr(file, "sample", None) or getattr(file, "build", None) or getattr(file, "name", None)
    return f"the {file.asset_key or 'file'}{f' of {name}' if name else ''} ({file.cid})"


def _path(file: Asset) -> Path:
    if file.path is None:
        raise StorageError(f"the store gave no file for {_called(file)}")
    return file.path


def _beside(file: Asset, suffix: str) -> Path:
    path = _path(file)
    return path.with_name(path.name + suffix)


def _first_of(path: Path, *suffixes: str) -> Path | None:
    """The first that exists of the files that are called so beside another."""
    beside = (path.with_name(path.name + suffix) for suffix in suffixes)
    return next((found for found in beside if found.exists()), None)


@functools.cache
def _source() -> str:
    """The JavaScript, as .ci/genome_browser.py bundled it."""
    return (package_files("stargazer.workflows.notebook") / "static/genome_browser.js").read_text()


@functools.cache
def _widget_class() -> type[AnyWidget]:
    """The widget: made where it is needed, as anywidget comes with the extra `notebook` alone."""
    with of_the_extra():
        import traitlets
        from anywidget import AnyWidget

    class GenomeBrowser(AnyWidget):
        """igv.js over files that are read from here; the page is told `locus`, and tells `region`."""

        _esm = _source()
        files: Any = traitlets.List().tag(sync=True)
        reference = traitlets.Dict().tag(sync=True)
        tracks: Any = traitlets.List().tag(sync=True)
        start = traitlets.Unicode().tag(sync=True)
        note = traitlets.Unicode().tag(sync=True)
        locus = traitlets.Unicode().tag(sync=True)
        region = traitlets.Unicode().tag(sync=True)

        def __init__(self, files_read: _Files, contigs: Mapping[str, int], **traits: Any):
            self._files, self._contigs = files_read, contigs
            super().__init__(files=files_read.described(), **traits)
            self.on_msg(self._answer)

        @traitlets.validate("locus")
        def _check_locus(self, proposal: Any) -> str:
            return parse_locus(proposal["value"], self._contigs) if proposal["value"] else ""

        def _answer(self, _widget: Any, asked: Any, _buffers: Any) -> None:
            if not isinstance(asked, dict) or "read" not in asked:
                return
            try:
                found = self._files.read(asked.get("file"), asked.get("start"), asked.get("end"))
            except StargazerError as error:
                self.send({"read": asked["read"], "error": error.explain()})
            else:
                self.send({"read": asked["read"]}, buffers=[found])

    return GenomeBrowser
