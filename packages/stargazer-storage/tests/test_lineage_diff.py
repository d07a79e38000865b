"""diff: the first points at which two lineages part, and nothing that follows from them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stargazer.assets import Asset, AssetNotFoundError
from stargazer.assets.provenance import ToolUse
from stargazer.storage.lineage._diff import Difference, diff, difference_as_json, render_difference
from stargazer.storage.store import Store, open_store

from .lineage_store import imported, made


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def called(store: Store, reads: Asset, run: str = "", **changed: Any) -> Asset:
    """align -> sort -> call, where `align` is done as `changed` says; `run` marks the bytes of all results."""
    how = {"code_digest": "c0", "distribution": "tasks 1.0", "platform": "Linux", "python": "3.11.7",
           "parameters": {"seed": 1}, "tools": [ToolUse(name="bwa", version="1.0")]}  # fmt: skip
    bam = made(store, "align", f"bam {run}", {"reads": reads}, **how | changed)
    done = made(store, "sort", f"sorted {run}", {"alignment": bam}, code_digest="c1")
    return made(store, "call", f"vcf {run}", {"alignment": done}, code_digest="c2")


def parted(difference: Difference) -> list[tuple[str, str, str, str]]:
    return [(found.kind, found.name, found.a, found.b) for found in difference.divergences]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"parameters": {"seed": 2}}, ("parameter", "seed", "1", "2")),
        ({"parameters": {"seed": 1, "k": None}}, ("parameter", "k", "", "null")),
        ({"tools": [ToolUse(name="bwa", version="2.0")]}, ("tool", "bwa", "1.0", "2.0")),
        ({"tools": []}, ("tool", "bwa", "1.0", "")),
        ({"code_digest": "d0"}, ("code", "align", "code c0", "code d0")),
        (
            {"code_digest": "d0", "distribution": "tasks 2.0"},
            ("code", "align", "tasks 1.0", "tasks 2.0"),
        ),
        (
            {"code_digest": "d0", "distribution": "", "notebook": "n.py", "cell": "align"},
            ("code", "align", "tasks 1.0", "cell align of n.py"),
        ),
        ({"platform": "Darwin"}, ("platform", "platform", "Linux", "Darwin")),
        ({"python": "3.13.0"}, ("platform", "python", "3.11.7", "3.13.0")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_one_change_far_upstream_is_reported_and_nothing_else(store, changed, expected):
    reads = imported(store, "reads")
    a, b = called(store, reads, "one"), called(store, reads, "other", **changed)

    difference = diff(store, a.cid, b.cid)

    assert parted(difference) == [expected]
    assert [place.task for place in difference.divergences[0].places] == ["align"]


def test_another_input_is_named_with_both_files(store):
    one, other = imported(store, "reads1", sample="S"), imported(store, "reads2", sample="S")
    difference = diff(store, called(store, one, "1").cid, called(store, other, "2").cid)

    (found,) = difference.divergences
    assert (found.kind, found.name, found.cids) == ("file", "reads", (one.cid, other.cid))
    assert "reads1" in found.a
    assert "reads2" in found.b


def test_two_changes_are_two_divergences_next_to_the_imports_first(store):
    one, other = imported(store, "reads1"), imported(store, "reads2")
    difference = diff(
        store, called(store, one, "1").cid, called(store, other, "2", parameters={"seed": 2}).cid
    )

    assert [found.kind for found in difference.divergences] == ["file", "parameter"]


def test_a_tool_that_changed_everywhere_is_reported_once_with_every_task(store):
    reads, tops = imported(store, "reads"), []
    for version in ("1", "2"):
        tools = [ToolUse(name="samtools", version=version)]
        bam = made(store, "align", f"bam {version}", {"reads": reads}, tools=tools)
        tops.append(made(store, "sort", f"sorted {version}", {"alignment": bam}, tools=tools))

    difference = diff(store, tops[0].cid, tops[1].cid)

    assert parted(difference) == [("tool", "samtools", "1", "2")]
    assert [place.task for place in difference.divergences[0].places] == ["align", "sort"]


def test_a_change_that_changed_no_byte_is_no_cause(store):
    reads = imported(store, "reads")
    tops = []
    for seed in (1, 2):
        bam = made(store, "align", "same bytes", {"reads": reads}, parameters={"threads": seed})
        tops.append(made(store, "call", f"vcf {seed}", {"bam": bam}, parameters={"ploidy": seed}))

    assert parted(diff(store, tops[0].cid, tops[1].cid)) == [("parameter", "ploidy", "1", "2")]


def test_a_lane_more_in_the_middle_is_one_input_more(store):
    lanes = [imported(store, f"lane{number}") for number in range(3)]
    a = made(store, "merge", "two", {"parts[0]": lanes[0], "parts[1]": lanes[2]})
    b = made(store, "merge", "three", {f"parts[{number}]": lane for number, lane in enumerate(lanes)})

    (found,) = diff(store, a.cid, b.cid).divergences

    assert (found.kind, found.name, found.a, found.cids) == ("input", "parts", "", ("", lanes[1].cid))


def test_the_same_fields_make_two_files_of_a_list_partners(store):
    old = [imported(store, f"old{lane}", sample=f"L{lane}") for lane in (1, 2)]
    new = [imported(store, f"new{lane}", sample=f"L{lane}") for lane in (2, 1)]
    a = made(store, "merge", "old", {f"parts[{n}]": part for n, part in enumerate(old)})
    b = made(store, "merge", "new", {f"parts[{n}]": part for n, part in enumerate(new)})

    pairs = {found.cids for found in diff(store, a.cid, b.cid).divergences}

    assert pairs == {(old[0].cid, new[1].cid), (old[1].cid, new[0].cid)}


def test_the_same_bytes_under_other_metadata_are_told_apart(store):
    one, other = imported(store, "reads", sample="S1"), imported(store, "reads", sample="S2")
    a, b = made(store, "align", "1", {"reads": one}), made(store, "align", "2", {"reads": other})

    assert parted(diff(store, a.cid, b.cid)) == [("metadata", "sample of reads", "S1", "S2")]


def test_another_task_is_where_two_ways_part(store):
    reads = imported(store, "reads")
    a, b = (
        made(store, "align_with_bwa", "1", {"r": reads}),
        made(store, "align_with_hisat", "2", {"r": reads}),
    )

    difference = diff(store, a.cid, b.cid)

    assert parted(difference) == [("task", "", "align_with_bwa", "align_with_hisat")]


def test_two_runs_that_differ_in_nothing_recorded_are_said_to_be_so(store):
    reads = imported(store, "reads")
    difference = diff(store, called(store, reads, "1").cid, called(store, reads, "2").cid)

    assert parted(difference) == [("unexplained", "align", "", "")]
    assert "not deterministic" in render_difference(difference)


def test_a_file_does_not_differ_from_itself(store):
    top = called(store, imported(store, "reads"))
    difference = diff(store, top.cid, top.cid)

    assert difference.same_bytes
    assert difference.divergences == []
    assert render_difference(difference).endswith("the same bytes\nnothing differs upstream")


def test_two_executions_that_gave_the_same_bytes_are_compared_by_their_documents(store):
    reads = imported(store, "reads")
    a = made(store, "align", "same", {"reads": reads}, parameters={"seed": 1})
    b = made(store, "align", "same", {"reads": reads}, parameters={"seed": 2})

    assert a.cid == b.cid
    difference = diff(store, *store.documents(a.cid))

    assert parted(difference) == [("parameter", "seed", "1", "2")]


def test_an_import_and_a_result_were_made_in_different_ways(store):
    reads = imported(store, "reads")
    a, b = made(store, "align", "bam", {"reads": reads}), imported(store, "bam.bam")

    assert parted(diff(store, a.cid, b.cid)) == [("task", "", "align", "add")]


def test_what_is_read_twice_at_every_step_is_compared_once(store):
    tops = []
    for run in ("1", "2"):
        top = imported(store, f"reads {run}", sample="S")
        for number in range(60):
            top = made(store, f"step{number}", f"{run} {number}", {"x": top, "again": top})
        tops.append(top)

    assert [found.kind for found in diff(store, tops[0].cid, tops[1].cid).divergences] == ["file"]


def test_what_nobody_knows_is_an_error(store):
    with pytest.raises(AssetNotFoundError, match="nothing is known"):
        diff(store, imported(store, "reads").cid, "bafkreia")


def test_it_reads_well(store):
    reads = imported(store, "reads")
    a, b = called(store, reads, "1"), called(store, reads, "2", parameters={"seed": 2})
    difference = diff(store, a.cid, b.cid)
    place = difference.divergences[0].places[0]

    assert render_difference(difference, ["first different line: 1"]).splitlines() == [
        "A qc_report qc_report.txt kind=made sample=call",
        f"  cid {a.cid}",
        "B qc_report qc_report.txt kind=made sample=call",
        f"  cid {b.cid}",
        "what differs upstream:",
        "  parameter seed: 1 in A, 2 in B",
        "    in align",
        f"    stargazer why {place.a}",
        f"    stargazer why {place.b}",
        "how the contents differ:",
        "  first different line: 1",
    ]


def test_as_json_it_holds_the_same(store):
    reads = imported(store, "reads")
    a, b = called(store, reads, "1"), called(store, reads, "2", parameters={"seed": 2})
    answer = json.loads(json.dumps(difference_as_json(diff(store, a.cid, b.cid), ["x"])))

    assert (answer["a"]["cid"], answer["b"]["cid"], answer["contents"]) == (a.cid, b.cid, ["x"])
    assert [(found["kind"], found["a"]) for found in answer["divergences"]] == [("parameter", "1")]
