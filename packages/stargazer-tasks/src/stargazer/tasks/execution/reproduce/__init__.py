"""Executions done again: to have bytes that are gone, or to see whether the same comes of them."""

from __future__ import annotations
