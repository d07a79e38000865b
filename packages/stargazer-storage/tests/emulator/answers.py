"""What servers answer: a status, headers, and bytes in memory or a range of a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .http import Request

__all__ = ["PIECE", "Answer", "file_answer", "json_answer"]

PIECE = 256 * 1024
"""Bytes read or sent at a time."""


@dataclass
class Answer:
    """What a route returns: a status, headers, and a body in memory or a range of a file."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: Path | None = None
    start: int = 0
    length: int = 0

    def pieces(self) -> Iterator[bytes]:
        if self.file is None:
            yield self.body
            return
        with self.file.open("rb") as source:
            source.seek(self.start)
            left = self.length
            while left and (piece := source.read(min(PIECE, left))):
                left -= len(piece)
                yield piece

    @property
    def size(self) -> int:
        return len(self.body) if self.file is None else self.length


def json_answer(status: int, value: Any, **headers: str) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **headers}, json.dumps(value).encode())


def file_answer(request: Request, path: Path, etag: str, **headers: str) -> Answer:
    """A file with Range, If-Range and If-None-Match as IPFS gateways do them: one range, a strong ETag."""
    size = path.stat().st_size
    given = {
        "ETag": f'"{etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        **headers,
    }
    if f'"{etag}"' in request.headers.get("if-none-match", ""):
        return Answer(304, {"ETag": f'"{etag}"'})
    asked = request.headers.get("range", "")
    if not asked or request.headers.get("if-range", f'"{etag}"') != f'"{etag}"':
        return Answer(200, given, file=path, length=size)
    match = re.match(r"bytes=(\d*)-(\d*)", asked)
    if match is None or match.groups() == ("", ""):
        return Answer(400, body=b"invalid range\n")
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or end <= start:
        return Answer(416, {"Content-Range": f"bytes */{size}"}, b"range not satisfiable\n")
    given["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Answer(206, given, file=path, start=start, length=end - start)
