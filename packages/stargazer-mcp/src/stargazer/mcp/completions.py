"""What clients may offer while somebody types: asset types, builds, samples, CIDs, runs."""

from __future__ import annotations

import asyncio

from fastmcp import FastMCP
from stargazer import assets
from stargazer.assets import StargazerError
from stargazer.mcp.access import Access
from stargazer.mcp.strict_json import valid_text
from stargazer.storage import get_client
from stargazer.workflows import list_runs

from mcp.types import (
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

__all__ = ["candidates", "register"]

MOST, LONGEST = 100, 200  # candidates, and characters of what was typed
FIELDS = {"sample": "sample", "samples": "sample", "build": "build", "cid": "cid"}
"""Arguments whose candidates are what records have under a key."""
CALLERS = ("auto", "bcftools", "gatk")


def register(server: FastMCP, access: Access) -> None:
    """Let a server complete the arguments of its prompts and resource templates."""

    @server.completion
    async def complete(
        reference: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> list[str]:
        """Candidates for an argument."""
        failed = isinstance(reference, PromptReference)  # the prompt about runs asks for one that failed
        try:
            return await asyncio.to_thread(candidates, argument.name, argument.value, failed)
        except (StargazerError, OSError):  # who types is told nothing: the call itself says what is wrong
            return []


def candidates(name: str, typed: str, failed: bool = False) -> list[str]:
    """What an argument may become; of a list with commas, with another last member.

    Args:
        failed: of runs, those alone that have not succeeded.

    Raises:
        StargazerError, OSError: what is registered cannot be told.
    """
    if len(typed) > LONGEST or not valid_text(typed):
        return []
    if name in FIELDS:
        before, comma, last = typed.rpartition(",") if name == "samples" else ("", "", typed)
        store = get_client().store
        given = before.split(",")
        found = store.values(FIELDS[name], last, MOST) if store.exists() else []
        return [f"{before}{comma}{value}" for value in found if value not in given]
    if name == "run_id":
        ended_badly = ("failed", "cancelled", "lost")
        runs = (run for run in list_runs() if not failed or run.state in ended_badly)
        return [run.id for run in runs if typed in run.id][:MOST]
    if name in ("takes", "gives"):
        assets.load_asset_types()
        return [key for key in sorted(assets.REGISTRY) if key.startswith(typed)]
    return [word for word in CALLERS if word.startswith(typed)] if name == "caller" else []
