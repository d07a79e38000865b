"""What goes wrong with which requests, and what a server remembers of each."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Exchange", "Fault", "Faults", "Observed"]


@dataclass(kw_only=True)
class Fault:
    """What goes wrong with some requests: those whose "METHOD /path?query" the regular expression `match` finds.

    It starts with the `nth` matching request (from 1) and holds for `times` of them (None: for ever).
    """

    match: str = ""
    nth: int = 1
    times: int | None = 1
    server: str = ""
    """Only on the server of this name; empty: on every one."""
    status: int = 0
    """Answer this instead of doing the work."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers to set on the answer, real or made up."""
    body: str = ""
    """Answer this text instead of doing the work (status 200 if none is given)."""
    html: bool = False
    """Answer 200 with a web page, as a captive portal does."""
    redirect: str = ""
    """Answer 302 to this URL; "{target}" in it stands for the path and query that were asked for."""
    cut_request: int | None = None
    """Drop the connection once so many bytes of the request's body were read."""
    cut_answer: int | None = None
    """Drop the connection once so many bytes of the answer's body were sent."""
    stall_request: int | None = None
    """Stop reading once so many bytes of the request's body were read, and keep the connection open."""
    delay: float = 0.0
    """Do the work, then wait so many seconds before answering."""
    lost: bool = False
    """Do the work, then drop the connection instead of answering."""
    corrupt: int | None = None
    """Flip a bit of this byte of the file (counted from its start also in a range), or of the answer's body."""
    drip: float = 0.0
    """Send a byte every so many seconds (slow loris) ..."""
    drip_after: int = 0
    """... once so many bytes were sent at full speed."""
    lie: int = 0
    """Announce so many bytes more (or fewer) than there are."""
    patch: dict[str, Any] = field(default_factory=dict)
    """Overwrite these fields of a JSON answer's `data`."""
    seen: int = field(default=0, compare=False)
    """How many requests matched so far."""

    def takes(self, server: str, text: str) -> bool:
        """Count a request, and say whether it is one that goes wrong."""
        if (self.server and self.server != server) or not re.search(self.match, text):
            return False
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)

    @property
    def refuses(self) -> bool:
        return bool(self.status or self.body or self.html or self.redirect)


class Faults(list[Fault]):
    """The faults in force; of those that match a request, the first that is due applies."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def take(self, server: str, text: str) -> Fault:
        with self._lock:
            due = [fault for fault in self if fault.takes(server, text)]
        return due[0] if due else Fault()


@dataclass
class Exchange:
    """One request as the server saw it; `received` and `sent` count bytes of bodies, `status` 0 means no answer."""

    server: str
    method: str
    target: str
    headers: dict[str, str]
    received: int = 0
    sent: int = 0
    status: int = 0

    @property
    def path(self) -> str:
        return urlsplit(self.target).path


class Observed:
    """Questions about what was asked: byte counters that prove how much went where."""

    requests: list[Exchange]

    def matching(self, match: str = "") -> list[Exchange]:
        """The requests whose "METHOD /path?query" the regular expression finds."""
        return [e for e in self.requests if re.search(match, f"{e.method} {e.target}")]

    def received(self, match: str = "") -> int:
        """Bytes of request bodies that arrived, over the matching requests."""
        return sum(e.received for e in self.matching(match))

    def sent(self, match: str = "") -> int:
        """Bytes of answers' bodies that were sent, over the matching requests."""
        return sum(e.sent for e in self.matching(match))

    def told(self, secret: str, server: str) -> list[Exchange]:
        """The requests that told a host a secret."""
        return [e for e in self.requests if e.server == server and secret in f"{e.target} {e.headers}"]
