"""The server's standard input and output: hostile lines, the end of input, and clients that are gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main
from stargazer.mcp.wire import WAITING, Wire
from stargazer.workflows import watch_run

SERVE = [sys.executable, "-m", "stargazer.mcp.cli", "serve"]
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
MEMORY = 300_000  # kB that the server may take at most; 120,000 of it for being there


def tool(id: Any, called: str, /, **arguments: Any) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": {"name": called, "arguments": arguments},
    }


def encoded(messages: Sequence[Any]) -> bytes:
    return b"".join(m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages)


def served(messages: Sequence[Any]) -> tuple[dict[Any, Any], subprocess.CompletedProcess[bytes]]:
    """What a server answers to lines that are there at once, by id; and how it ended."""
    done = subprocess.run(
        SERVE, input=encoded([INITIALIZE, INITIALIZED, *messages]), capture_output=True, timeout=300
    )
    return {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}, done


@pytest.fixture
def reference(tmp_path: Path) -> None:
    path = tmp_path / "tiny.fa"
    path.write_text(">c\n" + "ACGTTGCA" * 50 + "\n")
    assert main(["add", str(path), "build=tiny"]) == 0


def test_all_that_was_read_is_answered_at_the_end_of_input(reference: None) -> None:
    queries = [tool(n, "query_files", filters={"build": "tiny"}) for n in range(1, 70)]
    run = tool("run", "run_workflow", name="prepare_reference", arguments={"build": "tiny"})
    answers, done = served([run, *queries, encoded([tool("last", "list_tasks")]).rstrip()])
    assert (done.returncode, done.stderr) == (0, b"")
    assert set(answers) == {0, "run", *range(1, 70), "last"}
    assert all("result" in answer for answer in answers.values())
    assert answers[1]["result"]["structuredContent"]["total"] >= 1
    record = answers["run"]["result"]["structuredContent"]
    assert record["state"] in ("running", "succeeded")
    assert asyncio.run(watch_run(record["run"])).state == "succeeded"


def test_hostile_calls_are_answered_shortly_and_serving_goes_on(reference: None) -> None:
    megabyte, deep = "k" * 2**20, '{"filters":' + "[" * 100_000 + "]" * 100_000 + "}"
    hostile: dict[str, Any] = {
        "object for text": tool(1, "query_files", filters={"asset": {}}),
        "object for a value": tool(2, "query_files", filters={"sample": {"a": [{}]}}),
        "null": tool(3, "query_files", filters={"sample": None}),
        "empty list": tool(4, "query_files", filters={"sample": []}),
        "nested text": tool(5, "query_files", filters="[" * 100_000),
        "nested": b'{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"query_files","arguments":%b}}\n'
        % deep.encode(),
        "50,000 values": tool(7, "query_files", filters={"build": [str(n) for n in range(50_000)]}),
        "key": tool(8, "query_files", filters={megabyte: "x"}),
        "value": tool(9, "query_files", filters={"sample": megabyte}),
        "type": tool(10, "query_files", filters={"asset": ["reference", megabyte[:9_000]]}),
        "argument": tool(11, "query_files", **{megabyte: 1}),
        "tool": tool(12, megabyte),
        "method": {"jsonrpc": "2.0", "id": 13, "method": megabyte},
        "workflow": tool(14, "run_workflow", name=megabyte[:9_000]),
        "run": tool(15, "run_workflow", run_id=megabyte[:9_000]),
        "arguments": tool(16, "run_workflow", name="prepare_reference", arguments={"build": [megabyte[:9_000]] * 9}),
        "many": tool(17, "run_workflow", name="prepare_reference", arguments={f"a{n}": 1 for n in range(99)}),
        "more": tool(18, "run_workflow", name="prepare_reference", arguments={f"a{n}": 1 for n in range(999)}),
        "list for an object": tool(19, "run_workflow", name="prepare_reference", arguments=[1]),
        "object for a word": tool(20, "list_tasks", search={"a": 1}, kind=[]),
        "list for a number": tool(21, "query_files", limit=[1], offset={}),
        "twice in text": tool(22, "query_files", filters='{"build":"a","build":"b"}'),
        "NaN in text": tool(23, "query_files", filters='{"n_obs":NaN}'),
        "surrogate": b'{"jsonrpc":"2.0","id":24,"method":"tools/call","params":{"name":"\\ud800"}}\n',
        "prompt": {"jsonrpc": "2.0", "id": 25, "method": "prompts/get", "params": {"name": megabyte}},
        "resource": {"jsonrpc": "2.0", "id": 26, "method": "resources/read", "params": {"uri": f"x:{megabyte}"}},
        "logging": {"jsonrpc": "2.0", "id": 27, "method": "logging/setLevel", "params": {"level": {}}},
        "quotes": tool(28, "query_files", filters={"asset": "'\"\\\n" * 2_000}),
        "number": tool(29, "query_files", filters={"size": 10**3_000}),
        "a line of 5 MB": tool(30, "query_files", filters={"sample": megabyte * 5}),
        "other tool": tool(31, "quary_files"),
        "wrong prompt": {"jsonrpc": "2.0", "id": 32, "method": "prompts/get",
                         "params": {"name": "call_variants", "arguments": {"bild": "tiny"}}},
    }  # fmt: skip
    after = [tool(100 + n, "query_files", filters={"build": "tiny"}) for n in range(len(hostile))]
    pairs = [message for pair in zip(hostile.values(), after, strict=True) for message in pair]
    answers, done = served([*pairs, b"no JSON\n", b"\xff\n", b"[]\n", b"\n", tool("last", "query_files")])
    assert (done.returncode, done.stderr) == (0, b"")
    assert max(len(json.dumps(answer)) for id, answer in answers.items() if id != 0) < 4_000
    assert answers[32]["error"]["message"].endswith("(GATK where it is installed).")
    for number, what in enumerate(hostile, 1):
        answer = answers[number]
        assert "error" in answer or answer["result"]["isError"], what
        text = json.dumps(answer)
        assert "k" * 450 not in text, what
        assert not any(word in text for word in ("unexpected", "unhashable", "recursion", "pydantic")), text
    assert all(not answers[100 + n]["result"]["isError"] for n in range(len(hostile)))
    assert answers["last"]["result"]["structuredContent"]["total"] == 1
    assert None in answers


MEASURED = """import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open(sys.argv[1], "w"))
sys.exit(status)"""
"""Runs a command from a small process, since what a child has at most includes what its parent had when it was made."""


def test_memory_is_bounded_whatever_is_sent(tmp_path: Path) -> None:
    measured = [sys.executable, "-c", MEASURED, str(tmp_path / "memory"), *SERVE]
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen(measured, stdin=subprocess.PIPE, stdout=out, stderr=err)
    assert process.stdin is not None
    process.stdin.write(encoded([INITIALIZE, INITIALIZED]) + b'{"x":"')
    for _ in range(200):  # 200 MB in one line
        process.stdin.write(b"k" * 2**20)
    process.stdin.write(b'","id":"long"}\n')
    for n in range(8):
        process.stdin.write(encoded([tool(n, "query_files", filters=[[] for _ in range(49_000)])]))
    process.stdin.close()
    assert process.wait() == 0
    answers = [json.loads(answer) for answer in (tmp_path / "out").read_bytes().splitlines()]
    assert {answer["id"] for answer in answers} == {"long", *range(8)}
    assert (tmp_path / "err").read_bytes() == b""
    used = int((tmp_path / "memory").read_text())
    assert used < MEMORY * (1 if sys.platform == "linux" else 1024)


@pytest.fixture
def silent() -> Iterator[tuple[Wire, int, int, socket.socket]]:
    """A wire to a server that answers nothing by itself, the client's two descriptors, and the server's socket."""
    client_in, to_wire = os.pipe()
    from_wire, client_out = os.pipe()
    ours, theirs = socket.socketpair()
    wire = Wire(client_in, client_out, ours, grace=0.2)
    for body in (wire.take, wire.give):
        threading.Thread(target=body, daemon=True).start()
    yield wire, to_wire, from_wire, theirs
    theirs.close()
    for descriptor in (client_in, client_out, from_wire):
        os.close(descriptor)


def ping(id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": "ping"}


def test_answers_that_do_not_come_are_not_waited_for_without_end(silent: Any) -> None:
    _, to_wire, _, server = silent
    os.write(to_wire, encoded([ping(1)]))
    os.close(to_wire)
    server.settimeout(60)
    assert b"".join(iter(lambda: server.recv(2**16), b"")) == b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'


def test_the_end_waits_for_answers_and_not_for_what_was_taken_back(silent: Any) -> None:
    wire, to_wire, from_wire, server = silent
    wire._grace = 600  # for good, as far as this test goes
    back = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "b"}}
    listen = {"jsonrpc": "2.0", "id": "c", "method": "subscriptions/listen"}
    os.write(to_wire, encoded([ping(1), ping("b"), back, listen]))
    os.close(to_wire)
    received = server.makefile("rb")
    assert [json.loads(received.readline())["method"] for _ in range(4)][3] == "subscriptions/listen"
    server.sendall(b'{"jsonrpc":"2.0","id":1,"result":{}}\n')
    assert received.readline() == b""
    assert os.read(from_wire, 100) == b'{"jsonrpc":"2.0","id":1,"result":{}}\n'


def test_no_more_requests_are_read_than_are_served_at_once(silent: Any) -> None:
    wire, to_wire, _, server = silent
    wire._grace = 600
    received = server.makefile("rb")
    os.write(to_wire, encoded([ping(n) for n in range(WAITING + 1)]))
    for n in range(WAITING):
        assert json.loads(received.readline())["id"] == n
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.recv(1)
    server.setblocking(True)
    server.sendall(b'{"jsonrpc":"2.0","id":3,"result":{}}\n')
    assert json.loads(received.readline())["id"] == WAITING
    os.close(to_wire)


def test_a_client_that_reads_no_more_ends_the_server_quietly() -> None:
    process = subprocess.Popen(SERVE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.write(encoded([INITIALIZE]))
    process.stdin.flush()
    process.wait(timeout=300)  # its standard input is open still
    assert process.returncode == 128 + signal.SIGPIPE
    assert process.stderr is not None
    assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is of Linux")
def test_answers_that_cannot_be_written_are_said() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            SERVE, input=encoded([INITIALIZE]), stdout=full, stderr=subprocess.PIPE, timeout=300
        )
    assert done.returncode == 1
    assert b"the answer cannot be written: No space left on device" in done.stderr


def test_what_others_print_is_not_for_the_client(silent: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, to_wire, from_wire, server = silent
    server.sendall(b'a warning\n"text"\n{"jsonrpc":"2.0","id":1,"result":{}}\n')
    assert os.read(from_wire, 100) == b'{"jsonrpc":"2.0","id":1,"result":{}}\n'
    assert capsys.readouterr().err == 'a warning\n"text"\n'
    os.close(to_wire)
