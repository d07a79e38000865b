"""References: as they come (plain, bgzip, in part), what is too large, and indexes made elsewhere."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import (
    AlignerIndex,
    AmbiguousAssetError,
    AssetNotFoundError,
    ConfigurationError,
    FormatError,
    InvalidAssetError,
    Reference,
    ToolError,
)
from stargazer.tasks import samtools
from stargazer.tasks.aligner_index import index_memory
from stargazer.workflows.germline import germline_short_variant_discovery
from stargazer.workflows.reference import prepare_reference

GB = 1_000_000_000
HUMAN = 3_100_000_000  # bases


def bgzip(path: Path) -> Path:
    """A copy in BGZF, as `bgzip` writes it."""
    import pysam

    pysam.tabix_compress(str(path), f"{path}.gz", force=True)
    return path.with_name(f"{path.name}.gz")


def test_a_reference_is_prepared_once(small_lab: Any):
    first = small_lab.run(prepare_reference, "small")
    assert set(small_lab.computed()) == {
        "check_reference",
        "samtools_faidx",
        "sequence_dictionary",
        "index_for_bwa_mem3",
    }

    assert small_lab.run(prepare_reference, "small") == first
    assert small_lab.computed().total() == 0


def test_a_reference_is_checked_as_a_whole_before_any_work(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("stargazer.assets.formats.fasta.SMALL", 1000)
    (tmp_path / "r.fa").write_text(">c1\n" + "ACGTACGTAC\n" * 20_000 + ">c2\nACKT\n>aa>1\nACGT\n")
    lab.add(tmp_path / "r.fa", Reference(build="R"))

    with pytest.raises(FormatError, match=r"'r\.fa', line 20004: the contig 'aa>1' has a name"):
        lab.run(prepare_reference, "R")
    assert lab.made() == []

    prepared = lab.run(prepare_reference, "R", contigs=["c1", "c2"], aligner="none")
    report = json.loads(lab.path(prepared.report).read_text())
    assert report["ambiguity_places"] == ["c2:3"]
    assert report["notes"] == [
        "1 base of the reference R[c1,c2] is an ambiguity code (K at c2:3): no variant can be called there"
    ]


def test_companions_lie_beside_the_reference_as_tools_expect(small_lab: Any, tmp_path: Path):
    prepared = small_lab.run(prepare_reference, "small", aligner="none")
    assert prepared.aligner_index is None

    fetched = small_lab.run(prepared.reference.fetch, tmp_path / "view")

    stem = fetched.path.name.removesuffix(".fa")
    assert {path.name for path in fetched.path.parent.iterdir()} >= {
        f"{stem}.fa",
        f"{stem}.fa.fai",
        f"{stem}.dict",
    }


def test_no_reference_and_two_of_one_build(small_lab: Any, genome: Any, tmp_path: Path):
    with pytest.raises(AssetNotFoundError, match="no reference build=hg99"):
        small_lab.run(prepare_reference, "hg99")
    (tmp_path / "other.fa").write_text(">other\nACGT\n")
    small_lab.add(tmp_path / "other.fa", Reference(build="small"))

    with pytest.raises(AmbiguousAssetError, match="build=small"):
        small_lab.run(prepare_reference, "small")
    assert small_lab.made() == []


def test_a_human_genome_fits_no_laptop():
    assert index_memory(HUMAN) > 24 * GB
    assert index_memory(250_000_000) < 3.2 * GB  # a human chromosome does


def test_too_large_a_reference_is_refused_with_the_ways_out(small_lab: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STARGAZER_MEMORY", "50M")

    with pytest.raises(ConfigurationError) as caught:
        small_lab.run(prepare_reference, "small")

    for way in ("STARGAZER_MEMORY", "6,000 bases", "aligner=bwa", "contigs=", "--sha256", "indexer=bwa-mem2"):
        assert way in str(caught.value)
    assert {asset.asset_key for asset in small_lab.made()} <= {
        "qc_report",
        "reference_index",
        "sequence_dict",
    }


@pytest.mark.debian("bwa")
def test_bwa_aligns_to_what_is_too_large_for_us(small_lab: Any, genome: Any, tmp_path: Path, records_of: Any,
                                                run_by_hand: Any, monkeypatch: pytest.MonkeyPatch):  # fmt: skip
    small_lab.add_lane(genome.write_reads(tmp_path), sample="s", lane="L1")
    usual = small_lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")
    monkeypatch.setenv("STARGAZER_MEMORY", "50M")

    calls = small_lab.run(
        germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools", aligner="bwa"
    )

    assert small_lab.computed()["align_with_bwa"] == 1
    header = run_by_hand(samtools, "view", "-H", "--no-PG", small_lab.path(calls.alignments[0]))
    assert header == run_by_hand(samtools, "view", "-H", "--no-PG", small_lab.path(usual.alignments[0]))
    assert records_of(small_lab.path(calls.variants)) == records_of(small_lab.path(usual.variants)) != []


@pytest.mark.debian("bwa")
def test_bwa_indexes_bgzip(lab: Any, genome: Any, tmp_path: Path):
    lab.add(bgzip(genome.write_reference(tmp_path / "small.fa")), Reference(build="small"))
    lab.add_lane(genome.write_reads(tmp_path), sample="s")

    calls = lab.run(
        germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools", aligner="bwa"
    )

    assert calls.variants.samples == ["s"]


def test_bwa_that_is_not_there(small_lab: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("STARGAZER_TOOLS", "bwa=path")

    with pytest.raises(ToolError, match=r"bwa was not found(.|\n)*apt install bwa"):
        small_lab.run(prepare_reference, "small", aligner="bwa")


def test_a_tool_asked_from_where_it_never_is(small_lab: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STARGAZER_TOOLS", "bwa-index=path")

    with pytest.raises(ConfigurationError, match="asks for bwa-index from 'path'; it can come from: wheel"):
        small_lab.run(prepare_reference, "small")


def test_a_bgzip_reference_gives_the_same_calls(new_lab: Any, genome: Any, tmp_path: Path, records_of: Any):
    plain = genome.write_reference(tmp_path / "small.fa")
    found = []
    for number, path in enumerate((plain, bgzip(plain))):
        lab = new_lab(tmp_path / f"store{number}")
        lab.add(path, Reference(build="small"))
        lab.add_lane(genome.write_reads(tmp_path), sample="s")
        calls = lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")
        found.append(records_of(lab.path(calls.variants)))

    assert found[0] == found[1] != []


def test_a_gzip_reference_that_is_no_bgzip(lab: Any, genome: Any, tmp_path: Path):
    plain = genome.write_reference(tmp_path / "small.fa")
    (tmp_path / "small.fa.gz").write_bytes(gzip.compress(plain.read_bytes()))

    with pytest.raises(FormatError, match=r"gzip.*`bgzip`"):
        lab.add(tmp_path / "small.fa.gz", Reference(build="small"))
    assert lab.made() == []


def test_chosen_contigs(small_lab: Any, genome: Any, tmp_path: Path, records_of: Any):
    small_lab.add_lane(genome.write_reads(tmp_path), sample="s")
    contig = genome.names[1]

    calls = small_lab.run(
        germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools", contigs=[contig]
    )

    assert [line.split("\t")[:2] for line in records_of(small_lab.path(calls.variants))] == [[contig, "1501"]]
    assert small_lab.run(Reference.one, build=f"small[{contig}]").cid == calls.variants.reference_cid


def test_a_contig_that_the_reference_does_not_have(small_lab: Any):
    with pytest.raises(
        InvalidAssetError, match="the reference has no contig 'chrX'; it has chr1:1-99, HLA-A"
    ):
        small_lab.run(prepare_reference, "small", contigs=["chrX", "chr1:1-99"])
    assert small_lab.made() == []


def test_an_index_made_elsewhere_is_used(small_lab: Any, genome: Any, tmp_path: Path, new_lab: Any):
    elsewhere = new_lab(tmp_path / "elsewhere")
    elsewhere.add(genome.write_reference(tmp_path / "same.fa"), Reference(build="small"))
    made = elsewhere.run(prepare_reference, "small").aligner_index
    reference = small_lab.run(Reference.one, build="small")
    (tmp_path / "index.tar").write_bytes(elsewhere.path(made).read_bytes())
    small_lab.add(tmp_path / "index.tar", AlignerIndex(aligner="bwa-mem3", reference_cid=reference))
    small_lab.add_lane(genome.write_reads(tmp_path), sample="s")

    small_lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")

    assert small_lab.computed()["index_for_bwa_mem3"] == 0
    assert small_lab.computed()["align_with_bwa_mem3"] == 1


def test_an_index_whose_files_are_named_otherwise(small_lab: Any, genome: Any, tmp_path: Path):
    with tarfile.open(tmp_path / "index.tar", "w") as tar:
        member = tarfile.TarInfo("GRCh38.fa.ann")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"none"))
    reference = small_lab.run(Reference.one, build="small")
    small_lab.add(tmp_path / "index.tar", AlignerIndex(aligner="bwa-mem3", reference_cid=reference))
    small_lab.add_lane(genome.write_reads(tmp_path), sample="s")

    with pytest.raises(FormatError, match=r"holds GRCh38.fa.ann; expected index.ann"):
        small_lab.run(germline_short_variant_discovery, samples=["s"], build="small", caller="bcftools")
