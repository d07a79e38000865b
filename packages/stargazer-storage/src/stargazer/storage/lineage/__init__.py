"""What provenance tells: how a file came to be, why two files differ, what has to be done again after a change."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
