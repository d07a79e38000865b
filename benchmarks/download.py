"""Fetching an object from a gateway on loopback against curl, sync and openssl sha256, and how much memory it takes.

    python benchmarks/download.py [--gib 1] [--rounds 5] [--folder FOLDER]

Yardstick: `curl` into a file, `sync`, `openssl sha256`, from the same server (a process of its own, sendfile).
"""

from __future__ import annotations

import argparse
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _measure import Run, alternate, report, run

FETCH = """
import sys
from stargazer.storage.download.fetch import fetch_object
from stargazer.storage.objects import Objects
from stargazer.storage.download.sources import Gateway

fetch_object(sys.argv[1], [Gateway(sys.argv[2])], Objects(sys.argv[3]))
"""
LEAST = "import requests, stargazer.storage.download.fetch"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    file = ""

    def do_GET(self) -> None:
        with open(self.file, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.flush()
            sent = 0
            while sent < size:
                sent += os.sendfile(self.connection.fileno(), file.fileno(), sent, size - sent)

    def log_message(self, *args: object) -> None: ...


def serve(path: str) -> None:
    """Serve one file, whatever is asked, and print the address."""
    _Handler.file = path
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


@contextmanager
def served(path: Path) -> Iterator[str]:
    """The address of a server of its own process."""
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    from stargazer.storage import compute_cid

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        large, arrived = folder / "large", folder / "arrived"
        with open(large, "wb") as file:
            for _ in range(int(options.gib * 64)):
                file.write(os.urandom(1 << 24))
        cid = compute_cid(large)

        def fresh() -> None:
            shutil.rmtree(arrived, ignore_errors=True)
            arrived.mkdir()

        with served(large) as address:

            def by_hand() -> Run:
                fresh()
                words = 'curl -sS -o "$2" "$1" && sync && openssl sha256 "$2"'
                return run(["sh", "-c", words, "sh", f"{address}/ipfs/{cid}", str(arrived / "file")])

            def fetch() -> Run:
                fresh()
                return run([sys.executable, "-c", FETCH, cid, address, str(arrived)])

            def nothing() -> Run:
                return run([sys.executable, "-c", LEAST])

            yardstick = "curl, sync, openssl sha256"
            print(f"one object of {options.gib} GiB from loopback, verified")
            sides = {yardstick: by_hand, "fetch_object": fetch, "(its imports alone)": nothing}
            report(alternate(sides, options.rounds), yardstick)


if __name__ == "__main__":
    main()
