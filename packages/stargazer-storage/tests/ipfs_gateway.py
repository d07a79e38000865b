"""The reference IPFS importer and gateway (boxo) on loopback: an oracle for CIDs, and a server nobody here wrote.

`python ipfs_gateway.py` builds the command, or finds it built, and prints its path; CI may do that ahead of the tests.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["BuildFailed", "IpfsGateway", "NoGo", "build"]

SOURCES = Path(__file__).parent / "gateway"


class NoGo(Exception):
    """There is no Go to build the gateway with."""


class BuildFailed(Exception):
    """Go did not build it: its modules could not be fetched, or it is too old."""


def build() -> Path:
    """The command, built once per state of its sources and kept in the user's cache.

    Raises:
        NoGo: if it is not built and `go` is not on PATH.
        BuildFailed: if Go could not build it.
    """
    digest = hashlib.sha256(f"{sys.platform} {platform.machine()}".encode())
    for name in ("go.mod", "go.sum", "main.go"):
        digest.update((SOURCES / name).read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stargazer-tests"
    binary = cache / f"ipfsgw-{digest.hexdigest()[:16]}"
    if binary.exists():
        return binary
    go = shutil.which("go")
    if go is None:
        raise NoGo(
            "Go is not installed: the tests against a real IPFS gateway need Go 1.26 (https://go.dev/dl)"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as lock:  # pytest-xdist: one worker builds, the others wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            unfinished = binary.with_suffix(".unfinished")
            flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-p", "2"]
            done = subprocess.run(
                [go, "build", *flags, "-o", unfinished, "."],
                cwd=SOURCES,
                env={**os.environ, "CGO_ENABLED": "0"},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise BuildFailed(f"Go could not build the IPFS gateway:\n{done.stderr[-2000:]}")
            os.replace(unfinished, binary)
    return binary


class IpfsGateway:
    """Adds files to folders of blocks, and serves such folders; `close` stops what it serves."""

    def __init__(self, binary: Path) -> None:
        self.binary = binary
        self._running: dict[str, subprocess.Popen[str]] = {}

    def add(self, *paths: Path, store: Path | None = None, **flags: str | int) -> list[str]:
        """The CIDs of files, whose blocks go to `store` if one is given.

        Flags: chunker="size-262144" | "rabin-MIN-AVG-MAX" | "buzhash", links=174, layout="balanced" | "trickle",
        leaves="raw" | "dag-pb", version=1 | 0; the defaults are Pinata's profile.
        """
        options = [f"-{name}={value}" for name, value in flags.items()]
        if store is not None:
            options.append(f"-store={store}")
        done = subprocess.run(
            [self.binary, "add", *options, *paths], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout.split()

    def serve(self, store: Path, **options: str | int | bool) -> str:
        """Serve a folder of blocks and return the gateway's URL, without /ipfs/.

        Options: absent="fail" | "wait" (for a block that is not there), patience="30s", verify=True (hash what is
        read), trustless=True (raw blocks and CARs only), port=N.
        """
        flags = [f"-{name}={str(value).lower()}" for name, value in options.items()]
        process = subprocess.Popen(
            [self.binary, "serve", f"-store={store}", *flags], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            process.wait()
            process.stdout.close()
            raise RuntimeError(f"the gateway did not start on {store}")
        self._running[url] = process
        return url

    def stop(self, url: str) -> None:
        """kill -9 of what serves at this URL."""
        process = self._running.pop(url)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def close(self) -> None:
        for url in list(self._running):
            self.stop(url)

    @staticmethod
    def block(store: Path, cid: str) -> Path:
        """The file of a block."""
        key = base64.b32encode(_binary(cid)[-34:]).decode().rstrip("=")
        return store / key[-3:-1] / f"{key}.data"

    @classmethod
    def links(cls, store: Path, cid: str) -> list[str]:
        """The CIDs of the children of a node, in the file's order; a leaf has none."""
        binary = _binary(cid)
        if len(binary) == 36 and binary[1] == 0x55:
            return []
        found = []
        for number, link in _fields(cls.block(store, cid).read_bytes()):
            if number == 2:
                child = next(value for inner, value in _fields(link) if inner == 1)
                found.append(_text(child))
        return found

    @classmethod
    def leaves(cls, store: Path, cid: str) -> list[str]:
        """The CIDs of a file's leaves, in order (of a balanced layout)."""
        below = cls.links(store, cid)
        return [leaf for child in below for leaf in cls.leaves(store, child)] if below else [cid]

    @classmethod
    def delete(cls, store: Path, cid: str) -> None:
        """Lose a block."""
        cls.block(store, cid).unlink()

    @classmethod
    def corrupt(cls, store: Path, cid: str, at: int = 0) -> None:
        """Flip a bit of byte `at` of a block."""
        path = cls.block(store, cid)
        content = bytearray(path.read_bytes())
        content[at] ^= 0x01
        path.chmod(0o644)
        path.write_bytes(content)


def _binary(cid: str) -> bytes:
    if cid.startswith("Qm"):
        number = 0
        for letter in cid:
            number = number * 58 + _BASE58.index(letter)
        return number.to_bytes(34, "big")
    return base64.b32decode(cid[1:].upper() + "=" * (-(len(cid) - 1) % 8))


def _text(binary: bytes) -> str:
    if binary[:2] != b"\x12\x20":
        return "b" + base64.b32encode(binary).decode().lower().rstrip("=")
    number, letters = int.from_bytes(binary, "big"), ""
    while number:
        number, letter = divmod(number, 58)
        letters = _BASE58[letter] + letters
    return letters


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a protobuf message; numbers are given as no bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(message):
        tag = varint()
        length = varint()
        if tag & 7 == 2:
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            yield tag >> 3, b""


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        print(build())
