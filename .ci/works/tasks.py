"""stargazer-tasks with the layers below: a task runs a tool from its wheel, another says which command adds its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stargazer.assets import AnnData, ToolError
from stargazer.storage import add
from stargazer.tasks import read_h5ad, samtools_faidx

TINY = Path("tiny.fa")


async def main() -> None:
    """Index a reference."""
    indexed = await samtools_faidx(await add(TINY, build="tiny"))
    fetched = await indexed.fai.fetch()
    assert fetched.path.read_text() == "chr1\t8\t6\t8\t9\n", fetched
    print(fetched.cid)
    told = ""
    try:
        await read_h5ad(AnnData(cid=fetched.cid, sample="none"))
    except ToolError as error:
        told = str(error)
    assert "pip install 'stargazer-mcp[scrna]'" in told, told


TINY.write_text(">chr1\nACGTACGT\n")
asyncio.run(main())
