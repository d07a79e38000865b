"""What clients read to start the server: `stargazer mcp config`, and the files of the packages made for them."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from .command import Command

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = (ROOT / "server.json").exists()
ours = pytest.mark.skipif(
    not SHIPPED, reason="these files are in the repository alone, not in this distribution"
)
DESCRIPTION = 100  # characters that the registry takes
SKILL = 1024


def command_of(client: str, out: str) -> tuple[list[str], dict[str, str]]:
    """The command that a configuration has the client start, and its variables."""
    if client == "claude-code":
        words = shlex.split(out)
        assert words[:4] == ["claude", "mcp", "add", "stargazer"]
        cut = words.index("--")
        return words[cut + 1 :], dict(word.split("=", 1) for word in words[5:cut:2])
    (servers,) = (value for key, value in json.loads(out).items() if key != "$schema")
    server = servers["stargazer"]
    if client == "opencode":
        assert (server["type"], server["enabled"]) == ("local", True)
        return server["command"], server["environment"]
    return [server["command"], *server["args"]], server["env"]


@pytest.mark.parametrize("client", ["claude-code", "claude-desktop", "opencode", "cursor", "vscode"])
def test_a_client_is_told_to_start_what_is_installed_here(
    client: str, stargazer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "a store"))
    (tmp_path / "my reads").mkdir()

    status, out, err = stargazer("mcp", "config", client, "--root", str(tmp_path / "my reads"), "--read-only")

    command, variables = command_of(client, out)
    assert status == 0
    assert err.strip()
    assert Path(command[0]).is_file()
    assert command[-4:] == ["serve", "--root", str(tmp_path / "my reads"), "--read-only"]
    assert variables["STARGAZER_LOCAL"] == str(tmp_path / "a store")
    assert set(variables) <= {"STARGAZER_LOCAL", "STARGAZER_HOME"}


def test_with_uvx_nothing_of_this_machine_is_in_it(
    stargazer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STARGAZER_HOME", "STARGAZER_LOCAL"):
        monkeypatch.delenv(name, raising=False)

    _, out, _ = stargazer("mcp", "config", "vscode", "--uvx")

    assert command_of("vscode", out) == (["uvx", "stargazer-mcp", "serve"], {})


def test_a_client_that_reads_it_is_served(stargazer: Command, tmp_path: Path) -> None:
    _, out, _ = stargazer("mcp", "config", "cursor", "--json")
    answer = json.loads(out)
    (command, *words), variables = command_of("cursor", answer["written"])
    assert ([command, *words], variables) == (answer["command"], answer["variables"])

    async def names() -> set[str]:
        with open(tmp_path / "stderr", "w") as log:
            transport = StdioTransport(command, words, env=variables, keep_alive=False, log_file=log)
            async with Client(transport) as client:
                return {tool.name for tool in await client.list_tools()}

    assert "query_files" in asyncio.run(asyncio.wait_for(names(), 120))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["config", "emacs"], "unknown client 'emacs'; known: claude-code"),
        (["config"], "expected: stargazer mcp config CLIENT"),
        ([], "expected: stargazer mcp config CLIENT"),
        (["config", "cursor", "--root", "nowhere"], "--root 'nowhere' is no folder"),
    ],
)
def test_what_it_does_not_know_is_refused(stargazer: Command, words: list[str], problem: str) -> None:
    status, out, err = stargazer("mcp", *words)

    assert (status, out) == (2, "")
    assert problem in err


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / name).read_text())
    return found


@ours
def test_versions_agree_and_descriptions_fit() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bundle = tomllib.loads((ROOT / "mcpb" / "pyproject.toml").read_text())["project"]
    server, manifest, plugin = (
        read(name) for name in ("server.json", "mcpb/manifest.json", "plugin/.claude-plugin/plugin.json")
    )
    (package,) = server["packages"]

    versions = {each["version"] for each in (project, bundle, server, package, manifest, plugin)}
    assert versions == {project["version"]}
    assert bundle["dependencies"] == [f"{project['name']}=={project['version']}"]
    assert package["identifier"] == project["name"]
    assert project["name"] in project["scripts"]  # so that uvx needs no --from
    assert f"<!-- mcp-name: {server['name']} -->" in (ROOT / project["readme"]).read_text()
    assert 0 < len(server["description"]) <= DESCRIPTION
    assert {each["license"] for each in (manifest, plugin)} == {project["license"]}


@ours
def test_the_bundle_starts_a_file_that_it_has() -> None:
    manifest = read("mcpb/manifest.json")

    entry = manifest["server"]["entry_point"]
    assert (ROOT / "mcpb" / entry).is_file()
    assert entry in manifest["server"]["mcp_config"]["args"]
    done = subprocess.run(
        [sys.executable, ROOT / "mcpb" / entry, "serve", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "--root" in done.stdout


@ours
def test_the_plugin_starts_the_server_and_its_skill_names_tools_that_exist() -> None:
    from stargazer.mcp.tools.answers import EXAMPLES

    assert read("plugin/.mcp.json")["mcpServers"]["stargazer"]["args"] == ["stargazer-mcp", "serve"]
    text = (ROOT / "plugin" / "skills" / "stargazer" / "SKILL.md").read_text()
    head = re.fullmatch(r"---\nname: stargazer\ndescription: (.+)\n---\n(.+)", text, re.DOTALL)
    assert head is not None
    assert len(head[1]) <= SKILL
    assert "\n" not in head[1]
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", text)) - {"wait_s"}
    assert named <= set(EXAMPLES)
    assert {"query_files", "run_workflow", "get_run", "check_claims"} <= named
