"""`stargazer mcp config`: prints what makes a client start the server."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stargazer.mcp.cli.console import Parser, note, option, print_json, print_text

__all__ = ["mcp"]

NAME = "stargazer"
KEPT = ("STARGAZER_HOME", "STARGAZER_LOCAL")
"""Variables that choose a store, which a client would not pass on of itself; none is a secret."""


def mcp(argv: Sequence[str]) -> None:
    """Print the configuration of a client."""
    parser = Parser(
        "mcp",
        "config CLIENT [--uvx] [--root DIR ...] [--read-only] [--json]",
        "Print what makes a client start the MCP server, and say where that belongs.\n"
        f"CLIENT is one of {', '.join(CLIENTS)}.",
        "  stargazer mcp config claude-code\n"
        "  stargazer mcp config vscode --root /data/reads > .vscode/mcp.json\n"
        "  stargazer mcp config claude-desktop --uvx",
        {
            "--uvx": "have uv fetch and start stargazer-mcp, instead of what is installed here",
            "--root": option(
                "DIR",
                "as of `serve`, and what clients that start it elsewhere need",
                action="append",
                default=[],
            ),
            "--read-only": "as of `serve`",
            "--json": "print as JSON what is started, with which variables, and what is written where",
        },
    )
    words = parser.sort(argv)
    action, *rest = words.plain or [""]
    if action != "config" or words.pairs or len(rest) != 1:
        parser.error(f"expected: stargazer mcp config CLIENT, with CLIENT one of {', '.join(CLIENTS)}")
    (client,) = rest
    if client not in CLIENTS:
        parser.error(f"unknown client {client!r}; known: {', '.join(CLIENTS)}")
    command = ["uvx", "stargazer-mcp", "serve"] if words.options.uvx else [*_installed(), "serve"]
    for root in words.options.root:
        if not Path(root).is_dir():
            parser.error(f"--root {root!r} is no folder")
        command += ["--root", str(Path(root).resolve())]
    command += ["--read-only"] if words.options.read_only else []
    variables = {name: os.path.abspath(os.environ[name]) for name in KEPT if os.environ.get(name)}
    where, written = CLIENTS[client]
    text = written(command, variables)
    if words.options.json:
        print_json(
            {"client": client, "command": command, "variables": variables, "where": where, "written": text}
        )
        return
    print_text(text)
    note(where)


def _installed() -> list[str]:
    """The command of this installation, by its path: clients have another PATH than shells."""
    script = Path(sys.executable).with_name("stargazer")
    return [str(script)] if script.exists() else [sys.executable, "-m", "stargazer.mcp.cli"]


def _claude_code(command: Sequence[str], variables: Mapping[str, str]) -> str:
    given = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    return shlex.join(["claude", "mcp", "add", NAME, *given, "--", *command])


def _servers(key: str, **more: Any) -> Callable[[Sequence[str], Mapping[str, str]], str]:
    """What most clients read: servers by name, under a key."""

    def written(command: Sequence[str], variables: Mapping[str, str]) -> str:
        server = {**more, "command": command[0], "args": list(command[1:]), "env": dict(variables)}
        return json.dumps({key: {NAME: server}}, indent=2)

    return written


def _opencode(command: Sequence[str], variables: Mapping[str, str]) -> str:
    server = {"type": "local", "command": list(command), "enabled": True, "environment": dict(variables)}
    return json.dumps({"$schema": "https://opencode.ai/config.json", "mcp": {NAME: server}}, indent=2)


CLIENTS: Mapping[str, tuple[str, Callable[[Sequence[str], Mapping[str, str]], str]]] = {
    "claude-code": ("run this in the folder of your project", _claude_code),
    "claude-desktop": (
        "goes into claude_desktop_config.json (Settings, Developer, Edit Config); then restart it",
        _servers("mcpServers"),
    ),
    "opencode": ("goes into opencode.json in the folder of your project", _opencode),
    "cursor": ("goes into .cursor/mcp.json in the folder of your project", _servers("mcpServers")),
    "vscode": ("goes into .vscode/mcp.json in the folder of your project", _servers("servers", type="stdio")),
}
"""Clients: where their configuration belongs, and what makes it."""
