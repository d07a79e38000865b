"""How the contents of two files differ, told in a few lines; distributions add readers of formats by entry point."""

from __future__ import annotations

import collections
import gzip
import itertools
import json
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from stargazer.assets import StargazerError
from stargazer.assets.provenance import Entry
from stargazer.storage.lineage._render import one_line
from stargazer.storage.store import Store

__all__ = ["ENTRY_POINT_GROUP", "contents", "plain"]

ENTRY_POINT_GROUP = "stargazer.differences"
"""Functions `(a: Path, b: Path) -> list[str]` by type of asset: what differs in two files, one line each."""

_LINES = 2_000_000  # lines compared: a summary is not worth more
_SHOWN = 5  # examples
_WIDEST = 160  # characters of an example
_JSON = 16 * 1024 * 1024  # bytes; more is compared as text


def contents(store: Store, a: Entry, b: Entry) -> list[str]:
    """What differs in two files whose bytes are here; nothing is downloaded.

    Raises:
        IntegrityError: the bytes are not what a CID says.
    """
    if a.cid == b.cid:
        return []
    missing = [name for name, entry in (("A", a), ("B", b)) if store.objects.stat(entry.cid) is None]
    if missing:
        return [f"the bytes of {' and '.join(missing)} are not here: `stargazer get CID` brings them"]
    paths = store.read_here(a.cid), store.read_here(b.cid)
    kind = a.keyvalues.get("asset", "")
    readers = entry_points(group=ENTRY_POINT_GROUP, name=kind) if kind == b.keyvalues.get("asset", "") else ()
    for entry in readers:
        try:
            return list(entry.load()(*paths))
        except (StargazerError, OSError, ValueError) as error:
            return [f"not read as what it is registered as: {one_line(str(error))}", *plain(*paths)]
    return plain(*paths)


def plain(a: Path, b: Path) -> list[str]:
    """What differs in two files of a format that nobody is known to read: JSON, a table, text, or just bytes."""
    heads = [_head(path) for path in (a, b)]
    if any(b"\0" in head for head in heads):
        return _bytes(a, b)
    if all(head.lstrip()[:1] in (b"{", b"[") for head in heads):
        values = [_json(path) for path in (a, b)]
        if None not in values:
            return _values(*values)
    first = [head.partition(b"\n")[0].decode(errors="replace").split("\t") for head in heads]
    return [*(_columns(*first) if all(len(names) > 1 for names in first) else []), *_text(a, b)]


def _head(path: Path, size: int = 65536) -> bytes:
    """The first bytes of a file, decompressed if it is gzip."""
    with _opened(path) as file:
        return bytes(file.read(size))


def _opened(path: Path) -> Any:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")


def _bytes(a: Path, b: Path) -> list[str]:
    sizes = [path.stat().st_size for path in (a, b)]
    lines = [] if sizes[0] == sizes[1] else [f"size: {sizes[0]:,} bytes in A, {sizes[1]:,} in B"]
    offset = 0
    with a.open("rb") as one, b.open("rb") as other:
        while (pieces := (one.read(1 << 20), other.read(1 << 20)))[0] == pieces[1]:
            if not pieces[0]:
                return lines
            offset += len(pieces[0])
    differing = (at for at, (x, y) in enumerate(zip(*pieces, strict=False)) if x != y)
    return [*lines, f"first different byte: {offset + next(differing, min(map(len, pieces))):,}"]


def _json(path: Path) -> Any:
    """The value of a JSON document; None of what is none, or large."""
    text = _head(path, _JSON + 1)
    try:
        return json.loads(text) if len(text) <= _JSON else None
    except (ValueError, RecursionError):
        return None


def _values(a: Any, b: Any) -> list[str]:
    flat = [dict(_flat(value)) for value in (a, b)]
    names = [name for name in {**flat[0], **flat[1]} if flat[0].get(name, ...) != flat[1].get(name, ...)]
    lines = [
        f"{name}: {_short(flat[0].get(name, 'absent'))} in A, {_short(flat[1].get(name, 'absent'))} in B"
        for name in names[: 4 * _SHOWN]
    ]
    if len(names) > len(lines):
        lines.append(f"and {len(names) - len(lines):,} more values")
    return lines or ["the same values, written in another way"]


def _flat(value: Any) -> Iterator[tuple[str, Any]]:
    """The values of a JSON document, each with its path."""
    waiting = [("", value)]
    while waiting:
        path, here = waiting.pop()
        if isinstance(here, dict) and here:
            waiting += reversed([(f"{path}.{key}" if path else key, item) for key, item in here.items()])
        elif isinstance(here, list) and here:
            waiting += reversed([(f"{path}[{number}]", item) for number, item in enumerate(here)])
        else:
            yield path, here


def _columns(a: list[str], b: list[str]) -> list[str]:
    """How the first lines of two tables differ; a line with a number in it is none of names."""
    a, b = ([name.strip() for name in names] for names in (a, b))
    if any(name.lstrip("-").replace(".", "", 1).isdigit() for name in a + b):
        return []
    only = {"A": [name for name in a if name not in b], "B": [name for name in b if name not in a]}
    return [_short(f"columns only in {side}: {', '.join(names)}") for side, names in only.items() if names]


def _text(a: Path, b: Path) -> list[str]:
    """Lines that only one file has, however they are ordered; where the two part first."""
    counts: collections.Counter[bytes] = collections.Counter()  # of lines, those of B negative
    totals, first = [0, 0], ""
    with _opened(a) as one, _opened(b) as other:
        pairs: Iterator[tuple[bytes | None, bytes | None]] = itertools.zip_longest(one, other)
        for number, (left, right) in enumerate(itertools.islice(pairs, _LINES), 1):
            totals = [totals[0] + (left is not None), totals[1] + (right is not None)]
            if left == right:
                continue
            first = first or f"first different line: {number:,}"
            for line, sign in ((left, 1), (right, -1)):
                if line is not None:
                    counts[line] += sign
                    if not counts[line]:
                        del counts[line]
        is_cut = next(pairs, None) is not None
    only = {"A": +counts, "B": -counts}
    lines = [", ".join(f"{found.total():,} only in {side}" for side, found in only.items())]
    lines[0] = f"lines: {totals[0]:,} in A, {totals[1]:,} in B; {lines[0]}"
    if first and not counts:
        lines[0] += " (another order)"
    lines.append(first or "the same lines, compressed in another way")
    for side, found in only.items():
        for line in itertools.islice(found, _SHOWN):
            text = line.decode(errors="replace").rstrip().replace("\t", " ")
            lines.append(f"  only in {side}: {_short(text)}")
    return lines + ([f"compared: the first {_LINES:,} lines"] if is_cut else [])


def _short(value: Any) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value), _WIDEST)
