"""Pipelines: workflows take scalars, find their files by what they are, and compose tasks.

    >>> from stargazer.workflows import germline_short_variant_discovery, prepare_reference

Names are loaded when they are first used; `__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
