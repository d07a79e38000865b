"""Build the chat image from the wheels of this tree, start it without a network, try it, and say its size and time.

    hatch run ci:chat-image                      from the base that the Containerfile names
    hatch run ci:chat-image --base here          from one that mmdebstrap makes, where no registry of images is reached
    hatch run ci:chat-image --lock [--upgrade]   pin what is in it anew

It needs buildah and podman, and while it builds the package indexes of Python and npm.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LAYERS = ("assets", "storage", "tasks", "workflows", "mcp")
EXTRAS = "gatk,scrna"
STAND_IN = "localhost/stargazer-base:trixie"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CONFINED = (
    *("--rm", "--pull", "never", "--network", "none", "--read-only", "--tmpfs", "/tmp"),
    *("--volume", "/data", "--volume", "/home/stargazer"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)
"""How the image is tried: without a network and rights, and nothing to write on but its two volumes."""
PLAIN_ENGINE = """
[containers]
default_ulimits = ["nofile=1024:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""For podman where there is no systemd, as in a container or on a small virtual machine."""
GREETING = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "build.py", "version": "1"},
}


class ImageError(Exception):
    """The image cannot be built, or is not what it should be."""


def run(*command: str | Path, given: str = "", status: int = 0) -> str:
    """Run a command to its end, and return what it prints on standard output."""
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    if done.returncode != status:
        told = f"{done.stdout[-8000:]}{done.stderr[-8000:]}"
        raise ImageError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{told}")
    return done.stdout


def build_wheels(folder: Path) -> None:
    """The wheels of the five distributions."""
    for layer in LAYERS:
        run("uv", "build", "--quiet", "--wheel", "--out-dir", folder, ROOT / f"packages/stargazer-{layer}")


def pin(*options: str) -> None:
    """Write anew which versions of everything are in the image, with their digests."""
    compiled = (
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
    )
    plain = ("--no-header", "--no-annotate", *options)
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder)
        build_wheels(wheels)
        wanted = wheels / "wanted.in"
        wanted.write_text(f"stargazer-mcp[{EXTRAS}]\n")
        own = [word for layer in LAYERS for word in ("--no-emit-package", f"stargazer-{layer}")]
        run(
            *compiled,
            *plain,
            *own,
            "--find-links",
            wheels,
            wanted,
            "--output-file",
            HERE / "requirements.txt",
        )
    run(*compiled, *plain, HERE / "tools.in", "--output-file", HERE / "tools.txt")
    run(
        "npm",
        "install",
        "--prefix",
        HERE,
        "--package-lock-only",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    )


def make_base() -> str:
    """A Debian with Python and no more, unless it was made before; its name."""
    with contextlib.suppress(ImageError):
        run("podman", "image", "exists", STAND_IN)
        return STAND_IN
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "base.tar"
        needed = "--include=python3,python3-venv,ca-certificates"
        run("mmdebstrap", "--quiet", "--variant=minbase", needed, "trixie", archive)
        run("podman", "import", "--quiet", archive, STAND_IN)
    return STAND_IN


def build(tag: str, base: str, extras: str) -> None:
    """Build the image."""
    options = ["--build-arg", f"EXTRAS={extras}"]
    if base:
        options += ["--build-arg", f"BASE={base}"]
    if (
        CERTIFICATES.is_file()
    ):  # of a proxy, perhaps, that packages come through; they do not get into the image
        options += ["--volume", f"{CERTIFICATES.parent}:{CERTIFICATES.parent}:ro"]
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "chat"
        shutil.copytree(HERE, context, ignore=shutil.ignore_patterns("wheels", "node_modules", "__pycache__"))
        build_wheels(context / "wheels")
        run("buildah", "bud", *options, "--file", context / "Containerfile", "--tag", tag, context)


def start(tag: str) -> float:
    """Seconds from `podman run` to the server's answer that lists its tools, through the image's own entry."""
    began = time.monotonic()
    requests = (
        {"id": 1, "method": "initialize", "params": GREETING},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
    )
    lines = "".join(json.dumps({"jsonrpc": "2.0", **request}) + "\n" for request in requests)
    answers = run("podman", "run", "--interactive", *CONFINED, tag, "stargazer-mcp", given=lines)
    listed = {answer.get("id"): answer for answer in map(json.loads, answers.splitlines())}
    if not listed[2]["result"]["tools"]:
        raise ImageError(f"the server has no tools: {answers}")
    seconds = time.monotonic() - began
    run(
        "podman", "run", *CONFINED, tag, "bash", status=2
    )  # what is not of the image is refused, and it says what is
    return seconds


def smoke(tag: str) -> None:
    """Run smoke.py in the image, as its user, and show what it says."""
    script = ("--volume", f"{HERE / 'smoke.py'}:/smoke.py:ro", "--entrypoint", "/opt/stargazer/bin/python")
    done = subprocess.run(
        ["podman", "run", *CONFINED, *script, tag, "/smoke.py"],
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise ImageError(f"smoke.py ended with {done.returncode}")


def check(tag: str) -> int:
    """Raise if the image has a root user or a secret in its settings; its size in bytes."""
    (image,) = json.loads(run("podman", "image", "inspect", tag))
    settings = image["Config"]
    secrets = [word for word in settings["Env"] if re.search(r"(TOKEN|SECRET|PASSWORD|KEY|JWT)=", word, re.I)]
    if settings.get("User", "0").partition(":")[0] in ("", "0", "root") or secrets:
        raise ImageError(f"user {settings.get('User')!r}, secrets {secrets}")
    return int(image["Size"])


def lint() -> None:
    """Raise if hadolint has anything to say about the Containerfile."""
    run("hadolint", "--failure-threshold", "style", HERE / "Containerfile")


def main() -> int:
    """Build and try the image, and return 1 if it is not what it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tag", default="localhost/stargazer:chat", help="the image's name (%(default)s)")
    parser.add_argument("--base", default="", help="another base image; `here`: made by mmdebstrap")
    parser.add_argument("--extras", default=EXTRAS, help="of stargazer-mcp (%(default)s)")
    parser.add_argument("--lock", action="store_true", help="pin versions anew, and build nothing")
    parser.add_argument("--upgrade", action="store_true", help="with --lock: to the newest ones")
    options = parser.parse_args()
    missing = [name for name in ("uv", "hadolint", "buildah", "podman") if shutil.which(name) is None]
    if options.lock:
        pin(*["--upgrade"] * options.upgrade)
        return 0
    if missing:
        parser.error(f"not on PATH: {', '.join(missing)}")

    with tempfile.TemporaryDirectory() as folder:
        if not Path("/run/systemd/system").exists():
            settings = Path(folder) / "containers.conf"
            settings.write_text(PLAIN_ENGINE)
            os.environ.setdefault("CONTAINERS_CONF", str(settings))
            os.environ.setdefault("BUILDAH_ISOLATION", "chroot")
        try:
            lint()
            base = make_base() if options.base == "here" else options.base
            began = time.monotonic()
            build(options.tag, base, options.extras)
            built = time.monotonic()
            size = check(options.tag)
            started = start(options.tag)
            smoke(options.tag)
        except ImageError as error:
            print(f"chat image: FAILED: {error}")
            return 1
    print(
        f"{options.tag}: {size / 1e9:.2f} GB, built in {built - began:.0f} s; without a network its server lists "
        f"its tools {started:.1f} s after `podman run`, and smoke.py passes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
