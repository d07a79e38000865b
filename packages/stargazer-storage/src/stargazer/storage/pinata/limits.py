"""What Pinata refuses, refused here before a byte is sent."""

from __future__ import annotations

from collections.abc import Mapping

from stargazer.assets import InvalidAssetError, StorageError

__all__ = ["MAX_FILE_SIZE", "MAX_KEYVALUES", "check", "check_keyvalues"]

MAX_KEYVALUES = 10
"""Pairs of one file. Source: docs.pinata.cloud/files/key-values, "up to 10 key-value pairs"."""

MAX_FILE_SIZE = 25_000_000_000
"""Bytes of one file. Source: docs.pinata.cloud/account-management/limits, 25 GB."""


def check(size: int, keyvalues: Mapping[str, object], name: str = "") -> None:
    """Whether Pinata takes a file of `size` bytes with this metadata and this name.

    Raises:
        InvalidAssetError: more than 10 keyvalues, one that is not text, or a name that is not.
        StorageError: more than 25 GB.
    """
    check_keyvalues(keyvalues)
    if not _is_text(name) or any(ord(character) < 0x20 or character == "\x7f" for character in name):
        raise InvalidAssetError(f"name {name!r} is not text that Pinata takes: rename the file")
    if size > MAX_FILE_SIZE:
        raise StorageError(
            f"{name or 'the file'!r} has {size:,} bytes, Pinata takes at most {MAX_FILE_SIZE:,}: "
            "compress it, or split it into several files"
        )


def check_keyvalues(keyvalues: Mapping[str, object]) -> None:
    """Whether Pinata takes these keyvalues.

    Raises:
        InvalidAssetError: more than 10, or a key or value that is not text.
    """
    if len(keyvalues) > MAX_KEYVALUES:
        raise InvalidAssetError(
            f"{len(keyvalues)} keyvalues, Pinata takes at most {MAX_KEYVALUES}: "
            f"{', '.join(sorted(map(str, keyvalues)))}"
        )
    for key, value in keyvalues.items():
        if not _is_text(key) or not key:
            raise InvalidAssetError(f"{key!r} is not a key that Pinata takes: expected text")
        if not _is_text(value):
            raise InvalidAssetError(f"{key} is {value!r}, expected text: Pinata's keyvalues are strings")


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # a file name that is no UTF-8
        return False
    return True
