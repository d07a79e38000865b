"""The files that belong to others and travel with them: indexes of alignments, dictionaries of references, mates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stargazer.assets import Asset, IpFile, companions_of

if TYPE_CHECKING:
    from stargazer.storage.store import Store

__all__ = ["with_companions"]


def with_companions(store: Store, records: Iterable[IpFile]) -> list[IpFile]:
    """Records and all that accompany them, each once; those asked for come first."""
    found: dict[str, IpFile] = {}
    waiting = list(records)
    for record in waiting:  # which grows meanwhile
        if record.id not in found:
            found[record.id] = record
            for cls, link in companions_of(type(Asset.from_record(record))):
                waiting += store.query({"asset": cls.asset_key, link: record.cid})
    return list(found.values())
