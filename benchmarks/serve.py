"""The MCP server against a bare FastMCP server, and how soon its tools answer in a large store.

    python benchmarks/serve.py [--rounds 20] [--records 100000] [--clients 20]

From the start of the process to the answer of tools/list over stdio, and the memory of the server then; both sides take
turns, medians count. Then, in a store of so many records, the tools about metadata, the start of a run, and clients at
once over HTTP. Exit status 1 above a limit.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from _measure import STARGAZER

SLOWER, LARGER = 1.15, 40.0  # of a bare server: times, MB
METADATA, STARTED = 1.0, 2.0  # seconds

BARE = """
from fastmcp import FastMCP
server = FastMCP("bare")
@server.tool
def add(a: int, b: int) -> int:
    return a + b
server.run("stdio", show_banner=False, log_level="CRITICAL")
"""
MESSAGES = (
    {"method": "initialize", "id": 1, "params": {"protocolVersion": "2025-11-25", "capabilities": {},
     "clientInfo": {"name": "benchmark", "version": "1"}}},
    {"method": "notifications/initialized"},
    {"method": "tools/list", "id": 2},
)  # fmt: skip
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "query_files, all": ("query_files", {}),
    "query_files, a sample": ("query_files", {"filters": {"asset": "alignment", "sample": "sample-40"}}),
    "query_files, a type": ("query_files", {"filters": {"asset": "alignment"}}),
    "query_files, a build": ("query_files", {"filters": {"asset": "alignment", "build": "GRCh38"}}),
    "list_tasks": ("list_tasks", {}),
    "describe_task": ("describe_task", {"name": "germline_short_variant_discovery"}),
    "list_runs": ("list_runs", {}),
    "why": ("why", {"cid": "CID"}),
    "bundles": ("bundles", {}),
}
RUN = ("run_workflow", {"name": "prepare_reference", "arguments": {"build": "small", "aligner": "none"}})


def started(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Seconds from the start of a server to its answer of tools/list, its memory then in MB, and processor seconds."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for message in MESSAGES:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            process.stdin.flush()
            if "id" in message:
                assert json.loads(process.stdout.readline())["id"] == message["id"]
        seconds = time.perf_counter() - began
        memory, used = resident(process.pid), processor(process.pid)
        process.stdin.close()
    return seconds, memory, used


def resident(pid: int) -> float:
    """MB of memory that a process has (Linux; 0 elsewhere)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def processor(pid: int) -> float:
    """Seconds of processors that a process has used (Linux; 0 elsewhere)."""
    try:
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0.0
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def fill(folder: Path, records: int) -> str:
    """Put records of alignments and reads into a store that has none, without their bytes; the CID of one."""
    from stargazer.storage import open_store

    store = open_store(folder)
    store.open_index()
    store.index.table("records").insert_multiple(record(number) for number in range(records))
    return str(record(0)["cid"])


def record(number: int) -> dict[str, Any]:
    """A record as it lies in an index."""
    digest = hashlib.sha256(str(number).encode()).digest()
    sample = {"sample": f"sample-{number // 4}"}
    kind = ("alignment", "alignment", "r1", "r2")[number % 4]
    more = {"build": "GRCh38"} if kind == "alignment" else {"lane": "L001"}
    return {
        "id": f"record-{number}",
        "cid": "b" + base64.b32encode(b"\x01\x55\x12\x20" + digest).decode().lower().rstrip("="),
        "name": f"sample-{number}.{'bam' if kind == 'alignment' else 'fq.gz'}",
        "size": 40_000_000 + number,
        "created_at": "2026-11-23T12:00:00+00:00",
        "keyvalues": {"asset": kind, **sample, **more},
    }


async def timed(action: Callable[[], Awaitable[Any]], rounds: int = 5) -> float:
    """The median of the seconds that something takes."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        await action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


async def asked(environment: dict[str, str], cid: str) -> dict[str, float]:
    """How long the tools take; the names of those that the server has not are left out."""
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport

    found: dict[str, float] = {}
    transport = StdioTransport(STARGAZER, ["serve"], env=environment, keep_alive=False)
    async with Client(transport) as client:
        names = {tool.name for tool in await client.list_tools()}
        for name, (tool, given) in ASKED.items():
            arguments = {key: cid if value == "CID" else value for key, value in given.items()}
            if tool in names:
                found[name] = await timed(lambda t=tool, a=arguments: client.call_tool(t, a))  # type: ignore[misc]
        answers: list[Any] = []

        async def run() -> None:
            answers.append(await client.call_tool(*RUN))

        found["run_workflow, the first"] = await timed(run, 1)
        while answers[-1].structured_content["state"] == "running":
            await client.call_tool("get_run", {"run_id": answers[-1].structured_content["run"], "wait_s": 50})
            await run()
        found["run_workflow, remembered"] = await timed(run, 3)
    return found


async def crowd(environment: dict[str, str], clients: int) -> float:
    """Seconds until so many clients over HTTP, all at once, have listed and called tools; an error ends all."""
    from fastmcp import Client

    process = await asyncio.create_subprocess_exec(
        STARGAZER, "serve", "--http", "--port", "0", env=environment, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    url = (await process.stderr.readline()).decode().split()[-1]

    async def client() -> None:
        async with Client(url) as one:
            await one.list_tools()
            for _ in range(5):
                await one.call_tool("query_files", {"filters": {"asset": "alignment", "sample": "sample-40"}})
                await one.call_tool("list_tasks", {"search": "variants"})

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds = time.perf_counter() - began
    process.terminate()
    await process.wait()
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=20)
    options = parser.parse_args()
    failures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
        environment = {
            **os.environ,
            "STARGAZER_MODE": "local",
            "STARGAZER_HOME": str(folder / "home"),
            "STARGAZER_LOCAL": str(folder / "home" / "local"),
        }
        sides = {"bare": [sys.executable, "-c", BARE], "stargazer serve": [STARGAZER, "serve"]}
        figures: dict[str, list[tuple[float, float, float]]] = {side: [] for side in sides}
        for side in sides.values():  # modules are compiled
            started(side, environment)
        for _ in range(options.rounds):
            for side, command in sides.items():
                figures[side].append(started(command, environment))
        middle = {side: [statistics.median(values) for values in zip(*found, strict=True)]
                  for side, found in figures.items()}  # fmt: skip
        for side, (seconds, memory, used) in middle.items():
            print(
                f"{side:28} start to tools/list {seconds:6.3f} s ({used:.2f} s of processors), then {memory:6.1f} MB"
            )
        times = middle["stargazer serve"][0] / middle["bare"][0]
        larger = middle["stargazer serve"][1] - middle["bare"][1]
        print(f"the start takes {times:.2f}x of a bare server's, and {larger:.1f} MB more")
        if times > SLOWER:
            failures.append(f"the start takes {times:.2f}x of a bare server's, at most {SLOWER}x expected")
        if larger > LARGER:
            failures.append(f"{larger:.1f} MB more than a bare server, at most {LARGER:g} MB expected")

        (folder / "small.fa").write_text(">c\n" + "ACGT" * 1000 + "\n")
        subprocess.run(
            [STARGAZER, "add", folder / "small.fa", "build=small"],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        cid = fill(folder / "home" / "local", options.records)
        print(f"in a store of {options.records:,} records, at most {METADATA:g} s; {STARTED:g} s for run_*")
        for what, seconds in asyncio.run(asked(environment, cid)).items():
            most = STARTED if what.startswith("run_") else METADATA
            print(f"  {what:26} {seconds:6.3f} s")
            if seconds > most:
                failures.append(f"{what} takes {seconds:.2f} s, at most {most:g} s expected")
        seconds = asyncio.run(crowd(environment, options.clients))
        print(f"{options.clients} clients at once over HTTP, with 10 calls each: {seconds:.1f} s, no error")
        shutil.rmtree(folder / "home")
    print("; ".join(failures) or "every limit is met")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
