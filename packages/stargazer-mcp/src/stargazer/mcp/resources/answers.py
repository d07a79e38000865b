"""Answers of resources, and errors of what is read or asked for as answers that say what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastmcp.exceptions import ResourceError, ToolError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from stargazer.assets import InvalidAssetError
from stargazer.assets.addresses import hidden
from stargazer.mcp.previews.text import as_json
from stargazer.mcp.strict_json import shortened
from stargazer.mcp.tools.answers import told
from stargazer.mcp.tools.limits import error_text, refuse_large

from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, GetPromptRequestParams, ReadResourceRequestParams

__all__ = ["JSON", "ExplainReading", "answer", "explained"]

JSON = "application/json"
URI = 400  # characters


def answer(value: Any) -> str:
    """What a resource holds, as JSON text; half of a surrogate pair as an escape."""
    return as_json(value).encode("utf-8", "backslashreplace").decode()


@contextmanager
def explained() -> Iterator[None]:
    """Errors meant for the user become errors of what was asked; others name a file."""
    try:
        with told():
            yield
    except ToolError as error:
        text = hidden(error_text(str(error)))
        if text.startswith("unexpected "):
            raise ResourceError(text) from error
        raise MCPError(INVALID_PARAMS, text) from error


class ExplainReading(Middleware):
    """A URI that is none of a resource, or arguments that a prompt does not take, are answered with what is there."""

    async def on_read_resource(
        self,
        context: MiddlewareContext[ReadResourceRequestParams],
        call_next: CallNext[ReadResourceRequestParams, Any],
    ) -> Any:
        """Read the resource."""
        uri = str(context.message.uri)
        if len(uri) > URI:
            raise MCPError(INVALID_PARAMS, f"a URI of {len(uri):,} characters; at most {URI:,} are taken")
        return await call_next(context)

    async def on_get_prompt(
        self,
        context: MiddlewareContext[GetPromptRequestParams],
        call_next: CallNext[GetPromptRequestParams, Any],
    ) -> Any:
        """Fill in the prompt."""
        name, given = context.message.name, context.message.arguments or {}
        server = context.fastmcp_context.fastmcp if context.fastmcp_context else None
        prompts = (
            {prompt.name: prompt for prompt in await server.list_prompts(run_middleware=False)}
            if server
            else {}
        )
        if name not in prompts:
            raise MCPError(INVALID_PARAMS, f"no prompt {shortened(name)}; there are {', '.join(prompts)}")
        takes = {argument.name: argument for argument in prompts[name].arguments or []}
        problems = [f"unknown argument {shortened(key)}" for key in given if key not in takes]
        problems += [
            f"{key} is missing" for key, argument in takes.items() if argument.required and not given.get(key)
        ]
        try:
            refuse_large(given)
        except InvalidAssetError as error:
            problems.append(str(error))
        if problems:
            lines = [f"{name}: {'; '.join(problems[:5])}", "expected:"]
            lines += [
                f"  {key}{' (required)' * bool(each.required)}: {each.description}"
                for key, each in takes.items()
            ]
            raise MCPError(INVALID_PARAMS, hidden(error_text("\n".join(lines), given)))
        return await call_next(context)
