"""Verified downloads: from gateways, mirrors and files of this machine, none of which is trusted."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
