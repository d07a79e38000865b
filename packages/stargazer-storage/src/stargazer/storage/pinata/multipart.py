"""Bodies of uploads, read from the file while they are sent: each attempt starts anew, in bounded memory.

Iterables of known length rather than requests-toolbelt's MultipartEncoder: that one is a stream, which a retry finds
half read.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Self

from stargazer.assets import StorageError

__all__ = ["FileChanged", "Multipart", "Slice", "SteadyFile", "Stopped"]

_PIECE = 256 * 1024

Progress = Callable[[int, "int | None"], object]


class FileChanged(Exception):
    """The file got shorter, or cannot be read any more; no OSError, which urllib3 would take for the network's."""


class Stopped(Exception):
    """Whoever is told of the progress failed; no OSError, for the same reason."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class SteadyFile:
    """A file open for an upload, which must not change meanwhile.

    Raises:
        StorageError: it cannot be opened, or is no regular file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise StorageError(f"{self.path!r} cannot be read: {error.strerror}") from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise StorageError(f"{self.path!r} is not a regular file: only files can be uploaded")
        self.size = status.st_size
        self._written = status.st_mtime_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @property
    def changed(self) -> bool:
        """Whether somebody wrote to it since it was opened."""
        status = os.fstat(self._fd)
        return (status.st_size, status.st_mtime_ns) != (self.size, self._written)

    def pieces(self, start: int, length: int) -> Iterator[bytes]:
        """Its bytes from `start`.

        Raises:
            FileChanged: there are fewer than `length`.
        """
        end = start + length
        while start < end:
            try:
                piece = os.pread(self._fd, min(_PIECE, end - start), start)
            except OSError as error:
                raise FileChanged(f"cannot be read: {error.strerror}") from None
            if not piece:
                raise FileChanged
            start += len(piece)
            yield piece


class Slice:
    """A range of a file as a request's body."""

    def __init__(self, file: SteadyFile, start: int, length: int, progress: Progress | None = None) -> None:
        self._file, self._start, self._length, self._progress = file, start, length, progress

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        done = self._start
        for piece in self._file.pieces(self._start, self._length):
            yield piece
            done += len(piece)
            if self._progress is not None:
                try:
                    self._progress(done, self._file.size)
                except OSError as error:
                    raise Stopped(error) from None


class Multipart:
    """A whole file and some fields as multipart/form-data. Source: RFC 7578, names escaped as browsers do."""

    def __init__(
        self,
        file: SteadyFile,
        filename: str,
        mime_type: str,
        fields: Mapping[str, str],
        progress: Progress | None = None,
    ) -> None:
        self._boundary = f"stargazer-{secrets.token_hex(16)}"
        head = "".join(
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += (
            f'--{self._boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_escaped(filename)}"\r\n'
            f"Content-Type: {mime_type}\r\n\r\n"
        )
        self._head = head.encode()
        self._content = Slice(file, 0, file.size, progress)
        self._tail = f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    def __len__(self) -> int:
        return len(self._head) + len(self._content) + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        yield from self._content
        yield self._tail


def _escaped(filename: str) -> str:
    """A name within quotes; a slash would make a folder of the upload."""
    return filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").replace("/", "_")
