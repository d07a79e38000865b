"""stargazer-tasks with the layers below: a task runs a tool from its wheel."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stargazer.storage import add
from stargazer.tasks import samtools_faidx

TINY = Path("tiny.fa")


async def main() -> None:
    """Index a reference."""
    indexed = await samtools_faidx(await add(TINY, build="tiny"))
    fetched = await indexed.fai.fetch()
    assert fetched.path.read_text() == "chr1\t8\t6\t8\t9\n", fetched
    print(fetched.cid)


TINY.write_text(">chr1\nACGTACGT\n")
asyncio.run(main())
