"""Write docs/server.md: every tool, resource and prompt of the server, as clients see it; `--check` only compares."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastmcp import Client
from stargazer.mcp.access import Access
from stargazer.mcp.server import INSTRUCTIONS, make_server
from stargazer.mcp.tools.answers import EXAMPLES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "server.md"
COMMAND = "hatch run catalogue"
WIDTH = 120

HEAD = f"""\
# Server reference

<!-- Made by `{COMMAND}` from the server: change docstrings and signatures, not this page. -->

What the MCP server offers, as a client sees it. How to set it up, and the usual journeys: [mcp.md](mcp.md).
A parameter without a default has to be given. A tool that writes is not there with `stargazer serve --read-only`.
"""


async def page() -> str:
    """The whole page."""
    async with Client(make_server(Access(roots=()))) as client:
        tools = sorted(await client.list_tools(), key=lambda tool: [*EXAMPLES].index(tool.name))
        prompts = await client.list_prompts()
        listed = [(str(each.uri), each) for each in await client.list_resources()]
        listed += [(each.uri_template, each) for each in await client.list_resource_templates()]
    schemas = [
        {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
        for tool in tools
    ]
    size = round(len(json.dumps(schemas)), -2)
    parts = [HEAD, _wrapped("Told to every client when it connects:"), f"```text\n{INSTRUCTIONS}\n```\n", "## Tools\n",
             f"{len(tools)} tools. Names, descriptions and schemas of their input together take {size:,} characters.\n",
             *("\n".join(_tool(tool)) for tool in tools),
             "## Resources\n", "| URI | type | |", "|---|---|---|",
             *(_row(f"`{uri}`", each.mime_type or "", each.description or "") for uri, each in sorted(listed)), "",
             "## Prompts\n", *("\n".join(_prompt(prompt)) for prompt in prompts)]  # fmt: skip
    return "\n".join(parts)


def _tool(tool: Any) -> Iterator[str]:
    yield f"### {tool.name}\n"
    yield _wrapped(tool.description or "")
    takes = tool.input_schema.get("properties", {})
    if takes:
        yield "| parameter | type | default | |"
        yield "|---|---|---|---|"
        required = tool.input_schema.get("required", [])
        for name, schema in takes.items():
            default = "" if name in required else f"`{json.dumps(schema.get('default'))}`"
            yield _row(f"`{name}`", _type(schema), default, schema.get("description", ""))
        yield ""
    yield f"For example: `{tool.name} {json.dumps(EXAMPLES[tool.name])}`\n"
    gives = (tool.output_schema or {}).get("properties", {})
    if gives:
        needed = (tool.output_schema or {}).get("required", [])
        fields = ", ".join(f"`{name}`{'' if name in needed else '?'}" for name in gives)
        yield _wrapped(
            f"Answers with {fields}." + (" (? where there is one.)" if set(gives) - set(needed) else "")
        )
    yield _wrapped(_character(tool.annotations))


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false",
             "object": "object", "null": "none"}  # fmt: skip
    kind = words.get(str(schema.get("type")), "any value")
    low, high = schema.get("minimum"), schema.get("maximum")
    return kind if low is None or high is None else f"{kind}, {low:,} to {high:,}"


def _character(annotations: Any) -> str:
    words = ["Only reads." if annotations.read_only_hint else "Writes."]
    if annotations.destructive_hint:
        words.append("May remove or overwrite: a client is asked first where it can be.")
    if annotations.idempotent_hint and not annotations.read_only_hint:
        words.append("Repeating a call changes nothing more.")
    if annotations.open_world_hint:
        words.append("May reach the network.")
    return " ".join(words)


def _prompt(prompt: Any) -> Iterator[str]:
    yield f"### {prompt.name}\n"
    yield _wrapped(prompt.description or "")
    yield "| argument | |"
    yield "|---|---|"
    for argument in prompt.arguments or []:
        yield _row(
            f"`{argument.name}`{'' if argument.required else ' (optional)'}", argument.description or ""
        )
    yield ""


def _row(*cells: str) -> str:
    escaped = (" ".join(cell.replace("|", "\\|").split()) for cell in cells)
    return "|" + "".join(f" {cell} |".replace("  ", " ") for cell in escaped)


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def main(words: list[str]) -> int:
    """Write the page, or say whether it is as it would be written."""
    text = asyncio.run(page())
    if words == ["--check"]:
        same = PAGE.is_file() and PAGE.read_text() == text
        print(f"docs/{PAGE.name} is {'up to date' if same else f'stale: {COMMAND}'}")
        return 0 if same else 1
    PAGE.write_text(text)
    print(f"docs/{PAGE.name}: {len(text.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
