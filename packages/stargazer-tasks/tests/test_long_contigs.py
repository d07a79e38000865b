"""Contigs longer than a BAI or TBI reaches: CSI indexes, and none of the others from elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pysam
import pysam.bcftools
import pytest
from stargazer.assets import Alignment, AlignmentIndex, FormatError, Variants, VariantsIndex, use_client
from stargazer.tasks.checks.headers import Contig
from stargazer.tasks.checks.indexes import needs_csi
from stargazer.tasks.germline.alignment import index_alignment
from stargazer.tasks.germline.variants import index_variants

BARLEY = {"chr1H": 558_535_432, "chr2H": 665_585_731}
PLACES = (100, 600_000_000)
"""The second is beyond the reach of a BAI."""


def bam(path: Path, lengths: dict[str, int], places: tuple[int, ...] = PLACES) -> Path:
    header = pysam.AlignmentHeader.from_dict(
        {
            "HD": {"VN": "1.6", "SO": "coordinate"},
            "SQ": [{"SN": name, "LN": length} for name, length in lengths.items()],
            "RG": [{"ID": "1", "SM": "W"}],
        }
    )
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for place in places:
            read = pysam.AlignedSegment(header)
            read.query_name, read.query_sequence, read.mapping_quality = f"r{place}", "ACGT" * 10, 60
            read.reference_id, read.reference_start, read.cigarstring = len(lengths) - 1, place, "40M"
            read.set_tag("RG", "1")
            file.write(read)
    return path


def vcf(path: Path, lengths: dict[str, int], places: tuple[int, ...] = PLACES) -> Path:
    lines = [
        "##fileformat=VCFv4.2",
        *(f"##contig=<ID={name},length={bases}>" for name, bases in lengths.items()),
    ]
    lines.append("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    lines += [f"{list(lengths)[-1]}\t{place + 1}\t.\tA\tC\t9\t.\t." for place in places]
    path.with_suffix("").write_text("\n".join(lines) + "\n")
    pysam.tabix_compress(str(path.with_suffix("")), str(path), force=True)
    return path


def fetched(bench: Any, asset: Any, folder: Path) -> Path:
    with use_client(bench.client):
        path: Path = asyncio.run(asset.fetch(folder)).path
    return path


def test_the_limit() -> None:
    assert not needs_csi({"c": Contig(536_870_911), "d": Contig(None)})
    assert needs_csi({"c": Contig(1), "d": Contig(536_870_912)})


def test_an_alignment_gets_a_csi_that_tools_find(bench: Any, tmp_path: Path) -> None:
    alignment = bench.add(bam(tmp_path / "w.bam", BARLEY), Alignment(sample="W", sorted_by="coordinate"))

    bench.run(index_alignment, alignment)

    path = fetched(bench, alignment, tmp_path / "view")
    assert sorted(file.name for file in path.parent.iterdir()) == ["alignment.bam", "alignment.bam.csi"]
    with pysam.AlignmentFile(str(path)) as file:
        assert [read.query_name for read in file.fetch("chr2H", 599_999_000, 600_001_000)] == ["r600000000"]


def test_variants_get_a_csi_that_tools_find(bench: Any, tmp_path: Path) -> None:
    variants = bench.add(vcf(tmp_path / "w.vcf.gz", BARLEY), Variants())

    bench.run(index_variants, variants)

    path = fetched(bench, variants, tmp_path / "view")
    assert sorted(file.name for file in path.parent.iterdir()) == ["variants.vcf.gz", "variants.vcf.gz.csi"]
    found = pysam.bcftools.view("-H", "-r", "chr2H:600000001", str(path))
    assert found.split("\t")[1] == "600000001"


def test_shorter_contigs_keep_the_indexes_that_every_tool_knows(bench: Any, tmp_path: Path) -> None:
    lengths = {"1": 1000, "2": 536_870_911}
    alignment = bench.add(
        bam(tmp_path / "w.bam", lengths, (100,)), Alignment(sample="W", sorted_by="coordinate")
    )
    variants = bench.add(vcf(tmp_path / "w.vcf.gz", lengths, (100,)), Variants())

    assert bench.path(bench.run(index_alignment, alignment)).read_bytes().startswith(b"BAI\1")
    bench.run(index_variants, variants)
    assert fetched(bench, variants, tmp_path / "view").with_name("variants.vcf.gz.tbi").exists()


def test_a_csi_from_elsewhere_is_taken_and_a_bai_or_tbi_is_not(bench: Any, tmp_path: Path) -> None:
    path = bam(tmp_path / "w.bam", BARLEY, (100,))
    alignment = bench.add(path, Alignment(sample="W", sorted_by="coordinate"))
    pysam.index(str(path))
    pysam.index("-c", str(path))
    calls = vcf(tmp_path / "w.vcf.gz", BARLEY, (100,))
    variants = bench.add(calls, Variants())
    pysam.bcftools.index("--tbi", str(calls))
    pysam.bcftools.index("--csi", str(calls))

    bench.add(tmp_path / "w.bam.csi", AlignmentIndex(alignment_cid=alignment.cid))
    bench.add(tmp_path / "w.vcf.gz.csi", VariantsIndex(variants_cid=variants.cid))
    with pytest.raises(FormatError) as of_bai:
        bench.add(tmp_path / "w.bam.bai", AlignmentIndex(alignment_cid=alignment.cid))
    with pytest.raises(FormatError) as of_tbi:
        bench.add(tmp_path / "w.vcf.gz.tbi", VariantsIndex(variants_cid=variants.cid))

    assert str(of_bai.value).startswith(
        "'w.bam.bai' is a BAI, which ends at base 536,870,912 of a contig, and 'chr1H' has 558,535,432: "
        "make a CSI index: `samtools index -c`, and add that"
    )
    assert "'w.vcf.gz.tbi' is a TBI, which ends at base 536,870,912" in str(of_tbi.value)
    assert "`bcftools index --csi`" in str(of_tbi.value)
