"""The newest records of a store, found without reading the others, against those that are found by reading all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import InvalidAssetError
from stargazer.mcp.records import find_records, newest_records
from stargazer.storage import get_client

from .command import Command, added


@pytest.mark.parametrize(
    "filters",
    [{}, {"asset": ["r1"]}, {"asset": ["r1", "r2", "reference"]}, {"asset": ["alignment"]},
     {"asset": ["provenance"]}, {"sample": ["NA12878"]}, {"build": ["GRCh38"]},
     {"lane": ["L1", "L2"]}, {"asset": ["r1"], "lane": ["L1"]},
     {"asset": ["r1", "r2"], "lane": ["L1", "L3"], "sample": ["NA12878"]}, {"asset": ["r1"], "lane": ["none"]},
     {"asset": ["reference_index"], "reference_cid": ["bafkreigq"]}, {"asset": ["reference"], "build": ["GRCh38"]}],
)  # fmt: skip
def test_they_are_the_last_of_all(
    filters: dict[str, list[Any]], store: dict[str, dict[str, Any]], stargazer: Command
) -> None:
    Path("new_R1.fq").write_text("@new\nACGT\n+\nIIII\n")
    (new,) = added(stargazer, "new_R1.fq", "sample=NA12878", "lane=L3")
    status, _, err = stargazer("supersede", store["r1 L1"]["cid"], new["cid"])
    assert status == 0, err
    here = get_client().store

    everything = find_records(here, filters)

    for limit, offset in [(50, 0), (2, 0), (2, 1), (1, 100)]:
        total, found = newest_records(here, filters, limit, offset)
        wanted = everything[: max(len(everything) - offset, 0)][-limit:]
        assert total == len(everything)
        assert found == wanted
    assert store["r1 L1"]["id"] not in {record.id for record in everything}


def test_a_type_that_nobody_has_is_refused(store: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(InvalidAssetError, match="lignment"):
        newest_records(get_client().store, {"asset": ["lignment"]}, 50, 0)


def test_where_nothing_was_registered_there_is_none() -> None:
    assert newest_records(get_client().store, {}, 50, 0) == (0, [])
