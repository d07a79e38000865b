"""Drives real marimo kernels: a server of `marimo edit`, and notebooks in it whose cells are run over its HTTP API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

PATIENCE = 120.0
"""Seconds that a kernel may take for anything."""


class Server:
    """`marimo edit` on a folder, without a browser."""

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.log = folder.with_name("server.log")
        places = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
        own = dict.fromkeys(places, str(folder.with_name("marimo")))  # nothing of the user's own settings
        command = ["-m", "marimo", "edit", "--headless", "--no-token", "--skip-update-check", "--port"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, str(self.port), str(folder)],
                cwd=folder, env={**os.environ, **own, **environment}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.url = f"http://127.0.0.1:{self.port}"
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{self.url}/health", timeout=10).ok:
                    break
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.05)
        page = requests.get(self.url, timeout=30).text
        found = re.search(r'"serverToken":\s*"([^"]*)"', page)
        self.token = found[1] if found else ""

    def open(self, path: Path) -> Kernel:
        """A notebook of the folder, with a kernel of its own."""
        return Kernel(self, path)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Kernel:
    """The kernel of one open notebook; `cells` has what each cell has shown so far, by id."""

    def __init__(self, server: Server, path: Path):
        from websockets.sync.client import connect  # marimo brings it

        self.server, self.session = server, f"s_{uuid.uuid4().hex[:6]}"
        query = f"session_id={self.session}&file={path}"
        self._closing = contextlib.ExitStack()
        self.socket: ClientConnection = self._closing.enter_context(
            connect(f"ws://127.0.0.1:{server.port}/ws?{query}", max_size=None, open_timeout=PATIENCE)
        )
        self.codes: dict[str, str] = {}
        self.shown: dict[str, dict[str, Any]] = {}
        while (message := self._next())["op"] != "kernel-ready":
            pass
        data = message["data"]
        self.ids: list[str] = list(data["cell_ids"])
        self.names = dict(zip(data["cell_ids"], data["names"], strict=True))
        self.codes = dict(zip(data["cell_ids"], data["codes"], strict=True))

    def _next(self, seconds: float = PATIENCE) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=seconds))
        return message

    def post(self, path: str, **body: Any) -> Any:
        """Ask the server for something about this notebook."""
        answer = requests.post(
            f"{self.server.url}/api/{path}",
            json=body,
            headers={"Marimo-Session-Id": self.session, "Marimo-Server-Token": self.server.token},
            timeout=PATIENCE,
        )
        assert answer.ok, answer.text
        return answer.json()

    def start(self, auto_run: bool = True) -> None:
        """Run all cells of the file, and wait for them."""
        self.post("kernel/instantiate", objectIds=[], values=[], autoRun=auto_run)
        if auto_run:
            self.wait()

    def begin(self, code: str, cell: str | None = None) -> str:
        """Run a cell, a new one or one that is there with another text, and do not wait."""
        cell = cell or f"c{len(self.codes):03d}"
        self.codes[cell] = code
        self.shown[cell] = {}
        self.post("kernel/run", cellIds=[cell], codes=[code])
        return cell

    def run(self, code: str, cell: str | None = None) -> str:
        """What a cell shows, once it and what depends on it has run."""
        return self.text(self.begin(code, cell), wait=True)

    def text(self, cell: str, wait: bool = False) -> str:
        """All that a cell shows: output, what it printed, errors."""
        if wait:
            self.wait()
        shown = self.shown.get(cell, {})
        return "\n".join(filter(None, [str(shown.get("output", "")), "".join(shown.get("console", []))]))

    def wait(self, seconds: float = PATIENCE) -> None:
        """Until the kernel has done what it was asked for."""
        while self._take(self._next(seconds)) != "completed-run":
            pass

    def wait_for(self, text: str, cell: str) -> None:
        """Until a cell shows a text."""
        while text not in self.text(cell):
            self._take(self._next())

    def _take(self, message: dict[str, Any]) -> str:
        op: str = message["op"]
        data = message.get("data") or {}
        if op == "cell-op":
            shown = self.shown.setdefault(data["cell_id"], {})
            if data.get("status") == "queued":
                shown.clear()
            if (output := data.get("output")) is not None:
                shown["output"] = _plain(output)
            console = data.get("console")
            for part in console if isinstance(console, list) else [console] if console else []:
                shown.setdefault("console", []).append(_plain(part))
        return op

    def pid(self) -> int:
        """Of the kernel's process."""
        return int(self.run("import os as _os; print(f'<{_os.getpid()}>')").split("<")[1].split(">")[0])

    def close(self) -> None:
        self._closing.close()


def _plain(output: Mapping[str, Any]) -> str:
    data = output["data"]
    return data if isinstance(data, str) else json.dumps(data)


@contextlib.contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """A server on a folder within a `with` block."""
    pytest.importorskip("marimo", reason="no marimo: hatch run test has it")
    server = Server(folder, environment)
    try:
        yield server
    finally:
        server.close()
