"""The assets of a task by filters: matched by type and by links; what is ambiguous, absent or unknown is refused."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import (
    R1,
    R2,
    AmbiguousAssetError,
    Asset,
    AssetNotFoundError,
    Intervals,
    InvalidAssetError,
    Reference,
    StargazerError,
    Variants,
)
from stargazer.storage import Addition, get_client
from stargazer.workflows import asset_types, start_run, task_arguments, watch_run
from stargazer.workflows.catalogue import Entry, Parameter, find_entry
from stargazer.workflows.task_inputs import _listing, assets_of


def task(**annotations: Any) -> Entry:
    """A task with these parameters; those that take None need not be given."""
    parameters = tuple(
        Parameter(
            name, kind, None if type(None) in getattr(kind, "__args__", ()) else inspect.Parameter.empty
        )
        for name, kind in annotations.items()
    )
    return Entry("work", "task", "somewhere", "Works.", "", parameters, lambda: None)


ALIGN = task(r1=R1, r2=R2, reference=Reference, threads=int | None, intervals=Intervals | None)


@pytest.fixture
def ids(tmp_path: Path) -> dict[str, str]:
    """Two references, an exome, and two samples of which one has two lanes: ids of records by what they are."""
    additions: dict[str, Addition] = {}

    def add(name: str, text: str, asset: Any) -> Any:
        (tmp_path / name).write_text(text)
        additions[name] = Addition(tmp_path / name, asset)
        return asset

    references = [add(f"{build}.fa", f">{build}\nACGT\n", Reference(build=build)) for build in ("a", "b")]
    add("exome.bed", "a\t0\t4\n", Intervals(name="exome", build="a", reference_cid=references[0]))
    for sample, lane in [("S1", "L1"), ("S1", "L2"), ("S2", "L1")]:
        said = {"sample": sample, "lane": lane}
        r1 = add(f"{sample}{lane}_R1.fq", f"@{sample}{lane}\nACGT\n+\nIIII\n", R1(**said))
        add(f"{sample}{lane}_R2.fq", f"@{sample}{lane}\nTTTT\n+\nIIII\n", R2(**said, r1_cid=r1))
    records = get_client().store.add(list(additions.values()))
    return {name: record.id for name, record in zip(additions, records, strict=True)}


def found(entry: Entry, filters: Any = None, **inputs: Any) -> dict[str, Any]:
    return asyncio.run(task_arguments(entry, filters or {}, inputs))


def refused(error: type[StargazerError], entry: Entry, filters: Any = None, **inputs: Any) -> str:
    with pytest.raises(error) as caught:
        found(entry, filters, **inputs)
    return str(caught.value)


def test_filters_count_for_the_types_that_have_the_field(ids: dict[str, str]) -> None:
    assert found(ALIGN, {"sample": "S2", "build": "a"}, threads=2) == {
        "r1": ids["S2L1_R1.fq"], "r2": ids["S2L1_R2.fq"], "reference": ids["a.fa"], "threads": 2,
    }  # fmt: skip
    assert asset_types(ALIGN) == [R1, R2, Reference, Intervals]


def test_of_several_those_that_are_linked_with_another_one_are_meant(ids: dict[str, str]) -> None:
    of_lane = found(task(r1=R1, r2=R2), {"sample": "S1"}, r1=ids["S1L2_R1.fq"])
    assert of_lane == {"r1": ids["S1L2_R1.fq"], "r2": ids["S1L2_R2.fq"]}
    assert found(task(intervals=Intervals, reference=Reference), {"name": "exome"}) == {
        "intervals": ids["exome.bed"], "reference": ids["a.fa"],
    }  # fmt: skip


def test_lists_take_all_that_a_filter_selects_and_never_all_there_is(ids: dict[str, str]) -> None:
    assert found(task(reads=list[R1]), {"sample": "S1"}) == {"reads": [ids["S1L1_R1.fq"], ids["S1L2_R1.fq"]]}
    assert "3 r1 fit reads" in refused(AmbiguousAssetError, task(reads=list[R1]))


def test_a_list_loses_no_member_for_want_of_a_link(ids: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "free.bed").write_text("a\t1\t3\n")
    (free,) = get_client().store.add([Addition(tmp_path / "free.bed", Intervals(name="exome", build="a"))])
    regions = task(regions=list[Intervals], reference=Reference)
    both = {"regions": [ids["exome.bed"], free.id], "reference": ids["a.fa"]}
    assert found(regions, {"name": "exome", "build": "a"}) == both
    assert found(regions, regions=both["regions"], reference=ids["a.fa"]) == both


def test_bytes_that_are_registered_as_several_things_are_given_by_an_id(
    ids: dict[str, str], tmp_path: Path
) -> None:
    again = Addition(tmp_path / "S2L1_R1.fq", R1(sample="S3", lane="L1"))
    (other,) = get_client().store.add([again])
    text = refused(AmbiguousAssetError, task(r1=R1), r1=other.cid)
    assert "registered as several things" in text
    assert f"{other.id} sample=S3" in text
    assert found(task(r1=R1), r1=other.id) == {"r1": other.id}


def test_what_may_be_left_out_is_taken_only_where_it_is_named(ids: dict[str, str]) -> None:
    filters = {"sample": "S2", "build": "a"}
    assert "intervals" not in found(ALIGN, filters)
    assert found(ALIGN, filters, intervals={"name": "exome"})["intervals"] == ids["exome.bed"]


def test_several_are_refused_with_what_tells_them_apart(ids: dict[str, str]) -> None:
    text = refused(AmbiguousAssetError, task(r1=R1), {"sample": "S1"})
    assert f"{ids['S1L1_R1.fq']} lane=L1\n" in text
    assert "sample=S1" not in text
    assert 'inputs {"r1": "ID"}' in text
    same = task(first=Intervals, second=Intervals)
    assert "first and second both take intervals" in refused(AmbiguousAssetError, same, {"name": "exome"})


def test_several_that_say_the_same_are_told_apart_by_who_made_them_and_when(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / f"{number}.fa"
        path.write_text(f">{number}\nACGT\n")
        get_client().store.add([Addition(path, Reference(build="a"))])
    text = refused(AmbiguousAssetError, task(reference=Reference), {"build": "a"})
    assert re.search(r"build=a \(1\.fa, created \d{4}-\d\d-\d\dT", text)
    run = start_run(
        "samtools_faidx", {"reference": get_client().store.query({"build": "a"})[0].id}, kind="task"
    )
    assert asyncio.run(watch_run(run.id)).state == "succeeded"
    (index,) = get_client().store.query({"asset": "reference_index"})
    text = _listing([Asset.from_record(index)] * 2)
    assert "made by htslib.samtools_faidx, " in text


def test_sample_and_samples_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "c.vcf"
    path.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n")
    (record,) = get_client().store.add([Addition(path, Variants(samples=["S"]))])
    assert found(task(variants=Variants), {"sample": "S"}) == {"variants": record.id}


def test_a_path_is_to_be_registered_first(ids: dict[str, str]) -> None:
    text = refused(AssetNotFoundError, task(r1=R1), r1="reads/a b_R1.fq")
    assert "register it first, `stargazer add 'reads/a b_R1.fq' ...`" in text


def test_absence_is_refused_with_what_there_is(ids: dict[str, str]) -> None:
    text = refused(AssetNotFoundError, ALIGN, {"sample": "S2", "build": "c"})
    assert "reference: no reference with build=c; there are" in text
    assert ids["a.fa"] in text
    assert "no record 'nobody'" in refused(
        AssetNotFoundError, ALIGN, {"sample": "S2", "build": "a"}, r1="nobody"
    )


def test_what_is_unknown_or_of_another_type_is_refused(ids: dict[str, str]) -> None:
    assert "unknown filter 'lain'" in refused(InvalidAssetError, ALIGN, {"lain": "L1"})
    assert "did you mean 'lane'" in refused(InvalidAssetError, ALIGN, {"lain": "L1"})
    assert "unknown argument 'thread' (did you mean 'threads'?)" in refused(
        InvalidAssetError, ALIGN, thread=1
    )
    assert "threads: expected" in refused(InvalidAssetError, ALIGN, threads="many")
    assert f"r1 takes r1; '{ids['a.fa']}' is reference" in refused(InvalidAssetError, ALIGN, r1=ids["a.fa"])
    assert "expected a CID, an id or filters, got 7" in refused(InvalidAssetError, ALIGN, r1=7)
    assert "unknown filter 'lane'" in refused(InvalidAssetError, ALIGN, reference={"lane": "L1"})


def test_what_was_found_becomes_the_assets_themselves(ids: dict[str, str]) -> None:
    values = asyncio.run(assets_of(ALIGN, found(ALIGN, {"sample": "S2", "build": "a"}, threads=2)))
    assert isinstance(values["r2"], R2)
    assert values["r2"].r1_cid == values["r1"].cid
    assert values["threads"] == 2


def test_a_single_task_runs_in_a_process_of_its_own(ids: dict[str, str]) -> None:
    entry = find_entry("samtools_faidx", "task")
    arguments = found(entry, {"build": "a"})
    run = start_run("samtools_faidx", arguments, kind="task")
    done = asyncio.run(asyncio.wait_for(watch_run(run.id), 60))
    assert (done.state, done.kind, done.error) == ("succeeded", "task", "")
    assert done.arguments == arguments
    assert "reference_index" in {result["asset"] for result in done.results.values() if result}
