"""What happens around every task body: locks, slots, memo, workspace, provenance."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
