"""The chat image is built from the wheels of this tree, starts without a network, and does its work."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if not (ROOT / "images").exists():
    pytest.skip("images/ is in the repository alone, not in this distribution", allow_module_level=True)


def unreached() -> str:
    """Why the image cannot be built here, or nothing."""
    missing = [name for name in ("buildah", "podman") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not on PATH (`apt-get install buildah podman runc mmdebstrap`)"
    uv = os.environ.get("HATCH_UV") or shutil.which("uv")
    if uv is None:
        return "no uv: this is run by `hatch run long`"
    asked = [uv, "pip", "compile", "--quiet", "--no-cache", "--no-deps", "-"]
    done = subprocess.run(asked, input="lazy-loader\n", text=True, capture_output=True, check=False)
    return f"the package index is not reached: {done.stderr[-300:]}" if done.returncode else ""


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_chat_image_is_built_starts_offline_and_works(capfd: pytest.CaptureFixture[str]) -> None:
    if reason := unreached():
        pytest.skip(f"THE CHAT IMAGE IS NOT TESTED: {reason}")
    base = ["--base", "here"] if shutil.which("mmdebstrap") else []
    words = ["ci:chat-image", "--tag", "localhost/stargazer:chat-test", *base]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HATCH_ENV")}

    done = subprocess.run([ROOT / ".ci" / "in", *words], cwd=ROOT, env=environment, text=True, check=False)

    told = capfd.readouterr().out
    print(told)
    assert done.returncode == 0, told
    assert "smoke: 7 passed, 0 failed" in told
    assert " GB, built in " in told
