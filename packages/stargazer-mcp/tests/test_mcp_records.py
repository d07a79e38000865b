"""The newest records of a store, found without reading the others, against those that are found by reading all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import InvalidAssetError
from stargazer.mcp.records import why_none
from stargazer.storage import find_page, find_records, get_client

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
        total, found = find_page(here, filters, limit, offset)
        wanted = everything[::-1][offset : offset + limit]
        assert total == len(everything)
        assert found == wanted
    assert store["r1 L1"]["id"] not in {record.id for record in everything}


def test_a_type_that_nobody_has_is_refused(store: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(InvalidAssetError, match="lignment"):
        find_page(get_client().store, {"asset": ["lignment"]}, 50, 0)


@pytest.mark.parametrize(
    ("filters", "why"),
    [
        ({"sample": ["NA12877"]}, 'no record has sample "NA12877"; there are "NA12878"'),
        ({"build": ["hg38"]}, 'no record has build "hg38"; there are "GRCh38"'),
        ({"asset": ["r1"], "lane": ["L1"], "sample": ["none"]}, 'no record has sample "none"; there are '),
        (
            {"name": ["NA12878.bam"]},
            "name is a field of annotation, file, intervals, known_sites, and no file's own name",
        ),
        ({"cid": ["bafkreigone"]}, 'no record has cid "bafkreigone"'),
        ({"sample": ["NA12878"], "build": ["GRCh38"]}, "no record has all of these"),
    ],
)
def test_what_selects_nothing_says_which_values_there_are(
    filters: dict[str, list[Any]], why: str, store: dict[str, dict[str, Any]]
) -> None:
    assert why_none(get_client().store, filters).startswith(why)


def test_where_nothing_was_registered_there_is_none() -> None:
    assert find_page(get_client().store, {}, 50, 0) == (0, [])
