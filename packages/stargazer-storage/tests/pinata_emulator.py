"""A Pinata account on loopback: the v3 API, uploads (multipart and TUS) and a dedicated gateway, with faults to order.

In a test: `with PinataEmulator(folder) as pinata: ...`. As a process that can be killed and started again on the same
folder and ports: `with PinataProcess(folder) as pinata: ...`, or `python pinata_emulator.py --folder F --port-file P`.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import collections
import dataclasses
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

if __package__:
    from .faulty_http import Answer, Exchange, Fault, Faults, FaultyServer, Request, file_answer, json_answer
    from .pinata_account import Account, Refusal, check_keyvalues
    from .streamed_multipart import parts
else:  # run as a program
    from faulty_http import Answer, Exchange, Fault, Faults, FaultyServer, Request, file_answer, json_answer
    from pinata_account import Account, Refusal, check_keyvalues
    from streamed_multipart import parts

__all__ = ["DOMAIN", "JWT", "Fault", "PinataEmulator", "PinataProcess"]

JWT = "eyJhbGciOiJIUzI1NiJ9.emulator-secret-jwt.c2lnbmF0dXJl"
"""The only token that is let in; distinctive, so that a test can look for it where it must not be."""

DOMAIN = "emulated-gateway-1"
"""The account's gateway, without .mypinata.cloud, as the API gives it."""

TUS = {"Tus-Resumable": "1.0.0"}


class PinataEmulator:
    """The account and its three hosts, each on a port of its own: `api`, `uploads` and `gateway` are their URLs.

    Everything below may be changed while it runs.
    """

    jwt = JWT

    def __init__(self, folder: Path, *, ports: tuple[int, int, int] = (0, 0, 0)) -> None:
        self.account = Account(Path(folder))
        self.faults = Faults()
        self.requests: list[Exchange] = []
        self.gateway_token = ""
        """If set, /ipfs/ asks for it in x-pinata-gateway-token."""
        self.rate_limit: int | None = None
        """Requests of the API and of uploads per `rate_window` seconds."""
        self.rate_window = 60.0
        self.max_file = 25_000_000_000
        self.max_request = 100_000_000
        """Bytes of one request, multipart or PATCH."""
        self.ignored_filters: set[str] = set()
        """Filters the listing ignores: "keyvalues", "metadata", "name", "cid"."""
        self.page_limit = 1000
        """Files on a page, at most, whatever was asked for."""
        self._times: collections.deque[float] = collections.deque()
        self._servers = [
            FaultyServer(name, self._guard(route), self.faults, self.requests, port)
            for name, route, port in zip(
                ("api", "uploads", "gateway"), (self._api, self._uploads, self._gateway), ports, strict=True
            )
        ]

    def __enter__(self) -> PinataEmulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        errors = [error for server in self._servers for error in server.errors]
        if errors:
            raise errors[0]

    def start(self) -> None:
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        """Drop every connection; `start` goes on with the same ports."""
        for server in self._servers:
            server.stop()

    @property
    def api(self) -> str:
        return self._servers[0].url

    @property
    def uploads(self) -> str:
        return self._servers[1].url

    @property
    def gateway(self) -> str:
        return self._servers[2].url

    @property
    def files(self) -> list[dict[str, Any]]:
        """The records of both networks, oldest first, as they are (no staleness)."""
        return sorted(self.account.files.values(), key=lambda f: (f["created_at"], f["id"]))

    @property
    def leaks(self) -> list[Exchange]:
        """Requests that told the JWT to a host that must not learn it."""
        return [
            e for e in self.requests if e.server == "gateway" and JWT in json.dumps([e.target, e.headers])
        ]

    def fault(self, match: str = "", **what: Any) -> Fault:
        """Put a fault in force: see Fault for what it can do."""
        fault = Fault(match=match, **what)
        self.faults.append(fault)
        return fault

    def received(self, match: str = "") -> int:
        """Bytes of request bodies that arrived, over the requests whose "METHOD /target" matches."""
        return sum(e.received for e in self.matching(match))

    def sent(self, match: str = "") -> int:
        """Bytes of answers' bodies that were sent, likewise."""
        return sum(e.sent for e in self.matching(match))

    def matching(self, match: str) -> list[Exchange]:
        return [e for e in self.requests if re.search(match, f"{e.method} {e.target}")]

    def expire_uploads(self) -> None:
        """Forget every TUS upload that is not finished."""
        for path in (self.account.folder / "uploads").iterdir():
            path.unlink()

    def _guard(self, route: Any) -> Any:
        def answer(request: Request) -> Answer:
            try:
                return route(request)
            except Refusal as refusal:
                request.drain()
                error = {"error": {"reason": refusal.reason, "details": refusal.reason}}
                return json_answer(refusal.status, error, **refusal.headers)

        return answer

    def _admit(self, request: Request) -> None:
        if self.rate_limit is not None:
            now = time.monotonic()
            while self._times and self._times[0] <= now - self.rate_window:
                self._times.popleft()
            if len(self._times) >= self.rate_limit:
                wait = max(1, round(self._times[0] + self.rate_window - now))
                raise Refusal(429, "too many requests", **{"Retry-After": str(wait)})
            self._times.append(now)
        if request.headers.get("authorization") != f"Bearer {JWT}":
            raise Refusal(401, "Not Authorized")

    # --- api.pinata.cloud

    def _api(self, request: Request) -> Answer:
        if request.path == "/_emulator":
            return self._control(request)
        self._admit(request)
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["data", "testAuthentication"]:
                return json_answer(
                    200, {"message": "Congratulations! You are communicating with the Pinata API!"}
                )
            case "GET", ["v3", "ipfs", "gateways"] | ["v3", "gateways"]:
                row = {
                    "id": str(uuid.UUID(int=1)),
                    "created_at": "2026-01-01T00:00:00.000Z",
                    "domain": DOMAIN,
                }
                return json_answer(
                    200, {"data": {"count": 1, "rows": [{**row, "restrict": False, "custom_domains": []}]}}
                )
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
        wanted: dict[str, str] = {}
        options: dict[str, str] = {}
        for name, value in request.query:
            pair = re.fullmatch(r"(keyvalues|metadata)\[(.*)\]", name)
            if pair is None:
                options[name] = value
            elif pair[1] not in self.ignored_filters:
                wanted[pair[2]] = value
        found = [
            f
            for f in self.account.listed(network)
            if all((f["keyvalues"] or {}).get(k) == v for k, v in wanted.items())
            and all(
                options.get(name, f[name]) == f[name]
                for name in ("name", "cid")
                if name not in self.ignored_filters
            )
        ]
        if options.get("order", "DESC") != "ASC":
            found.reverse()
        limit = options.get("limit", "10")
        if not limit.isdecimal() or int(limit) < 1:
            raise Refusal(400, "limit must be a positive number")
        token = options.get("pageToken")
        if token:
            last, descending = (
                json.loads(base64.urlsafe_b64decode(token)),
                options.get("order", "DESC") != "ASC",
            )
            found = [f for f in found if f["id"] != last[1] and (_place(f) < last) is descending]
        size = min(int(limit), self.page_limit)
        page = found[:size]
        full = len(page) == size  # a last page that is full has a token too, of an empty page
        following = base64.urlsafe_b64encode(json.dumps(_place(page[-1])).encode()).decode() if full else None
        return json_answer(200, {"data": {"files": page, "next_page_token": following}})

    def _sign(self, order: dict[str, Any]) -> Answer:
        parts_of_url = urlsplit(str(order.get("url", "")))
        if parts_of_url.netloc not in (urlsplit(self.gateway).netloc, f"{DOMAIN}.mypinata.cloud"):
            raise Refusal(400, "url must be on a gateway of this account")
        if not re.fullmatch(r"/files/[^/]+", parts_of_url.path):
            raise Refusal(400, "url must be https://{gateway}/files/{cid}")
        if not all(isinstance(order.get(name), int) for name in ("date", "expires")):
            raise Refusal(400, "date and expires must be numbers of seconds")
        asked = {
            "X-Algorithm": "PINATA1",
            "X-Date": str(order["date"]),
            "X-Expires": str(order["expires"]),
            "X-Method": str(order.get("method", "GET")),
        }
        asked["X-Signature"] = _signature(parts_of_url.path, asked)
        return json_answer(200, {"data": f"{self.gateway}{parts_of_url.path}?{urlencode(asked)}"})

    # --- uploads.pinata.cloud

    def _uploads(self, request: Request) -> Answer:
        self._admit(request)
        if (request.length or 0) > self.max_request:
            raise Refusal(413, f"a request has at most {self.max_request} bytes")
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["v3", "files"]:
                return (
                    self._tus_create(request)
                    if "upload-length" in request.headers
                    else self._multipart(request)
                )
            case "HEAD" | "PATCH" as method, ["v3", "files", id]:
                if request.headers.get("tus-resumable") != "1.0.0":
                    raise Refusal(412, "Tus-Resumable must be 1.0.0", **{"Tus-Version": "1.0.0"})
                return self._tus_head(id) if method == "HEAD" else self._tus_patch(request, id)
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
                        for piece in part.pieces:
                            out.write(piece)
                else:
                    raise Refusal(400, f"unexpected file {part.name!r}")
            if filename is None:
                raise Refusal(400, "file is required")
            order = _order({"name": filename, **fields})
            if content.stat().st_size > self.max_file:
                raise Refusal(413, f"a file has at most {self.max_file} bytes")
            data = self.account.keep(content, str(uuid.uuid4()), mime_type=mime_type, **order)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        finally:
            content.unlink(missing_ok=True)
        return json_answer(200, {"data": data})

    def _tus_create(self, request: Request) -> Answer:
        if request.headers.get("tus-resumable") != "1.0.0":
            raise Refusal(412, "Tus-Resumable must be 1.0.0", **{"Tus-Version": "1.0.0"})
        length = int(request.headers["upload-length"])
        if length > self.max_file:
            raise Refusal(413, f"a file has at most {self.max_file} bytes")
        fields = {}
        for pair in filter(None, request.headers.get("upload-metadata", "").split(",")):
            name, _, encoded = pair.strip().partition(" ")
            try:
                fields[name] = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise Refusal(400, f"Upload-Metadata: {name} is not base64") from None
        order = _order({"name": fields.get("filename", ""), **fields})
        id = str(uuid.uuid4())
        body, plan = self._upload_paths(id)
        body.touch()
        upload = {"length": length, "mime_type": fields.get("filetype", ""), **order}
        plan.write_text(json.dumps(upload))
        if length == 0:
            self._finish(id, upload)
        return Answer(201, {**TUS, "Location": f"{self.uploads}/v3/files/{id}"})

    def _tus_head(self, id: str) -> Answer:
        upload, offset = self._upload(id)
        return Answer(
            200,
            {
                **TUS,
                "Upload-Offset": str(offset),
                "Upload-Length": str(upload["length"]),
                "Cache-Control": "no-store",
            },
        )

    def _tus_patch(self, request: Request, id: str) -> Answer:
        if request.headers.get("content-type") != "application/offset+octet-stream":
            raise Refusal(415, "Content-Type must be application/offset+octet-stream")
        with self.account.lock:
            upload, offset = self._upload(id)
            if request.headers.get("upload-offset") != str(offset) or "cid" in upload:
                raise Refusal(409, f"Upload-Offset must be {offset}")
            if offset + (request.length or 0) > upload["length"]:
                raise Refusal(413, "more than Upload-Length")
            with self._upload_paths(id)[0].open("ab", buffering=0) as out:
                while piece := request.read():
                    offset += out.write(piece)
            headers = {**TUS, "Upload-Offset": str(offset)}
            if offset == upload["length"]:
                headers["upload-cid"] = self._finish(id, upload)
        return Answer(204, headers)

    def _finish(self, id: str, upload: dict[str, Any]) -> str:
        body, plan = self._upload_paths(id)
        details = {name: value for name, value in upload.items() if name != "length"}
        data = self.account.keep(body, id, **details)
        plan.write_text(json.dumps({**upload, "cid": data["cid"]}))
        return str(data["cid"])

    def _upload(self, id: str) -> tuple[dict[str, Any], int]:
        body, plan = self._upload_paths(id)
        if not re.fullmatch(r"[0-9a-f-]{36}", id) or not plan.exists():
            raise Refusal(404, "upload not found")
        upload = json.loads(plan.read_text())
        if "cid" in upload or id in self.account.files:  # killed between filing and noting the CID
            return {"cid": "", **upload}, upload["length"]
        if not body.exists():
            raise Refusal(404, "upload not found")
        return upload, body.stat().st_size

    def _upload_paths(self, id: str) -> tuple[Path, Path]:
        return self.account.folder / "uploads" / f"{id}.bin", self.account.folder / "uploads" / f"{id}.json"

    # --- X.mypinata.cloud

    def _gateway(self, request: Request) -> Answer:
        match request.method, request.path.strip("/").split("/"):
            case "GET" | "HEAD", ["ipfs", cid]:
                return self._public(request, cid)
            case "GET" | "HEAD", ["files", cid]:
                return self._private(request, cid)
        raise Refusal(404, "not found")

    def _public(self, request: Request, cid: str) -> Answer:
        query = dict(request.query)
        token = request.headers.get("x-pinata-gateway-token", query.get("pinataGatewayToken", ""))
        if self.gateway_token and token != self.gateway_token:
            raise Refusal(401, "ERR_ID:00024 Provided gateway token is not valid")
        if not self.account.holds(cid, "public"):
            raise Refusal(403, "ERR_ID:00006 The owner of this gateway does not have this content pinned")
        cache = {"Cache-Control": "public, max-age=29030400, immutable", "X-Ipfs-Path": f"/ipfs/{cid}"}
        wanted = query.get("format") or ("raw" if "vnd.ipld.raw" in request.headers.get("accept", "") else "")
        if wanted == "raw":
            root = self.account.blob(f"{cid}.root")
            block = root if root.exists() else self.account.blob(cid)
            return file_answer(
                request, block, f"{cid}.raw", **{**cache, "Content-Type": "application/vnd.ipld.raw"}
            )
        if wanted:
            raise Refusal(406, f"format {wanted} is not served here")
        return file_answer(request, self.account.blob(cid), cid, **cache)

    def _private(self, request: Request, cid: str) -> Answer:
        asked = {
            name: values[0] for name, values in parse_qs(urlsplit(request.exchange.target).query).items()
        }
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

    # --- for PinataProcess

    def _control(self, request: Request) -> Answer:
        self.requests.remove(request.exchange)
        order = json.loads(request.body() or b"{}")
        if "fault" in order:
            self.fault(**order["fault"])
        if "no_faults" in order:
            self.faults.clear()
        for name, value in order.get("set", {}).items():
            target = self.account if hasattr(self.account, name) else self
            if not hasattr(target, name):
                raise Refusal(400, f"no setting {name!r}")
            setattr(target, name, set(value) if name == "ignored_filters" else value)
        return json_answer(
            200, {"files": self.files, "requests": [dataclasses.asdict(e) for e in self.requests]}
        )


class PinataProcess:
    """The emulator as a process of its own: the same URLs, `fault`, `requests`, `files`; and `kill`, `restart`."""

    jwt = JWT
    api: str
    uploads: str
    gateway: str

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._ports = "0,0,0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PinataProcess:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start, on the same ports as before if there was a before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        port_file = self.folder / "ports.json"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, __file__, "--folder", str(self.folder), "--port-file", str(port_file)]
        self._process = subprocess.Popen([*command, "--ports", self._ports])
        deadline = time.monotonic() + 30
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("the Pinata emulator did not start")
            time.sleep(0.01)
        urls = json.loads(port_file.read_text())
        self.api, self.uploads, self.gateway = urls["api"], urls["uploads"], urls["gateway"]
        self._ports = ",".join(str(urlsplit(url).port) for url in (self.api, self.uploads, self.gateway))

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def fault(self, match: str = "", **what: Any) -> None:
        self._tell(fault={"match": match, **what})

    def clear_faults(self) -> None:
        self._tell(no_faults=True)

    def set(self, **settings: Any) -> None:
        """Set attributes of PinataEmulator or of its account."""
        self._tell(set=settings)

    @property
    def files(self) -> list[dict[str, Any]]:
        return list(self._tell()["files"])

    @property
    def requests(self) -> list[Exchange]:
        """What was asked since the last start."""
        return [Exchange(**entry) for entry in self._tell()["requests"]]

    def _tell(self, **order: Any) -> dict[str, Any]:
        asked = urllib.request.Request(f"{self.api}/_emulator", json.dumps(order).encode(), method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=30) as answer:
            return dict(json.load(answer))


def _json(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(request.body())
    except ValueError:
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the body is not an object")
    return value


def _order(fields: dict[str, str]) -> dict[str, Any]:
    """What an upload asks for, of a form's fields or of TUS metadata."""
    network = fields.get("network", "private")
    if network not in ("public", "private"):
        raise Refusal(400, "network must be public or private")
    if fields.get("cid_version", "v1") != "v1":
        raise Refusal(400, "the emulator knows cid_version v1 only")
    try:
        keyvalues = json.loads(fields.get("keyvalues") or "null")
    except ValueError:
        raise Refusal(400, "keyvalues must be a JSON string") from None
    return {
        "name": fields["name"],
        "network": network,
        "keyvalues": check_keyvalues(keyvalues),
        "group_id": fields.get("group_id"),
    }


def _place(record: dict[str, Any]) -> list[str]:
    return [record["created_at"], record["id"]]


def _signature(path: str, asked: dict[str, str]) -> str:
    text = "\n".join(
        [path, *(asked.get(f"X-{name}", "") for name in ("Algorithm", "Date", "Expires", "Method"))]
    )
    return hmac.new(JWT.encode(), text.encode(), hashlib.sha256).hexdigest()


def main() -> int:
    """Serve until killed; the port file holds the three URLs as JSON once they answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--ports", default="0,0,0", help="api,uploads,gateway; 0 picks one")
    parser.add_argument("--fault", action="append", default=[], help="a Fault as JSON")
    options = parser.parse_args()
    api, uploads, gateway = map(int, options.ports.split(","))
    with PinataEmulator(options.folder, ports=(api, uploads, gateway)) as emulator:
        for fault in options.fault:
            emulator.fault(**json.loads(fault))
        scratch = options.port_file.with_suffix(".tmp")
        scratch.write_text(
            json.dumps({"api": emulator.api, "uploads": emulator.uploads, "gateway": emulator.gateway})
        )
        os.replace(scratch, options.port_file)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    sys.exit(main())
