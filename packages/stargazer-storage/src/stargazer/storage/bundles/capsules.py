"""What a capsule carries: results, and what is needed to compute them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stargazer.assets import Asset, AssetNotFoundError, companions_of, record_id
from stargazer.assets.provenance import Execution
from stargazer.storage.lineage._why import steps_of

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage.lineage._why import Step
    from stargazer.storage.reading import StoreReader

__all__ = ["with_companions", "with_lineage"]


def with_companions(store: StoreReader, records: Iterable[IpFile]) -> list[IpFile]:
    """Records and those of what accompanies them, each once; no provenance, which travels as such."""
    found: dict[str, IpFile] = {}
    waiting = deque(record for record in records if record.keyvalues.get("asset") != "provenance")
    while waiting:
        record = waiting.popleft()
        if record.id not in found:
            found[record.id] = record
            kind = type(Asset.from_record(record))
            for cls, link in companions_of(kind) if kind.asset_key else ():
                waiting += store.query({"asset": cls.asset_key, link: record.cid})
    return list(found.values())


def with_lineage(
    store: StoreReader, records: Sequence[IpFile], *, intermediates: bool = False
) -> list[IpFile]:
    """Records with the imports that they were made from, and what accompanies any file on the way.

    Args:
        intermediates: also the files on the way, which are computed again otherwise.

    Raises:
        AssetNotFoundError: how a file came to be is not known here, or an import was taken back.
    """
    chosen = with_companions(store, records)
    while True:
        steps = steps_of(store, chosen)
        made = [step for step in steps if isinstance(step.document, Execution)]
        imports = [_record(store, step) for step in steps if not isinstance(step.document, Execution)]
        between = [_record(store, step) for step in made]
        on_the_way = {record.id for record in between}
        accompanying = [record for record in with_companions(store, between) if record.id not in on_the_way]
        found = {
            record.id: record
            for record in [*chosen, *imports, *accompanying, *(between if intermediates else [])]
        }
        if len(found) == len(chosen):
            return chosen
        chosen = with_companions(store, found.values())


def _record(store: StoreReader, step: Step) -> IpFile:
    """The record of a step's file."""
    entry = step.entry
    if step.document is None:
        raise AssetNotFoundError(
            f"how {entry.name or entry.keyvalues.get('asset', 'a file')} ({entry.cid}) came to be is not known here, "
            "so its lineage cannot be carried: bring its provenance (`stargazer pull`, `stargazer bundle fetch`)"
        )
    record = store.here(record_id(entry.cid, entry.keyvalues))
    if record is None:
        record = next(iter(store.query({"cid": entry.cid})), None)
    if record is None:
        raise AssetNotFoundError(
            f"{entry.name or entry.keyvalues.get('asset', 'a file')} ({entry.cid}) belongs to the lineage, and its "
            "record was taken back: add it again"
        )
    return record
