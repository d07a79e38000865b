"""Asking what a workflow would have to compute, and why that is not remembered: nothing runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event
    from stargazer.tasks.execution.misses import Miss
    from stargazer.workflows.catalogue import Entry

__all__ = ["Asked", "why_not"]


@attrs.frozen
class Asked:
    """What became of the question.

    Attributes:
        misses: the first task calls that are not remembered; what reads their results cannot be known yet.
        remembered: how many calls are.
    """

    misses: list[Miss]
    remembered: int


async def why_not(
    workflow: Entry,
    arguments: Mapping[str, Any],
    *,
    refresh: bool = False,
    refresh_tasks: Sequence[str] = (),
    refresh_below: bool = False,
) -> Asked:
    """The task calls that a workflow would have to compute first, each with what differs from the nearest earlier one.

    Args:
        workflow: from the catalogue.
        arguments: typed, as `arguments.convert` gives them.
        refresh, refresh_tasks, refresh_below: as for a run.

    Raises:
        StargazerError: what the workflow raises before it has called all that it can call.
    """
    from stargazer.tasks.execution import asking_why, observe, refreshing
    from stargazer.tasks.execution.misses import NotRemembered

    events: list[Event] = []
    refreshed = refreshing(
        refresh or bool(refresh_tasks), tasks=() if refresh else refresh_tasks, below=refresh_below
    )
    with observe(events.append), refreshed, asking_why() as misses, contextlib.suppress(NotRemembered):
        await workflow.call(**arguments)
    return Asked(misses, sum(event.kind == "memo hit" for event in events))
