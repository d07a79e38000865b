"""The chat image, as far as can be told without building it: its programs, and what its clients are told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "images" / "chat"
if not FOLDER.exists():
    pytest.skip("images/ is in the repository alone, not in this distribution", allow_module_level=True)


def test_every_program_has_its_digest() -> None:
    packages = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    locked = {name.removeprefix("node_modules/"): entry for name, entry in packages.items() if name}
    assert {name: entry["version"] for name, entry in locked.items()} == wanted
    assert all(entry["integrity"].startswith("sha512-") for entry in locked.values())


def test_both_clients_start_the_same_server() -> None:
    claude = json.loads((FOLDER / "etc/claude-code/managed-mcp.json").read_text())["mcpServers"]["stargazer"]
    opencode = json.loads((FOLDER / "etc/stargazer/opencode.json").read_text())["mcp"]["stargazer"]

    assert [claude["command"], *claude["args"]] == opencode["command"]


def test_tools_that_only_look_need_no_leave_and_no_others() -> None:
    from stargazer.mcp.server import make_server

    tools = asyncio.run(make_server().list_tools())
    looking = {tool.name for tool in tools if tool.annotations.read_only_hint}
    claude = json.loads((FOLDER / "etc/claude-code/managed-settings.json").read_text())["permissions"]
    opencode = json.loads((FOLDER / "etc/stargazer/opencode.json").read_text())["permission"]

    assert claude == {"allow": sorted(f"mcp__stargazer__{name}" for name in looking)}
    own = [
        (name.removeprefix("stargazer_"), leave) for name, leave in opencode.items() if "stargazer_" in name
    ]
    assert own == [("*", "ask"), *((name, "allow") for name in sorted(looking))]  # the last that fits counts
