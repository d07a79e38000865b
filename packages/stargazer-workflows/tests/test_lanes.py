"""Lanes, libraries and samples: what goes together, what is computed anew, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import re
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import (
    R1,
    R2,
    AmbiguousAssetError,
    AssetNotFoundError,
    FormatError,
    InvalidAssetError,
    StargazerError,
    ToolError,
)
from stargazer.storage import Addition
from stargazer.storage.changes import amend
from stargazer.tasks import bcftools, samtools
from stargazer.workflows.germline import germline_short_variant_discovery, preprocess_sample
from stargazer.workflows.inputs import lanes_of

Pair = tuple[Path, Path]

ODD_NAMES = ["a b", 'it\'s "quoted"', "Žofie-日本", "a:b:c", "50%", "-x", "@RG", "007", "../a/b"]


def split_lanes(reads: Pair, folder: Path, count: int) -> list[Pair]:
    """The pairs dealt out to `count` lanes."""
    made = [(folder / f"lane{number}_R1.fq.gz", folder / f"lane{number}_R2.fq.gz") for number in range(count)]
    for end, path in enumerate(reads):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
        records = ["".join(lines[start : start + 4]) for start in range(0, len(lines), 4)]
        for number, lane in enumerate(made):
            lane[end].write_bytes(gzip.compress("".join(records[number::count]).encode(), mtime=0))
    return made


def read_groups(header: bytes) -> set[str]:
    return {line for line in header.decode().splitlines() if line.startswith("@RG")}


def test_a_new_lane_is_used_and_nothing_else_computed(
    small_lab: Any, genome: Any, tmp_path: Path, run_by_hand: Any
):
    lanes = split_lanes(genome.write_reads(tmp_path, pairs=600), tmp_path, 3)
    for number in (1, 2):
        small_lab.add_lane(lanes[number - 1], sample="s", lane=f"L{number}")
    first = small_lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")
    assert small_lab.computed()["align_with_bwa_mem3"] == 2
    assert small_lab.recalled().total() == 0

    small_lab.add_lane(lanes[2], sample="s", lane="L3")
    second = small_lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")

    assert small_lab.computed() == Counter(
        ["align_with_bwa_mem3", "merge_lanes", "markdup", "index_alignment", *["flagstat", "alignment_stats"] * 2,
         "coverage_stats", "call_variants", "normalise_variants", "filter_variants", "index_variants",
         "variant_stats", "summarise_germline", "germline_report"]
    )  # fmt: skip
    assert small_lab.recalled()["align_with_bwa_mem3"] == 2
    lanes_told = json.loads(small_lab.path(second.summary).read_text())["lanes"]
    assert [(lane["lane"], lane["reads"]) for lane in lanes_told] == [("L1", 400), ("L2", 400), ("L3", 400)]
    merged = small_lab.path(second.alignments[0])
    assert first.alignments[0].cid != second.alignments[0].cid
    assert run_by_hand(samtools, "view", "-c", merged) == b"1200\n"
    assert read_groups(run_by_hand(samtools, "view", "-H", merged)) == {
        f"@RG\tID:s:L{number}\tSM:s\tLB:s\tPL:ILLUMINA\tPU:L{number}" for number in (1, 2, 3)
    }
    assert run_by_hand(samtools, "view", "-c", "-r", "s:L3", merged) == b"400\n"


def test_a_second_run_starts_no_tool(small_lab: Any, genome: Any, tmp_path: Path):
    small_lab.add_lane(genome.write_reads(tmp_path), sample="s")
    first = small_lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")
    again = small_lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")

    assert small_lab.computed().total() == 0
    assert {event.kind for event in small_lab.events} == {"memo hit"}
    assert again == first


def test_duplicates_are_marked_within_a_library(
    small_lab: Any, genome: Any, tmp_path: Path, run_by_hand: Any
):
    reads = genome.write_reads(tmp_path, pairs=100)
    same = genome.write_reads(tmp_path, stem="again", pairs=100)  # the same fragments under other names
    small_lab.add_lane(reads, sample="apart", library="A")
    small_lab.add_lane(same, sample="apart", library="B")
    small_lab.add_lane(reads, sample="together", library="A", lane="1")
    small_lab.add_lane(same, sample="together", library="A", lane="2")

    def duplicates(sample: str) -> int:
        prepared = small_lab.run(preprocess_sample, sample, "small", caller="bcftools")
        assert prepared.alignment.duplicates_marked
        return int(run_by_hand(samtools, "view", "-c", "-f", 0x400, small_lab.path(prepared.alignment)))

    assert duplicates("apart") < 10
    assert duplicates("together") >= 200


def test_samples_are_called_jointly_and_two_runs_at_once_are_right(small_lab: Any, genome: Any, tmp_path: Path,
                                                                   run_by_hand: Any, records_of: Any):  # fmt: skip
    small_lab.add_lane(genome.write_reads(tmp_path, "changed", seed=1), sample="changed")
    small_lab.add_lane(genome.write_reads(tmp_path, "plain", seed=2, variant=False), sample="plain")

    async def both() -> Any:
        call = germline_short_variant_discovery
        return await asyncio.gather(
            call(samples=["changed"], build="small", caller="bcftools"),
            call(samples=["plain"], build="small", caller="bcftools"),
        )

    changed, plain = small_lab.run(both)
    assert small_lab.computed()["index_for_bwa_mem3"] == 1
    assert small_lab.computed()["align_with_bwa_mem3"] == 2
    joint = small_lab.run(
        germline_short_variant_discovery, samples=["plain", "changed"], build="small", caller="bcftools"
    )

    def sites(calls: Any) -> list[list[str]]:
        return [line.split("\t")[:2] for line in records_of(small_lab.path(calls.variants))]

    expected = [[name, "1501"] for name in genome.names]
    assert (sites(changed), sites(plain), sites(joint)) == (expected, [], expected)
    assert run_by_hand(bcftools, "query", "-l", small_lab.path(joint.variants)) == b"plain\nchanged\n"
    genotypes = run_by_hand(bcftools, "query", "-f", "[%GT ]\n", small_lab.path(joint.variants))
    assert genotypes == b"0/0 1/1 \n" * 2
    assert small_lab.recalled()["align_with_bwa_mem3"] == 2


def test_odd_names_of_samples_libraries_and_lanes(
    small_lab: Any, genome: Any, tmp_path: Path, run_by_hand: Any
):
    reads = genome.write_reads(tmp_path, pairs=100)
    for name in ODD_NAMES:
        small_lab.add_lane(reads, sample=name, lane=name, library=name)

    calls = small_lab.run(
        germline_short_variant_discovery, samples=ODD_NAMES, build="small", caller="bcftools"
    )

    assert (
        run_by_hand(bcftools, "query", "-l", small_lab.path(calls.variants)).decode().splitlines()
        == ODD_NAMES
    )
    for name, alignment in zip(ODD_NAMES, calls.alignments, strict=True):
        header = run_by_hand(samtools, "view", "-H", small_lab.path(alignment)).decode()
        assert f"\tSM:{name}\tLB:{name}\tPL:ILLUMINA\tPU:{name}\n" in header


def refused(
    lab: Any, kind: type[StargazerError], *says: str, samples: tuple[str, ...] = ("s",), **options: Any
) -> None:
    """The workflow fails with this error, which says all of this, and registers nothing."""
    with pytest.raises(kind) as caught:
        lab.run(
            germline_short_variant_discovery,
            samples=list(samples),
            build="small",
            caller="bcftools",
            **options,
        )
    for text in says:
        assert text in str(caught.value)
    assert not [asset for asset in lab.made() if asset.asset_key in ("alignment", "variants")]
    assert lab.leftovers() == []


def test_a_sample_without_reads(small_lab: Any, genome: Any, tmp_path: Path):
    small_lab.add_lane(genome.write_reads(tmp_path), sample="other one")

    refused(
        small_lab,
        AssetNotFoundError,
        "no reads of sample 's'",
        "'other one'",
        "stargazer add R1.fq.gz asset=r1 sample=s",
    )
    assert small_lab.made() == []


def test_the_hint_is_a_command_that_works(small_lab: Any):
    refused(small_lab, AssetNotFoundError, "asset=r1 'sample=a b'`", samples=("a b",))


def test_no_samples_and_one_sample_twice(small_lab: Any):
    refused(small_lab, InvalidAssetError, "at least one sample", samples=())
    refused(small_lab, InvalidAssetError, "one twice: s, s", samples=("s", "s"))


def test_a_lane_without_mates(small_lab: Any, genome: Any, tmp_path: Path):
    r1, r2 = genome.write_reads(tmp_path)
    small_lab.add_lane((r1, r2), sample="s", lane="L1")
    lone = small_lab.add(genome.write_reads(tmp_path, "two")[0], R1(sample="s", lane="L2"))

    refused(small_lab, AssetNotFoundError, "sample 's', lane 'L2': no r2 goes with r1", lone.cid,
            "asset=r2 sample=s lane=L2")  # fmt: skip
    assert small_lab.made() == []


def test_mates_without_a_lane(small_lab: Any, genome: Any, tmp_path: Path):
    small_lab.add_lane(genome.write_reads(tmp_path), sample="s", lane="L1")
    small_lab.add(genome.write_reads(tmp_path, "two")[1], R2(sample="s", lane="L2"))

    refused(small_lab, AssetNotFoundError, "lane 'L2': no r1 goes with r2", "asset=r1 sample=s lane=L2")


def test_two_r1_of_one_lane(small_lab: Any, genome: Any, tmp_path: Path):
    first, _ = small_lab.add_lane(genome.write_reads(tmp_path), sample="s")
    second = small_lab.add(genome.write_reads(tmp_path, "two")[0], R1(sample="s"))

    refused(small_lab, AmbiguousAssetError, "2 r1 files", "lane=L002", first.cid, second.cid)


def following(lab: Any, text: str) -> None:
    """Do what the commands in a message say: `stargazer amend ID ... lane=NAME`."""
    for words in re.findall(r"`stargazer amend ([0-9a-f ]+) lane=(\w+)`", text):
        for id in words[0].split():
            amend(lab.client.store, lab.client.store.get(id), {"lane": words[1]})


@pytest.mark.parametrize("lane", [None, "L001"])
@pytest.mark.parametrize("linked", [True, False])
def test_what_is_said_of_pairs_without_lanes_leads_to_lanes(
    small_lab: Any, genome: Any, tmp_path: Path, lane: str | None, linked: bool
):
    for seed, stem in enumerate(["x", "y", "z"]):
        r1, r2 = genome.write_reads(tmp_path, stem, seed=seed, pairs=20)
        first = small_lab.add(r1, R1(sample="s", lane=lane))
        small_lab.add(r2, R2(sample="s", lane=lane, r1_cid=first if linked else None))
    with pytest.raises(AmbiguousAssetError, match="3 r1 files") as caught:
        small_lab.run(lanes_of, "s")

    following(small_lab, str(caught.value))

    lanes = small_lab.run(lanes_of, "s")
    assert [r1.lane for r1, _ in lanes] == [r2.lane for _, r2 in lanes] == ["L001", "L002", "L003"]
    assert [(r1.record.name[0], r2.record.name[0]) for r1, r2 in lanes] == [(stem, stem) for stem in "xyz"]


@pytest.mark.parametrize("order", ["bare first", "bare last"])
def test_a_file_registered_again_with_its_lane_is_that_lane(
    small_lab: Any, genome: Any, tmp_path: Path, order: str
):
    pairs = [genome.write_reads(tmp_path, stem, seed=seed, pairs=20) for seed, stem in enumerate(["x", "y"])]
    adding: list[dict[str, str]] = [{}, {"lane": "L"}, {"lane": "L", "library": "lib"}]
    for fields in adding if order == "bare first" else reversed(adding):
        for number, pair in enumerate(pairs):
            named = {"lane": f"{fields['lane']}{number}"} if fields else {}
            r1 = small_lab.add(pair[0], R1(sample="s", **{**fields, **named}))
            small_lab.add(pair[1], R2(sample="s", r1_cid=None if fields else r1, **{**fields, **named}))

    lanes = small_lab.run(lanes_of, "s")

    assert [(r1.library, r1.lane, r2.library, r2.lane) for r1, r2 in lanes] == [
        ("lib", lane, "lib", lane) for lane in ("L0", "L1")
    ]
    assert all(r2.r1_cid == r1.cid for r1, r2 in lanes)


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("end", [0, 1])
def test_mates_that_are_registered_otherwise_are_named(
    small_lab: Any, genome: Any, tmp_path: Path, linked: bool, end: int
):
    r1, r2 = genome.write_reads(tmp_path, "x", pairs=20)
    first = small_lab.add(r1, R1(sample="s"))
    small_lab.add(r2, R2(sample="s", r1_cid=first if linked else None))
    changed = small_lab.client.store.query({"asset": ("r1", "r2")[end]})[0]
    amend(small_lab.client.store, changed, {"sample": "t", "lane": "L"} if linked else {"lane": "L"})
    with pytest.raises(AssetNotFoundError, match="may be it, which is registered for sample 's'") as caught:
        small_lab.run(lanes_of, "t" if linked else "s")

    (id, words) = re.findall(r"`stargazer amend ([0-9a-f]+) ([^`]*)`", str(caught.value))[0]
    fields = dict(word.split("=") for word in words.split())
    amend(small_lab.client.store, small_lab.client.store.get(id), fields)

    ((one, two),) = small_lab.run(lanes_of, "t" if linked else "s")
    assert (one.lane, two.lane) == ("L", "L")


def test_a_mate_of_another_sample_is_registered_for_this_one_too_and_stays_with_the_other(
    small_lab: Any, genome: Any, tmp_path: Path
):
    r1, r2 = genome.write_reads(tmp_path, "x", pairs=20)
    first = small_lab.add(r1, R1(sample="s"))
    small_lab.add(r2, R2(sample="s", r1_cid=first))
    small_lab.add(r1, R1(sample="dup two", lane="L"))
    with pytest.raises(
        AssetNotFoundError, match="Only if it was wrong that the file is of sample 's'"
    ) as caught:
        small_lab.run(lanes_of, "dup two")

    text = str(caught.value)
    assert "takes it away from sample 's'" in text
    said = re.findall(r"`stargazer ([^`]*)`", text)
    assert [words.split()[0] for words in said] == ["add", "amend"]
    _, name, *pairs = shlex.split(said[0])
    fields = dict(pair.split("=") for pair in pairs)
    assert fields.pop("asset") == "r2"
    small_lab.add(r2.parent / name, R2(**fields))

    for sample in ("s", "dup two"):
        ((one, two),) = small_lab.run(lanes_of, sample)
        assert (one.cid, two.r1_cid or one.cid) == (first.cid, first.cid)


def test_two_r2_of_one_lane(small_lab: Any, genome: Any, tmp_path: Path):
    small_lab.add_lane(genome.write_reads(tmp_path), sample="s", lane="L1")
    small_lab.add(genome.write_reads(tmp_path, "two")[1], R2(sample="s", lane="L1"))

    refused(small_lab, AmbiguousAssetError, "lane 'L1': 2 r2 files")


def test_a_linked_mate_needs_no_lane(small_lab: Any, genome: Any, tmp_path: Path):
    r1, r2 = genome.write_reads(tmp_path)
    first = small_lab.add(r1, R1(sample="s", lane="L1"))
    small_lab.add(r2, R2(sample="s", r1_cid=first))

    assert small_lab.run(preprocess_sample, "s", "small", caller="bcftools").alignment.lane == "L1"


def test_one_file_as_both_ends_or_as_two_lanes(small_lab: Any, genome: Any, tmp_path: Path):
    r1, r2 = genome.write_reads(tmp_path)
    first = small_lab.add(r1, R1(sample="s"))
    second = small_lab.add(r1, R2(sample="s"), force=True)
    refused(small_lab, InvalidAssetError, "r1 and r2 are the same file", f"`stargazer rm {first.record.id}`",
            f"`stargazer rm {second.record.id}`")  # fmt: skip

    small_lab.add_lane((r1, r2), sample="t", lane="L1")
    ids = " ".join(each.record.id for each in small_lab.add_lane((r1, r2), sample="t", lane="L2"))
    says = "lane 'L2': its r1 is that of lane 'L1'", f"`stargazer rm --all {ids}` takes back lane 'L2'"
    refused(small_lab, InvalidAssetError, *says, samples=("t",))


@pytest.fixture
def only_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """`add` takes files for large, of which it reads the first records."""
    monkeypatch.setattr("stargazer.assets.formats.compression.WHOLE", 1 << 10)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: lines[:-4], ["r2", "ends after record 599"]),
        (
            lambda lines: [*lines[:-4], "@reads:x\n", *lines[-3:]],
            ["r2", "record 600", "reads:599", "reads:x"],
        ),
        (lambda lines: lines[:-1], ["r2", "record 600"]),
        (lambda lines: [*lines[:-1], lines[-1][1:]], ["r2", "record 600"]),
    ],
    ids=["fewer", "other names", "cut within a record", "quality shorter"],
)
def test_reads_that_do_not_pair(
    small_lab: Any, genome: Any, tmp_path: Path, damage: Any, says: list[str], only_heads: None
):
    damaged_lane(small_lab, genome, tmp_path, damage)

    refused(small_lab, ToolError, *says)


@pytest.mark.debian("bwa")
def test_reads_that_do_not_pair_are_not_cut_short_by_bwa(
    small_lab: Any, genome: Any, tmp_path: Path, only_heads: None
):
    damaged_lane(small_lab, genome, tmp_path, lambda lines: lines[:-4])

    refused(small_lab, FormatError, "r2", "ends after record 599", aligner="bwa")


def damaged_lane(lab: Any, genome: Any, folder: Path, damage: Callable[[list[str]], list[str]]) -> None:
    """A lane whose r2 is damaged beyond what `add` looks at."""
    r1, r2 = genome.write_reads(folder, pairs=600)
    lines = gzip.decompress(r2.read_bytes()).decode().splitlines(keepends=True)
    r2.write_bytes(gzip.compress("".join(damage(lines)).encode()))
    lab.add_lane((r1, r2), sample="s")


@pytest.mark.skipif(sys.platform != "linux", reason="finds its children in /proc")
@pytest.mark.parametrize("engine", ["bwa_mem3.py", "hts.py"])
def test_a_tool_killed_from_outside(small_lab: Any, genome: Any, tmp_path: Path, engine: str):
    small_lab.add_lane(genome.write_reads(tmp_path, pairs=3_000), sample="s")
    killed: list[int] = []

    def aligning() -> bool:
        return any(event.kind == "started" and "align_with" in event.task for event in small_lab.events)

    async def while_killing() -> Any:
        killing = asyncio.create_task(kill_child(engine, killed, aligning))
        try:
            return await germline_short_variant_discovery(samples=["s"], build="small", caller="bcftools")
        finally:
            killing.cancel()

    with pytest.raises(ToolError, match="was killed by SIGKILL"):
        small_lab.run(while_killing)
    assert len(killed) == 1
    assert "alignment" not in {asset.asset_key for asset in small_lab.made()}
    assert small_lab.leftovers() == []

    assert small_lab.run(
        germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools"
    ).variants.samples == ["s"]
    assert small_lab.computed()["align_with_bwa_mem3"] == 1
    assert small_lab.computed()["index_for_bwa_mem3"] == 0


async def kill_child(script: str, killed: list[int], ready: Callable[[], bool]) -> None:
    """Kill the first child of this process that runs an engine, once all is ready."""
    while not killed:
        await asyncio.sleep(0.001)
        for children in Path("/proc/self/task").glob("*/children") if ready() else []:
            for pid in map(int, children.read_text().split()):
                with contextlib.suppress(OSError):
                    if script in Path(f"/proc/{pid}/cmdline").read_text():
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
                        return


@pytest.mark.parametrize("platform", ["ONT", "pacbio"])
def test_long_reads_are_refused_before_the_reference_is_looked_at(
    small_lab: Any, genome: Any, tmp_path: Path, platform: str
):
    reads = genome.write_reads(tmp_path, pairs=10)
    items = [
        Addition(path, kind(sample="s", platform=platform), force=True)
        for path, kind in zip(reads, (R1, R2), strict=True)
    ]
    small_lab.client.store.add(items)

    with pytest.raises(InvalidAssetError, match=f"are of {platform}, and BWA-MEM is set for short reads"):
        small_lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")
    assert not small_lab.computed()
