"""What a notebook offers before a run, and what it opens after one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import attrs
import pytest
from stargazer.assets import (
    R1,
    R2,
    Asset,
    AssetNotFoundError,
    FormatError,
    Intervals,
    QcReport,
    Reference,
    TenxMtx,
    use_client,
)
from stargazer.storage import Addition, LocalStorageClient, packed
from stargazer.workflows import Run, find_run, new_run
from stargazer.workflows.notebook import (
    begin_run,
    caller_choices,
    cell_samples,
    cells_refusal,
    coverage_rows,
    germline_refusal,
    germline_samples,
    open_result,
    open_results,
    read_summary,
    reference_choices,
    run_choices,
    run_notes,
    sample_figures,
)

READS = "@pair{0}\nACGTAC\n+\nIIIIII\n"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStorageClient]:
    """An empty store that is the current one, and a home without runs."""
    monkeypatch.setenv("STARGAZER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STARGAZER_LOCAL", str(tmp_path / "store"))
    client = LocalStorageClient(tmp_path / "store")
    with use_client(client):
        yield client


def add(client: LocalStorageClient, path: Path, content: str, asset: Asset) -> Asset:
    path.write_text(content)
    return Asset.from_record(client.store.add([Addition(path, asset)])[0])


def test_samples_say_what_they_start_from_and_what_they_lack(
    client: LocalStorageClient, tmp_path: Path
) -> None:
    for lane in ("L001", "L002"):
        add(client, tmp_path / f"{lane}_1.fq", READS.format(lane), R1(sample="whole", lane=lane))
        add(client, tmp_path / f"{lane}_2.fq", READS.format(lane) * 2, R2(sample="whole", lane=lane))
    add(client, tmp_path / "lonely_1.fq", READS.format(9), R1(sample="lonely", lane="L001"))

    lonely, whole = asyncio.run(germline_samples())

    assert whole == {"sample": "whole", "starts from": "reads of 2 lanes", "problem": ""}
    assert lonely["sample"] == "lonely"
    assert "no r2 goes with r1" in lonely["problem"]
    assert "stargazer add" in lonely["problem"]


def test_counts_of_cells_are_offered_by_sample(client: LocalStorageClient, tmp_path: Path) -> None:
    folder = tmp_path / "pbmc"
    folder.mkdir()
    for name in ("matrix.mtx", "barcodes.tsv", "features.tsv"):
        (folder / name).write_text("x\n")
    with packed([Addition(folder, TenxMtx(sample="pbmc"), force=True)], client.store) as files:
        client.store.add(files)

    assert asyncio.run(cell_samples()) == [
        {"sample": "pbmc", "starts from": "Cell Ranger's folder", "problem": ""}
    ]


def test_builds_come_with_their_intervals(client: LocalStorageClient, tmp_path: Path) -> None:
    assert asyncio.run(reference_choices()) == ([], {})
    add(client, tmp_path / "a.fa", ">chr1\nACGT\n", Reference(build="tiny"))
    add(client, tmp_path / "b.fa", ">chr1\nACGA\n", Reference(build="other"))
    add(client, tmp_path / "a.bed", "chr1\t0\t4\n", Intervals(name="exons", build="tiny"))

    assert asyncio.run(reference_choices()) == (["other", "tiny"], {"other": [], "tiny": ["exons"]})


def test_the_caller_without_java_is_always_offered(client: LocalStorageClient) -> None:
    callers, told = asyncio.run(caller_choices("tiny"))

    assert "bcftools" in callers.values()
    assert told.endswith(".")


def test_a_run_that_goes_on_with_these_arguments_is_not_started_twice(client: LocalStorageClient) -> None:
    going = new_run("prepare_reference", {"build": "tiny"}, started="2026-11-30T20:00:00.000Z")
    try:
        assert begin_run("prepare_reference", {"build": "tiny"}).id == going.id
    finally:
        going.release()


def test_recorded_runs_are_offered_newest_first_but_for_the_one_that_was_just_begun(
    client: LocalStorageClient,
) -> None:
    runs = [
        new_run(
            name,
            {"samples": ["a", "b"], "nmads": 3, "genes": None},
            started=f"2026-11-30T20:0{number}:00.000Z",
        )
        for number, name in enumerate(("scrna_clustering", "demo_scrna", "demo_trio"))
    ]
    try:
        choices = run_choices("scrna_clustering", "demo_scrna")
        first = run_choices("scrna_clustering", "demo_scrna", first=runs[0])
    finally:
        for run in runs:
            run.release()

    assert list(choices.values()) == [runs[1].id, runs[0].id]
    assert list(first.values()) == [runs[0].id, runs[1].id]
    assert next(iter(first)) == f"2026-11-30 20:00:00 UTC · a, b · nmads=3 · {runs[0].id[-6:]}"


@pytest.mark.parametrize(
    ("ploidy", "sex", "told"),
    [
        ("", "", None),
        ("GRCh38", "", None),
        (" GRCh37 , chr1:1-10:2 ", "", None),
        ("chrM:1,chrX:M:1,HLA-A*01:01:1", "a:M,b:female", None),
        ("banana", "", r"Ploidy: expected GRCh38, .* chrX:M:1 .*, got banana"),
        ("chrM:1,chrX:M:9", "a:M,b:F", "Ploidy: .* got chrX:M:9"),
        ("chrM:1,chrM:2", "", "Ploidy: two items contradict each other"),
        ("GRCh38", "NA99:Q", "Sex: expected .* a:M, got NA99:Q"),
        ("", "a:M", "Sex: it changes nothing without Ploidy"),
        ("chrX:M:1", "a:M", "Sex: Ploidy depends on it"),
        ("GRCh38", "a:M,a:F", "Sex: .* each sample once"),
    ],
)
def test_a_ploidy_or_sex_that_cannot_be_is_refused_by_the_form(
    ploidy: str, sex: str, told: str | None
) -> None:
    refusal = germline_refusal({"samples": ["a", "b"], "ploidy": ploidy, "sex": sex})

    assert refusal is None if told is None else re.match(told, refusal or "")
    assert "\n" not in (refusal or "")


@pytest.mark.parametrize(
    ("min_genes", "resolutions", "told"),
    [
        (100, "0.3, 0.5,1", None),
        (100, "0.3;abc", "Resolutions: "),
        (100, "", "Resolutions: "),
        (100, "0.3,-1", "Resolutions: "),
        (100, "nan", "Resolutions: "),
        (None, "0.3", "Genes of a cell, at least: "),
    ],
)
def test_numbers_that_cannot_be_are_refused_by_the_form(
    min_genes: int | None, resolutions: str, told: str | None
) -> None:
    refusal = cells_refusal({"samples": ["a"], "min_genes": min_genes, "resolutions": resolutions})

    assert refusal is None if told is None else (refusal or "").startswith(told)


def test_a_form_without_a_sample_is_refused() -> None:
    assert (
        germline_refusal({"samples": []}) == cells_refusal({"samples": []}) == "Choose at least one sample."
    )


def finished(client: LocalStorageClient, **results: Any) -> Run:
    run = new_run("scrna_clustering", {"samples": ["a"]})
    run.results, run.state = results, "succeeded"
    run.save()
    run.release()
    return find_run(run.id)


def shown(asset: Asset) -> dict[str, Any]:
    return {"asset": asset.asset_key, "cid": asset.cid, "path": None, "keyvalues": asset.keyvalues}


def test_results_of_a_run_are_opened_and_those_that_are_gone_are_named(
    client: LocalStorageClient, tmp_path: Path
) -> None:
    summary = add(client, tmp_path / "summary.json", '{"cells": 3}', QcReport(kind="summary"))
    run = finished(client, summary=shown(summary), plots=[shown(summary)])

    async def opened() -> tuple[Asset, list[Asset]]:
        return await open_result(run, "summary"), await open_results(run, "plots")

    one, several = asyncio.run(opened())

    assert read_summary(one) == {"cells": 3}
    assert [asset.cid for asset in several] == [summary.cid]
    for name, what in (("plots", "one file"), ("nothing", "one file")):
        with pytest.raises(
            AssetNotFoundError, match=f"no result '{name}' that is {what}; it has summary, plots"
        ):
            asyncio.run(open_result(run, name))
    assert summary.record is not None
    asyncio.run(client.delete_file(summary.record))
    with pytest.raises(AssetNotFoundError, match="not in the store any more"):
        asyncio.run(open_result(run, "summary"))


def test_notes_of_a_run_warn_of_what_is_unusual_and_of_nothing_else(client: LocalStorageClient) -> None:
    run = finished(client)
    run.notes = ["Unusual: depth of <a> is 1.", "No `known sites` were used."]
    told = run_notes(run).text
    usual = run_notes(attrs.evolve(run, notes=["No `known sites` were used."])).text

    assert "warn" in told
    assert "depth of &lt;a&gt; is 1." in unescape(told)  # an attribute has the call-out
    assert "No <code>known sites</code> were used." in told
    assert "warn" not in usual
    assert "Nothing is unusual." in unescape(usual)


@pytest.mark.parametrize("content", ["no json", "[1]"])
def test_a_summary_without_figures_is_refused(
    client: LocalStorageClient, tmp_path: Path, content: str
) -> None:
    report = QcReport(kind="summary", path=tmp_path / "summary.json", cid="bafy")
    (tmp_path / "summary.json").write_text(content)

    with pytest.raises(FormatError):
        read_summary(report)


def test_figures_of_samples_are_rows_and_what_is_not_known_is_empty() -> None:
    summary = json.loads(
        '{"samples": {"a": {"reads": 10, "mapped": 0.5, "duplicates": 0.1, "calls_that_pass": {"snvs_het": 3},'
        '"coverage": {"bases": 8, "mean": 2.0, "at_least": {"10": 0.25}, "depths": {"step": 2, "counts": [2, 6]}}},'
        '"b": {"reads": 0, "mapped": 0, "duplicates": 0}}}'
    )

    first, second = sample_figures(summary)

    assert (first["mapped %"], first["10x %"], first["SNV het"]) == (50.0, 25.0, 3)
    assert second["SNV het"] is None
    assert coverage_rows(summary) == [
        {"sample": "a", "depth": 0, "share": 25.0},
        {"sample": "a", "depth": 2, "share": 75.0},
    ]
