"""The index of an aligner: where its files are, and whether its contigs and bases are those of a reference."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.assets import AlignerIndex, FormatError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["compare_index", "index_prefix"]

PART = 1 << 22  # bytes of a reference that are compared together


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
    with gzip.open(source) if source.endswith(".gz") else open(source, "rb") as file:
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
