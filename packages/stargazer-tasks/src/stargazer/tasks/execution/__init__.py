"""What happens around every task body: locks, slots, memo, workspace, provenance."""

from __future__ import annotations

from stargazer.tasks.execution.archives import pack
from stargazer.tasks.execution.environments import AssetEnvironment, WorkflowEnvironment, named_outputs
from stargazer.tasks.execution.events import Event, observe
from stargazer.tasks.execution.options import Refresh, asking_why, log_to, refreshing
from stargazer.tasks.execution.workspace import workspace

__all__ = [
    "AssetEnvironment",
    "Event",
    "Refresh",
    "WorkflowEnvironment",
    "asking_why",
    "log_to",
    "named_outputs",
    "observe",
    "pack",
    "refreshing",
    "workspace",
]
