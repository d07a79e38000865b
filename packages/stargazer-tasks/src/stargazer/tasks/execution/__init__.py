"""The runner around every task: environments, and what one may ask and tell it (refresh, why, observe, replay).

    >>> from stargazer.tasks.execution import Event, observe, refreshing
    >>> events: list[Event] = []
    >>> with observe(events.append), refreshing("flagstat", below=True):
    ...     pass  # await tasks or workflows here

Names are loaded when they are first used; `__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
