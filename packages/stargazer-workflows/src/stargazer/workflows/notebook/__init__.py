"""What notebooks show beside results: where tasks run, what a run does, what is missing, and how a file came to be.

    >>> from stargazer.workflows import start_run
    >>> from stargazer.workflows.notebook import latest_run, progress
    >>> run = latest_run("demo_trio") or start_run("demo_trio")
    >>> done = await progress(run)

It needs the extra `notebook`: `pip install 'stargazer-workflows[notebook]'`.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
