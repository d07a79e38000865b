"""What people should know about files they have just registered: what the store had of them, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence

from stargazer.assets.client import IpFile
from stargazer.assets.errors import FormatError
from stargazer.assets.fasta import ambiguity_notes, small_contigs
from stargazer.mcp.records import fields_text
from stargazer.storage.store import LocalStore

__all__ = ["notices"]


def notices(store: LocalStore, records: Sequence[IpFile], began: str) -> list[str]:
    """A line for each build given twice or with ambiguity codes, and for each file that was registered before.

    Args:
        records: of the files that were added.
        began: ISO 8601 in UTC, before they were; a record made earlier was there already.
    """
    lines: list[str] = []
    doubtful: list[str] = []
    for record in {record.id: record for record in records}.values():
        if record.created_at < began:
            lines.append(f"already registered: {record.name} as {_what(record)}")
        else:
            lines += _elsewhere(store, record)
        if record.keyvalues.get("asset") == "reference":
            doubtful += _same_build(store, record) + _ambiguity(record)
    return doubtful + lines


def _elsewhere(store: LocalStore, record: IpFile) -> list[str]:
    """What else the same bytes are registered as."""
    others = [other for other in store.query({"cid": record.cid}) if other.id != record.id]
    if not others:
        return []
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return [f"note: the bytes of {record.name} are also registered as {_what(others[0])}{more}"]


def _same_build(store: LocalStore, record: IpFile) -> list[str]:
    """Whether workflows that look for the reference of this build would find several."""
    build = record.keyvalues.get("build", "")
    others = [other for other in store.query({"asset": "reference", "build": build}) if other.id != record.id]
    if not others:
        return []
    return [
        f"note: there is another reference build={build}; workflows need exactly one: "
        f"`stargazer rm {others[0].id}` takes the other back"
    ]


def _ambiguity(record: IpFile) -> list[str]:
    """What the ambiguity codes of a small reference mean; of a large one, prepare_reference says it."""
    if record.path is None:
        return []
    try:
        contigs = small_contigs(record.path) or ()
    except FormatError:  # of a file that was registered by an earlier version
        return []
    return [f"note: {note}" for note in ambiguity_notes(contigs, record.keyvalues.get("build", ""))]


def _what(record: IpFile) -> str:
    return fields_text(record) or record.keyvalues.get("asset", "file")
