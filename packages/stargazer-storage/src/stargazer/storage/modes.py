"""The rule by which mode and Flyte's configuration agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import attrs
from stargazer.assets import ConfigurationError
from stargazer.storage.flyte_config import EXAMPLE, asked_endpoint, project_endpoint

__all__ = ["Decision", "Mode", "decide"]

Mode = Literal["local", "cloud"]


@attrs.frozen
class Decision:
    """Which mode, and why.

    Attributes:
        endpoint: where tasks run in cloud mode; empty in local mode.
        file: what Flyte is initialised from in cloud mode; None where a variable says it all.
    """

    mode: Mode
    reason: str
    endpoint: str = ""
    file: Path | None = None


def decide(mode: Mode | None, said_by: str, environ: Mapping[str, str], folder: Path | None) -> Decision:
    """The mode in force: as set by `said_by`; unset, that of the project's own .flyte/config.yaml; else local.

    Raises:
        ConfigurationError: cloud is asked for and there is no endpoint; or the file that decides is damaged.
    """
    if mode == "local":
        return Decision("local", f"{said_by} is 'local'{_unused(environ, folder)}")
    if mode == "cloud":
        asked = asked_endpoint(folder, environ)
        if asked is None:
            raise ConfigurationError(
                f"{said_by} is 'cloud', but nothing names a Flyte endpoint. Write it to .flyte/config.yaml in the "
                f"current folder or in the root of its git repository:\n\n{EXAMPLE}\n"
                "or set FLYTE_API_KEY; or set STARGAZER_MODE=local to run here. "
                "(A file in HOME, or another config.yaml, does not count.)"
            )
        reason = f"{said_by} is 'cloud'; the endpoint {asked.address} is that of {asked.origin}"
        return Decision("cloud", reason, asked.address, asked.file)
    named = project_endpoint(folder, environ)
    if named is None:
        reason = "STARGAZER_MODE is not set, and no .flyte/config.yaml of this project names an endpoint"
        return Decision("local", reason)
    reason = f"STARGAZER_MODE is not set, and {named.origin} names the endpoint {named.address}"
    return Decision("cloud", reason, named.address, named.file)


def _unused(environ: Mapping[str, str], folder: Path | None) -> str:
    """What is said about an endpoint that local mode does not use; a damaged file does not matter then."""
    try:
        named = project_endpoint(folder, environ)
    except ConfigurationError:
        return ""
    return f"; the endpoint {named.address} of {named.origin} is not used" if named else ""
