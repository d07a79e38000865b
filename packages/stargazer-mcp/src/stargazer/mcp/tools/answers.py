"""Errors of tool calls as answers that say what was expected, and warnings while the index is in doubt."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from fastmcp.exceptions import NotFoundError, ToolError, ValidationError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from pydantic import BeforeValidator
from pydantic import ValidationError as PydanticError
from stargazer.assets import InvalidAssetError, StargazerError
from stargazer.assets.addresses import hidden
from stargazer.mcp.cli.console import kept_traceback, refused_text
from stargazer.mcp.strict_json import parse, shortened
from stargazer.mcp.tools.limits import error_text, refuse_large
from stargazer.storage import get_client

from mcp.types import CallToolRequestParams, TextContent

__all__ = ["ExplainInput", "JsonObject", "SayDoubt", "told"]

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "list_tasks": {"search": "variants", "kind": "workflow"},
    "describe_task": {"name": "germline_short_variant_discovery"},
    "run_task": {"name": "flagstat", "filters": {"sample": "NA12878"}},
    "run_workflow": {"name": "prepare_reference", "arguments": {"build": "GRCh38"}},
    "get_run": {"run_id": "20261130T101500-000000-3f9c2a", "wait_s": 50},
    "list_runs": {"state": "running"},
    "cancel_run": {"run_id": "20261130T101500-000000-3f9c2a"},
    "resume_run": {"run_id": "20261130T101500-000000-3f9c2a"},
    "query_files": {"filters": {"asset": "alignment", "sample": "NA12878"}},
    "upload_file": {"source": "reads/NA12878_R1.fastq.gz", "metadata": {"sample": "NA12878", "lane": "L001"}},
    "download_file": {"cid": "bafkrei...", "folder": "results"},
    "delete_file": {"id": "bafkrei..."},
    "update_file": {"id": "bafkrei...", "metadata": {"lane": "L002"}},
    "why": {"cid": "bafkrei..."},
    "bundles": {},
    "check_claims": {
        "claims": [
            {
                "cid": "bafkrei...",
                "about": {"sample": "NA12878"},
                "field": "samples.NA12878.coverage.mean",
                "value": 31.2,
            }
        ]
    },
}
"""A call of each tool, shown when somebody calls it in a way it does not take."""


PROBLEMS = 5  # that an error tells of


def _object(value: Any) -> Any:
    """An object that a client sent as JSON text."""
    if isinstance(value, str):
        value = parse(value)
        refuse_large(value)
    return {} if value is None else value


JsonObject = Annotated[dict[str, Any], BeforeValidator(_object)]
"""A JSON object; some clients send it as text."""


@contextmanager
def told() -> Iterator[None]:
    """Errors meant for the user, and what the file system refuses, become errors of the tool; others name a file."""
    try:
        yield
    except StargazerError as error:
        raise ToolError(error.explain()) from error
    except ToolError:
        raise
    except OSError as error:
        raise ToolError(refused_text(error)) from error
    except Exception as error:
        if os.environ.get("STARGAZER_DEBUG"):
            raise
        raise ToolError(f"unexpected {type(error).__name__}: {error}{kept_traceback()}") from error


class ExplainInput(Middleware):
    """A call with arguments that a tool does not take is answered with what it takes, and an example."""

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, Any],
    ) -> Any:
        """Call the tool."""
        name, arguments = context.message.name, context.message.arguments
        try:
            if name in EXAMPLES:
                refuse_large(arguments or {})
            return await call_next(context)
        except (ValidationError, PydanticError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, PydanticError) else error
            text = await self._explained(context, cause)
        except NotFoundError:
            text = await self._missing(context)
        except InvalidAssetError as error:
            text = f"{name}: {error}{_example(name)}"
        except ToolError as error:
            text = str(error)
            if isinstance(error.__cause__, InvalidAssetError) and "for example: " not in text:
                text += _example(name)
        raise ToolError(hidden(error_text(text, arguments)))

    async def _missing(self, context: MiddlewareContext[CallToolRequestParams]) -> str:
        """What to say of a tool that this client does not have."""
        name = context.message.name
        server = context.fastmcp_context.fastmcp if context.fastmcp_context else None
        there = [tool.name for tool in await server.list_tools(run_middleware=False)] if server else EXAMPLES
        if name in EXAMPLES and name not in there:
            return (
                f"{name} changes or starts something, and this server only reads, until its user starts it without "
                f"--read-only; there are {', '.join(there)}"
            )
        return f"no tool {shortened(name)}; there are {', '.join(there)}"

    async def _explained(self, context: MiddlewareContext[CallToolRequestParams], error: Exception) -> str:
        name = context.message.name
        problems = _problems(error)
        lines = [f"{name}: {problem}" for problem in problems[:PROBLEMS]]
        if len(problems) > PROBLEMS:
            lines.append(f"and {len(problems) - PROBLEMS} more")
        server = context.fastmcp_context.fastmcp if context.fastmcp_context else None
        tool = await server.get_tool(name) if server else None
        if tool is not None:
            lines += [
                "expected:",
                *(f"  {_line(*pair)}" for pair in tool.parameters.get("properties", {}).items()),
            ]
        return "\n".join(lines) + _example(name)


def _example(name: str) -> str:
    return f"\nfor example: {json.dumps(EXAMPLES[name])}" if name in EXAMPLES else ""


def _problems(error: Exception) -> list[str]:
    if not isinstance(error, PydanticError):
        return [str(error)]
    return [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}, "
        f"got {shortened(problem['input'])}"
        for problem in error.errors(include_url=False)
    ]


def _line(name: str, schema: Mapping[str, Any]) -> str:
    kind = (
        "one of " + ", ".join(map(str, schema["enum"])) if "enum" in schema else schema.get("type", "value")
    )
    return f"{name} ({kind}): {schema.get('description', '')}".rstrip(": ")


class SayDoubt(Middleware):
    """An answer carries why it may be wrong, under `warning` and as a text of its own; an error, as its last line."""

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, Any],
    ) -> Any:
        """Call the tool."""
        try:
            result = await call_next(context)
        except ToolError as error:
            said = await asyncio.to_thread(_doubt)
            if not said or said in str(error):
                raise
            raise ToolError(f"{error}\n{said}") from error
        if isinstance(result, ToolResult) and (said := await asyncio.to_thread(_doubt)):
            if result.structured_content is not None:
                result.structured_content["warning"] = said
            result.content.append(TextContent(type="text", text=f"warning: {said}"))
        return result


def _doubt() -> str:
    try:
        return get_client().store.doubt()
    except StargazerError:  # of the settings: the tools say it
        return ""
