"""Telling provenance documents from other files by their bytes alone."""

from __future__ import annotations

import os
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.assets.provenance import parse

__all__ = ["is_document", "looks_like_document", "refuse_document"]

_HEAD, _SIGN = b'{"', b'"stargazer":"provenance/'
_LARGEST = 256 << 20  # bytes; a document of a million files is smaller


def looks_like_document(path: Path) -> bool:
    """Whether a file begins like a provenance document and is signed like one."""
    return bool(_signed(path))


def is_document(path: Path) -> bool:
    """Whether a file is a provenance document that can be read here: told cheaply of files that are not."""
    try:
        return bool(parse(_signed(path)))
    except ValueError:
        return False


def refuse_document(path: Path) -> None:
    """Refuse a provenance document where a file is expected: an index that is made again would take its word.

    Raises:
        StorageError: it is one.
    """
    if is_document(path):
        raise StorageError("it is a provenance document, which comes with the files that it speaks of")


def _signed(path: Path) -> bytes:
    """The bytes of a file that looks like a document; none of any other."""
    try:
        with open(path, "rb") as file:
            if file.read(len(_HEAD)) != _HEAD or os.fstat(file.fileno()).st_size > _LARGEST:
                return b""
            data = _HEAD + file.read()
    except OSError:
        return b""
    return data if _SIGN in data else b""
