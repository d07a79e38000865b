"""Programs that tasks run: tools and where they come from, commands, pipelines, and the session of a task.

Names are loaded when they are first used; `__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
