"""Names on the command line: what is refused, what finds what, and which of several records a word means."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysam
import pytest
from stargazer.assets import REGISTRY, Asset, AssetNotFoundError, StargazerError, StorageError, asset
from stargazer.mcp.cli import main
from stargazer.mcp.cli.console import print_fitting
from stargazer.storage import Addition, get_client
from stargazer.workflows import explaining_commas

Command = Callable[..., tuple[int, str, str]]
COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"


@pytest.fixture
def stargazer(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command in this process: status, stdout, stderr; with a pair of reads in the working folder."""
    monkeypatch.chdir(tmp_path)
    for mate in "12":
        Path(f"x_R{mate}.fq").write_text(f"@x/{mate}\nACGT\n+\nIIII\n")

    def run(*words: str) -> tuple[int, str, str]:
        status = main(list(words))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


def records(stargazer: Command, *words: str) -> list[dict[str, Any]]:
    status, out, err = stargazer(*words, "--json")
    assert status == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def bam(path: Path, sample: str) -> None:
    header = {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": "c", "LN": 100}],
        "RG": [{"ID": "r", "SM": sample}],
    }
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        read = pysam.AlignedSegment(file.header)
        read.query_name, read.reference_id, read.reference_start = "x", 0, 5
        read.query_sequence, read.cigarstring, read.mapping_quality = "ACGT", "4M", 60
        read.query_qualities = pysam.qualitystring_to_array("IIII")
        read.set_tag("RG", "r")
        file.write(read)


def test_add_and_amend_refuse_a_name_that_cannot_be_seen_as_it_is(stargazer: Command) -> None:
    for name in (" A ", "A\u200b"):
        status, _, err = stargazer("add", "x_R1.fq", "x_R2.fq", f"sample={name}")
        assert (status, "write sample=A" in err) == (1, True)
    assert stargazer("query")[1] == ""
    stargazer("add", "x_R1.fq", "x_R2.fq", "sample=A")
    for name in ("B ", "\u202eB"):
        status, _, err = stargazer("amend", "x_R1.fq", f"sample={name}")
        assert (status, "write sample=B" in err) == (1, True)
    assert len(records(stargazer, "query", "sample=A")) == 2


def test_a_name_finds_itself_however_it_was_typed(stargazer: Command) -> None:
    assert stargazer("add", "x_R1.fq", "x_R2.fq", f"sample={DECOMPOSED}", "lane=1")[0] == 0
    assert stargazer("add", "x_R1.fq", "x_R2.fq", f"sample={COMPOSED}", "lane=1")[0] == 0
    for name in (COMPOSED, DECOMPOSED):
        assert len(records(stargazer, "query", f"sample={name}")) == 2
    assert stargazer("amend", "x_R1.fq", f"lane={DECOMPOSED}")[0] == 0
    assert len(records(stargazer, "query", f"lane={COMPOSED}")) == 1


@pytest.mark.parametrize("given", [[], [f"sample={COMPOSED}"], [f"sample={DECOMPOSED}"]])
def test_a_header_may_write_a_name_in_either_form(stargazer: Command, given: list[str]) -> None:
    bam(Path("a.bam"), DECOMPOSED)
    Path("c.vcf").write_text(
        f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{DECOMPOSED}\n"
    )
    assert stargazer("add", "a.bam", *given)[0] == 0
    assert stargazer("add", "c.vcf", *(word.replace("sample", "samples") for word in given))[0] == 0
    for key in ("sample", "samples"):
        found = records(stargazer, "query", f"{key}={COMPOSED}")
        assert [record["keyvalues"]["asset"] for record in found] == ["alignment", "variants"]


def test_get_and_rm_take_both_keys_for_a_sample(stargazer: Command) -> None:
    Path("c.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\n"
    )
    stargazer("add", "x_R1.fq", "x_R2.fq", "sample=A")
    stargazer("add", "c.vcf")
    assert len(stargazer("get", "sample=A", "--to", "out")[1].split()) == 3
    assert stargazer("get", "sample=B", "--to", "b")[1].split() == ["b/A+B.variants.vcf"]
    assert stargazer("rm", "sample=B")[0] == 0
    assert stargazer("rm", "samples=A", "--all")[0] == 0
    assert records(stargazer, "query") == []


def test_where_a_name_with_a_comma_was_read_as_a_list_the_error_says_how_to_write_it(
    stargazer: Command,
) -> None:
    Path("ref.fa").write_text(">c\nACGT\n")
    stargazer("add", "ref.fa", "build=T")
    stargazer("add", "x_R1.fq", "x_R2.fq", "sample=A,B")
    assert [record["keyvalues"]["sample"] for record in records(stargazer, "query", "sample=A,B")] == [
        "A,B"
    ] * 2
    assert "sample=A,B" in stargazer("query")[1]
    for more in ([], ["--why-not"]):
        status, _, err = stargazer(
            "run",
            "germline_short_variant_discovery",
            "samples=A,B",
            "build=T",
            "aligner=bwa-mem3",
            "caller=bcftools",
            *more,
        )
        assert status == 1
        assert (
            "samples=A,B was read as a list of 2: 'A', 'B'; a name that has a comma itself is written" in err
        )
        assert """as JSON: samples='["A,B"]'""" in err
    Path("c.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA,B\n"
    )
    assert """give samples='["A,B"]'""" in stargazer("add", "c.vcf", "samples=A,B")[2]
    assert stargazer("add", "c.vcf", 'samples=["A,B"]')[0] == 0


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"samples": "NA1,NA2"}, AssetNotFoundError("no reference")),
        ({"samples": "NA1,NA2"}, StorageError("no place for 'NA2'")),
        ({"samples": '["NA1", "NA2"]'}, AssetNotFoundError("no reads of 'NA2'")),
        ({"samples": ["NA1", "NA2"]}, AssetNotFoundError("no reads of 'NA2'")),
        ({"samples": 5}, AssetNotFoundError("no reads of '5'")),
    ],
)
def test_an_error_about_something_else_does_not_speak_of_commas(given: Any, error: StargazerError) -> None:
    with pytest.raises(type(error)), explaining_commas(given):
        raise error
    assert error.explain() == str(error)


def test_a_scripts_own_type_is_found_by_its_name(stargazer: Command) -> None:
    @asset("own_panel", suffix=".tsv")
    class OwnPanel(Asset):
        sample: str

    try:
        for number in range(3):
            Path(f"{number}.tsv").write_text(str(number))
        store = get_client().store
        store.add([Addition(Path(f"{number}.tsv"), OwnPanel(sample=f"S{number}")) for number in range(3)])
    finally:
        del REGISTRY["own_panel"]

    status, out, err = stargazer("query", "asset=own_panel", "sample=S1")
    assert (status, err) == (0, "")
    assert out.splitlines()[1].startswith("own_panel  sample=S1  1.tsv")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        status, out, err = stargazer("query")
    assert (len(out.splitlines()), err.count("unknown asset type 'own_panel'")) == (4, 1)


def test_of_the_same_bytes_supersede_and_amend_take_what_somebody_registered(stargazer: Command) -> None:
    Path("ref.fa").write_text(">c\n" + "ACGT" * 100 + "\n")
    Path("new.fa").write_text(">c\n" + "ACGA" * 100 + "\n")
    (old,) = records(stargazer, "add", "ref.fa", "build=T")
    stargazer("add", "new.fa", "build=T2")
    assert stargazer("run", "prepare_reference", "build=T", "contigs=c", "aligner=none")[0] == 0
    assert len({record["id"] for record in records(stargazer, "query", f"cid={old['cid']}")}) == 2

    assert stargazer("amend", "ref.fa", "species=human")[0] == 0
    assert records(stargazer, "query", "species=human", "build=T")
    status, out, _ = stargazer("supersede", old["cid"], "new.fa")
    assert (status, out.splitlines()[0].startswith("reference ref.fa is superseded by")) == (0, True)

    stargazer("add", "x_R1.fq", "sample=A")
    stargazer("add", "x_R1.fq", "sample=B")
    status, _, err = stargazer("supersede", "x_R1.fq", "x_R1.fq")
    assert status == 1
    for record in records(stargazer, "query", "asset=r1"):
        assert record["id"] in err


def test_what_is_evicted_is_said(stargazer: Command) -> None:
    Path("ref.fa").write_text(">c\n" + "ACGT" * 100 + "\n")
    stargazer("add", "ref.fa", "build=T")
    stargazer("run", "prepare_reference", "build=T", "aligner=none")
    (index,) = records(stargazer, "query", "asset=reference_index")
    assert index["evicted"] is False
    assert stargazer("evict", index["cid"])[0] == 0

    header, row = stargazer("query", "asset=reference_index")[1].splitlines()
    assert (header.split()[-2:], row.split()[-2:]) == (["BYTES", "CID"], ["evicted", index["cid"]])
    assert [record["evicted"] for record in records(stargazer, "query")].count(True) == 1
    status, out, err = stargazer("get", index["cid"], "--to", "out", "--json")
    assert (status, json.loads(out)[0]["evicted"]) == (0, True)
    assert f"evicted, to be brought back: {index['name']} {index['cid']}" in err
    assert records(stargazer, "query", "asset=reference_index")[0]["evicted"] is False


def test_rows_fit_and_cids_are_whole(capsys: pytest.CaptureFixture[str]) -> None:
    cid = "bafkrei" + "a" * 52
    rows = [
        {"TYPE": "variants", "WHAT": "key=value " * size, "NAME": "n.vcf", "CID": cid} for size in (1, 40)
    ]

    print_fitting(rows, spared=["NAME"], cut="WHAT")

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 120
    assert [line.split()[-1] for line in lines] == ["CID", cid, cid]
    assert "NAME" not in lines[0]
    print_fitting(rows[:1], spared=["NAME"], cut="WHAT")
    assert "n.vcf" in capsys.readouterr().out
    print_fitting([], spared=["NAME"], cut="WHAT")


def test_a_cram_without_its_index_is_read_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ref.fa").write_text(">c\n" + "ACGT" * 25 + "\n")
    pysam.faidx("ref.fa")
    bam(Path("a.bam"), "S")
    pysam.view("-C", "-T", "ref.fa", "-o", "a.cram", "a.bam", catch_stdout=False)
    capfd.readouterr()
    assert main(["add", "a.cram"]) == 0
    assert "[E::" not in capfd.readouterr().err


def test_a_file_that_is_in_the_way_is_said_and_the_results_are_kept(stargazer: Command) -> None:
    Path("ref.fa").write_text(">c\n" + "ACGT" * 100 + "\n")
    stargazer("add", "ref.fa", "build=T")
    words = ["run", "prepare_reference", "build=T", "aligner=none", "--outdir", "out"]
    Path("out").mkdir()
    Path("out/T.fa").write_text("mine")

    status, _, err = stargazer(*words)
    assert (
        status,
        f"in the way in '{Path('out').absolute()}': 'T.fa'" in err,
        [path.name for path in Path("out").iterdir()],
    ) == (
        1,
        True,
        ["T.fa"],
    )

    Path("out/T.fa").rename("mine.fa")
    status, _, err = stargazer(*words)
    assert (status, "0 tasks computed" in err) == (0, True)
    assert "T.fa" in Path("out/stargazer-results.json").read_text()
