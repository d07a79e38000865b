"""Images built and tried by their own command, for the tests that are long."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

__all__ = ["built_and_tried"]

ROOT = Path(__file__).resolve().parents[3]


def built_and_tried(image: str, capfd: pytest.CaptureFixture[str], *, browsers: Sequence[str] = ()) -> str:
    """What `hatch run ci:IMAGE-image` prints, which has to succeed.

    The test is skipped where the image cannot be built or tried, by a reason that is hard to overlook.
    """
    if not (ROOT / "images").exists():
        pytest.skip("images/ is in the repository alone, not in this distribution")
    if reason := _unreached(browsers):
        pytest.skip(f"THE {image.upper()} IMAGE IS NOT TESTED: {reason}")
    base = ["--base", "here"] if shutil.which("mmdebstrap") else []
    words = [f"ci:{image}-image", "--tag", f"localhost/stargazer:{image}-test", *base]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HATCH_ENV")}

    done = subprocess.run([ROOT / ".ci" / "in", *words], cwd=ROOT, env=environment, text=True, check=False)

    told = capfd.readouterr().out
    print(told)
    assert done.returncode == 0, told
    return told


def _unreached(browsers: Sequence[str]) -> str:
    """Why an image cannot be built or tried here, or nothing."""
    missing = [name for name in ("buildah", "podman") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not on PATH (`apt-get install buildah podman runc mmdebstrap`)"
    if browsers and not any(map(shutil.which, browsers)):
        return f"no browser: none of {', '.join(browsers)}"
    uv = os.environ.get("HATCH_UV") or shutil.which("uv")
    if uv is None:
        return "no uv: this is run by `hatch run long`"
    asked = [uv, "pip", "compile", "--quiet", "--no-cache", "--no-deps", "-"]
    done = subprocess.run(asked, input="lazy-loader\n", text=True, capture_output=True, check=False)
    return f"the package index is not reached: {done.stderr[-300:]}" if done.returncode else ""
