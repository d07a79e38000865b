"""A provider of models that is none: it speaks the protocol of OpenAI, calls a tool, and says what the tool answered."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["KEY", "Endpoint", "endpoint"]

KEY = "sk-of-the-user-0123456789"
TOOL = "query_files"


class Endpoint:
    """Where it is, and what it was asked."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}/v1"
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.tool: tuple[str, dict[str, Any]] = (TOOL, {"filters": {"asset": "reference"}})

    def config(self, more: str = "") -> str:
        """The user's marimo.toml that names it."""
        return (
            f'[ai.models]\nchat_model = "lab/fake"\ncustom_models = ["lab/fake"]\ndisplayed_models = ["lab/fake"]\n'
            f'[ai.custom_providers.lab]\napi_key = "{KEY}"\nbase_url = "{self.url}"\n{more}'
        )

    def system(self, number: int = 0) -> str:
        """The system prompt of a request."""
        return "\n".join(
            _text(one["content"])
            for one in self.requests[number]["messages"]
            if one["role"] in ("system", "developer")
        )

    def offered(self, number: int = 0) -> list[str]:
        """The names of the tools that a request offers."""
        return [tool["function"]["name"] for tool in self.requests[number].get("tools", [])]

    def answers(self, number: int = -1) -> list[str]:
        """What tools answered, as a request has it."""
        return [_text(one["content"]) for one in self.requests[number]["messages"] if one["role"] == "tool"]

    def reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """The message of the model: a call of the tool, or words where it was answered or is not offered."""
        self.requests.append(request)
        name = next((one for one in self.offered(-1) if one.endswith(f"_{self.tool[0]}")), None)
        if said := self.answers():
            return {"content": f"The store says: {said[-1]}"}
        if name is None:
            return {"content": "There is no such tool."}
        called = {"name": name, "arguments": json.dumps(self.tool[1])}
        return {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": called}]}


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


@contextlib.contextmanager
def endpoint() -> Iterator[Endpoint]:
    """A provider on a free port of this machine, as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            served.keys.append(self.headers["Authorization"])
            message = served.reply(json.loads(self.rfile.read(size)))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for delta, reason in (({"role": "assistant", **message}, None),
                                  ({}, "tool_calls" if "tool_calls" in message else "stop")):  # fmt: skip
                choice = {"index": 0, "delta": delta, "finish_reason": reason}
                chunk = {
                    "id": "1",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": "fake",
                    "choices": [choice],
                }
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, format: str, *values: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Endpoint(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
