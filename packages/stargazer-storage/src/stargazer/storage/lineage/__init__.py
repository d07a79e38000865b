"""How files came to be: provenance read from a store alone, and shown to people and programs."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
