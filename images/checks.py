"""Checks of an image, one after the other, and the one that is the same for all; it imports nothing of its own."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping

__all__ = ["SmokeError", "plain_user", "run_checks"]

UNWANTED = ("cc", "gcc", "git", "node", "npm", "uv")
"""Programs of a developer; a base may have apt, which nobody but root can use."""
SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|API_KEY|_JWT)")


class SmokeError(Exception):
    """The image is not what it should be."""


def run_checks(checks: Mapping[str, Callable[[], None]]) -> int:
    """Run every check, say how it went, and return 1 if one failed."""
    failed = 0
    for name, check in checks.items():
        began = time.monotonic()
        try:
            check()
            said = "ok"
        except Exception as error:
            failed += 1
            said = f"FAILED: {error}"
        print(f"{time.monotonic() - began:5.1f} s  {name}: {said}", flush=True)
    print(f"smoke: {len(checks) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def plain_user() -> None:
    """Where it is called the user is not root and cannot become it; secrets and tools of a developer are not there."""
    if os.getuid() == 0:
        raise SmokeError("the image runs as root")
    writable = [path for path in ("/etc", "/opt/stargazer", "/usr/local/bin") if os.access(path, os.W_OK)]
    found = [name for name in UNWANTED if shutil.which(name)]
    secrets = [name for name in os.environ if SECRET.search(name)]
    if writable or found or secrets:
        raise SmokeError(f"writable: {writable}, programs: {found}, secrets: {secrets}")
