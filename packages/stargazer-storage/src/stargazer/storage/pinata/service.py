"""One HTTP request to Pinata: the key, timeouts, no redirects, and errors that hold no secret."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import requests
from requests.auth import AuthBase
from stargazer.storage.pinata.retrying import (
    PASSING,
    Backoff,
    Pace,
    Passing,
    Patience,
    Refused,
    retry_after,
)

__all__ = ["Answer", "Service", "is_safe", "origin"]

_Result = TypeVar("_Result")

_TIMEOUT = (20.0, 60.0)
"""Seconds to connect and for one send, and for the answer to begin or go on."""

_ANSWER_SECONDS = 120.0
_ANSWER_BYTES = 64 << 20
_SHOWN = 300

_TOKEN = re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*)*|(?i:bearer)\s+[^\s\"',}]+|(?<=https://)[^\s/\"'@]+@")
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")
_QUERY = re.compile(r"\?[^\s\"'<>]*=[^\s\"'<>]*")


@attrs.frozen
class Answer:
    """An answer below 400, read to its end."""

    status: int
    headers: Any = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)

    def document(self) -> dict[str, Any]:
        """The JSON object it holds.

        Raises:
            Passing: it holds something else, such as the web page of a portal that wants a login.
        """
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            kind = self.headers.get("Content-Type", "").split(";")[0] or "something"
            raise Passing(f"it answered {kind} that is not a JSON object; is there a proxy or a login page?")
        return document


class Service:
    """Pinata's two hosts, and the key, which is told to nobody else."""

    def __init__(
        self,
        jwt: str,
        *,
        api: str,
        uploads: str,
        sleep: Callable[[float], object],
        patience: Patience,
    ) -> None:
        self.api = api.rstrip("/")
        self.uploads = uploads.rstrip("/")
        self.sleep = sleep
        self.patience = patience
        self.pace = Pace(sleep)
        self._key = _Key(jwt)
        self._origins = {origin(self.api), origin(self.uploads)}
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"Service({self.api!r}, {self.uploads!r})"

    def call(self, what: str, method: str, path: str, **parts: Any) -> dict[str, Any]:
        """The JSON answer to a request that may be repeated; `what` names it: "list files".

        Raises:
            Unavailable: no answer for as long as patience lasts.
            Refused: it answered no.
        """
        return self._repeated(what, lambda: self.once(what, method, self.api + path, **parts).document())

    def send(self, what: str, method: str, path: str, **parts: Any) -> None:
        """The same, whatever the answer holds."""
        self._repeated(what, lambda: self.once(what, method, self.api + path, **parts))

    def _repeated(self, what: str, attempt: Callable[[], _Result]) -> _Result:
        backoff = self.backoff(what)
        while True:
            try:
                return attempt()
            except Passing as failure:
                backoff.again(failure)

    def backoff(self, what: str) -> Backoff:
        return Backoff(what, self.patience, self.sleep)

    def once(
        self,
        what: str,
        method: str,
        url: str,
        *,
        timeout: tuple[float, float] = _TIMEOUT,
        headers: dict[str, str] | None = None,
        **parts: Any,
    ) -> Answer:
        """One attempt.

        Raises:
            Passing: it failed in a way that may pass.
            Refused: it answered no, or the URL is on neither host.
        """
        if origin(url) not in self._origins:
            raise Refused(f"Pinata's key is for {self.api} and {self.uploads} only, not for {origin(url)}")
        self.pace.wait()
        failure = ""
        try:
            response = self._session().request(
                method,
                url,
                auth=self._key,
                headers={"Accept-Encoding": "identity", **(headers or {})},
                timeout=timeout,
                allow_redirects=False,
                stream=True,
                **parts,
            )
            try:
                body = _read(response)
            finally:
                response.close()
        except (requests.RequestException, OSError, _TooMuch) as error:
            failure = _reason(error)
        if (
            failure
        ):  # raised here, where no exception of requests is at hand: those hold the request and its key
            raise Passing(failure)
        return self._judge(what, response, body)

    def _judge(self, what: str, response: requests.Response, body: bytes) -> Answer:
        status = response.status_code
        if status < 300:
            self.pace.accepted()
            return Answer(status, response.headers, body)
        if status < 400:
            target = origin(response.headers.get("Location", ""))
            raise Refused(
                f"Pinata did not {what}: {status}, a redirect to {target or 'nowhere'}, which is not followed",
                status,
            )
        reason = f"{status} {self.clean(_said(body))}".strip()
        if status in PASSING or status >= 500:
            after = retry_after(response.headers.get("Retry-After", ""))
            if status == 429:
                self.pace.slower(min(after or 0.0, self.patience.longest))
            raise Passing(reason, status, after)
        advice = {
            401: ". Check PINATA_JWT",
            403: ". Check what PINATA_JWT's key may do",
            402: ". Check the account's plan",
        }
        raise Refused(f"Pinata did not {what}: {reason}{advice.get(status, '')}", status)

    def clean(self, text: str) -> str:
        """Text of the service's without anything that is or looks like a secret, on one line."""
        text = _QUERY.sub("?***", _TOKEN.sub("***", self._key.hide(text)))
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."

    def _session(self) -> requests.Session:
        """One per thread and process: connections are shared with neither."""
        pid, session = getattr(self._local, "session", (0, None))
        if session is None or pid != os.getpid():
            session = requests.Session()
            self._local.session = (os.getpid(), session)
        return session


class _Key(AuthBase):
    """Puts the key on a request; auth given so also keeps requests from looking into ~/.netrc."""

    def __init__(self, jwt: str) -> None:
        self._jwt = jwt.strip()

    def __repr__(self) -> str:
        return "_Key('***')"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._jwt}"
        return request

    def hide(self, text: str) -> str:
        return text.replace(self._jwt, "***") if self._jwt else text


class _TooMuch(Exception):
    """An answer that is too long, or takes too long."""


def origin(url: str) -> str:
    """Scheme, host and port of a URL; empty if it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if not parts.hostname:
        return ""
    shown = "" if port in (None, {"https": 443, "http": 80}.get(parts.scheme)) else f":{port}"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{shown}"


def is_safe(url: str) -> bool:
    """Whether what is sent to a URL is read by nobody on the way."""
    scheme, _, host = origin(url).partition("://")
    return scheme == "https" or (scheme == "http" and _LOOPBACK.fullmatch(host) is not None)


def _read(response: requests.Response) -> bytes:
    read = getattr(
        response.raw, "read1", response.raw.read
    )  # read1 comes back with what is there, however slow
    deadline = time.monotonic() + _ANSWER_SECONDS
    body = bytearray()
    while True:
        try:
            piece = read(1 << 16, decode_content=True)
        except Exception as error:  # urllib3's, which are not of requests
            raise requests.ConnectionError(type(error).__name__) from None
        if not piece:
            return bytes(body)
        body += piece
        if len(body) > _ANSWER_BYTES or time.monotonic() > deadline:
            raise _TooMuch


def _reason(error: Exception) -> str:
    """What went wrong, in our words: those of requests quote URLs."""
    text = repr(error)
    if isinstance(error, _TooMuch):
        return "its answer does not end"
    if isinstance(error, requests.exceptions.SSLError):
        return "its TLS certificate was not accepted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be used"
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return "no connection or no answer in time"
    if "NameResolution" in text or "getaddrinfo" in text:
        return "the name of its host is not known; is there a network?"
    if "NewConnection" in text:
        return "no connection; is there a network?"
    return "the connection was cut"


def _said(body: bytes) -> str:
    """The reason in an error's body: {"error": {"reason", "details"}}, {"error"}, {"message"}, or plain text."""
    text = body[: 1 << 16].decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except ValueError:
        return "" if "<html" in text.lower() else text
    for key in ("error", "message", "details", "reason"):
        if isinstance(said, dict) and said.get(key):
            inner = said[key]
            if isinstance(inner, dict):
                inner = inner.get("details") or inner.get("reason") or inner.get("message") or inner
            return str(inner)
    return text
