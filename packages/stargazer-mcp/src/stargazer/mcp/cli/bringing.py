"""Having bytes here before they are copied out: downloaded, or computed again where nobody has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store

__all__ = ["bring"]


def bring(store: Store, records: Sequence[IpFile]) -> None:
    """Have the bytes of records and their companions here: downloaded, or computed again where nobody has them."""
    from stargazer.storage.pinata import companion_records

    wanted = [*records, *companion_records(store, records)]
    missing = {record.cid: record for record in wanted if store.objects.stat(record.cid) is None}
    if not missing:
        return
    import asyncio

    from stargazer.mcp.cli.progress import progress
    from stargazer.storage import get_client
    from stargazer.tasks.execution import observe

    async def download() -> None:
        for record in missing.values():
            await get_client().download_file(record)

    with progress("bringing back what is not here") as watch, observe(watch):
        asyncio.run(download())
