"""What the images share: wheels of this tree, locks, a base, and buildah and podman to build and start them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "CONFINED",
    "FOLDER",
    "ImageError",
    "base_here",
    "build",
    "engine",
    "inspect",
    "lint",
    "pin",
    "run",
]

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
LAYERS = ("assets", "storage", "tasks", "workflows", "mcp")
EXTRAS = "gatk,notebook,scrna"
"""Of stargazer-mcp: all that any image has, pinned together, so that all of them have the same versions."""
STAND_IN = "localhost/stargazer-base:trixie"
SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|KEY|JWT)$", re.I)
PUBLIC = ("GPG_KEY",)
"""Of the image of Python: by whose key its source is signed."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CONFINED = (
    *("--pull", "never", "--network", "none", "--read-only", "--tmpfs", "/tmp"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
)
"""How images are tried: without a network and rights, and nothing to write on but their volumes."""
PLAIN_ENGINE = """
[containers]
default_ulimits = ["nofile=1024:20000", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
"""For podman where there is no systemd, as in a container or on a small virtual machine."""


class ImageError(Exception):
    """An image cannot be built, or is not what it should be."""


def run(*command: str | Path, given: str = "", status: int = 0) -> str:
    """Run a command to its end, and return what it prints on standard output."""
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    if done.returncode != status:
        told = f"{done.stdout[-8000:]}{done.stderr[-8000:]}"
        raise ImageError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{told}")
    return done.stdout


@contextlib.contextmanager
def engine() -> Iterator[None]:
    """Have buildah and podman work where there is no systemd, too."""
    with tempfile.TemporaryDirectory() as folder:
        if not Path("/run/systemd/system").exists():
            settings = Path(folder) / "containers.conf"
            settings.write_text(PLAIN_ENGINE)
            os.environ.setdefault("CONTAINERS_CONF", str(settings))
            os.environ.setdefault("BUILDAH_ISOLATION", "chroot")
        yield


def build_wheels(folder: Path) -> None:
    """The wheels of the five distributions."""
    for layer in LAYERS:
        run("uv", "build", "--quiet", "--wheel", "--out-dir", folder, ROOT / f"packages/stargazer-{layer}")


def pin(*options: str) -> None:
    """Write anew which versions of everything are in the images, with their digests."""
    compiled = ("uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11")
    plain = ("--generate-hashes", "--no-header", "--no-annotate", *options)
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder)
        build_wheels(wheels)
        wanted = wheels / "wanted.in"
        wanted.write_text(f"stargazer-mcp[{EXTRAS}]\n")
        own = [word for layer in LAYERS for word in ("--no-emit-package", f"stargazer-{layer}")]
        ours = (*own, "--find-links", str(wheels), str(wanted))
        run(*compiled, *plain, *ours, "--output-file", FOLDER / "requirements.txt")
    for tools in sorted([*FOLDER.glob("tools.in"), *FOLDER.glob("*/tools.in")]):
        run(*compiled, *plain, tools, "--output-file", tools.with_suffix(".txt"))
    locked = ("--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund")
    for packages in sorted(FOLDER.glob("*/package.json")):
        run("npm", "install", "--prefix", packages.parent, *locked)


def base_here() -> str:
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


def build(image: str, tag: str, base: str = "", extras: str = "") -> None:
    """Build an image from the wheels and notebooks of this tree.

    Args:
        image: its folder.
        tag: what it is called.
        base: another one than its Containerfile names.
        extras: others of stargazer-mcp.
    """
    options = ["--build-arg", f"EXTRAS={extras}"] if extras else []
    options += ["--build-arg", f"BASE={base}"] if base else []
    if CERTIFICATES.is_file():
        # of a proxy, perhaps, that packages come through; they do not get into the image
        options += ["--volume", f"{CERTIFICATES.parent}:{CERTIFICATES.parent}:ro"]
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context"
        left = shutil.ignore_patterns("wheels", "notebooks", "node_modules", "__pycache__", "__marimo__")
        shutil.copytree(FOLDER, context, ignore=left)
        shutil.copytree(ROOT / "notebooks", context / "notebooks", ignore=left)
        build_wheels(context / "wheels")
        containerfile = context / image / "Containerfile"
        # the format that has health checks
        run("buildah", "bud", "--format", "docker", *options, "--file", containerfile, "--tag", tag, context)


def inspect(tag: str) -> int:
    """Raise if the image has a root user or a secret in its settings; its size in bytes."""
    (image,) = json.loads(run("podman", "image", "inspect", tag))
    settings = image["Config"]
    names = (word.partition("=")[0] for word in settings["Env"])
    secrets = [name for name in names if SECRET.search(name) and name not in PUBLIC]
    if settings.get("User", "0").partition(":")[0] in ("", "0", "root") or secrets:
        raise ImageError(f"user {settings.get('User')!r}, secrets {secrets}")
    return int(image["Size"])


def lint(image: str) -> None:
    """Raise if hadolint has anything to say about the Containerfile."""
    run("hadolint", "--failure-threshold", "style", FOLDER / image / "Containerfile")
