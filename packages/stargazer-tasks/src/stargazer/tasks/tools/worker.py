"""Calls a Python function in a child process that stays for the next call, so that what it imports is paid for once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stargazer.tasks.tools.python import call

__all__ = ["compute"]


async def compute(function: Callable[..., Any], /, **arguments: Any) -> Any:
    """As `call`, in a child process that other calls of this process share, one after the other."""
    return await call(function, **arguments)
