"""stargazer-workflows with the layers below: a workflow finds its file and calls its tasks."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stargazer.storage import add
from stargazer.workflows import prepare_reference

TINY = Path("tiny.fa")


async def main() -> None:
    """Prepare a reference."""
    await add(TINY, build="tiny")
    prepared = await prepare_reference(build="tiny", aligner="none")
    assert prepared.dictionary.cid, prepared
    print(prepared.dictionary.cid)


TINY.write_text(">chr1\nACGTACGT\n")
asyncio.run(main())
