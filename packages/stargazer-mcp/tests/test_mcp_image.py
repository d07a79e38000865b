"""The chat image, as far as can be told without building it: what it pins, and what its clients are told."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FOLDER = Path(__file__).resolve().parents[3] / "images" / "chat"
if not FOLDER.exists():
    pytest.skip("images/ is in the repository alone, not in this distribution", allow_module_level=True)

PACKAGES = FOLDER.parent.parent / "packages"
EXTRAS = re.search(r"^ARG EXTRAS=(\S+)", (FOLDER / "Containerfile").read_text(), re.MULTILINE)[1].split(",")
PYTHONS = ("3.11", "3.12", "3.13")


def needed() -> Iterator[Requirement]:
    """What the five distributions require, with the extras that the image has."""
    for path in sorted(PACKAGES.glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        extras = project.get("optional-dependencies", {})
        for text in [*project["dependencies"], *(item for extra in EXTRAS for item in extras.get(extra, []))]:
            if not text.startswith("stargazer-"):
                yield Requirement(text)


def test_what_the_image_pins_is_what_the_distributions_ask_for() -> None:
    lines = re.findall(r"^[\w.-]+==.*?(?= \\$)", (FOLDER / "requirements.txt").read_text(), re.MULTILINE)
    pinned = [Requirement(line) for line in lines]
    refused = []
    for python in PYTHONS:
        here = {"python_version": python, "python_full_version": f"{python}.9", "extra": ""}
        fixed = {
            found.name: str(found.specifier).removeprefix("==")
            for found in pinned
            if found.marker is None or found.marker.evaluate(here)
        }
        refused += [
            f"Python {python}: {wanted}, and the lock has {fixed.get(wanted.name)}"
            for wanted in needed()
            if (wanted.marker is None or wanted.marker.evaluate(here))
            and not wanted.specifier.contains(fixed.get(wanted.name, "0"), prereleases=True)
        ]

    assert not refused, f"{refused}: `hatch run ci:chat-image --lock` writes it anew"


def test_every_package_and_program_has_its_digest() -> None:
    for name in ("requirements.txt", "tools.txt"):
        entries = re.split(r"\n(?=\S)", (FOLDER / name).read_text().strip())
        assert entries
        assert not [entry for entry in entries if "--hash=sha256:" not in entry]
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
