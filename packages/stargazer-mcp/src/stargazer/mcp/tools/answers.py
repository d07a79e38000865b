"""From errors to answers that say what was expected, and from what clients send to what they meant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from fastmcp.exceptions import ToolError, ValidationError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from pydantic import BeforeValidator
from pydantic import ValidationError as PydanticError
from stargazer.assets.addresses import hidden
from stargazer.assets.errors import StargazerError

from mcp.types import CallToolRequestParams

__all__ = ["ExplainInput", "JsonObject", "told"]

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "list_tasks": {"search": "variants", "kind": "workflow"},
    "query_files": {"filters": {"asset": "alignment", "sample": "NA12878"}},
    "run_workflow": {"name": "prepare_reference", "arguments": {"build": "GRCh38"}},
}
"""A call of each tool, shown when somebody calls it in a way it does not take."""


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
        raise ToolError(error.explain()) from error


class ExplainInput(Middleware):
    """A call with arguments that a tool does not take is answered with what it takes, and an example."""

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, Any],
    ) -> Any:
        """Call the tool."""
        try:
            return await call_next(context)
        except (ValidationError, PydanticError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, PydanticError) else error
            raise ToolError(hidden(await self._explained(context, cause))) from error

    async def _explained(self, context: MiddlewareContext[CallToolRequestParams], error: Exception) -> str:
        name = context.message.name
        lines = [f"{name}: {problem}" for problem in _problems(error)]
        server = context.fastmcp_context.fastmcp if context.fastmcp_context else None
        tool = await server.get_tool(name) if server else None
        if tool is not None:
            lines += [
                "expected:",
                *(f"  {_line(*pair)}" for pair in tool.parameters.get("properties", {}).items()),
            ]
        if name in EXAMPLES:
            lines.append(f"for example: {json.dumps(EXAMPLES[name])}")
        return "\n".join(lines)


def _problems(error: Exception) -> list[str]:
    if not isinstance(error, PydanticError):
        return [str(error)]
    return [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}, got {str(problem['input'])[:200]!r}"
        for problem in error.errors(include_url=False)
    ]


def _line(name: str, schema: Mapping[str, Any]) -> str:
    kind = (
        "one of " + ", ".join(map(str, schema["enum"])) if "enum" in schema else schema.get("type", "value")
    )
    return f"{name} ({kind}): {schema.get('description', '')}".rstrip(": ")
