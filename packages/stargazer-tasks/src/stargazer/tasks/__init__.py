"""Tasks, each one operation on files (align, sort, call), and what a task is written with.

    >>> from stargazer.tasks import samtools_faidx
    >>> indexed = await samtools_faidx(reference)
    >>> indexed.fai.asset_key
    'reference_index'

Called again, it is remembered. Names are loaded when they are first used; `__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
