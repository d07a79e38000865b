"""From the errors of Stargazer to answers of tools, and from what clients send to what was meant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastmcp.exceptions import ToolError
from pydantic import BeforeValidator
from stargazer.assets.errors import StargazerError

__all__ = ["JsonObject", "told"]


def _object(value: Any) -> Any:
    """An object that a client sent as JSON text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return {} if value is None else value


JsonObject = Annotated[dict[str, Any], BeforeValidator(_object)]
"""A JSON object; some clients send it as text."""


@contextmanager
def told() -> Iterator[None]:
    """Errors meant for the user become errors of the tool, with their text."""
    try:
        yield
    except StargazerError as error:
        raise ToolError(str(error)) from error
