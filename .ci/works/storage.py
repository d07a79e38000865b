"""stargazer-storage with assets alone: a file is added, found by what it is, and its bytes come back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stargazer.assets import Reference
from stargazer.storage import add, compute_cid

TINY = Path("tiny.fa")


async def main() -> None:
    """Add a reference, and fetch it."""
    await add(TINY, build="tiny")
    found = await (await Reference.one(build="tiny")).fetch()
    assert found.cid == compute_cid(TINY), found
    assert found.path is not None
    assert compute_cid(found.path) == found.cid
    print(found.cid)


TINY.write_text(">chr1\nACGTACGT\n")
asyncio.run(main())
