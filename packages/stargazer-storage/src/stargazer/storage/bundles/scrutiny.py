"""Documents that somebody else wrote: whether a store can take them without coming to say what it should not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from stargazer.assets import FormatError
from stargazer.assets.provenance import (
    Amendment,
    Document,
    Entry,
    Execution,
    Import,
    Retraction,
    Supersession,
    parse,
)
from stargazer.storage.cid import is_cid
from stargazer.storage.ledger.claims import statements_of, time_of

__all__ = ["scrutinised"]

_RECORD = re.compile(r"[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_LARGEST = 1 << 62  # bytes


def scrutinised(data: bytes) -> Document:
    """The document of bytes that somebody else gave.

    It has to be written as `provenance.dump` writes, so that an index which is made again finds it; to name files by
    CIDs and records by ids; and to say of files only what whoever adds one may say.

    Raises:
        FormatError: it is no provenance document, or not one to take; the message says what is wrong with it.
    """
    document = parse(data)
    written = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode("ascii")
    if written != data:
        raise FormatError("it is not written as provenance is: sorted keys, no spaces, ASCII")
    try:
        json.dumps(json.loads(data), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise FormatError("it holds text that is no Unicode (half of a surrogate pair)") from None
    for wrong in _wrong(document):
        raise FormatError(wrong)
    return document


def _wrong(document: Document) -> Iterator[str]:
    """What keeps a document out."""
    created = document.created_at if isinstance(document, Amendment) else ""
    for time in [time_of(document), *filter(None, [created])]:
        if not _TIME.fullmatch(time):
            yield f"it was not done at a time in UTC: {time!r:.40}"
    if isinstance(document, Import | Execution):
        ids = [item.id for item in statements_of("", document)]
        if len(set(ids)) < len(ids):
            yield "it names a file twice"
    match document:
        case Import():
            if document.foreign or document.trusted:
                yield "it says whom to believe, which everybody says for himself"
            yield from _wrong_entries(document.files)
        case Execution():
            yield from _wrong_entries([*document.inputs, *document.outputs])
            roles = [entry.role for entry in document.outputs]
            if len(set(roles)) < len(roles):
                yield "two of its results have the same role"
            words = [document.task, *(word for tool in document.tools for word in (tool.name, tool.version))]
            if not all(word.isprintable() for word in words):
                yield "the name of its task or of a tool cannot be printed on a line"
        case Amendment():
            entry = Entry(cid=document.cid, keyvalues=document.keyvalues, size=document.size)
            yield from _wrong_entries([entry])
            yield from _wrong_names(document.record, [document.made_by, *document.replaces])
        case Retraction():
            yield from _wrong_names(document.record, [document.made_by, *document.replaces])
        case Supersession():
            yield from _wrong_names(document.record, document.replaces)


def _wrong_entries(entries: list[Entry]) -> Iterator[str]:
    for entry in entries:
        title = entry.name or entry.role or "a file"
        if not is_cid(entry.cid):
            yield f"{title!r} has no CID: {entry.cid!r}"
        if not 0 <= entry.size < _LARGEST:
            yield f"{title!r} has an impossible size: {entry.size}"
        if not entry.keyvalues.get("asset") or entry.keyvalues["asset"] == "provenance":
            yield f"{title!r} has no type, or that of provenance"
        if reserved := entry.keyvalues.keys() & {"cid", "provenance_cid", "superseded"}:
            yield f"{title!r} has metadata of a reserved name: {min(reserved)}"
        if entry.provenance_cid and not is_cid(entry.provenance_cid):
            yield f"{title!r} names provenance by no CID: {entry.provenance_cid!r}"


def _wrong_names(record: str, documents: list[str]) -> Iterator[str]:
    if not _RECORD.fullmatch(record):
        yield f"{record!r} is no id of a record"
    for cid in filter(None, documents):
        if not is_cid(cid):
            yield f"{cid!r} is no CID of a document"
