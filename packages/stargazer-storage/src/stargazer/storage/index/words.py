"""What records say, for whoever completes a word: keys and values, read in a few milliseconds and past the store."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import urllib.parse
import warnings

from stargazer.assets import StargazerError
from stargazer.storage.index.location import index_path
from stargazer.storage.settings import Settings

__all__ = ["known_keys", "known_values"]

_MOST = 500

# Each step looks up the next one: what 100,000 records say is not read for it.
_DISTINCT = """
WITH RECURSIVE
  here(tid) AS (SELECT tid FROM tables WHERE name = 'records'),
  found(word) AS (
    SELECT min({word}) FROM terms WHERE tid = (SELECT tid FROM here) AND {condition} AND {word} >= :begin
    UNION ALL
    SELECT (SELECT min({word}) FROM terms WHERE tid = (SELECT tid FROM here) AND {condition} AND {word} > found.word)
    FROM found WHERE found.word IS NOT NULL)
SELECT word FROM found WHERE typeof(word) = 'text' LIMIT :most
"""
_KEYS = _DISTINCT.format(word="key", condition="key >= '.'")
_VALUES = _DISTINCT.format(word="value", condition="key = :key")


def known_keys() -> list[str]:
    """The keys of metadata that records of this machine's store have; none where the index cannot be read."""
    return [key[1:] for key in _words(_KEYS, begin=".") if key.startswith(".")]


def known_values(key: str, begin: str = "") -> list[str]:
    """Values of a key that begin with a text, members of lists too, some hundred at the most.

    Args:
        key: one of metadata; `cid` is the record's.
    """
    column = key if key == "cid" else f".{key}"
    found = [value for value in _words(_VALUES, begin=begin, key=column) if value.startswith(begin)]
    for text in _words(_VALUES, begin='["', key=column):
        with contextlib.suppress(ValueError):
            if isinstance(members := json.loads(text), list):
                found += [str(member) for member in members if str(member).startswith(begin)]
    return sorted(dict.fromkeys(value for value in found if not value.startswith("[")))


def _words(sql: str, **values: str) -> list[str]:
    """The answers of a question to the index, which is neither made nor changed by it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            settings = Settings.load()
            path = index_path(settings.local, settings.index)
        connection = sqlite3.connect(f"file:{urllib.parse.quote(str(path))}?mode=ro", uri=True, timeout=0.2)
        try:
            return [word for (word,) in connection.execute(sql, {**values, "most": _MOST})]
        finally:
            connection.close()
    except (sqlite3.Error, StargazerError, OSError):
        return []
