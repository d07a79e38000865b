"""Try the chat image from inside, without a network: `trial.py` runs it as the image's own user.

Both clients list the server as connected. A plain MCP client registers a file, runs a workflow and reads how its result
came to be. Both clients let a model call a tool: a model that is a few lines of this file, on the loopback interface.
The demos find the variants and the types of cells that they should.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from checks import SmokeError, plain_user, run_checks
from fastmcp import Client

CONFIG = json.loads(Path("/etc/claude-code/managed-mcp.json").read_text())
QUESTION = "Which references are registered?"
CALL = {"filters": {"asset": "reference"}}


class Model(BaseHTTPRequestHandler):
    """A model behind the Messages API: it calls `query_files` once, and answers with what it got."""

    def do_POST(self) -> None:
        """Answer one request, as a stream where that is asked for."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.partition("?")[0].endswith("/count_tokens"):
            self._send("application/json", json.dumps({"input_tokens": 1}))
            return
        block = self._reply(asked)
        reason = "tool_use" if block["type"] == "tool_use" else "end_turn"
        message: dict[str, Any] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": asked["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        if not asked.get("stream"):
            whole = message | {"content": [block], "stop_reason": reason}
            self._send("application/json", json.dumps(whole))
            return
        if block["type"] == "tool_use":
            start = block | {"input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        else:
            start = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": block["text"]}
        events = (
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": None},
                "usage": {"output_tokens": 1},
            },
            {"type": "message_stop"},
        )
        lines = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        self._send("text/event-stream", "".join(lines))

    def _reply(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A call of the tool if it is offered and has not been called, else what it answered."""
        for message in asked["messages"]:
            content = message["content"] if isinstance(message["content"], list) else []
            for block in content:
                if block.get("type") == "tool_result":
                    return {"type": "text", "text": f"I was told: {json.dumps(block['content'])}"}
        for tool in asked.get("tools", []):
            if "query_files" in tool.get("name", ""):
                return {"type": "tool_use", "id": "toolu_1", "name": tool["name"], "input": CALL}
        return {"type": "text", "text": "no tool named query_files was offered"}

    def _send(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def told(*command: str, **variables: str) -> str:
    """What a program prints, without colours; its standard input is empty."""
    done = subprocess.run(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    if done.returncode != 0:
        raise SmokeError(f"{' '.join(command)} ended with {done.returncode}:\n{text}")
    return text


def expect(wanted: str, text: str) -> None:
    """Raise if a text does not match."""
    if not re.search(wanted, text):
        raise SmokeError(f"expected {wanted!r} in:\n{text}")


def write_reference() -> None:
    """A genome of 500 bases in the current folder."""
    Path("tiny.fa").write_text(">chr1\n" + "ACGTTGCAAC" * 50 + "\n")


def listed_by_claude() -> None:
    """Claude Code says that the server is connected."""
    expect(r"stargazer: .*serve - . Connected", told("claude", "mcp", "list"))


def listed_by_opencode() -> None:
    """OpenCode says that the server is connected, and has no model that its user did not choose."""
    expect(r"stargazer +connected", told("opencode", "mcp", "list"))
    if models := told("opencode", "models").strip():
        raise SmokeError(f"models without a log-in: {models}")


async def plain_client() -> None:
    """A file is registered, a workflow run, and its result explained, with the server as the clients start it."""
    async with Client(CONFIG) as client:

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            answer: dict[str, Any] = (await client.call_tool(tool, arguments)).structured_content
            while answer.get("state") == "running":
                answer = (
                    await client.call_tool("get_run", {"run_id": answer["run"], "wait_s": 50})
                ).structured_content
            return answer

        tools = {tool.name for tool in await client.list_tools()}
        if not {"list_tasks", "upload_file", "run_workflow", "get_run", "why", "check_claims"} <= tools:
            raise SmokeError(f"the server has only {sorted(tools)}")
        listed = json.dumps(await call("list_tasks"))
        for workflow in ("prepare_reference", "germline_short_variant_discovery"):
            expect(workflow, listed)
        await call("upload_file", source="tiny.fa", metadata={"build": "tiny"})
        ran = await call("run_workflow", name="prepare_reference", arguments={"build": "tiny"})
        if ran["state"] != "succeeded":
            raise SmokeError(f"the workflow: {ran}")
        (index,) = (await call("query_files", filters={"asset": "reference_index"}))["files"]
        expect("samtools_faidx", json.dumps(await call("why", cid=index["cid"])))


def reference() -> str:
    """The CID of the one reference that is registered."""
    (found,) = json.loads(told("stargazer", "query", "asset=reference", "--json"))
    return str(found["cid"])


def model_of_claude(url: str) -> None:
    """A model calls a tool through Claude Code."""
    answer = told(
        *("claude", "--print", QUESTION),
        ANTHROPIC_BASE_URL=url,
        ANTHROPIC_API_KEY="none",
    )
    expect(f"I was told: .*{reference()}", answer)


def model_of_opencode(url: str) -> None:
    """A model calls a tool through OpenCode."""
    provider = {
        "npm": "@ai-sdk/anthropic",
        "options": {"baseURL": f"{url}/v1", "apiKey": "none"},
        "models": {"model": {"tool_call": True}},
    }
    answer = told(
        *("opencode", "run", "--model", "local/model", QUESTION),
        OPENCODE_CONFIG_CONTENT=json.dumps({"provider": {"local": provider}}),
    )
    expect(f"I was told: .*{reference()}", answer)


def demos() -> None:
    """Whole workflows, of reads and, where the image has what it takes, of cells."""
    told("stargazer", "demo", "--outdir", "demo")
    if importlib.util.find_spec("scanpy"):
        told("stargazer", "demo", "scrna", "--outdir", "demo-scrna")


def main() -> int:
    """Run every check, say how it went, and return 1 if one failed."""
    model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{model.server_port}"
    write_reference()
    checks: dict[str, Callable[[], None]] = {
        "an end user's image: not root, no tools of a developer, no secret": plain_user,
        "claude mcp list: connected": listed_by_claude,
        "opencode mcp list: connected": listed_by_opencode,
        "a plain MCP client registers, runs and asks why": lambda: asyncio.run(plain_client()),
        "a model calls a tool through Claude Code": lambda: model_of_claude(url),
        "a model calls a tool through OpenCode": lambda: model_of_opencode(url),
        "the demos": demos,
    }
    return run_checks(checks)


if __name__ == "__main__":
    sys.exit(main())
