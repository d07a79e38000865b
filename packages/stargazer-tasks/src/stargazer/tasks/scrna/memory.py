"""Stub until the reader's part is merged."""

from __future__ import annotations


def check_memory(step: str, source: str) -> None:
    """Refuse a step whose memory cannot fit."""
