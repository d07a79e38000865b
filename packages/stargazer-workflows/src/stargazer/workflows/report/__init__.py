"""The report that a run ends in: its summary, and how it came to be, as one HTML page."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
