"""A Pinata account on loopback: the v3 API, uploads (multipart and TUS) and a dedicated gateway, with faults to order.

In a test: the fixture `pinata`, or `with PinataEmulator(folder) as pinata: ...`. As a process that can be killed and
started again on the same folder and ports: `pinata_process`, `PinataProcess(folder)`, or
`python pinata_emulator.py --folder F --port-file P`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

if __package__:
    from . import emulator
else:  # run as a program
    import emulator

__all__ = ["DOMAIN", "JWT", "Exchange", "Fault", "PinataEmulator", "PinataProcess"]

JWT, DOMAIN = emulator.JWT, emulator.DOMAIN
Exchange, Fault = emulator.Exchange, emulator.Fault


class PinataEmulator(emulator.Observed):
    """The account and its three hosts, each on a port of its own: `api`, `uploads` and `gateway` are their URLs.

    `account` and `rules` hold what may be changed while it runs; see Account and Rules.
    """

    jwt = JWT

    def __init__(self, folder: Path, *, ports: tuple[int, int, int] = (0, 0, 0)) -> None:
        self.account = emulator.Account(Path(folder))
        self.rules = emulator.Rules()
        self.faults = emulator.Faults()
        self.requests: list[emulator.Exchange] = []
        self._api = emulator.Api(self.account, self.rules)
        self._uploads = emulator.Uploads(self.account, self.rules)
        routes: dict[str, Callable[[emulator.Request], emulator.Answer]] = {
            "api": lambda request: self._control(request) or self._api.route(request),
            "uploads": self._uploads.route,
            "gateway": emulator.Gateway(self.account, self.rules).route,
        }
        self._servers = {
            name: emulator.FaultyServer(name, _refusing(route), self.faults, self.requests, port)
            for (name, route), port in zip(routes.items(), ports, strict=True)
        }

    def __enter__(self) -> PinataEmulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for server in self._servers.values():
            if server.errors:
                raise server.errors[0]

    def start(self) -> None:
        for server in self._servers.values():
            server.start()
        self._api.gateway, self._uploads.host = self.gateway, self.uploads

    def stop(self) -> None:
        """Drop every connection; `start` goes on with the same ports."""
        for server in self._servers.values():
            server.stop()

    @property
    def api(self) -> str:
        return self._servers["api"].url

    @property
    def uploads(self) -> str:
        return self._servers["uploads"].url

    @property
    def gateway(self) -> str:
        return self._servers["gateway"].url

    @property
    def files(self) -> list[dict[str, Any]]:
        """The records of both networks, oldest first, as they are (no staleness)."""
        return sorted(self.account.files.values(), key=lambda f: (f["created_at"], f["id"]))

    def content(self, cid: str) -> bytes:
        """The bytes of a file that was uploaded."""
        return self.account.blob(cid).read_bytes()

    def fault(self, match: str = "", **what: Any) -> emulator.Fault:
        """Put a fault in force: see Fault for what it can do."""
        fault = emulator.Fault(match=match, **what)
        self.faults.append(fault)
        return fault

    def set(self, **settings: Any) -> None:
        """Change fields of `rules` or `account` by their names."""
        for name, value in settings.items():
            target = self.account if hasattr(self.account, name) else self.rules
            if not hasattr(target, name):
                raise AttributeError(f"neither the account nor the rules have {name!r}")
            setattr(target, name, set(value) if name == "ignored_filters" else value)

    def expire_uploads(self) -> None:
        """Forget every TUS upload."""
        self._uploads.tus.expire()

    def end_uploads(self) -> None:
        """Wait until what killed clients had sent is dealt with: no connection for uploads is open then."""
        self._servers["uploads"].wait_for_ends()

    def _control(self, request: emulator.Request) -> emulator.Answer | None:
        """What PinataProcess asks for from outside; no part of Pinata."""
        if request.path != "/_emulator":
            return None
        self.requests.remove(request.exchange)
        order = json.loads(request.body() or b"{}")
        if "clear_faults" in order:
            self.faults.clear()
        if "fault" in order:
            self.fault(**order["fault"])
        if "expire_uploads" in order:
            self.expire_uploads()
        if "end_uploads" in order:
            self.end_uploads()
        self.set(**order.get("set", {}))
        state = {"files": self.files, "requests": [dataclasses.asdict(e) for e in self.requests]}
        return emulator.json_answer(200, state)


class PinataProcess(emulator.Observed):
    """The emulator as a process of its own: the same URLs and questions, and `kill`, `start`, `restart`.

    What it was asked and its faults are forgotten when it is killed; files, uploads and signed links are not.
    """

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
        deadline = time.monotonic() + 60
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("the Pinata emulator did not start")
            time.sleep(0.01)
        urls = json.loads(port_file.read_text())
        self.api, self.uploads, self.gateway = urls["api"], urls["uploads"], urls["gateway"]
        self._ports = ",".join(str(urlsplit(url).port) for url in (self.api, self.uploads, self.gateway))

    @property
    def pid(self) -> int:
        """The process's number, for somebody else to kill it."""
        return self._process.pid if self._process else 0

    @property
    def ended(self) -> bool:
        """Whether it is dead, whoever did it."""
        return self._process is None or self._process.poll() is not None

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
        self._tell(clear_faults=True)

    def set(self, **settings: Any) -> None:
        self._tell(set=settings)

    def expire_uploads(self) -> None:
        self._tell(expire_uploads=True)

    def end_uploads(self) -> None:
        self._tell(end_uploads=True)

    @property
    def files(self) -> list[dict[str, Any]]:
        return list(self._tell()["files"])

    @property
    def requests(self) -> list[emulator.Exchange]:  # type: ignore[override]
        return [emulator.Exchange(**entry) for entry in self._tell()["requests"]]

    def content(self, cid: str) -> bytes:
        return (self.folder / "blobs" / cid).read_bytes()

    def _tell(self, **order: Any) -> dict[str, Any]:
        asked = urllib.request.Request(f"{self.api}/_emulator", json.dumps(order).encode(), method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=30) as answer:
            return dict(json.load(answer))


def _refusing(
    route: Callable[[emulator.Request], emulator.Answer],
) -> Callable[[emulator.Request], emulator.Answer]:
    """A route whose refusals are answers."""

    def answer(request: emulator.Request) -> emulator.Answer:
        try:
            return route(request)
        except emulator.Refusal as refusal:
            error = {"error": {"reason": refusal.reason, "details": refusal.reason}}
            return emulator.json_answer(refusal.status, error, **refusal.headers)

    return answer


def main() -> int:
    """Serve until killed; the port file holds the three URLs as JSON once they answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--ports", default="0,0,0", help="api,uploads,gateway; 0 picks one")
    parser.add_argument("--fault", action="append", default=[], help="a Fault as JSON")
    options = parser.parse_args()
    api, uploads, gateway = map(int, options.ports.split(","))
    with PinataEmulator(options.folder, ports=(api, uploads, gateway)) as pinata:
        for fault in options.fault:
            pinata.fault(**json.loads(fault))
        scratch = options.port_file.with_suffix(".tmp")
        scratch.write_text(
            json.dumps({"api": pinata.api, "uploads": pinata.uploads, "gateway": pinata.gateway})
        )
        os.replace(scratch, options.port_file)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    return 0


if __name__ == "__main__":
    sys.exit(main())
