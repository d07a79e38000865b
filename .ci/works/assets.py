"""stargazer-assets alone: a type of one's own is declared, and an asset of it is found by what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from stargazer.assets import Asset, IpFile, asset, use_client


@asset("smoke")
class Smoke(Asset):
    """A file of a type that only this script has."""

    sample: str
    dense: bool = False


class Shelf:
    """A client of one file."""

    async def query_files(self, keyvalues: Mapping[str, object], public: bool | None = None) -> list[IpFile]:
        """The file, whatever is asked for: what fits is for the layer of assets to say."""
        found = {"asset": "smoke", "sample": "NA12878", "dense": "true"}
        return [IpFile(id="1", cid="bafkreih542afb7cvu64zodzkl2qmvo6hzwl3n6reo4drpkksiul4ixb2ce", name="x", size=1,
                       keyvalues=found, public=False, created_at="2026-01-01T00:00:00Z", path=None)]  # fmt: skip


with use_client(Shelf()):
    found = asyncio.run(Smoke.one(sample="NA12878"))
assert found.dense is True, found
print(found)
