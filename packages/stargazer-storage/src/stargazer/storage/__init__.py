"""Content-addressed storage: every byte verified, every record durable.

    >>> from stargazer.storage import add, get_client
    >>> await add("NA12878.bam", sample="NA12878")
    Alignment(cid='bafkrei...', ..., sample='NA12878', ...)
    >>> await get_client().query_files({"asset": "alignment", "sample": "NA12878"})
    [IpFile(cid='bafkrei...', ...)]

Verbs on a store are in `lineage`, `bundles`, `maintenance` and `pinata`. Names are loaded when they are first used;
`__init__.pyi` lists them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
