"""Running external programs: tools and where they come from, commands, pipelines, the session of a task."""

from __future__ import annotations

from stargazer.tasks.tools.command import Command, Pipeline, expect
from stargazer.tasks.tools.library import Library
from stargazer.tasks.tools.pipelines import Completed
from stargazer.tasks.tools.python import call
from stargazer.tasks.tools.runner import Session, current_session, use_session
from stargazer.tasks.tools.sources import ENGINES, OnPath, ResolvedTool, Source, Wheel
from stargazer.tasks.tools.tool import Tool

__all__ = [
    "ENGINES",
    "Command",
    "Completed",
    "Library",
    "OnPath",
    "Pipeline",
    "ResolvedTool",
    "Session",
    "Source",
    "Tool",
    "Wheel",
    "call",
    "current_session",
    "expect",
    "use_session",
]
