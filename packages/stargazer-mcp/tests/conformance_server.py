"""The server of Stargazer with the tools, resources and prompts that the official conformance suite calls by name.

    python conformance_server.py

What they answer is said by the suite. All that stands between them and a client is Stargazer's own: middleware, the
checks of requests, HTTP. It prints its URL on stderr.
"""

from __future__ import annotations

import asyncio
import base64
import struct
import sys
import zlib
from dataclasses import dataclass
from typing import Any

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.prompts import Message, PromptResult
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CreateMessageRequest,
    ElicitRequest,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    TextContent,
    TextResourceContents,
)
from stargazer.mcp.http import PATH, serve_http
from stargazer.mcp.listener import bound
from stargazer.mcp.server import make_server


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    + _chunk(b"IEND", b"")
)
WAV = b"RIFF" + struct.pack("<I", 38) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
WAV += b"data" + struct.pack("<I", 2) + b"\x80\x80"
IMAGE = ImageContent(type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png")
AUDIO = AudioContent(type="audio", data=base64.b64encode(WAV).decode(), mime_type="audio/wav")


def text(said: str) -> TextContent:
    """A text of an answer."""
    return TextContent(type="text", text=said)


def embedded(uri: str, said: str, kind: str = "text/plain") -> EmbeddedResource:
    """A resource in an answer."""
    contents = TextResourceContents(uri=uri, mime_type=kind, text=said)
    return EmbeddedResource(type="resource", resource=contents)


def form(message: str, name: str, kind: str = "string") -> ElicitRequest:
    """A question with one field."""
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest.model_validate({"params": {"message": message, "requestedSchema": schema}})


def sample(said: str) -> CreateMessageRequest:
    """A question to a model."""
    messages = [{"role": "user", "content": {"type": "text", "text": said}}]
    return CreateMessageRequest.model_validate({"params": {"messages": messages, "maxTokens": 100}})


@dataclass
class Asked:
    """What a client is asked for."""

    username: str
    email: str


def contents(server: FastMCP) -> None:
    """Kinds of contents, errors and progress."""

    @server.tool(output_schema=None)
    def test_simple_text() -> list[Any]:
        """Answers with a text."""
        return [text("This is a simple text response for testing.")]

    @server.tool(output_schema=None)
    def test_image_content() -> list[Any]:
        """Answers with an image."""
        return [IMAGE]

    @server.tool(output_schema=None)
    def test_audio_content() -> list[Any]:
        """Answers with a sound."""
        return [AUDIO]

    @server.tool(output_schema=None)
    def test_embedded_resource() -> list[Any]:
        """Answers with a resource."""
        return [embedded("test://embedded-resource", "This is an embedded resource content.")]

    @server.tool(output_schema=None)
    def test_multiple_content_types() -> list[Any]:
        """Answers with all of these."""
        mixed = embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
        return [text("Multiple content types test:"), IMAGE, mixed]

    @server.tool(output_schema=None)
    def test_error_handling() -> list[Any]:
        """Fails."""
        raise ToolError("This tool intentionally returns an error for testing")

    @server.tool(output_schema=None)
    async def test_tool_with_progress(context: Context) -> list[Any]:
        """Reports progress."""
        for done in (0, 50, 100):
            await context.report_progress(done, 100)
            await asyncio.sleep(0.05)
        return [text("done")]

    @server.tool(output_schema=None)
    async def test_elicitation(context: Context, message: str) -> list[Any]:
        """Asks the client while it waits, as protocols before 2026 have it."""
        return [text(f"User response: {await context.elicit(message, Asked)}")]

    @server.tool(output_schema=None)
    async def test_missing_capability(context: Context) -> list[Any]:
        """Needs a client with a model."""
        if "sampling" not in declared(context):
            raise MCPError(
                code=MISSING_REQUIRED_CLIENT_CAPABILITY,
                message="this needs sampling",
                data={"requiredCapabilities": {"sampling": {}}},
            )
        return [text("fine")]


def declared(context: Context) -> dict[str, Any]:
    """The capabilities that a client has declared in its request."""
    request = context.request_context
    meta = request.meta if request is not None else None
    return dict((meta or {}).get("io.modelcontextprotocol/clientCapabilities") or {})


def questions(server: FastMCP) -> None:
    """Tools that ask the client before they answer."""

    def asks(name: str, requests: dict[str, Any], state: str | None = None) -> None:
        async def ask(context: Context) -> Any:
            if set(requests) <= set(context.input_responses or {}) and context.request_state == state:
                return [text(f"answered: {context.input_responses}")]
            return InputRequiredResult(input_requests=requests, request_state=state)

        ask.__doc__ = "Asks the client."
        server.tool(name=f"test_input_required_result_{name}", output_schema=None)(ask)

    whose = form("What is your name?", "name")
    asks("elicitation", {"user_name": whose})
    asks("sampling", {"capital_question": sample("What is the capital of France?")})
    asks("list_roots", {"client_roots": ListRootsRequest()})
    asks("request_state", {"confirm": form("Please confirm", "ok", "boolean")}, "asked")
    asks("tampered_state", {"confirm": form("Please confirm", "ok", "boolean")}, "asked")
    several = {
        "user_name": whose,
        "greeting": sample("Generate a greeting"),
        "client_roots": ListRootsRequest(),
    }
    asks("multiple_inputs", several, "asked")

    @server.tool(output_schema=None)
    async def test_input_required_result_multi_round(context: Context) -> Any:
        """Asks twice."""
        answers, state = context.input_responses or {}, context.request_state
        if state == "second" and "step2" in answers:
            return [text("answered twice")]
        if state == "first" and "step1" in answers:
            color = form("Step 2: What is your favorite color?", "color")
            return InputRequiredResult(input_requests={"step2": color}, request_state="second")
        name = form("Step 1: What is your name?", "name")
        return InputRequiredResult(input_requests={"step1": name}, request_state="first")

    @server.tool(output_schema=None)
    async def test_input_required_result_capabilities(context: Context) -> Any:
        """Asks what the client can answer."""
        known = declared(context)
        possible: dict[str, Any] = {"sampling": sample("Hello"), "elicitation": whose}
        return InputRequiredResult(
            input_requests={name: question for name, question in possible.items() if name in known}
        )

    @server.prompt
    async def test_input_required_result_prompt(context: Context) -> Any:
        """Asks before it answers."""
        if "user_context" in (context.input_responses or {}):
            return "answered"
        question = form("What context should the prompt use?", "context")
        return InputRequiredResult(input_requests={"user_context": question})


def rest(server: FastMCP) -> None:
    """Resources and prompts."""

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image."""
        return PNG

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        """What is asked for."""
        return f'{{"id": "{id}", "templateTest": true, "data": "Data for ID: {id}"}}'

    @server.prompt
    def test_simple_prompt() -> str:
        """A text."""
        return "This is a simple prompt for testing."

    @server.prompt
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A text with arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt
    def test_prompt_with_embedded_resource(resourceUri: str) -> PromptResult:  # noqa: N803 (as the suite has it)
        """A resource, and what to do with it."""
        held = embedded(resourceUri, "Embedded resource content for testing.")
        return PromptResult([Message(held), Message("Please process the embedded resource above.")])

    @server.prompt
    def test_prompt_with_image() -> PromptResult:
        """An image, and what to do with it."""
        return PromptResult([Message(IMAGE), Message("Please analyze the image above.")])


def main() -> int:
    server = make_server()
    for add in (contents, questions, rest):
        add(server)
    listener = bound("127.0.0.1", 0)
    print(f"serving MCP at http://127.0.0.1:{listener.getsockname()[1]}{PATH}", file=sys.stderr, flush=True)
    return 128 + asyncio.run(serve_http(server, listener))


if __name__ == "__main__":
    sys.exit(main())
