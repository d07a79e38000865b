"""The index of an aligner: its files, the memory that making it takes, and whether it is of a reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import AlignerIndex, ConfigurationError, FormatError, Reference
from stargazer.assets.formats import opened
from stargazer.storage import Settings
from stargazer.tasks.regions import contigs_of, fai_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["compare_index", "index_memory", "index_prefix", "refuse_too_large"]

PART = 1 << 22  # bytes of a reference that are compared together

SMALL = 1_000_000_000
"""Bases up to which the suffix array of both strands fits 32-bit numbers: tools/engines/bwa_index.py."""

INDEXING, INDEXING_LARGE = 12, 20
"""Bytes a base of our indexer: measured (benchmarks/align.py), and computed for more than SMALL bases."""

INDEXER_ALONE = 60_000_000
"""Bytes of our indexer without any reference: Python and numpy."""

SEARCHING, BWA, BWA_MEM2 = 6, 1.7, 28
"""Bytes a base of bwa-mem3's index in memory, of `bwa index` and `bwa mem`, and of `bwa-mem2 index` (their READMEs)."""


def index_memory(bases: int) -> int:
    """Bytes of memory that our own indexer needs for so many bases."""
    return INDEXER_ALONE + bases * (INDEXING if bases <= SMALL else INDEXING_LARGE)


def refuse_too_large(reference: Reference) -> None:
    """Refuse a reference whose index would need more memory than this machine may give.

    Args:
        reference: indexed by samtools_faidx.

    Raises:
        ConfigurationError: with the other ways to an index.
    """
    bases = sum(contigs_of(fai_of(reference)).values())
    needed, allowed = index_memory(bases), Settings.load().memory
    if needed > allowed:
        raise ConfigurationError(
            f"indexing {reference.build} ({bases:,} bases) for bwa-mem3 needs about {_size(needed)} of memory, this "
            f"machine may give {_size(allowed)} (STARGAZER_MEMORY). Instead:\n"
            f"  - aligner=bwa, with bwa on PATH: indexing takes about {_size(bases * BWA)}\n"
            "  - contigs=chr20,chr21: work on chosen contigs only\n"
            f"  - add an index made elsewhere: `stargazer add URL --sha256 SUM asset=aligner_index aligner=bwa-mem3 "
            f"reference_cid={reference.cid}`, a tar of the files of `bwa-mem2 index -p index`; aligning then takes "
            f"about {_size(bases * SEARCHING)}\n"
            f"  - indexer=bwa-mem2, with bwa-mem2 on PATH: takes about {_size(bases * BWA_MEM2)}"
        )


def index_prefix(index: AlignerIndex) -> Path:
    """What the files of an aligner index begin with.

    Raises:
        FormatError: they begin with something else.
    """
    assert index.path is not None
    if not (index.path / "index.ann").exists():
        held = ", ".join(sorted(path.name for path in index.path.iterdir())[:5]) or "nothing"
        raise FormatError(f"the {index.aligner} index {index.cid} holds {held}; expected index.ann, index.pac, ..., as "
                          f"`{index.aligner} index -p index` names them")  # fmt: skip
    return index.path / "index"


def compare_index(source: str, prefix: str, title: str, remedy: str) -> None:
    """See that an index of bwa, bwa-mem2 or bwa-mem3 was made of a reference (plain or gzip).

    The bases are compared with those packed in .pac, where aligners have any base for what is not A, C, G or T.

    Args:
        title, remedy: how errors begin and end.

    Raises:
        FormatError: a contig has another name or length, or other bases, or is missing; or the index is damaged.
    """
    import numpy as np

    try:
        contigs = _contigs(prefix + ".ann")
        packed = np.fromfile(prefix + ".pac", dtype=np.uint8)
    except (OSError, ValueError, IndexError) as error:
        raise FormatError(f"{title}: its files are damaged or missing ({error}); {remedy}") from None
    codes = np.full(256, 255, dtype=np.uint8)
    for code, letters in enumerate((b"Aa", b"Cc", b"Gg", b"Tt")):
        codes[list(letters)] = code
    number, name, at, end = -1, "", 0, 0
    for is_title, data in _parts(source):
        if is_title and (number >= 0 and at != end):
            raise FormatError(f"{title}: it has more bases of {name!r} than the reference; {remedy}")
        if is_title:
            number, name = number + 1, data.decode("utf-8", "replace")
            there = contigs[number] if number < len(contigs) else ("none", 0)
            if there[0] != name:
                raise FormatError(f"{title}: it has {there[0]!r} where the reference has {name!r}; {remedy}")
            end = at + there[1]
            continue
        bases = codes[np.frombuffer(data, dtype=np.uint8)]
        if at + len(bases) > end:
            raise FormatError(f"{title}: it has fewer bases of {name!r} than the reference; {remedy}")
        differ = np.flatnonzero((_unpacked(packed, at, at + len(bases)) != bases) & (bases < 4))
        if len(differ):
            place = at + int(differ[0]) - (end - contigs[number][1]) + 1
            raise FormatError(f"{title}: it has another base at {name}:{place}; {remedy}")
        at += len(bases)
    if number + 1 != len(contigs) or at != end:
        raise FormatError(f"{title}: it has more contigs or bases than the reference; {remedy}")


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _contigs(path: str) -> list[tuple[str, int]]:
    """Names and lengths of the contigs, from .ann: a line of counts, then two lines for each."""
    _, *lines = Path(path).read_text(errors="replace").split("\n")
    pairs = zip(lines[::2], lines[1::2], strict=False)
    return [(names.split()[1], int(numbers.split()[1])) for names, numbers in pairs]


def _unpacked(packed: NDArray[np.uint8], start: int, end: int) -> NDArray[Any]:
    """Bases from start to end, four of which are in a byte, as 0 to 3."""
    import numpy as np

    data = packed[start >> 2 : (end + 3) >> 2]
    bases = (data[:, None] >> np.array([6, 4, 2, 0], dtype=np.uint8)) & 3
    return bases.ravel()[start & 3 :][: end - start]


def _parts(source: str) -> Iterator[tuple[bool, bytes]]:
    """The names of contigs (true), and their bases in parts of a limited size."""
    with opened(Path(source)) as file:
        while lines := file.readlines(PART):
            bases: list[bytes] = []
            for line in lines:
                if line.startswith(b">"):
                    yield False, b"".join(bases)
                    bases = []
                    yield True, line[1:].split(maxsplit=1)[0]
                else:
                    bases.append(line.rstrip())
            yield False, b"".join(bases)
