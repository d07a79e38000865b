"""Bundles: files that travel together, named by a manifest, verified from wherever they come."""

from __future__ import annotations

__all__: list[str] = []
