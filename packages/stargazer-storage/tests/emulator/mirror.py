"""A plain web server of the files below a folder, which misbehaves to order as the others do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .answers import Answer, file_answer
from .faults import Exchange, Fault, Faults, Observed
from .http import FaultyServer, Request

__all__ = ["Mirror"]


class Mirror(Observed):
    """`with Mirror(folder) as mirror:` serves GET and HEAD, with ranges, at mirror.url + "/" + a path."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = Path(folder)
        self.faults = Faults()
        self.requests: list[Exchange] = []
        self._server = FaultyServer("mirror", self._route, self.faults, self.requests, port)

    def __enter__(self) -> Mirror:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        if self._server.errors:
            raise self._server.errors[0]

    @property
    def url(self) -> str:
        return self._server.url

    def fault(self, match: str = "", **what: Any) -> Fault:
        """Put a fault in force: see Fault for what it can do."""
        self.faults.append(Fault(match=match, **what))
        return self.faults[-1]

    def _route(self, request: Request) -> Answer:
        path = (self.folder / request.path.lstrip("/")).resolve()
        if not path.is_relative_to(self.folder.resolve()) or not path.is_file():
            return Answer(404, body=b"not found\n")
        if request.method not in ("GET", "HEAD"):
            return Answer(405, body=b"not allowed\n")
        status = path.stat()
        return file_answer(request, path, f"{status.st_size:x}-{status.st_mtime_ns:x}")
