"""The control that says where tasks run, and why; and lets another place be chosen where there is one."""

from __future__ import annotations

import os
from typing import Any

from stargazer.assets import ConfigurationError
from stargazer.storage import Settings
from stargazer.workflows.notebook.app import marimo

__all__ = ["execution_place"]


def execution_place() -> Any:
    """A control that says where tasks run, and why.

    The other place is offered where the configuration has one. What is chosen holds for this process, and for the runs
    that it starts.

    Returns:
        An element of marimo; its `value` is `local` or `cloud`.
    """
    mo = marimo()
    places: dict[str, Settings] = {}
    for mode in ("local", "cloud"):
        try:
            places[mode] = Settings.load({**os.environ, "STARGAZER_MODE": mode})
        except ConfigurationError:
            continue
    names = {
        mode: "this machine" if mode == "local" else f"the cluster at {settings.flyte_endpoint}"
        for mode, settings in places.items()
    }
    chosen: str | None = None
    try:
        settings = Settings.load()
        chosen, why = names[settings.mode], settings.mode_reason
    except ConfigurationError as error:
        why = str(error)
    return mo.ui.radio(
        {name: mode for mode, name in names.items()},
        value=chosen,
        label=f"**Tasks run on** ({why})",
        on_change=_choose,
    )


def _choose(mode: str) -> None:
    from stargazer.tasks.execution import agree

    os.environ["STARGAZER_MODE"] = mode
    agree()
