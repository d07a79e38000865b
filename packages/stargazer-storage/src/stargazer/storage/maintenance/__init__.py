"""Keeping a store in order: fsck, verify, gc and evict; each verb is one function that returns a report."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
