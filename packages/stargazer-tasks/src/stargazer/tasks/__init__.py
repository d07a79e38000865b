"""Tasks: typed, asynchronous Flyte functions on assets, and what a task is written with.

    >>> from stargazer.tasks import align_with_bwa_mem3, mark_duplicates, samtools_faidx
    >>> index = await samtools_faidx(reference)

Names are loaded when they are first used; `__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
