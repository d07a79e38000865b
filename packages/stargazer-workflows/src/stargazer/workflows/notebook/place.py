"""The control that says where tasks run, and why; it lets another place be chosen where the configuration has one."""

from __future__ import annotations

import os
from html import escape
from typing import Any

from stargazer.assets import ConfigurationError
from stargazer.storage import Settings
from stargazer.workflows.notebook.app import marimo

__all__ = ["execution_place"]

AWAITED = "A task or workflow that is awaited in a cell runs on this machine always."
SHARED = "The choice is for everybody who uses this server: their notebooks share one process."


def execution_place() -> Any:
    """A control that says where tasks run, and why: what `start_run`, `run` and `flyte.run` call.

    The cluster is offered where the configuration names one that can be used. What is chosen holds until the kernel
    ends, and for the runs that it starts. Apps of one server share its process, so there the choice is everybody's, and
    the control says so.

    Returns:
        An element of marimo; its `value` is `local` or `cloud`, or None where the settings are wrong: it says how.
    """
    mo, usable, problem = marimo(), {"local": "this machine"}, ""
    try:
        cloud = Settings.load({**os.environ, "STARGAZER_MODE": "cloud"})
    except ConfigurationError:  # there is no cluster
        pass
    else:
        if cloud.pinata_jwt:
            usable["cloud"] = f"the cluster at {cloud.flyte_endpoint}"
        else:
            problem = f"The cluster at {cloud.flyte_endpoint} needs PINATA_JWT, a token of Pinata, which is not set."
    try:
        settings = Settings.load()
        chosen, why = usable.get(settings.mode), f"{settings.mode_reason}."
        if len(usable) == 1 and not problem:
            why = f"Everything runs on this machine. No cluster is configured: {why}"
    except ConfigurationError as error:
        chosen, why = None, str(error)
    more = [
        problem,
        *([AWAITED] if "cloud" in usable else []),
        *([SHARED] if mo.app_meta().mode == "run" else []),
    ]
    said = [why, *(more if len(usable) > 1 else more[:1])]
    return mo.ui.radio(
        {name: mode for mode, name in usable.items()},
        value=chosen,
        label="  \n".join(["**Where tasks run**", *map(escape, filter(None, said))]),
        on_change=_choose,
    )


def _choose(mode: str | None) -> None:
    """Let tasks of this process run there from now on; where that cannot be, say why."""
    from stargazer.tasks.execution import use_mode

    try:
        use_mode("cloud" if mode == "cloud" else "local")
    except ConfigurationError as error:
        marimo().status.toast("Tasks run where they did", str(error), kind="danger")
