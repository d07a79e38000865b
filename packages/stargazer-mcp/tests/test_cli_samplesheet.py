"""`stargazer add --samplesheet` and `stargazer samplesheet`: what people type, and what they see."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from .command import GERMLINE, Command, simulate

MATRIX = {
    "matrix.mtx": "%%MatrixMarket matrix coordinate integer general\n2 1 1\n1 1 5\n",
    "barcodes.tsv": "AAACCCAAGGAGAGTA-1\n",
    "features.tsv": "E1\tA\tGene Expression\nE2\tB\tGene Expression\n",
}


@pytest.fixture
def fastq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of reads as a sequencer leaves it: two lanes of anna, one of ben, and a file without mates."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "fastq"
    folder.mkdir()
    for stem in "anna_S1_L001", "anna_S1_L002", "ben_S2_L001":
        for mate, bases in ("1", "ACGT"), ("2", "GGTA"):
            text = f"@{stem} {mate}:N:0\n{bases}\n+\nIIII\n"
            (folder / f"{stem}_R{mate}_001.fastq.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (folder / "carl_R1.fq").write_text("@c\nA\n+\nI\n")
    return folder


def test_from_a_folder_to_the_store_and_nothing_the_second_time(stargazer: Command, fastq: Path) -> None:
    status, out, err = stargazer("samplesheet", "fastq", "--output", "sheet.csv")
    assert (status, out) == (0, "")
    assert err.splitlines() == [
        "left out: 'fastq/carl_R1.fq', which has no mate here",
        "2 samples, 3 rows in sheet.csv",
    ]

    rows = json.loads(stargazer("samplesheet", "fastq", "--json")[1])
    assert (set(rows[0]) >= {"sample", "fastq_1", "fastq_2"}, len(rows)) == (True, 3)
    status, out, err = stargazer("add", "--samplesheet", "sheet.csv")
    assert status == 0
    assert out.splitlines()[1].split()[:4] == ["r1", "sample=anna", "lane=L001", "platform=ILLUMINA"]
    assert err == "2 samples in 'sheet.csv': 6 files registered\n"

    before = stargazer("query", "--json")
    status, again, err = stargazer("add", "--samplesheet", "sheet.csv")
    assert (status, again) == (0, out)
    assert err == "2 samples in 'sheet.csv': nothing new, 6 files registered before\n"
    assert stargazer("query", "--json") == before

    Path("fastq/carl_R2.fq").write_text("@c\nG\n+\nI\n")
    assert stargazer("samplesheet", "fastq", "--output", "sheet.csv", "--force")[0] == 0
    status, out, err = stargazer("add", "--samplesheet", "sheet.csv", "--json")
    assert err == "3 samples in 'sheet.csv': 2 files registered, 6 files registered before\n"
    records = json.loads(out)
    assert [record["keyvalues"]["r1_cid"] for record in records[1::2]] == [
        record["cid"] for record in records[::2]
    ]


def test_what_is_registered_is_what_add_registers(stargazer: Command, fastq: Path) -> None:
    reads = [f"fastq/ben_S2_L001_R{mate}_001.fastq.gz" for mate in "12"]
    assert stargazer("add", *reads, "sample=ben", "lane=L001")[0] == 0
    Path("sheet.tsv").write_text(f"fastq_1\tfastq_2\n{reads[0]}\t{reads[1]}\n")
    assert stargazer("add", "--samplesheet", "sheet.tsv")[2] == (
        "1 sample in 'sheet.tsv': nothing new, 2 files registered before\n"
    )


def test_a_sheet_that_is_refused_registers_nothing_and_says_all(stargazer: Command, fastq: Path) -> None:
    _, out, _ = stargazer("samplesheet", "fastq")
    Path("sheet.csv").write_text(out.replace("anna,NA", "anna,XZ").replace("ben_S2_L001_R2", "gone"))
    status, out, err = stargazer("add", "--samplesheet", "sheet.csv")
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        "stargazer: error: the sample sheet 'sheet.csv' has 3 problems:",
        "  line 2: sex 'XZ': expected XX or female, XY or male, or NA where it is not known",
        "  line 3: sex 'XZ': expected XX or female, XY or male, or NA where it is not known",
        "  line 4: fastq_2: no such file: 'fastq/gone_001.fastq.gz'",
        "Paths count from the folder of the sheet, '.'.",
    ]
    assert stargazer("query", "--json")[1] == "[]\n"


def test_a_check_that_refuses_files_names_their_lines_and_can_be_overruled(
    stargazer: Command, fastq: Path
) -> None:
    for stem in "anna_S1_L001", "ben_S2_L001":
        text = gzip.compress(b"@another 2:N:0\nGGTA\n+\nIIII\n")
        (fastq / f"{stem}_R2_001.fastq.gz").write_bytes(text)
    stargazer("samplesheet", "fastq", "--output", "sheet.csv")
    status, _, err = stargazer("add", "--samplesheet", "sheet.csv")
    assert status == 1
    lines = err.splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["line 2", "line 4"]
    assert lines[3].startswith("`stargazer add --samplesheet SHEET --force` registers")
    assert stargazer("query", "--json")[1] == "[]\n"
    assert stargazer("add", "--samplesheet", "sheet.csv", "--force")[0] == 0


def test_counts_are_packed_and_their_names_noted(
    stargazer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for run in "one", "two":
        folder = tmp_path / "runs" / run / "outs/filtered_feature_bc_matrix"
        folder.mkdir(parents=True)
        for name, text in MATRIX.items():
            (folder / name).write_text(text.replace("A\t", f"{run}\t"))
    _, out, _ = stargazer("samplesheet", "runs")
    assert out == (
        "sample,path\none,runs/one/outs/filtered_feature_bc_matrix\ntwo,runs/two/outs/filtered_feature_bc_matrix\n"
    )
    Path("sheet.csv").write_text(out.replace("one,", "1-Mar,"))
    status, out, err = stargazer("add", "--samplesheet", "sheet.csv", "--json")
    assert status == 0
    assert [(record["keyvalues"]["asset"], record["keyvalues"]["sample"]) for record in json.loads(out)] == [
        ("tenx_mtx", "1-Mar"), ("tenx_mtx", "two")
    ]  # fmt: skip
    assert err.splitlines() == [
        "note: line 2: sample '1-Mar' looks like a date or a number that a spreadsheet made of another name: if so, "
        "correct it, and format the column as text",
        "2 samples in 'sheet.csv': 2 files registered",
    ]
    status, _, err = stargazer("add", "--samplesheet", "sheet.csv", "--in-place")
    assert status == 1
    assert "it cannot stay in place" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "--samplesheet", "s.csv", "x.bam"], "names files, samples and lanes: give nothing else"),
        (["add", "--samplesheet", "s.csv", "sample=x"], "names files, samples and lanes: give nothing else"),
        (["add", "--samplesheet", "s.csv", "--interleaved"], "leave --interleaved, --sha256, --md5 out"),
        (["run", "--samplesheet", "s.csv"], "name the workflow first"),
        (["run", "prepare_reference", "build=x", "--in-place"], "--in-place is for --samplesheet"),
        (["samplesheet"], "give one folder"),
        (["samplesheet", "a", "b"], "give one folder"),
        (["samplesheet", "a", "--force"], "--force is for --output"),
    ],
)
def test_command_lines_that_are_refused(stargazer: Command, words: list[str], said: str) -> None:
    status, _, err = stargazer(*words)
    assert status == 2
    assert said in err


def test_a_sheet_is_not_replaced_unless_that_is_asked_for(stargazer: Command, fastq: Path) -> None:
    Path("sheet.csv").write_text("mine")
    status, _, err = stargazer("samplesheet", "fastq", "--output", "sheet.csv")
    assert status == 1
    assert "'sheet.csv' is there already: give another name, or --force to replace it" in err
    assert Path("sheet.csv").read_text() == "mine"
    status, _, err = stargazer("samplesheet", "fastq", "--output", "gone/sheet.csv")
    assert status == 1
    assert "unexpected" not in err


def test_paths_count_from_the_folder_of_the_sheet(stargazer: Command, fastq: Path) -> None:
    Path("sheets").mkdir()
    assert stargazer("samplesheet", "fastq", "--output", "sheets/s.csv")[0] == 0
    with open("sheets/s.csv") as file:
        assert next(csv.DictReader(file))["fastq_1"] == "../fastq/anna_S1_L001_R1_001.fastq.gz"
    assert stargazer("add", "--samplesheet", "sheets/s.csv")[0] == 0
    assert stargazer("samplesheet", str(fastq))[1].splitlines()[1].split(",")[5].startswith("/")


@pytest.mark.slow
def test_one_command_from_the_sheet_to_the_report(
    stargazer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    simulate(tmp_path)
    stargazer("add", "tiny.fa", "build=tiny")
    Path("sheet.csv").write_text("sample;sex;status;fastq_1;fastq_2\nS;XX;0;S_R1.fq.gz;S_R2.fq.gz\n")
    workflow, *given = GERMLINE[1:]
    given.remove("samples=S")
    run = ["run", workflow, "--samplesheet", "sheet.csv", *given]

    status, _, err = stargazer(*run, "samples=T")
    assert status == 1
    assert "no sample 'T' in the sample sheet 'sheet.csv'" in err
    assert stargazer("query", "asset=r1", "--json")[1] == "[]\n"

    status, out, err = stargazer(*run, "--outdir", "results")
    assert status == 0, err
    assert "1 sample in 'sheet.csv': 2 files registered" in err
    assert "note: the sex of the samples is not used" in err
    assert "results/S.tiny.variants.vcf.gz" in out
    assert Path("results/S.germline_report.html").exists()

    by_hand = json.loads(stargazer(*GERMLINE, "--json")[1])
    assert by_hand["computed"] == 0

    status, out, err = stargazer(*run, "--why-not")
    assert (status, out) == (0, "nothing would be computed\n")
    assert "nothing new, 2 files registered before" in err


def test_what_the_store_has_of_a_sample_beside_the_sheet(
    stargazer: Command, fastq: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stargazer("samplesheet", "fastq", "--output", "all.csv")
    stargazer("add", "--samplesheet", "all.csv")
    lines = Path("all.csv").read_text().splitlines()
    Path("some.csv").write_text("\n".join(line for line in lines if "L002" not in line))
    _, _, err = stargazer("run", GERMLINE[1], "--samplesheet", "some.csv", "build=tiny", "--why-not")
    (said,) = [line for line in err.splitlines() if line.startswith("note: sample")]
    assert said.startswith("note: sample 'anna': 'anna_S1_L002_R1_001.fastq.gz' (")
    assert "lane 'L002', is registered and not in the sheet; it goes into the run" in said

    Path("x.sam").write_text("@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:c\tLN:9\n@RG\tID:1\tSM:anna\n")
    import pysam

    pysam.view("-b", "-o", "x.bam", "x.sam", catch_stdout=False)
    Path("mixed.csv").write_text(
        "sample,bam,fastq_1,fastq_2\nanna,x.bam,,\n"
        "ben,,fastq/ben_S2_L001_R1_001.fastq.gz,fastq/ben_S2_L001_R2_001.fastq.gz\n"
    )
    status, _, err = stargazer("run", GERMLINE[1], "--samplesheet", "mixed.csv", "build=tiny")
    assert status == 1
    assert (
        "sample 'anna' is an alignment in 'mixed.csv', and the store has reads of it, which would be taken"
        in err
    )
