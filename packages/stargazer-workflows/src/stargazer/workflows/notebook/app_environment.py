"""The notebook app as an app of Flyte: an image from wheels, and the command that serves the gallery in it."""

from __future__ import annotations

import sys
from importlib import metadata

import flyte
import flyte.app

__all__ = ["marimo_env"]

PORT = 8080
TOKEN = "STARGAZER_NOTEBOOK_TOKEN"
IDLE = 3600  # seconds without a request until a cluster stops the app


def _pinned(name: str) -> str:
    """A distribution with its notebook extra, in the version that is installed here; else one that fits ours."""
    try:
        return f"{name}[notebook]=={metadata.version(name)}"
    except metadata.PackageNotFoundError:
        major, minor, *_ = metadata.version("stargazer-workflows").split(".")
        return f"{name}[notebook]=={major}.{minor}.*"


marimo_env = flyte.app.AppEnvironment(
    name="stargazer-notebook",
    image=flyte.Image.from_debian_base(
        python_version=(sys.version_info.major, sys.version_info.minor),
        flyte_version=metadata.version("flyte"),
        name="stargazer-notebook",
    ).with_pip_packages(_pinned("stargazer-workflows"), _pinned("stargazer-mcp")),
    command=["stargazer", "notebook", "--host", "0.0.0.0", "--port", str(PORT), "--no-browser"],
    port=PORT,
    requires_auth=True,
    secrets=[flyte.Secret(key="stargazer-notebook-token", as_env_var=TOKEN)],
    resources=flyte.Resources(cpu=2, memory="4Gi"),
    scaling=flyte.app.Scaling(replicas=(0, 1), scaledown_after=IDLE),
)
"""The gallery in the editor, at a cluster, for one user or a group that trusts each other.

It asks for the token that the secret `stargazer-notebook-token` holds.
"""
