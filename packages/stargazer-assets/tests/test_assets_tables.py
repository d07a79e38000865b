"""Text formats: what is whole passes, with or without the last line end, and what was cut in a line is refused."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from stargazer.assets import REGISTRY, FormatError
from stargazer.assets.formats import compression
from stargazer.assets.formats.tables import check_annotation, check_bed, check_dict, check_fai, check_vcf

from .test_assets_formats import bgzf

HEADER = (
    "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=3000>\n"
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\tT\n"
)
CALLS = "".join(f"chr1\t{at}\t.\tA\tC\t50\tPASS\tDP=9\tGT:DP\t0/1:9\t1/1:8\n" for at in range(1, 60))
SITES = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nchr1\t5\trs1\tA\tC\t.\t.\t.\n"
KEYS = (
    SITES.replace(
        "#C", "##INFO=<ID=DB,Number=0,Type=Flag>\n##INFO=<ID=DP,Number=1,Type=Integer>\n#C"
    ).replace(".\n", "DP=9;DB\n")
    + "chr1\t6\t.\tA\tC\t.\t.\tDB;DP=7\n"
)
GTF = (
    "#!genome-build GRCh38\n"
    'chr1\tHAVANA\tgene\t11869\t14409\t.\t+\t.\tgene_id "A.1"; gene_name "A";\n'
    'chr1\tHAVANA\texon\t11869\t12227\t.\t+\t0\tgene_id "A.1"; gene_name "A"; note "x";\n'
)
GFF3 = (
    "##gff-version 3\n##sequence-region chr1 1 9000\n"
    "chr1\t.\tgene\t1000\t9000\t.\t+\t.\tID=gene1;Name=A\n"
    "chr1\t.\texon\t1000\t1200\t.\t+\t.\tID=exon1;Parent=gene1\n"
)
BED = "track name=x\nchr1\t0\t100\tone\t0\t+\nchr1\t200\t300\ttwo\t0\t-\n"
DICT = "@HD\tVN:1.6\n" + "".join(
    f"@SQ\tSN:{name}\tLN:{length}\tM5:{'0123456789abcdef' * 2}\tUR:file:x.fa\n"
    for name, length in (("chr1", 248956422), ("HLA:A*01:01:01:01", 3503))
)
FAI = "chr1\t248956422\t112\t70\t71\nHLA:A*01:01\t3503\t252513167\t70\t71\n"

Check = Callable[[Path], None]
Limits = Callable[[int], None]

WHOLE_FILES: dict[str, tuple[Check, str]] = {
    "vcf": (check_vcf, HEADER + CALLS),
    "vcf of sites": (check_vcf, SITES),
    "vcf with a missing genotype": (check_vcf, HEADER + CALLS.replace("1/1:8\n", "./.\n")),
    "vcf whose genotypes leave out values": (check_vcf, HEADER + CALLS.replace("1/1:8\n", "1/1\n")),
    "vcf without records": (check_vcf, HEADER),
    "vcf without records or samples": (check_vcf, SITES.rpartition("chr1")[0]),
    "vcf of sites with a tab behind its columns, as GATK has it": (check_vcf, SITES.replace("INFO\n", "INFO\t\n")),
    "vcf of sites that ends with a flag": (check_vcf, KEYS.replace("DB;DP=7", "DP=7;DB")),
    "vcf of sites that ends with a value": (check_vcf, KEYS),
    "vcf of sites with FORMAT": (check_vcf, SITES.replace("INFO\n", "INFO\tFORMAT\n")),
    "gtf": (check_annotation, GTF),
    "gtf without a semicolon at the end": (check_annotation, GTF.replace(";\n", "\n")),
    "gff3": (check_annotation, GFF3),
    "gff3 with sequences": (check_annotation, GFF3 + "##FASTA\n>chr1 x\nACGT\nAC\n"),
    "gff3 with sequences and no directive": (check_annotation, GFF3 + ">chr1 x\nACGT\nAC\n"),
    "gff3 without features": (check_annotation, "##gff-version 3\n"),
    "gff3 with an undefined attribute": (check_annotation, GFF3.replace("ID=exon1;Parent=gene1", ".")),
    "bed": (check_bed, BED),
    "bed of three columns": (check_bed, "chr1\t0\t100\nchr1\t200\t300\n"),
    "dictionary": (check_dict, DICT),
    "dictionary of names and lengths": (check_dict, "@SQ\tSN:1\tLN:5\n@SQ\tSN:2\tLN:6\n"),
    "dictionary with another name for one contig": (check_dict, DICT.replace("\tM5", "\tAN:1\tM5", 1)),
    "index": (check_fai, FAI),
    "index of reads": (check_fai, "read1\t100\t8\t100\t101\t111\n"),
    "index of an empty contig": (check_fai, "empty\t0\t7\t0\t0\nc\t4\t10\t4\t5\n"),
}  # fmt: skip
COMPRESSED = {check_vcf: [bgzf], check_bed: [bgzf, gzip.compress], check_annotation: [bgzf, gzip.compress]}


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_what_is_whole_passes(name: str, tmp_path: Path) -> None:
    check, text = WHOLE_FILES[name]
    path = tmp_path / "x"
    for shape in (text, text[:-1], text.replace("\n", "\r\n")):
        path.write_bytes(shape.encode())
        check(path)
        for compress in COMPRESSED.get(check, []):
            path.write_bytes(compress(shape.encode()))
            check(path)


def cut(text: str, end: str) -> str:
    """A text up to the last place of `end`, and this with it."""
    return text[: text.rindex(end) + len(end)]


CUT: dict[str, tuple[Check, str, str]] = {
    "vcf": (check_vcf, cut(HEADER + CALLS, "chr1\t59\t.\tA\tC\t5"), "its last line has 6 of 11 fields"),
    "vcf at a tab": (check_vcf, cut(HEADER + CALLS, "GT:DP\t"), "its last line has 9 of 11 fields"),
    "vcf in the first field": (check_vcf, cut(HEADER + CALLS, "ch"), "its last line has 1 of 11 fields"),
    "vcf before the last sample": (check_vcf, cut(HEADER + CALLS, "0/1:9"), "its last line has 10 of 11 fields"),
    "vcf in a genotype": (check_vcf, cut(HEADER + CALLS, "\t1/"), "its last line ends within a value: '1/'"),
    "vcf behind a genotype": (check_vcf, cut(HEADER + CALLS, "\t1/1"), "with 1 of 2 values: '1/1'"),
    "sites in a value": (check_vcf, SITES.rpartition(".")[0] + "DP=9;AF=", "its last line ends within a value"),
    "sites in a key": (check_vcf, cut(KEYS, "DB;D"), "ends within the name of a value: 'DB;D'"),
    "sites before the value of a key": (check_vcf, cut(KEYS, "DB;DP"), "ends within the name of a value: 'DB;DP'"),
    "vcf with a line end behind": (check_vcf, cut(HEADER + CALLS, "PASS") + "\n", "its last line has 7 of 11 fields"),
    "sites": (check_vcf, cut(SITES, "C\t.\t."), "its last line has 7 of 8 fields"),
    "vcf in its header": (check_vcf, cut(HEADER, "##contig=<ID="), "no line that begins with #CHROM"),
    "vcf behind its header": (check_vcf, cut(HEADER, "3000>\n"), "its header has no line that begins with #CHROM"),
    "vcf in its columns": (check_vcf, cut(HEADER, "#CHROM\tPOS\tID\tRE"), "its header ends with b'#CHROM"),
    "gtf": (check_annotation, cut(GTF, "exon\t118"), "its last line has 4 of 9 fields"),
    "gtf at a tab": (check_annotation, cut(GTF, "\t.\t+\t0\t"), "its last line has 8 of 9 fields"),
    "gtf of one line": (check_annotation, "chrT\tx\tgene\t1\t", "its last line has 4 of 9 fields"),
    "gtf in an attribute": (check_annotation, cut(GTF, '"A.1"; gene_name'), "without a semicolon: "),
    "gtf in a value": (check_annotation, cut(GTF, 'gene_id "A'), "its last line ends within quotes: "),
    "gff3": (check_annotation, cut(GFF3, "exon\t1000\t1200\t.\t+"), "its last line has 7 of 9 fields"),
    "gff3 in an attribute": (check_annotation, cut(GFF3, "ID=exon1;Par"), "ends within the name of an attribute: "),
    "gff3 before a value": (check_annotation, cut(GFF3, "ID=exon1;Parent="), "ends within an attribute: "),
    "bed": (check_bed, cut(BED, "300\ttwo"), "its last line has 4 of 6 fields"),
    "bed in its columns": (check_bed, cut(BED, "chr1\t200"), "its last line has 2 of 6 fields"),
    "bed of one line": (check_bed, "chr1\t200", "its last line has 2 of 3 fields"),
    "dictionary": (check_dict, cut(DICT, "LN:35"), "its last line has 3 of 5 fields"),
    "dictionary in a checksum": (check_dict, cut(DICT.replace("\tUR:file:x.fa", ""), "\tM5:0123"), "(M5): '0123'"),
    "dictionary in a tag": (check_dict, cut(DICT, "\tUR"), "its last line ends within a field: "),
    "dictionary before a length": (check_dict, "@SQ\tSN:chr1\tL", "ends before the length of the contig (LN)"),
    "index": (check_fai, cut(FAI, "HLA:A*01:01\t3503\t2525"), "its last line has 3 of 5 fields"),
    "index in its last number": (check_fai, cut(FAI, "\t70\t7"), "its last line says that 70 bases take 7 bytes"),
    "index of one line": (check_fai, "chr1\t2489", "its last line has 2 of 5 fields"),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_what_was_cut_in_a_line_is_truncated(name: str, tmp_path: Path) -> None:
    check, text, said = CUT[name]
    path = tmp_path / "cut"
    for data in (text.encode(), *(compress(text.encode()) for compress in COMPRESSED.get(check, []))):
        path.write_bytes(data)
        with pytest.raises(FormatError) as error:
            check(path)
        assert str(error.value).startswith("'cut' is truncated: ")
        assert said in str(error.value)


@pytest.mark.parametrize(
    ("check", "text", "said"),
    [
        (check_vcf, HEADER + "chr1\t5\t.\tA\n" + CALLS, "'x': line 4 has 4 of 11 fields"),
        (check_vcf, HEADER.replace("\t", " ") + CALLS, "its columns are '#CHROM POS"),
        (check_vcf, HEADER + CALLS + "\n", "line 63 is blank"),
        (check_vcf, HEADER + "\n" + CALLS, "line 4 is blank"),
        (check_vcf, HEADER.replace("T\n", "S\n") + CALLS, "names the sample 'S' twice, in columns 10 and 11"),
        (check_vcf, HEADER.replace("T\n", "T\t\n") + CALLS, "column 12 of its header names no sample"),
        (check_annotation, GTF.replace("11869", "x"), "line 2: neither GFF3 nor GTF"),
        (check_annotation, GTF.replace("\tHAVANA", " HAVANA", 1), "line 2 has 8 of 9 fields"),
        (check_annotation, "hello\n", "line 1: neither GFF3 nor GTF"),
        (check_annotation, "# nothing\n", "holds no feature"),
        (check_dict, "@HD\tVN:1.6\n", "expected lines that begin with @SQ"),
        (check_dict, "@SQ\tSN:x\tLN:y\n", "line 1: not a sequence dictionary"),
        (check_fai, "chr1\t5\n", "line 1: not a FASTA index"),
        (check_fai, "@@@", "line 1: not a FASTA index"),
        (check_fai, "chr1\t5\t6\t60\t6\n", "line 1: says that 60 bases take 6 bytes"),
    ],
)
def test_what_is_wrong_elsewhere_is_named(check: Check, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(FormatError) as error:
        check(tmp_path / "x")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("check", "head", "row", "end"),
    [
        (check_vcf, HEADER, CALLS, "PASS"),
        (check_bed, "", "chr1\t5\t9\tname\n" * 50, "5"),
        (check_annotation, "", GTF.partition("\n")[2] * 20, "HAVANA"),
        (check_annotation, "", GFF3 * 20, "\t.\t+"),
    ],
)
@pytest.mark.parametrize("shape", [bytes, bgzf], ids=["plain", "bgzip"])
@pytest.mark.parametrize(
    "whole", [1 << 11, 1 << 17], ids=["of a large file", "of a small file with much text"]
)
def test_the_end_is_looked_at(
    check: Check, head: str, row: str, end: str, shape: Any, whole: int, tmp_path: Path, limits: Limits
) -> None:
    limits(whole)
    text = head + row * (300_000 // len(row))
    path = tmp_path / "large"
    for right in (text, text[:-1]):
        path.write_bytes(shape(right.encode()))
        check(path)
    path.write_bytes(shape(cut(text, end).encode()))
    with pytest.raises(FormatError, match="'large' is truncated: its last line has"):
        check(path)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """Let files above so many bytes be large ones."""

    def run(whole: int) -> None:
        monkeypatch.setattr(compression, "WHOLE", whole)
        monkeypatch.setattr(compression, "EDGE", 1 << 16)

    return run


def test_the_sequences_at_the_end_of_a_large_annotation_are_no_features(
    tmp_path: Path, limits: Limits
) -> None:
    limits(1 << 11)
    (tmp_path / "x").write_text(GFF3 + "##FASTA\n>chr1\n" + "ACGT\n" * 50_000)
    check_annotation(tmp_path / "x")


def test_a_header_longer_than_what_is_read_of_a_large_file_counts_to_its_columns(
    tmp_path: Path, limits: Limits
) -> None:
    limits(1 << 11)
    contigs = "".join(f"##contig=<ID=scaffold_{number},length=9>\n" for number in range(5_000))
    text = HEADER.replace("##contig", contigs + "##contig") + CALLS * 50
    (tmp_path / "x").write_text(text)
    check_vcf(tmp_path / "x")
    (tmp_path / "x").write_text(cut(text, "PASS"))
    with pytest.raises(FormatError, match="has 7 of 11 fields"):
        check_vcf(tmp_path / "x")


TABLES = {
    check_vcf: HEADER + CALLS.partition("chr1\t9\t")[0],
    check_annotation: GTF,
    check_fai: FAI,
    check_dict: DICT,
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(TABLES)), st.data())
def test_a_cut_before_the_last_field_is_never_taken(
    tmp_path: Path, check: Check, data: st.DataObject
) -> None:
    text = TABLES[check]
    lines = text.splitlines(keepends=True)
    line = data.draw(st.integers(0, len(lines) - 1))
    assume(
        not lines[line].startswith(("#", "@HD", "@SQ\tSN:chr1"))
    )  # what follows a header may be all there is
    end = data.draw(st.integers(1, lines[line].rindex("\t")))
    (tmp_path / "cut").write_text("".join(lines[:line]) + lines[line][:end])
    with pytest.raises(FormatError):
        check(tmp_path / "cut")


@pytest.mark.parametrize(
    "key", ["known_sites", "variants", "intervals", "annotation", "sequence_dict", "reference_index"]
)
def test_every_type_of_text_is_checked(key: str) -> None:
    assert REGISTRY[key].check in (check_vcf, check_bed, check_annotation, check_dict, check_fai)


@pytest.mark.parametrize("check", [check_dict, check_fai])
def test_what_tools_read_as_text_is_not_taken_compressed(check: Check, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(gzip.compress((DICT if check is check_dict else FAI).encode()))
    with pytest.raises(FormatError, match=r"decompress it \(`gunzip`\)"):
        check(tmp_path / "x")
