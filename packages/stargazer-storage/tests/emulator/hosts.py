"""The three hosts of Pinata as routes over one account: api.pinata.cloud, uploads.pinata.cloud, X.mypinata.cloud."""

from __future__ import annotations

import base64
import collections
import hashlib
import hmac
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from .account import Account, Refusal, order_of
from .answers import Answer, file_answer, json_answer
from .http import Request
from .multipart import parts
from .tus import TusUploads

__all__ = ["DOMAIN", "JWT", "Api", "Gateway", "Rules", "Uploads"]

JWT = "eyJhbGciOiJIUzI1NiJ9.emulator-secret-jwt.c2lnbmF0dXJl"
"""The only token that is let in; distinctive, so that a test can look for it where it must not be."""

DOMAIN = "emulated-gateway-1"
"""The account's gateway, without .mypinata.cloud, as the API gives it."""


@dataclass
class Rules:
    """What may be changed of the hosts while they run."""

    gateway_token: str = ""
    """If set, /ipfs/ asks for it in x-pinata-gateway-token."""
    rate_limit: int | None = None
    """Requests of the API and of uploads together per `rate_window` seconds."""
    rate_window: float = 60.0
    max_file: int = 25_000_000_000
    """Bytes of one file."""
    max_request: int = 100_000_000
    """Bytes of one request, multipart or PATCH."""
    ignored_filters: set[str] = field(default_factory=set)
    """Filters that listings ignore: "keyvalues", "metadata", "name", "cid"."""
    page_limit: int = 1000
    """Files on a page, at most, whatever was asked for."""
    link_seconds: int | None = None
    """How long a signed link holds, whatever was asked for."""
    times: collections.deque[float] = field(default_factory=collections.deque)

    def admit(self, request: Request) -> None:
        """Refuse who asks too often or without the JWT."""
        if self.rate_limit is not None:
            now = time.monotonic()
            while self.times and self.times[0] <= now - self.rate_window:
                self.times.popleft()
            if len(self.times) >= self.rate_limit:
                wait = max(1, round(self.times[0] + self.rate_window - now))
                raise Refusal(429, "too many requests", **{"Retry-After": str(wait)})
            self.times.append(now)
        if request.headers.get("authorization") != f"Bearer {JWT}":
            raise Refusal(401, "Not Authorized")


class Api:
    """api.pinata.cloud; `gateway` is told the URL of the account's gateway once that listens."""

    def __init__(self, account: Account, rules: Rules) -> None:
        self.account, self.rules, self.gateway = account, rules, ""

    def route(self, request: Request) -> Answer:
        self.rules.admit(request)
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["data", "testAuthentication"]:
                return json_answer(
                    200, {"message": "Congratulations! You are communicating with the Pinata API!"}
                )
            case "GET", ["v3", "ipfs", "gateways"] | [
                "v3",
                "gateways",
            ]:  # the CLI's path, the documentation's path
                row = {
                    "id": str(uuid.UUID(int=1)),
                    "created_at": "2026-01-01T00:00:00.000Z",
                    "domain": DOMAIN,
                }
                rows = [{**row, "restrict": False, "custom_domains": []}]
                return json_answer(200, {"data": {"count": 1, "rows": rows}})
            case "POST", ["v3", "files", "private", "download_link"]:
                return self._sign(_json(request))
            case "GET", ["v3", "files", "public" | "private" as network]:
                return self._list(request, network)
            case method, ["v3", "files", "public" | "private" as network, id]:
                if method == "GET":
                    return json_answer(200, {"data": self.account.seen(self.account.get(id, network))})
                if method == "PUT":
                    return json_answer(200, {"data": self.account.update(id, network, _json(request))})
                if method == "DELETE":
                    self.account.delete(id, network)
                    return json_answer(200, {"data": None})
        raise Refusal(404, f"no such endpoint: {request.method} {request.path}")

    def _list(self, request: Request, network: str) -> Answer:
        ignored = self.rules.ignored_filters
        keyvalues: dict[str, str] = {}
        options: dict[str, str] = {}
        for name, value in request.query:
            pair = re.fullmatch(r"(keyvalues|metadata)\[(.*)\]", name)
            if pair is None:
                options[name] = value
            elif pair[1] not in ignored:
                keyvalues[pair[2]] = value
        exact = {name: options[name] for name in ("name", "cid") if name in options and name not in ignored}
        found = [
            record
            for record in self.account.listed(network)
            if all((record["keyvalues"] or {}).get(key) == value for key, value in keyvalues.items())
            and all(record[name] == value for name, value in exact.items())
        ]
        ascending = options.get("order") == "ASC"
        if not ascending:
            found.reverse()
        if token := options.get("pageToken"):
            last = json.loads(base64.urlsafe_b64decode(token))
            found = [f for f in found if (_place(f) > last if ascending else _place(f) < last)]
        limit = options.get("limit", "10")
        if not limit.isdecimal() or int(limit) < 1:
            raise Refusal(400, "limit must be a positive number")
        size = min(int(limit), self.rules.page_limit)
        page, following = found[:size], None
        if len(page) == size:  # a last page that is full names one more, which is empty
            following = base64.urlsafe_b64encode(json.dumps(_place(page[-1])).encode()).decode()
        return json_answer(200, {"data": {"files": page, "next_page_token": following}})

    def _sign(self, order: dict[str, Any]) -> Answer:
        url = urlsplit(str(order.get("url", "")))
        if url.netloc not in (urlsplit(self.gateway).netloc, f"{DOMAIN}.mypinata.cloud"):
            raise Refusal(400, "url must be on a gateway of this account")
        if not re.fullmatch(r"/files/[^/]+", url.path):
            raise Refusal(400, "url must be https://{gateway}/files/{cid}")
        if not all(isinstance(order.get(name), int) for name in ("date", "expires")):
            raise Refusal(400, "date and expires must be numbers of seconds")
        asked = {
            "X-Algorithm": "PINATA1",
            "X-Date": str(order["date"]),
            "X-Expires": str(
                order["expires"] if self.rules.link_seconds is None else self.rules.link_seconds
            ),
            "X-Method": str(order.get("method", "GET")),
        }
        asked["X-Signature"] = _signature(url.path, asked)
        return json_answer(200, {"data": f"{self.gateway}{url.path}?{urlencode(asked)}"})


class Uploads:
    """uploads.pinata.cloud; `host` is told its own URL once it listens."""

    def __init__(self, account: Account, rules: Rules) -> None:
        self.account, self.rules, self.host = account, rules, ""
        self.tus = TusUploads(account)

    def route(self, request: Request) -> Answer:
        self.rules.admit(request)
        if (request.length or 0) > self.rules.max_request:
            raise Refusal(413, f"a request has at most {self.rules.max_request} bytes")
        path = request.path.strip("/").split("/")
        if request.method == "POST" and path == ["v3", "files"] and "upload-length" not in request.headers:
            return self._multipart(request)
        if path[:2] != ["v3", "files"]:
            raise Refusal(404, f"no such endpoint: {request.method} {request.path}")
        if request.headers.get("tus-resumable") != "1.0.0":
            raise Refusal(412, "Tus-Resumable must be 1.0.0", **{"Tus-Version": "1.0.0"})
        match request.method, path[2:]:
            case "POST", []:
                return self.tus.create(request, self.host, self.rules.max_file)
            case "HEAD", [id]:
                return self.tus.head(id)
            case "PATCH", [id]:
                return self.tus.patch(request, id)
        raise Refusal(404, f"no such endpoint: {request.method} {request.path}")

    def _multipart(self, request: Request) -> Answer:
        fields: dict[str, str] = {}
        content, filename, mime_type = self.account.scratch(), None, ""
        try:
            for part in parts(request.headers.get("content-type", ""), request.read):
                if part.filename is None:
                    fields[part.name] = b"".join(part.pieces).decode()
                elif part.name == "file" and filename is None:
                    filename, mime_type = part.filename, part.content_type
                    with content.open("wb") as out:
                        out.writelines(part.pieces)
                else:
                    raise Refusal(400, f"unexpected file {part.name!r}")
            if filename is None:
                raise Refusal(400, "file is required")
            if content.stat().st_size > self.rules.max_file:
                raise Refusal(413, f"a file has at most {self.rules.max_file} bytes")
            order = order_of({"name": filename, **fields})
            data = self.account.keep(content, str(uuid.uuid4()), mime_type=mime_type, **order)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        finally:
            content.unlink(missing_ok=True)
        return json_answer(200, {"data": data})


class Gateway:
    """X.mypinata.cloud: /ipfs/{cid} of what is public, /files/{cid} by signed links."""

    def __init__(self, account: Account, rules: Rules) -> None:
        self.account, self.rules = account, rules

    def route(self, request: Request) -> Answer:
        match request.method, request.path.strip("/").split("/"):
            case "GET" | "HEAD", ["ipfs", cid]:
                return self._public(request, cid)
            case "GET" | "HEAD", ["files", cid]:
                return self._private(request, cid)
        raise Refusal(404, "not found")

    def _public(self, request: Request, cid: str) -> Answer:
        query = dict(request.query)
        token = request.headers.get("x-pinata-gateway-token", query.get("pinataGatewayToken", ""))
        if self.rules.gateway_token and token != self.rules.gateway_token:
            raise Refusal(401, "ERR_ID:00024 Provided gateway token is not valid")
        if not self.account.holds(cid, "public"):
            raise Refusal(403, "ERR_ID:00006 The owner of this gateway does not have this content pinned")
        given = {"Cache-Control": "public, max-age=29030400, immutable", "X-Ipfs-Path": f"/ipfs/{cid}"}
        wanted = query.get("format") or ("raw" if "vnd.ipld.raw" in request.headers.get("accept", "") else "")
        if wanted == "raw":
            root = self.account.blob(f"{cid}.root")
            given["Content-Type"] = "application/vnd.ipld.raw"
            return file_answer(
                request, root if root.exists() else self.account.blob(cid), f"{cid}.raw", **given
            )
        if wanted:
            raise Refusal(406, f"format {wanted} is not served here")
        return file_answer(request, self.account.blob(cid), cid, **given)

    def _private(self, request: Request, cid: str) -> Answer:
        query = parse_qs(urlsplit(request.exchange.target).query)
        asked = {name: values[0] for name, values in query.items()}
        given = asked.pop("X-Signature", "")
        if (
            not hmac.compare_digest(given, _signature(request.path, asked))
            or asked.get("X-Method") != request.method
        ):
            raise Refusal(401, "invalid signature")
        if time.time() > int(asked["X-Date"]) + int(asked["X-Expires"]):
            raise Refusal(401, "the link has expired")
        if not self.account.holds(cid, "private"):
            raise Refusal(404, "file not found")
        return file_answer(request, self.account.blob(cid), cid, **{"Cache-Control": "private"})


def _json(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(request.body())
    except ValueError:
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the body is not an object")
    return value


def _place(record: dict[str, Any]) -> list[str]:
    return [record["created_at"], record["id"]]


def _signature(path: str, asked: dict[str, str]) -> str:
    text = "\n".join(
        [path, *(asked.get(f"X-{name}", "") for name in ("Algorithm", "Date", "Expires", "Method"))]
    )
    return hmac.new(JWT.encode(), text.encode(), hashlib.sha256).hexdigest()
