"""Where else the bytes of a CID may be had: URLs, remembered without being trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stargazer.assets import InvalidAssetError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["known", "remember"]


def remember(connection: sqlite3.Connection, urls: Mapping[str, Iterable[str]]) -> None:
    """URLs by CID.

    Raises:
        InvalidAssetError: a URL with a user name, password or query, which may be a secret.
    """
    rows = [(cid, url) for cid, several in urls.items() for url in several]
    for _, url in rows:
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query:
            raise InvalidAssetError(
                f"a mirror on {parts.hostname!r} is given with credentials or a query, which others would see: "
                "give a URL that needs neither"
            )
    connection.executemany("INSERT OR IGNORE INTO mirrors VALUES(?, ?)", rows)


def known(connection: sqlite3.Connection, cid: str) -> list[str]:
    """The URLs of a CID."""
    sql = "SELECT url FROM mirrors WHERE cid = ? ORDER BY url"
    return [url for (url,) in connection.execute(sql, (cid,)).fetchall()]
