"""What ends the check of a claim before its value is compared."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["NEAR", "QUERY_FILES", "Contradicted", "Unverifiable", "alike", "near"]

NEAR = 5
"""Names that an answer lists."""

QUERY_FILES = "call query_files to find the file and its CID"


class Unverifiable(Exception):
    """A claim that cannot be checked.

    Args:
        why: in words of ours and of the claim.
        then: what would make it verifiable.
        nearest: names of the file that may be meant.
    """

    def __init__(self, why: str, then: str = "", nearest: Sequence[str] = ()):
        super().__init__(why)
        self.then, self.nearest = then, list(nearest)


class Contradicted(Exception):
    """A claim that is wrong whatever its value: it is about something that the file is not.

    Args:
        why: in words of ours and of the claim.
    """


def alike(name: str, known: Iterable[object]) -> list[str]:
    """The names that are most like one, whatever their case."""
    lower: dict[str, str] = {}
    for each in known:
        lower.setdefault(str(each).lower(), str(each))
    return [lower[word] for word in difflib.get_close_matches(str(name).lower(), lower, n=NEAR, cutoff=0.6)]


def near(name: str, known: Iterable[object]) -> list[str]:
    """The names that are most like one; the first of all, if none is like it."""
    names = list(dict.fromkeys(map(str, known)))
    return alike(name, names) or names[:NEAR]
