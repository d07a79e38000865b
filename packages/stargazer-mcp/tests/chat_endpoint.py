"""A provider of models that is none: it speaks OpenAI's protocol, calls a tool, and says the answer; and the chat."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stargazer.mcp.chat import marimo_command

from .notebook_browser import SECONDS, Served, started

__all__ = ["KEY", "Endpoint", "answer_of", "endpoint", "opened", "settled_status"]

KEY = "sk-of-the-user-0123456789"
TOOL = "query_files"
NOTEBOOK = "import marimo\n\napp = marimo.App()\n\n@app.cell\ndef _():\n    1\n    return\n"


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

        def log_message(self, *values: Any) -> None:
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


@contextlib.contextmanager
def opened(
    folder: Path, home: Path, *, config: str = "", chat: str = "read", words: tuple[str, ...] = ()
) -> Iterator[Served]:
    """A notebook of this folder in the editor, with the chat."""
    notebook, token = folder / "notebook.py", secrets.token_urlsafe(16)
    notebook.write_text(NOTEBOOK)
    command = marimo_command(chat, [folder])
    command = [
        *command[:-1],
        *words,
        *command[-1:],
        "--yes",
        "edit",
        str(notebook),
        "--headless",
        "--no-sandbox",
    ]
    command += ["--skip-update-check", "--no-skew-protection", "--token-password", token]
    with started(command, folder, home=home, config=config) as served:
        yield Served(f"{served.url}/?access_token={token}", served.process, served.log)


def asked(served: Served, path: str, body: dict[str, Any] | None = None, session: str = "") -> str:
    """What marimo answers."""
    base, _, token = served.url.partition("/?")
    request = urllib.request.Request(
        f"{base}{path}?{token}",
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Content-Type": "application/json", "Marimo-Session-Id": session},
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return str(answer.read().decode())


def settled_status(served: Served) -> dict[str, str]:
    """The servers of the chat, once none is on its way."""
    deadline = time.monotonic() + SECONDS
    while True:
        found: dict[str, str] = json.loads(asked(served, "/api/ai/mcp/status"))["servers"]
        if found and "pending" not in found.values():
            return found
        assert time.monotonic() < deadline, served.told()
        time.sleep(0.1)


def answer_of(served: Served, question: str) -> str:
    """What the chat's panel is told in answer to a question."""
    from websockets.sync.client import connect

    base, _, token = served.url.partition("/?")
    with connect(f"{base.replace('http', 'ws')}/ws?session_id=s_123456&{token}", max_size=None):
        message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": question}]}
        return asked(served, "/api/ai/chat", {"includeOtherCode": "", "uiMessages": [message]}, "s_123456")
