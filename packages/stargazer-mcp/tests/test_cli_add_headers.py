"""`stargazer add` of files that say what they are: what need not be typed, and what is refused then and there."""

from __future__ import annotations

import hashlib
import http.server
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stargazer.mcp.cli import main

from .command import serving

Add = Callable[..., list[dict[str, Any]]]
FASTA = b">chr1\nACGTACGTAC\n>chr2\nGGGG\n"
DICT = b"@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:10\n@SQ\tSN:chr2\tLN:4\n"
END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.fa").write_bytes(FASTA)
    return tmp_path


@pytest.fixture
def add(here: Path, capsys: pytest.CaptureFixture[str]) -> Add:
    """`stargazer add ... --json` in this process: the keyvalues of each record, with its CID."""

    def run(*words: str) -> list[dict[str, Any]]:
        status = main(["add", *words, "--json"])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        assert captured.err == ""
        return [record["keyvalues"] | {"cid": record["cid"]} for record in json.loads(captured.out)]

    return run


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["add", *words]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    error = captured.err.splitlines(keepends=True)[-1] if "downloading" in captured.err else captured.err
    assert error.startswith("stargazer: error: ")
    return captured.err


def bam(path: Path, groups: str = "@RG\tID:1\tSM:NA1\tLB:lib\n", chr2: int = 4) -> Path:
    """An alignment without reads."""
    text = f"@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:10\n@SQ\tSN:chr2\tLN:{chr2}\n{groups}".encode()
    data = b"BAM\x01" + struct.pack("<i", len(text)) + text + struct.pack("<i", 2)
    for name, length in ((b"chr1\0", 10), (b"chr2\0", chr2)):
        data += struct.pack("<i", len(name)) + name + struct.pack("<i", length)
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    block = (
        END[:16] + struct.pack("<H", len(body) + 25) + body + struct.pack("<II", zlib.crc32(data), len(data))
    )
    path.write_bytes(block + END)
    return path


def test_an_alignment_is_added_by_its_name_alone(here: Path, add: Add) -> None:
    (reference,) = add("r.fa", "build=T")
    bam(here / "a.bam")
    (record,) = add("a.bam")
    said = {"sample": "NA1", "library": "lib", "sorted_by": "coordinate", "build": "T"}
    assert {key: record.get(key) for key in said} == said
    assert record["reference_cid"] == reference["cid"]


def test_a_reference_its_dictionary_and_an_alignment_can_come_together_and_again(
    here: Path, add: Add
) -> None:
    bam(here / "a.bam")
    (here / "r.dict").write_bytes(DICT)
    reference, dictionary, alignment = add("r.fa", "r.dict", "a.bam", "build=T")
    assert dictionary["asset"] == "sequence_dict"
    assert dictionary["reference_cid"] == alignment["reference_cid"] == reference["cid"]


def test_the_same_command_again_adds_nothing(
    here: Path, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    bam(here / "a.bam")
    (here / "r.dict").write_bytes(DICT)
    add("r.fa", "r.dict", "a.bam", "build=T")
    for words in (["r.fa", "r.dict", "a.bam", "build=T"], ["a.bam"], ["r.dict"]):
        assert main(["add", *words]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert [line.partition(":")[0] for line in lines] == ["already registered"] * len(
            set(words) - {"build=T"}
        )


def test_what_is_given_wins_where_the_header_does_not_contradict_it(here: Path, add: Add) -> None:
    bam(here / "a.bam", "@RG\tID:1\tSM:NA1\n")
    (record,) = add("a.bam", "sample=NA1", "library=mine", "duplicates_marked=true", "sorted_by=unsorted")
    assert (record["library"], record["duplicates_marked"], record["sorted_by"]) == (
        "mine",
        "true",
        "unsorted",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["sample=NA2"],
            "'a.bam' is of the sample 'NA1' according to its header (@RG SM), and sample=NA2 was given",
        ),
        (["sorted_by=queryname"], "sorted by coordinate according to its header"),
        (["library=other"], "give library=lib, or leave that out"),
        (
            ["build=old"],
            "build=old was given, and it does not belong to the reference old: contig 'chr2' has 4 bases",
        ),
        (["smaple=NA1"], "did you mean 'sample'"),
        (["sorted_by=name"], "one of coordinate, queryname, unsorted"),
    ],
)
def test_contradictions_are_refused_then_and_there(
    here: Path, add: Add, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    (here / "old.fa").write_bytes(FASTA + b"A\n")
    add("old.fa", "build=old")
    bam(here / "a.bam")
    assert said in refused(capsys, "a.bam", *words)


def test_samples_are_neither_pooled_nor_made_up(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bam(here / "two.bam", "@RG\tID:1\tSM:A\n@RG\tID:2\tSM:B\n")
    bam(here / "none.bam", "")
    for words in (["two.bam"], ["two.bam", "sample=A"], ["two.bam", "--force"]):
        error = refused(capsys, *words)
        assert "split it by read group" in error
    assert "its header names none (@RG SM): give sample=NAME" in refused(capsys, "none.bam")
    assert main(["add", "none.bam", "sample=A"]) == 0
    assert "warning: 'none.bam' is registered without a check of sample=A" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.bam", b"text\n", "'x.bam' is neither BAM nor CRAM"),
        ("x.bam", b"", "'x.bam' is empty"),
        ("x.vcf", b"text\n", "'x.vcf' is not VCF"),
        ("x.h5ad", b"text\n", "'x.h5ad' is not HDF5"),
        ("x.dict", b"text\n", "'x.dict' is no sequence dictionary"),
        ("x.dict", DICT[:-3], "'x.dict' is truncated: its last line ends before the length"),
        ("x.dict", DICT, "'x.dict': no registered reference has its contigs: give reference_cid=CID"),
        ("x.cram", b"CRAM\x03", "'x.cram' is truncated"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_told_as_before(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, said: str
) -> None:
    (here / name).write_bytes(data)
    assert said in refused(capsys, name)


def test_a_dictionary_that_fits_several_references_has_to_be_told_which(
    here: Path, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "s.fa").write_bytes(FASTA.lower().replace(b"chr", b"chr"))
    (here / "r.dict").write_bytes(DICT)
    first, second = add("r.fa", "build=a"), add("s.fa", "build=b")
    error = refused(capsys, "r.dict")
    assert "'r.dict': 2 registered references have its contigs: give reference_cid=CID, one of:" in error
    assert f"{first[0]['cid']} build=a" in error
    (record,) = add("r.dict", f"reference_cid={second[0]['cid']}")
    assert record["reference_cid"] == second[0]["cid"]


def test_variants_are_added_by_their_name_alone(here: Path, add: Add) -> None:
    (reference,) = add("r.fa", "build=T")
    head = "##fileformat=VCFv4.2\n##contig=<ID=chr2,length=4>\n"
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    (here / "v.vcf").write_text(f"{head}{columns}\tFORMAT\tA\tB\n")
    (here / "k.vcf").write_text(f"{head}{columns}\n")
    (variants,) = add("v.vcf")
    assert (json.loads(variants["samples"]), variants["build"], variants["kind"]) == (
        ["A", "B"],
        "T",
        "calls",
    )
    (sites,) = add("k.vcf", "asset=known_sites", "name=k")
    assert (sites["reference_cid"], sites["build"]) == (reference["cid"], "T")


@pytest.fixture
def server(here: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server with one alignment, and what was asked of it."""
    data = bam(here / "served").read_bytes()
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None: ...

    with serving(Handler) as url:
        yield url, asked


def test_the_header_behind_a_url_is_read_after_the_download(
    here: Path, server: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    address, asked = server
    words = [f"{address}/x.bam", "--sha256", hashlib.sha256((here / "served").read_bytes()).hexdigest()]
    assert "one of coordinate" in refused(capsys, *words, "sorted_by=name")
    assert asked == []
    assert "is of the sample 'NA1'" in refused(capsys, *words, "sample=NA2")
    assert main(["add", *words, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["keyvalues"]["sample"], record["name"]) == ("NA1", "x.bam")
