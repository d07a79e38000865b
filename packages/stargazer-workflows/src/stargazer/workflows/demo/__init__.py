"""The demo: a simulated trio, its comparison with the truth, and the report of a run."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
