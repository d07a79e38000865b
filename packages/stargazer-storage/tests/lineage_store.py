"""Histories for tests of lineages: imports and executions, made by hand in a store."""

from __future__ import annotations

from typing import Any

from stargazer.assets import Asset
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Entry, Execution
from stargazer.storage.store import Addition, Store, now

__all__ = ["entry_of", "imported", "made"]


def imported(store: Store, name: str, content: str = "", **fields: Any) -> Asset:
    """A file that was added; its content is its name unless told otherwise."""
    path = store.objects.work / name
    path.write_text(content or name)
    asset = QcReport(**{"kind": "raw", "sample": name} | fields)
    return Asset.from_record(store.add([Addition(path=path, asset=asset)])[0])


def made(store: Store, task: str, content: str, inputs: dict[str, Asset], **fields: Any) -> Asset:
    """What a task made of these inputs, by role."""
    path = store.objects.work / "made"
    path.write_text(content)
    entries = [entry_of(role, asset) for role, asset in inputs.items()]
    report = QcReport(path=path, kind="made", sample=task)
    fields = {"finished": now()} | fields
    store.commit(Execution(task=task, inputs=entries, **fields), [("report", report)])
    return report


def entry_of(role: str, asset: Asset) -> Entry:
    """An asset as an execution that read it names it."""
    pairs = asset.keyvalues
    provenance_cid = pairs.pop("provenance_cid", "")
    return Entry(role=role, cid=asset.cid or "", keyvalues=pairs, provenance_cid=provenance_cid)
