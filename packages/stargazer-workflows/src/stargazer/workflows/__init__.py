"""Workflows: from samples and builds, given by name, to results; each finds its files by what they are.

    >>> from stargazer.workflows import find_run, run
    >>> done = await run("prepare_reference", build="tiny", aligner="none")
    >>> done.results["reference_index"]["asset"]
    'reference_index'
    >>> find_run(done.id).state
    'succeeded'

Names are loaded when they are first used; `__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
