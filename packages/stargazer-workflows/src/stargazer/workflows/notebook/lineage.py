"""The drawing of how a file came to be, as reports have it."""

from __future__ import annotations

from typing import Any

from stargazer.assets.keyvalues import fields_text
from stargazer.storage import get_client
from stargazer.storage.lineage import walk, why
from stargazer.workflows.notebook.app import marimo, plain
from stargazer.workflows.report.graph import graph
from stargazer.workflows.report.lineage import steps_of
from stargazer.workflows.report.page import DRAWN

__all__ = ["lineage_files", "lineage_graph"]

PLACE = "stargazer-lineage"
"""The class of what the style of the drawing is for."""
COLOURS = (
    "--ink: light-dark(#1c2430, #e6eaf0); --ink-soft: light-dark(#566172, #9aa6b5);"
    "--line: light-dark(#dfe3e9, #2c3541);"
    "--panel: light-dark(#f6f7f9, #1a2028); --good: light-dark(#3a8f6b, #58b890);"
    "--series-1: light-dark(#2b6cb8, #6ea8ec); --series-6: light-dark(#5d6b7a, #9aa6b5); overflow-x: auto;"
)


def lineage_graph(cid: str) -> Any:
    """How a file came to be, as a drawing: from imported files through tasks to it.

    Args:
        cid: of the file.

    Returns:
        An `Html` of marimo; of a file that no task made it says so.
    """
    mo, store = marimo(), get_client().store
    names = [record.name for record in store.query({"cid": cid})]
    if not names:
        return plain(f"No record has the CID `{cid}`.")
    drawn = graph(steps_of(store, [cid]), end=names[0])
    if not drawn:
        return plain(f"`{names[0]}` was imported: no task made it.")
    return mo.Html(f"<style>.{PLACE} {{ {COLOURS} {DRAWN} }}</style><div class={PLACE}>{drawn}</div>")


def lineage_files(cid: str) -> list[dict[str, str]]:
    """The files from which a file was made, in steps, those of the last step first, each once.

        table = mo.ui.table(lineage_files(cid), selection="single")
        table.value  # the one that is chosen: its CID leads on

    Args:
        cid: of the file.

    Returns:
        Rows of type, file, what is said of it, and CID; none of a file that was imported.

    Raises:
        AssetNotFoundError, StorageError: as `why`.
    """
    entries = {step.entry.cid: step.entry for step in walk(why(get_client().store, cid))}
    return [
        {
            "type": entry.keyvalues.get("asset", ""),
            "file": entry.name,
            "what is said of it": fields_text(entry.keyvalues),
            "CID": entry.cid,
        }
        for entry in entries.values()
        if entry.cid != cid
    ]
