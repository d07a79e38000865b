"""multipart/form-data read as a stream: each part's bytes in pieces, nothing of it held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value

__all__ = ["Part", "parts"]


@dataclass
class Part:
    name: str
    filename: str | None
    content_type: str
    pieces: Iterator[bytes]


def parts(content_type: str, read: Callable[[], bytes]) -> Iterator[Part]:
    """The parts of a body that `read` gives piece by piece (empty at its end), to be used one after the other.

    Raises:
        ValueError: if it is not well-formed.
    """
    boundary = HeaderParser().parsestr(f"Content-Type: {content_type}").get_boundary()
    if not boundary or not content_type.lower().startswith("multipart/form-data"):
        raise ValueError(f"expected multipart/form-data with a boundary, not {content_type!r}")
    body = _Body(read)
    delimiter = b"\r\n--" + boundary.encode()
    body.ahead = b"\r\n"  # the first delimiter has no line before it
    for _ in body.until(delimiter):
        pass
    while body.exactly(2) == b"\r\n":
        head = b"".join(body.until(b"\r\n\r\n")).decode()
        headers = HeaderParser().parsestr(head)
        name = headers.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise ValueError("a part without a name")
        filename = headers.get_param("filename", header="content-disposition")
        pieces = body.until(delimiter)
        yield Part(
            name,
            None if filename is None else collapse_rfc2231_value(filename),
            headers.get("content-type", ""),
            pieces,
        )
        for _ in pieces:
            pass


class _Body:
    def __init__(self, read: Callable[[], bytes]) -> None:
        self.read = read
        self.ahead = b""

    def until(self, mark: bytes) -> Iterator[bytes]:
        """The bytes before `mark`, which is taken away."""
        while True:
            before, found, after = self.ahead.partition(mark)
            if found:
                self.ahead = after
                if before:
                    yield before
                return
            safe = len(before) - len(mark) + 1
            piece = self.read()
            if not piece:
                raise ValueError("the multipart body ends too early")
            if safe > 0:
                self.ahead = before[safe:] + piece
                yield before[:safe]
            else:
                self.ahead = before + piece

    def exactly(self, size: int) -> bytes:
        while len(self.ahead) < size:
            piece = self.read()
            if not piece:
                raise ValueError("the multipart body ends too early")
            self.ahead += piece
        taken, self.ahead = self.ahead[:size], self.ahead[size:]
        return taken
