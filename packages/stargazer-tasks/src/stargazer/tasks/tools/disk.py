"""Tells whether a command failed because its disk is full, whichever words the tool has for it."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["full_disk", "room"]

NO_ROOM = 1 << 16
"""Bytes free below which a disk is full."""

LITTLE = 64 << 20
"""Bytes free below which a tool that cannot write is taken to have met a full disk: it may have tidied up since."""

_SAID = re.compile(
    r"no space left|enospc|errno 28\b|disk (is )?full|quota exceeded|edquot|errno 122\b|not enough (disk )?space",
    re.IGNORECASE,
)
_WRITING = r"\b(write|writing|written|flush\w*|close|closing|output)\b"
_FAILING = r"(error|fail|can ?not|can't|could ?n[o']t|unable)"
_HINTED = re.compile(
    rf"short write|bgzf_(write|flush|close)|{_WRITING}.{{0,80}}{_FAILING}|{_FAILING}.{{0,80}}{_WRITING}",
    re.IGNORECASE,
)


def room(folder: Path) -> int:
    """Bytes that the disk of a folder can still take; many where that cannot be told."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return 1 << 62
    return status.f_bavail * status.f_frsize if status.f_blocks else 1 << 62


def full_disk(folder: Path, said: str, least: int | None = None) -> str:
    """What to tell of the disk of a workspace after a command failed; empty unless that is why it did.

    Args:
        said: what the command wrote to stderr.
        least: bytes that were free while it ran, at some time, if they were looked at.
    """
    now = room(folder)
    free = now if least is None else min(now, least)
    if not (free < NO_ROOM or _SAID.search(said) or (free < LITTLE and _HINTED.search(said))):
        return ""
    return (
        f"the disk of the store is full: {now:,} bytes are free in {str(folder)!r} now; free some space "
        "(`stargazer gc`, `stargazer evict`), or move the store to a larger disk (STARGAZER_LOCAL)"
    )
