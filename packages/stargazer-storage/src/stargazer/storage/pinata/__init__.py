"""Pinata: its v3 API, uploads that continue where they were cut, and exchange with an account: push and pull."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
