"""Sample sheets: which files are of which sample, in a table as people keep it; read, registered, made of a folder."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
