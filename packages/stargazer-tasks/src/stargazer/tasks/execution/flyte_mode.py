"""Keeps Flyte in line with the mode, local or cloud, so that a bare `flyte.run` runs tasks where the mode says.

Flyte runs a task where it is connected to, and here when it is connected to nothing. So cloud mode connects it to the
project's endpoint (nothing is sent by that), and local mode keeps it unconnected: FLYTE_ADMIN_ENDPOINT, empty, is
Flyte's own way to say that no file's endpoint counts, also to `flyte.init_from_config()`.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import warnings
from importlib import metadata
from typing import Literal

import flyte
import flyte.config
from stargazer.assets import ConfigurationError
from stargazer.storage import Settings, get_client

__all__ = ["agree", "default_image", "in_pod", "must_agree", "use_mode"]

ENDPOINT, MODE = "FLYTE_ADMIN_ENDPOINT", "STARGAZER_MODE"
IN_POD = ("_U_EP_OVERRIDE", "FLYTE_INTERNAL_EXECUTION_PROJECT")
"""Variables that Flyte sets in the pod of a task, where it has connected itself."""

_agreeing = threading.Lock()
_problem: ConfigurationError | None = None
_connected_to = ""
"""The endpoint that we connected Flyte to."""


def agree() -> None:
    """Bring Flyte in line with the mode in force; in the pod of a task it is.

    A mistake in the settings does not make an import fail: must_agree() says it when something runs.
    """
    global _problem
    if in_pod():
        return
    with _agreeing:
        _problem = None
        try:
            settings = Settings.load()
            (_connect if settings.mode == "cloud" else _disconnect)(settings)
        except ConfigurationError as error:
            _problem = error


def in_pod() -> bool:
    """Whether this process runs a task on a Flyte cluster."""
    return any(os.environ.get(name) for name in IN_POD)


def must_agree() -> None:
    """Before a task or workflow that Flyte runs in this process.

    Raises:
        ConfigurationError: the settings are wrong (cloud without an endpoint, say): nothing may run here instead.
    """
    if _problem is not None:
        raise _problem


def use_mode(mode: Literal["local", "cloud"]) -> None:
    """Let this process, and those that it starts, be in a mode from now on, whatever it was in.

    Raises:
        ConfigurationError: that cannot be (cloud without an endpoint or a token); then nothing changes.
    """
    before = os.environ.get(MODE)
    os.environ[MODE] = mode
    try:
        get_client()
        agree()
        must_agree()
    except ConfigurationError:
        if before is None:
            del os.environ[MODE]
        else:
            os.environ[MODE] = before
        agree()
        raise


@functools.cache
def default_image() -> str:
    """Flyte's own image for this Python and version, named without a look at any config.yaml."""
    version = metadata.version("flyte")
    return f"ghcr.io/flyteorg/flyte:py{sys.version_info.major}.{sys.version_info.minor}-v{version}"


def _connect(settings: Settings) -> None:
    global _connected_to
    if os.environ.get(ENDPOINT) == "":  # left by a process in local mode that started this one
        del os.environ[ENDPOINT]
    if flyte.is_control_plane_available():
        return
    try:
        if settings.flyte_config is not None:
            flyte.init_from_config(settings.flyte_config, log_format="json")  # else it logs to stdout
        else:
            flyte.init_from_api_key(log_format="json")
    except Exception as error:
        raise ConfigurationError(
            f"Flyte cannot be set up for the endpoint {settings.flyte_endpoint} ({settings.mode_reason}): "
            f"{type(error).__name__}: {error}"
        ) from error
    _connected_to = settings.flyte_endpoint
    # Flyte says "Service is unavailable" of an endpoint, and not which one
    logging.getLogger(__name__).warning(
        "stargazer: flyte.run runs tasks at %s: %s", settings.flyte_endpoint, settings.mode_reason
    )


def _disconnect(settings: Settings) -> None:
    global _connected_to
    connected = flyte.is_control_plane_available() and (_connected_to or _file_endpoint())
    os.environ[ENDPOINT], _connected_to = "", ""
    if connected:
        flyte.init(log_format="json")
        warnings.warn(
            f"Flyte was connected to {connected}, and is no more: tasks run here ({settings.mode_reason})",
            stacklevel=4,
        )


def _file_endpoint() -> str:
    """The endpoint of the file that Flyte finds by itself; one that code gave to `flyte.init()` stays."""
    try:
        return flyte.config.auto().platform.endpoint or ""
    except (OSError, ValueError):
        return ""
