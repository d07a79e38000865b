"""Format checks: what is right passes, what is wrong is named, and no more is read than needed."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stargazer.assets import REGISTRY, FormatError
from stargazer.assets.formats.compression import BGZF_END, WHOLE, first_bytes
from stargazer.assets.formats.fasta import check_fasta
from stargazer.assets.formats.fastq import check_fastq
from stargazer.assets.formats.signatures import check_alignment, check_json, check_magic, check_tar
from stargazer.assets.formats.tables import check_bed, check_vcf

CHECKS = sorted({cls.check for cls in REGISTRY.values() if cls.check}, key=str)
check_index = check_magic(b"BAI\x01", b"CSI\x01", what="a BAM index")

READ = b"@r1 1:N:0\nACGTN\n+\nIIII#\n"
FASTA = b">chr1 description\nACGTNacgtn\nRYSWKM\n"
MANY_CONTIGS = b"".join(FASTA.replace(b"chr1", b"chr%d" % number) for number in range(9_999))
VCF = b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
SITE = b"chr1\t5\t.\tA\tC\t50\t.\t%b\n"
BED = b"#comment\ntrack name=x\nchr1\t0\t100\nHLA:A*01\t5\t5\tname\t0\t+\n"
BAM = b"BAM\x01" + bytes(8)


def bgzf(data: bytes, *, end: bool = True) -> bytes:
    """Blocks of 64,000 bytes, as bgzip writes them."""
    blocks = []
    for start in range(0, len(data), 64_000):
        piece = data[start : start + 64_000]
        deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
        body = deflate.compress(piece) + deflate.flush()
        head = BGZF_END[:16] + struct.pack("<H", len(body) + 25)
        blocks.append(head + body + struct.pack("<II", zlib.crc32(piece), len(piece)))
    return b"".join(blocks) + (BGZF_END if end else b"")


def tar_of(**files: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive.getvalue()


GOOD: dict[str, tuple[Callable[[Path], None], bytes]] = {
    "fastq": (check_fastq, READ * 3),
    "fastq of one read": (check_fastq, READ),
    "fastq without last line end": (check_fastq, READ[:-1]),
    "fastq with Windows line ends": (check_fastq, (READ * 2).replace(b"\n", b"\r\n")),
    "fastq with an empty read": (check_fastq, b"@r1\n\n+\n\n" + READ),
    "fastq of an empty read": (check_fastq, b"@r1\n\n+\n\n"),
    "fastq with blank lines at the end": (check_fastq, READ + b"\n\n"),
    "fastq with names at both places": (check_fastq, b"@r1\nACGT\n+r1\n@+@+\n"),
    "fastq with a read longer than the head": (
        check_fastq,
        b"@r1\n%b\n+\n%b\n" % (b"A" * 99_999, b"I" * 99_999),
    ),
    "fastq longer than the head": (check_fastq, READ * 9_999),
    "gzip fastq": (check_fastq, gzip.compress(READ * 9_999, mtime=0)),
    "gzip fastq of several members": (
        check_fastq,
        gzip.compress(READ[:7], mtime=0) + gzip.compress(READ[7:], mtime=0),
    ),
    "bgzip fastq": (check_fastq, bgzf(READ * 9_999)),
    "bgzip fastq as Illumina writes it": (check_fastq, bgzf(READ * 9_999, end=False)),
    "fasta": (check_fasta, FASTA),
    "fasta of one base": (check_fasta, b">a\nA"),
    "fasta with Windows line ends": (check_fasta, FASTA.replace(b"\n", b"\r\n")),
    "fasta with empty lines": (check_fasta, b"\n>a\nAC\n\n>b\nACGT\n\n"),
    "fasta on one long line": (check_fasta, b">a\n" + b"ACGT" * 99_999),
    "bgzip fasta": (check_fasta, bgzf(MANY_CONTIGS)),
    "vcf": (check_vcf, VCF),
    "bgzip vcf": (check_vcf, bgzf(VCF)),
    "bcf": (check_vcf, bgzf(b"BCF\x02\x02")),
    "bam": (check_alignment, bgzf(BAM)),
    "cram": (check_alignment, b"CRAM\x03" + bytes(99) + bytes.fromhex("0fe0454f46") + bytes(25)),
    "bed": (check_bed, BED),
    "bed with Windows line ends": (check_bed, BED.replace(b"\n", b"\r\n")),
    "gzip bed": (check_bed, gzip.compress(BED, mtime=0)),
    "bed longer than the head": (check_bed, BED * 9_999),
    "json": (check_json, json.dumps({"é": [1]}).encode()),
    "index": (check_index, b"BAI\x01\x00"),
    "compressed index": (check_index, bgzf(b"CSI\x01\x00")),
    "tar": (check_tar, tar_of(a=b"1", b=b"2")),
    "empty tar": (check_tar, tar_of(a=b"")),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_passes(name: str, tmp_path: Path) -> None:
    check, data = GOOD[name]
    (tmp_path / "x").write_bytes(data)
    check(tmp_path / "x")


BAD: dict[str, tuple[Callable[[Path], None], bytes, str]] = {
    "fasta as fastq": (check_fastq, FASTA, "not FASTQ: line 1 begins with '>chr1 description', expected '@'"),
    "binary fastq": (check_fastq, os.urandom(9).replace(b"@", b"") + b"\x00", "not FASTQ"),
    "fastq of three lines": (check_fastq, READ.rsplit(b"\n", 2)[0], r"record 1 (line 1) has 3 of 4 lines"),
    "fastq cut in the third read": (check_fastq, READ * 2 + b"@r3\nACGT\n", "record 3 (line 9) has 2 of 4 lines"),
    "fastq cut in quality": (check_fastq, READ + READ[:-4], "record 2 (line 5): sequence has 5 letters, quality 2"),
    "fastq with text": (check_fastq, b"@r1\nAC GT\n+\nIIIII\n", "not a nucleotide sequence: 'AC GT'"),
    "fastq of five-line reads": (check_fastq, b"@r1\nACGT\nACGT\n+\nIIII\nIIII\n", "expected '@name', sequence, '+'"),
    "fastq bad late in the head": (check_fastq, READ * 999 + b"r\n" * 4, "record 1000 (line 3997): not FASTQ"),
    "sam as fastq": (check_fastq, b"@HD\tVN:1.6\n@SQ\tSN:1\n@RG\n@PG\n", "record 1 (line 1): not FASTQ"),
    "fastq as fasta": (check_fasta, READ, "not FASTA: line 1 begins with '@r1 1:N:0', expected '>'"),
    "protein fasta": (check_fasta, b">p\nMEEPQSDPSV\n", "line 2: not a nucleotide sequence: 'MEEPQSDPSV'"),
    "fasta with text": (check_fasta, FASTA + b"<html>\n", "line 4: not a nucleotide sequence"),
    "text as vcf": (check_vcf, b"chr1\t5\n", "not VCF: expected '##fileformat=VCF' first"),
    "plain gzip vcf": (check_vcf, gzip.compress(VCF, mtime=0), "plain gzip, expected BGZF: compress it with `bgzip`"),
    "vcf without end marker": (check_vcf, bgzf(VCF, end=False), "lacks the BGZF end marker"),
    "sam": (check_alignment, b"@HD\tVN:1.6\n", "convert SAM with `samtools view -b`"),
    "bam cut at a block": (check_alignment, bgzf(BAM, end=False), "lacks the BGZF end marker; copy it again"),
    "bam cut in a block": (check_alignment, bgzf(BAM * 9_999)[:-60], "truncated"),
    "uncompressed bam": (check_alignment, BAM, "neither BAM nor CRAM"),
    "cut cram": (check_alignment, b"CRAM\x03" + bytes(99), "lacks the CRAM end marker"),
    "bed with text columns": (check_bed, b"chr1\tstart\tend\n", r"line 1: not BED"),
    "bed with spaces": (check_bed, BED + b"chr1 0 100\n", "line 5: not BED"),
    "bed upside down": (check_bed, b"chr1\t9\t1\n", "line 1: not BED"),
    "bed with other digits": (check_bed, b"chr1\t\xb2\t\xb3\n", "line 1: not BED"),
    "bed with endless numbers": (check_bed, b"chr1\t1\t" + b"9" * 5_000, "line 1: not BED"),
    "bed bad after thousands": (check_bed, BED * 900 + b"x\ty\tz\n", "line 3601: not BED"),
    "bed without intervals": (check_bed, b"# nothing\n", "holds no interval"),
    "cut json": (check_json, b'{"a": ', "not JSON"),
    "deep json": (check_json, b"[" * 99_999, "not JSON"),
    "another index": (check_index, bgzf(b"TBI\x01"), "not a BAM index: it begins with b'TBI"),
    "zip as tar": (check_tar, b"PK\x03\x04" + bytes(600), "not an uncompressed tar"),
    "gzip tar": (check_tar, gzip.compress(tar_of(a=b"1"), mtime=0), "not an uncompressed tar"),
    "cut tar": (check_tar, tar_of(a=b"1" * 5_000)[:4_096], "lacks the end marker"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("file_name", ["x", "-r odd 'name'\n\"ü\".fq.gz"])
def test_what_is_wrong_is_named_with_its_file(name: str, file_name: str, tmp_path: Path) -> None:
    check, data, said = BAD[name]
    (tmp_path / file_name).write_bytes(data)
    with pytest.raises(FormatError) as error:
        check(tmp_path / file_name)
    assert said in str(error.value)
    assert repr(file_name) in str(error.value)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty, expected"),
        (bytes(2_000), "'x'"),
        (b"\n", "'x'"),
        (bytes(range(256)) * 9, "'x'"),
        ("é§\n".encode(), "'x'"),
        (b"\x1f\x8b", "'x'"),
        (b"\x1f\x8b\x08\x00garbage", "'x'"),
        (gzip.compress(b"", mtime=0), "'x'"),
        (BGZF_END, "'x'"),
        (gzip.compress(READ * 999, mtime=0)[:-20], "'x'"),
        (gzip.compress(READ, mtime=0) + b"tail", "'x'"),
    ],
    ids=["empty", "zeros", "a line end", "binary", "text", "gzip magic", "not gzip", "gzip of nothing",
         "bgzip of nothing", "cut gzip", "gzip with a tail"],
)  # fmt: skip
def test_no_check_takes_rubbish(
    check: Callable[[Path], None], data: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FormatError, match=said):
        check(tmp_path / "x")


def test_small_gzip_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(READ * 9_999, mtime=0)[:-9])
    with pytest.raises(FormatError, match=r"truncated or damaged gzip file: .*; copy it again"):
        check_fastq(tmp_path / "x")


@pytest.fixture(scope="module")
def large_bgzf() -> bytes:
    """Blocks without the end marker, more than is decompressed to the end."""
    return large(READ * 99, random.Random(1).randbytes(30_000).hex().encode())


def large(head: bytes, more: bytes) -> bytes:
    block = bgzf(more, end=False)
    return bgzf(head, end=False) + block * (WHOLE // len(block) + 2)


@pytest.mark.parametrize("end", [BGZF_END, b""], ids=["with end marker", "without, as Illumina writes it"])
def test_a_large_bgzf_file_that_ends_with_a_block_passes(
    large_bgzf: bytes, end: bytes, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(large_bgzf + end)
    check_fastq(tmp_path / "x")


@pytest.mark.parametrize("lost", [1, 27, 5_000])
def test_a_large_bgzf_file_cut_in_a_block_is_refused(large_bgzf: bytes, lost: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes((large_bgzf + BGZF_END)[:-lost])
    with pytest.raises(FormatError, match="'x' is truncated in a BGZF block; copy it again"):
        check_fastq(tmp_path / "x")


@pytest.mark.parametrize(
    ("check", "head", "more"),
    [
        (check_alignment, BAM, random.Random(1).randbytes(30_000)),
        (check_vcf, VCF, SITE % random.Random(1).randbytes(30_000).hex().encode()),
    ],
)
def test_a_large_bam_or_vcf_needs_its_end_marker(
    check: Callable[[Path], None], head: bytes, more: bytes, tmp_path: Path
) -> None:
    data = large(head, more)
    (tmp_path / "x").write_bytes(data + BGZF_END)
    check(tmp_path / "x")
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FormatError, match="'x' is truncated: it lacks the BGZF end marker"):
        check(tmp_path / "x")


HUGE = 1 << 40
HEADS = {
    check_fastq: READ * 9_999,
    check_fasta: MANY_CONTIGS,
    check_vcf: VCF,
    check_bed: BED * 9_999,
    check_json: b"{",
    check_tar: tar_of(a=b"1"),
    check_index: b"BAI\x01",
}
TAILS = {check_fastq: b"\n" + READ * 2}


@pytest.mark.parametrize("check", HEADS, ids=lambda check: check.__name__)
def test_a_huge_file_is_read_in_part(check: Any, tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.write(HEADS[check])
        try:
            file.truncate(HUGE)
        except OSError:
            pytest.skip("no sparse files of 1 TiB here")
        file.seek(0, os.SEEK_END)
        file.write(TAILS.get(check, b""))
    check(tmp_path / "huge")


@pytest.mark.parametrize(
    "head", [gzip.compress(READ, mtime=0), bgzf(READ), gzip.compress(READ * 9_999, mtime=0)]
)
def test_a_huge_gzip_file_is_read_in_part(head: bytes, tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.write(head)
        try:
            file.truncate(HUGE)
        except OSError:
            pytest.skip("no sparse files of 1 TiB here")
    try:
        check_fastq(tmp_path / "huge")
    except FormatError as error:
        assert "truncated" in str(error)  # noqa: PT017


def test_first_bytes_are_given_as_they_are_and_decompressed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(READ)
    (tmp_path / "gzip").write_bytes(gzip.compress(READ, mtime=0))
    assert first_bytes(tmp_path / "plain") == (READ, READ)
    assert first_bytes(tmp_path / "gzip") == (gzip.compress(READ, mtime=0), READ)


REAL = {
    "r1": "tp53/NA12829_TP53_R1.fq.gz",
    "r2": "tp53/NA12829_TP53_R2.fq.gz",
    "reference": "tp53/GRCh38_TP53.fa",
    "alignment": "tp53/NA12829_TP53_markdup.bam",
    "variants": "tp53/NA12829_TP53.g.vcf",
    "known_sites": "tp53/Mills_and_1000G_gold_standard.indels.TP53.hg38.vcf",
    "intervals": "na12878_chr20/test_nist.b37_chr20_100kbp_at_10mb.bed",
    "variants_index": "na12878_chr20/test_nist.b37_chr20_100kbp_at_10mb.vcf.gz.tbi",
    "anndata": "scrna/celltypist_sample.h5ad",
    "sequence_dict": "gatk_bqsr/human_g1k_v37.chr17_1Mb.dict",
    "reference_index": "gatk_bqsr/human_g1k_v37.chr17_1Mb.fasta.fai",
}


@pytest.mark.parametrize("key", REAL)
def test_real_files_pass(key: str, test_data: Path) -> None:
    check = REGISTRY[key].check
    assert check is not None
    check(test_data / REAL[key])


@pytest.mark.parametrize("key", ["r1", "alignment", "anndata", "variants_index"])
def test_real_files_of_another_type_do_not(key: str, test_data: Path) -> None:
    check = REGISTRY[key].check
    assert check is not None
    for other, name in REAL.items():
        if other[:1] != key[:1]:
            with pytest.raises(FormatError):
                check(test_data / name)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("NA12878_S1.chr20.10_10p1mb.bam", check_alignment),
        ("ucsc.hg19.chr20.unittest.fasta.gz", check_fasta),
        ("test_nist.b37_chr20_100kbp_at_10mb.vcf.gz", check_vcf),
    ],
)
def test_real_compressed_files_pass_whole_and_not_cut(
    name: str, check: Callable[[Path], None], test_data: Path, tmp_path: Path
) -> None:
    data = (test_data / "na12878_chr20" / name).read_bytes()
    for cut in (len(data) // 2, len(data) - 1):
        (tmp_path / name).write_bytes(data[:cut])
        with pytest.raises(FormatError, match="truncated"):
            check(tmp_path / name)
    check(test_data / "na12878_chr20" / name)
