"""How the chat image is tried from outside: its server answers, other words are refused, and smoke.py passes."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from container import CONFINED, FOLDER, ImageError, run

PROGRAMS = ()
"""What it needs beside buildah and podman."""
OFFLINE = ("--rm", *CONFINED, "--volume", "/data", "--volume", "/home/stargazer")
GREETING = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "trial.py", "version": "1"},
}


def try_image(tag: str) -> str:
    """Raise if the image is not what it should be; what there is to say of it."""
    started = start(tag)
    smoke(tag)
    return f"without a network its server lists its tools {started:.1f} s after `podman run`, and smoke.py passes"


def start(tag: str) -> float:
    """Seconds from `podman run` to the server's answer that lists its tools, through the image's own entry."""
    began = time.monotonic()
    requests = (
        {"id": 1, "method": "initialize", "params": GREETING},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
    )
    lines = "".join(json.dumps({"jsonrpc": "2.0", **request}) + "\n" for request in requests)
    answers = run("podman", "run", "--interactive", *OFFLINE, tag, "stargazer-mcp", given=lines)
    listed = {answer.get("id"): answer for answer in map(json.loads, answers.splitlines())}
    if not listed[2]["result"]["tools"]:
        raise ImageError(f"the server has no tools: {answers}")
    seconds = time.monotonic() - began
    # what is not of the image is refused, and it says what is
    run("podman", "run", *OFFLINE, tag, "bash", status=2)
    return seconds


def smoke(tag: str) -> None:
    """Run smoke.py in the image, as its user, and show what it says."""
    scripts = (Path(__file__).with_name("smoke.py"), FOLDER / "checks.py")
    mounted = [word for path in scripts for word in ("--volume", f"{path}:/{path.name}:ro")]
    done = subprocess.run(
        ["podman", "run", *OFFLINE, *mounted, "--entrypoint", "/opt/stargazer/bin/python", tag, "/smoke.py"],
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise ImageError(f"smoke.py ended with {done.returncode}")
