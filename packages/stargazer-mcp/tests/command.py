"""The command in this process or one of its own, and a laboratory that is small enough to run a whole workflow in."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["COMMAND", "GERMLINE", "MOUNT", "Command", "added", "mounted", "serving", "simulate", "stargazer"]

Command = Callable[..., tuple[int, str, str]]

COMMAND = [sys.executable, "-m", "stargazer.mcp.cli"]
MOUNT = ["unshare", "--mount", "--map-root-user", "sh", "-ec"]
GERMLINE = ["run", "germline_short_variant_discovery", "caller=bcftools", "samples=S", "build=tiny"]


def stargazer(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, ended with the status expected."""
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def simulate(folder: Path) -> None:
    """A reference of 6,000 bases with 300 read pairs of a sample that differs from it in one place."""
    draw = random.Random(7)
    genome = "".join(draw.choices("ACGT", k=6000))
    sample = genome[:3000] + {"A": "C", "C": "G", "G": "T", "T": "A"}[genome[3000]] + genome[3001:]
    complement = str.maketrans("ACGT", "TGCA")
    first, second = [], []
    for number in range(300):
        start = draw.randrange(len(sample) - 300)
        mates = sample[start : start + 100], sample[start + 200 : start + 300].translate(complement)[::-1]
        for reads, bases in zip((first, second), mates, strict=True):
            reads.append(f"@r{number}\n{bases}\n+\n{'I' * 100}\n")
    (folder / "tiny.fa").write_text(f">c:1-9\n{genome}\n")
    for mate, reads in (("1", first), ("2", second)):
        (folder / f"S_R{mate}.fq.gz").write_bytes(gzip.compress("".join(reads).encode()))


def added(stargazer: Command, *words: str) -> list[dict[str, Any]]:
    """The records of what the command adds."""
    status, out, err = stargazer("add", *words, "--json")
    assert status == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def mounted(command: str, *arguments: object) -> list[str]:
    """What runs a command after a mount of its own; skipped where that is not allowed."""
    prefix = [*MOUNT, f'{command}; shift {len(arguments)}; exec "$@"', "sh", *map(str, arguments)]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare: a read-only mount and a full disk are not tested")
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(
            f"mounts are not allowed here, a read-only mount and a full disk are not tested: {tried.stderr}"
        )
    return prefix


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """A web server on this machine: its URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()
