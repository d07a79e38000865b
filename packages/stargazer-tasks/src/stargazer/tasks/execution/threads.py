"""Runs a blocking function in a thread to its end, even if whoever waits for it is cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from stargazer.tasks.tools.pipelines import ended

__all__ = ["to_the_end"]

P = ParamSpec("P")
T = TypeVar("T")


async def to_the_end(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread; a cancellation meanwhile takes effect when the function has ended."""
    call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
    running = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        await ended({running})
    except asyncio.CancelledError:
        running.exception()  # seen, so that the loop does not complain about it
        raise
    return running.result()
