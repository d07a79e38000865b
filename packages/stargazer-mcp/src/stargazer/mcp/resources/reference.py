"""The resources that say how things are here: settings, asset types, tasks and workflows, conventions of authoring."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fastmcp import FastMCP
from stargazer import assets
from stargazer.mcp.configuration import described
from stargazer.mcp.resources.answers import JSON, answer, explained
from stargazer.storage import Settings

__all__ = ["CONVENTIONS", "asset_types", "register", "tasks"]

CONVENTIONS = Path(__file__).with_name("conventions.md")
LINKS = {"companion": "accompanies", "derived": "was made from"}


def register(server: FastMCP) -> None:
    """Add these resources to a server."""

    @server.resource("stargazer://config", title="Settings", mime_type=JSON)
    def config() -> str:
        """The settings in force and where each comes from: mode, store, account; no secrets."""
        with explained():
            return answer(described(Settings.load()))

    @server.resource("stargazer://catalogue/assets", title="Types of files", mime_type=JSON)
    def asset_catalogue() -> str:
        """Every type of file with its fields: what query_files filters by and upload_file takes as metadata."""
        with explained():
            return answer(asset_types())

    @server.resource("stargazer://catalogue/tasks", title="Tasks and workflows", mime_type=JSON)
    async def task_catalogue() -> str:
        """Every workflow and task by name, with a line on what it does; describe_task says more of one."""
        with explained():
            return answer(await asyncio.to_thread(tasks))

    @server.resource("stargazer://conventions", title="How to write a task", mime_type="text/markdown")
    def conventions() -> str:
        """How a task or workflow of one's own is written, tried and promoted to a package."""
        return CONVENTIONS.read_text(encoding="utf-8")


def asset_types() -> dict[str, Any]:
    """Every asset type by its name: what it is, its fields, and the types that travel with it."""
    from stargazer.workflows import describe_type

    assets.load_asset_types()
    found = {}
    for key, cls in sorted(assets.REGISTRY.items()):
        hints, links = assets.hints_of(cls), cls.links()
        fields = {}
        for name in cls.fields():
            if name in links:
                fields[name] = f"CID of the {links[name].target.asset_key} it {LINKS[links[name].kind.value]}"
            else:
                fields[name] = describe_type(hints[name])
        found[key] = {
            "what": " ".join((cls.__doc__ or "").split("\n\n")[0].split()),
            "fields": fields,
            "companions": [other.asset_key for other, _ in assets.companions_of(cls)],
        }
    return {"types": found, "everywhere": ["cid", "id", "asset", "provenance_cid", "superseded"]}


def tasks() -> dict[str, Any]:
    """Every workflow and task, with a line on each."""
    from stargazer.workflows import entries

    return {
        f"{kind}s": {entry.name: entry.summary for entry in entries(kind)} for kind in ("workflow", "task")
    }
