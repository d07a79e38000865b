"""Typed assets: what a file is, how it is found, and how it came to be; the storing is left to a client.

    >>> from stargazer.assets import Alignment, assemble, fetch
    >>> alignments = await assemble(asset="alignment", sample="NA12878")
    >>> alignment = await fetch(alignments[0])
    >>> alignment.path.name
    'alignment.bam'

Names are loaded when they are first used; `__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
