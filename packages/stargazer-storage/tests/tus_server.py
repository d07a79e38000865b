"""Somebody else's TUS server (tuspyserver under uvicorn) as a process of its own, and a proxy that cuts connections.

with TusServer(folder) as server, CuttingProxy(server.port) as proxy:
    proxy.cut_after(1_000_000)      # the next connection is dropped after so many bytes from the client
    ...                             # POST, HEAD, PATCH at proxy.url("/v3/files")
    server.uploads()                # {upload id: bytes that arrived}
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

__all__ = ["CuttingProxy", "TusServer", "missing"]


def missing() -> str:
    """What of the server is not installed, as a reason to skip; empty if nothing."""
    names = [name for name in ("tuspyserver", "uvicorn") if importlib.util.find_spec(name) is None]
    return f"no TUS server: pip install {' '.join(names)}" if names else ""


class TusServer:
    """tuspyserver on loopback; files go to `folder`. `kill` is kill -9, and `start` takes the same port again."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.port = 0
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> TusServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Where uploads are created."""
        return f"http://127.0.0.1:{self.port}/v3/files"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        command = [sys.executable, __file__, "--folder", str(self.folder), "--port", str(self.port)]
        self._process = subprocess.Popen(command)
        self.starts += 1
        deadline = time.monotonic() + 60
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("the TUS server did not start")
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def uploads(self) -> dict[str, int]:
        """The size of each upload as it is on disk now."""
        files = [path for path in self.folder.iterdir() if path.is_file() and not path.suffix]
        return {path.name: path.stat().st_size for path in files}

    def content(self, url: str) -> bytes:
        """The bytes that arrived for the upload at `url`."""
        return (self.folder / url.rstrip("/").rpartition("/")[2]).read_bytes()


class CuttingProxy:
    """A TCP proxy that forwards to `port` on loopback and drops the connections it is told to."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.forwarded = 0
        """Bytes from clients that were passed on."""
        self.connections = 0
        self._cuts: list[int] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> CuttingProxy:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def url(self, path: str = "/v3/files") -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}{path}"

    def cut_after(self, *sizes: int) -> None:
        """Drop the connection as soon as so many more bytes came from clients; one size per cut, in this order."""
        self._cuts.extend(sizes)

    def _run(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            client, _ = self._listener.accept()
            self.connections += 1
            self._run(self._forward, client)

    def _forward(self, client: socket.socket) -> None:
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.target)) as server,
        ):
            while not self._stopping.is_set():
                for source in select.select([client, server], [], [], 0.05)[0]:
                    piece = source.recv(65536)
                    if not piece:
                        return
                    if source is client and not self._pass_on(piece, server):
                        return
                    if source is server:
                        client.sendall(piece)

    def _pass_on(self, piece: bytes, server: socket.socket) -> bool:
        if self._cuts:
            piece = piece[: self._cuts[0]]
            self._cuts[0] -= len(piece)
        server.sendall(piece)
        self.forwarded += len(piece)
        if self._cuts and self._cuts[0] == 0:
            del self._cuts[0]
            return False
        return True


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def main() -> None:
    """Serve until killed."""
    import uvicorn
    from fastapi import FastAPI
    from tuspyserver import create_tus_router

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    app = FastAPI()
    app.include_router(
        create_tus_router(prefix="v3/files", files_dir=options.folder, strict_offset_validation=True)
    )
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="error")


if __name__ == "__main__":
    main()
