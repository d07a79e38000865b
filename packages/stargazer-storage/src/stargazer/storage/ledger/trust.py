"""Whose word counts: a store believes its own documents, and those of others that one of its own says it trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stargazer.storage.index.records import Index

__all__ = ["is_believed", "is_foreign", "is_trusted"]

_TRUSTED = """
SELECT 1 FROM edges JOIN documents ON documents.cid = edges.provenance_cid
WHERE edges.cid = ? AND role = 'trusted' AND own LIMIT 1
"""


def is_foreign(index: Index, cid: str) -> bool:
    """Whether a provenance document is known here and was written by somebody else."""
    return bool(index.rows("SELECT 1 FROM documents WHERE cid = ? AND NOT own", cid))


def is_trusted(index: Index, cid: str) -> bool:
    """Whether a document of this store's own says that another one is trusted."""
    return bool(index.rows(_TRUSTED, cid))


def is_believed(index: Index, cid: str) -> bool:
    """Whether a provenance document is this store's own, or is trusted."""
    return not is_foreign(index, cid) or is_trusted(index, cid)
