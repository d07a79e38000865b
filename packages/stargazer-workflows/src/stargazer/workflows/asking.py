"""Asking what a workflow would have to compute, and why that is not remembered: nothing runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event, Miss, Refresh
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
    refresh: Refresh | None = None,
) -> Asked:
    """The task calls that a workflow would have to compute first, each with what differs from the nearest earlier one.

    Args:
        workflow: from the catalogue.
        arguments: typed, as `arguments.convert` gives them.
        refresh: as for a run.

    Raises:
        StargazerError: what the workflow raises before it has called all that it can call.
    """
    from stargazer.tasks.execution import NotRemembered, asking_why, observe, refreshed

    events: list[Event] = []
    with observe(events.append), refreshed(refresh), asking_why() as misses:
        try:
            await workflow.call(**arguments)
        except* NotRemembered:
            pass
    return Asked(misses, sum(event.kind == "memo hit" for event in events))
