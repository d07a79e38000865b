"""`stargazer serve --http`, spoken to by FastMCP's own client and by requests that no client sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport

from .command import COMMAND, Command

READING, WRITING = "a-token-that-reads", "a-token-that-writes"
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "method": "initialize",
    "id": 1,
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@contextlib.contextmanager
def started(
    command: list[str], folder: Path, **variables: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server over HTTP in a folder: its URL and process, which has ended well and quietly afterwards."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, **variables},
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "serving MCP at http://" in line, line + process.stderr.read()
        yield line.split()[-1], process
    finally:
        process.terminate()
        out, err = process.communicate(timeout=90)
    assert (process.returncode, out, err) == (128 + signal.SIGTERM, "", "")


@contextlib.contextmanager
def served(folder: Path, *options: str, **variables: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`stargazer serve --http` with a store of its own."""
    (folder / "data").mkdir(exist_ok=True)
    home = {
        "STARGAZER_MODE": "local",
        "STARGAZER_HOME": str(folder / "home"),
        "STARGAZER_LOCAL": str(folder / "home" / "local"),
    }
    command = [*COMMAND, "serve", "--http", "--port", "0", *options]
    with started(command, folder / "data", **home, **variables) as running:
        yield running


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that takes whoever reaches it."""
    with served(tmp_path_factory.mktemp("loopback")) as (url, _):
        yield url


@pytest.fixture(scope="module")
def tokened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that takes tokens."""
    folder = tmp_path_factory.mktemp("tokened")
    (folder / "tokens").write_text(f"# who may call\n{READING} read\n\n{WRITING} write\n")
    (folder / "tokens").chmod(0o600)
    with served(folder, "--token-file", str(folder / "tokens")) as (url, _):
        yield url


@contextlib.asynccontextmanager
async def connected(url: str, token: str = "") -> AsyncIterator[Client[Any]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with Client(StreamableHttpTransport(url, headers=headers)) as client:
        yield client


def posted(url: str, body: Any = INITIALIZE, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(url, content=content, headers={**HEADERS, **headers}, timeout=60)


def test_a_name_or_page_of_elsewhere_is_refused(loopback: str) -> None:
    assert posted(loopback).status_code == 200
    assert posted(loopback, Host="evil.example.org").status_code == 421
    assert posted(loopback, Origin="https://evil.example.org").status_code == 403
    assert posted(loopback, Origin="null").status_code == 403


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "id": 8}', 400, 'the key "id" is there twice'),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"x": NaN}}', 400, "NaN is not JSON"),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": ' + b'{"a":' * 40 + b"1" + b"}" * 41, 400,
         "more than 32 lists and objects in one another"),
        (b"\xff\xfe", 400, "not UTF-8"),
        (b"", 400, "not JSON"),
        (b'[{"jsonrpc": "2.0", "id": 7, "method": "ping"}]', 400, "a batch is not taken"),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {"x": "' + b"a" * 2**22 + b'"}}', 413,
         "4,194,304 bytes at most"),
    ],
    ids=["twice", "NaN", "deep", "bytes", "empty", "batch", "long"],
)  # fmt: skip
def test_what_stdio_refuses_is_refused_here(loopback: str, body: bytes, status: int, problem: str) -> None:
    answer = posted(loopback, body)

    assert answer.status_code == status
    assert problem in answer.json()["error"]["message"]
    assert len(answer.text) < 1000


def test_a_body_that_does_not_say_how_long_it_is_ends_at_the_limit(loopback: str) -> None:
    answer = httpx.post(loopback, content=(b" " * 2**20 for _ in range(9)), headers=HEADERS, timeout=60)

    assert answer.status_code == 413


def test_many_clients_at_once_are_all_answered(loopback: str) -> None:
    async def client(number: int) -> int:
        async with connected(loopback) as one:
            tools = await one.list_tools()
            found = await one.call_tool("query_files", {"limit": number + 1})
            assert found.structured_content == {"total": 0, "files": []}
            return len(tools)

    async def clients() -> list[int]:
        return await asyncio.gather(*map(client, range(20)))

    (tools,) = set(asyncio.run(asyncio.wait_for(clients(), 120)))
    assert tools > 0


def test_nothing_is_said_without_a_token(tokened: str) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer a-token-that-reeds"},
        {"Authorization": f"Basic {READING}"},
    ):
        answer = posted(tokened, **headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "a-token" not in answer.text
    unread = posted(tokened, b"{" * 2**21)
    assert unread.status_code == 401


def test_a_token_that_reads_does_not_write(tokened: str) -> None:
    async def main() -> tuple[set[str], set[str], Any, dict[str, Any]]:
        async with connected(tokened, READING) as reader, connected(tokened, WRITING) as writer:
            seen = {tool.name for tool in await reader.list_tools()}
            all_seen = {tool.name for tool in await writer.list_tools()}
            (first, *_) = sorted(all_seen - seen)
            with pytest.raises(Exception, match=r"(?i)no tool|scope|unknown|forbidden|403") as refused:
                await reader.call_tool(first, {})
            found = await reader.call_tool("query_files", {})
            return seen, all_seen, refused.value, found.structured_content or {}

    seen, all_seen, refused, found = asyncio.run(asyncio.wait_for(main(), 60))

    assert "query_files" in seen
    assert "run_workflow" in all_seen - seen
    assert "a-token" not in str(refused)
    assert found["total"] == 0


def test_a_session_is_of_the_token_that_opened_it(tokened: str) -> None:
    writing, reading = (f"Bearer {token}" for token in (WRITING, READING))
    session = posted(tokened, Authorization=writing).headers["mcp-session-id"]
    listing = {"jsonrpc": "2.0", "method": "tools/list", "id": 2}

    assert posted(tokened, listing, Authorization=writing, **{"mcp-session-id": session}).status_code == 200
    assert posted(tokened, listing, Authorization=reading, **{"mcp-session-id": session}).status_code == 404


def test_signed_tokens_count_by_issuer_audience_time_and_scope(tmp_path: Path) -> None:
    from fastmcp.server.auth.providers.jwt import RSAKeyPair

    pair, other = RSAKeyPair.generate(), RSAKeyPair.generate()
    (tmp_path / "issuer.pem").write_text(pair.public_key)
    issuer = {"issuer": "https://issuer.example.org", "audience": "stargazer"}
    jwt = ["--jwt-key", str(tmp_path / "issuer.pem")]
    jwt += ["--jwt-issuer", issuer["issuer"], "--jwt-audience", issuer["audience"]]

    def status(token: str) -> int:
        return posted(url, Authorization=f"Bearer {token}").status_code

    with served(tmp_path, *jwt) as (url, _):
        assert status(pair.create_token(**issuer, scopes=["read"])) == 200
        assert status(pair.create_token(**issuer, scopes=["other"])) in (401, 403)
        assert status(other.create_token(**issuer, scopes=["read"])) == 401
        assert status(pair.create_token(**issuer, scopes=["read"], expires_in_seconds=-60)) == 401
        endless = pair.create_token(**issuer, scopes=["read"], additional_claims={"exp": None})
        assert status(endless) == 401
        assert status(pair.create_token(**{**issuer, "audience": "another"}, scopes=["read"])) == 401
        assert status(pair.create_token(**{**issuer, "issuer": "https://x.example"}, scopes=["read"])) == 401


def test_what_is_asked_for_when_the_signal_comes_is_answered_and_nothing_after_it(tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "wait"}}
    with started([sys.executable, "-c", WAITING], tmp_path) as (url, process):
        session = {"mcp-session-id": posted(url).headers["mcp-session-id"]}
        asking = threading.Thread(target=lambda: answers.append(posted(url, call, **session)))
        asking.start()
        while not (tmp_path / "asked").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        while (refused := posted(url)).status_code == 200:  # the signal is on its way
            time.sleep(0.02)
        (tmp_path / "answer").touch()
        asking.join(60)

        assert refused.status_code == 503
        assert "about to end" in refused.json()["error"]["message"]
        assert "answered at last" in answers[0].text
        assert process.wait(60) == 128 + signal.SIGTERM


WAITING = """
import asyncio, sys
from pathlib import Path
from fastmcp import FastMCP
from stargazer.mcp.http import PATH, serve_http
from stargazer.mcp.listener import bound

server = FastMCP("waiting")

@server.tool
async def wait() -> str:
    Path("asked").touch()
    while not Path("answer").exists():
        await asyncio.sleep(0.02)
    return "answered at last"

listener = bound("127.0.0.1", 0)
print(f"serving MCP at http://127.0.0.1:{listener.getsockname()[1]}{PATH}", file=sys.stderr, flush=True)
sys.exit(128 + asyncio.run(serve_http(server, listener)))
"""


def test_an_open_stream_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with served(tmp_path) as (url, process):
        session = {"mcp-session-id": posted(url).headers["mcp-session-id"]}
        with httpx.stream("GET", url, headers={**HEADERS, **session}, timeout=60) as stream:
            assert stream.status_code == 200
            process.terminate()
            assert process.wait(30) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ["--http", "--host", "0.0.0.0"],
            "--host 0.0.0.0 lets others than this machine in: give --token-file",
        ),
        (["--http", "--host", "192.0.2.1"], "lets others than this machine in"),
        (["--http", "--port", "70000"], "expected a number below 65536"),
        (["--host", "127.0.0.1"], "--host needs --http"),
        (["--token-file", "x"], "--token-file needs --http"),
        (["--http", "--jwt-key", "x.pem"], "--jwt-key needs --jwt-issuer and --jwt-audience"),
        (["--http", "--jwt-issuer", "x"], "need --jwt-key"),
        (["--http", "--token-file", "tokens"], "is where clients may read: move it elsewhere"),
        (["--root", "nowhere"], "'nowhere' is no folder"),
        (["words"], "serve takes no words"),
    ],
)
def test_a_command_line_that_would_let_anybody_in_is_refused(
    stargazer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tokens").write_text(f"{READING} read\n")

    status, _, err = stargazer("serve", *options)

    assert status == 2
    assert problem in err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no token in"),
        ("short read\n", "line 1"),
        (f"{READING}\n", "line 1"),
        (f"# x\n{READING} admin\n", "line 2"),
        (f"{READING} read\n{READING} write\n", "line 2"),
    ],
)
def test_a_wrong_line_of_tokens_is_named_and_not_repeated(
    stargazer: Command, tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "tokens").write_text(text)
    (tmp_path / "root").mkdir()

    status, _, err = stargazer(
        "serve", "--http", "--root", str(tmp_path / "root"), "--token-file", str(tmp_path / "tokens")
    )

    assert status == 1
    assert problem in err
    assert READING not in err


def test_tokens_may_come_from_the_environment(tmp_path: Path) -> None:
    with served(tmp_path, STARGAZER_SERVE_TOKENS=f"{WRITING} write\n") as (url, _):
        assert posted(url).status_code == 401
        assert posted(url, Authorization=f"Bearer {WRITING}").status_code == 200


def test_an_address_in_use_is_said(stargazer: Command, loopback: str) -> None:
    status, _, err = stargazer("serve", "--http", "--port", loopback.split(":")[2].split("/")[0])

    assert status == 1
    assert "cannot listen at 127.0.0.1, port" in err
    assert "Address already in use" in err
