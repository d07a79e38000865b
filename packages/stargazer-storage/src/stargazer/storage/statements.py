"""What provenance documents say of records: which there are, and which no longer.

Every import and execution claims the records of its files, every amendment the record it changes one into; an
amendment or retraction ends the claims that it names. A record is there while one claim on it stands. So what holds
follows from the set of documents alone, in whatever order they are read (an observed-remove set: Shapiro et al.,
Conflict-free Replicated Data Types, 2011).
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from stargazer.assets import record_id
from stargazer.assets.provenance import (
    Amendment,
    Document,
    Entry,
    Execution,
    Import,
    Retraction,
    Supersession,
)

__all__ = ["Statement", "edges_of", "ended_by", "statements_of", "time_of"]


@attrs.frozen
class Statement:
    """A document's word that there is a record: its file, since when, and what made it."""

    file: Entry
    created_at: str
    made_by: str

    @property
    def id(self) -> str:
        """The record's id."""
        return record_id(self.file.cid, self.file.keyvalues)


def statements_of(cid: str, document: Document) -> Iterator[Statement]:
    """The records that a document with this CID claims."""
    match document:
        case Import(files=files) | Execution(outputs=files):
            for file in files:
                yield Statement(file, time_of(document), cid)
        case Amendment():
            file = Entry(
                cid=document.cid, keyvalues=document.keyvalues, name=document.name, size=document.size
            )
            yield Statement(file, document.created_at or document.at, document.made_by)


def ended_by(document: Document) -> list[tuple[str, str]]:
    """The claims that a document ends, as record and document."""
    if not isinstance(document, Amendment | Retraction):
        return []
    return [(document.record, claimant) for claimant in document.replaces or [document.made_by]]


def edges_of(document: Document) -> list[tuple[str, str]]:
    """The CIDs that a document names, each with its role."""
    match document:
        case Execution():
            edges = [(entry.cid, "input") for entry in document.inputs]
            return edges + [(entry.cid, "output") for entry in document.outputs]
        case Import():
            edges = [(entry.cid, "output") for entry in document.files]
            edges += [(cid, "foreign") for cid in document.foreign]
            return edges + [(cid, "trusted") for cid in document.trusted]
        case Amendment():
            return [(document.cid, "amended")]
        case Retraction():
            return [(document.cid, "retracted")]
        case Supersession():
            edges = [(document.cid, "superseded")]
            return edges + ([(document.successor_cid, "superseding")] if document.successor else [])


def time_of(document: Document) -> str:
    """When what a document says was done."""
    return document.finished if isinstance(document, Execution) else document.at
