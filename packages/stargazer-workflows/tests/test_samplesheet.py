"""Sample sheets: what is read of them, what is refused with its line, and how they are made of a folder."""

from __future__ import annotations

import contextlib
import gzip
import os
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer.assets import InvalidAssetError
from stargazer.workflows import (
    SampleSheet,
    SheetRow,
    find_entry,
    read_samplesheet,
    register_samplesheet,
    samplesheet_arguments,
    samplesheet_of,
    samplesheet_text,
)

from .conftest import Lab

READS = "a_R1.fq", "a_R2.fq"
HEAD = "patient,sex,status,sample,lane,fastq_1,fastq_2"
MATRIX = {
    "matrix.mtx": "%%MatrixMarket matrix coordinate integer general\n2 1 1\n1 1 5\n",
    "barcodes.tsv": "AAACCCAAGGAGAGTA-1\n",
    "features.tsv": "E1\tA\tGene Expression\nE2\tB\tGene Expression\n",
}


def write_pair(folder: Path, stem: str, ends: tuple[str, str] = ("_R1.fq", "_R2.fq")) -> None:
    """Two files of one read each, which is of no other pair."""
    folder.mkdir(parents=True, exist_ok=True)
    for mate, end in enumerate(ends, 1):
        text = f"@{stem}/{mate}\nACGT\n+\nIIII\n".encode()
        (folder / f"{stem}{end}").write_bytes(gzip.compress(text, mtime=0) if end.endswith(".gz") else text)


def write_matrix(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, text in MATRIX.items():
        (folder / name).write_text(text)


@pytest.fixture
def sheet(tmp_path: Path) -> Callable[..., Path]:
    """A sheet beside the reads of a, b and c: its path."""
    for stem in "a", "b", "c":
        write_pair(tmp_path, stem)

    def write(*lines: str, data: bytes | None = None) -> Path:
        path = tmp_path / "sheet.csv"
        path.write_bytes("".join(f"{line}\n" for line in lines).encode() if data is None else data)
        return path

    return write


def problems(path: Path) -> list[str]:
    """The lines of the error that a sheet is refused with, after the first."""
    with pytest.raises(InvalidAssetError) as error:
        read_samplesheet(path)
    first, *rest = str(error.value).splitlines()
    assert first.startswith(f"the sample sheet {str(path)!r} has ")
    return [line.strip() for line in rest]


def test_a_sheet_of_sarek_is_read_with_paths_from_its_folder(
    sheet: Callable[..., Path], tmp_path: Path
) -> None:
    path = sheet(HEAD, "p1,XX,0,anna,L001,a_R1.fq,a_R2.fq", "p1,NA,1,tumour,L001,b_R1.fq,b_R2.fq")
    found = read_samplesheet(path)
    assert found.rows == (
        SheetRow(sample="anna", patient="p1", sex="F", lane="L001",
                 fastq_1=tmp_path / "a_R1.fq", fastq_2=tmp_path / "a_R2.fq"),
        SheetRow(sample="tumour", patient="p1", status=1, lane="L001",
                 fastq_1=tmp_path / "b_R1.fq", fastq_2=tmp_path / "b_R2.fq"),
    )  # fmt: skip
    assert [row.line for row in found.rows] == [2, 3]
    assert found.samples == ["anna", "tumour"]
    assert found.tumours == ["tumour"]
    assert found.sexes == {"anna": "F", "tumour": "F"}  # the patient's
    assert found.notes == ()


PLAIN = "sample,lane,fastq_1,fastq_2\nanna,1,a_R1.fq,a_R2.fq\nbén,1,b_R1.fq,b_R2.fq\n"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        f"sep=;\n{PLAIN.replace(',', ';')}".encode(),
        PLAIN.replace("a_R1.fq", ' "a_R1.fq"').replace("bén,", " bén ,").encode(),
        f"\n{PLAIN}\n,,,\n \n".encode(),
        PLAIN.replace("sample,lane,fastq_1", "Sample,LANE,FASTQ 1").encode(),
        PLAIN.rstrip("\n").encode(),
        PLAIN.replace("\n", ",\n").encode(),
        PLAIN.replace("é", "e\u0301").encode(),
    ],
    ids=["plain", "BOM", "UTF-16", "CRLF", "CR", "semicolons", "tabs", "sep=", "quotes and blanks", "empty lines",
         "capitals", "no last line end", "empty column", "decomposed"],
)  # fmt: skip
def test_what_spreadsheets_write_is_read_alike(sheet: Callable[..., Path], data: bytes) -> None:
    found = read_samplesheet(sheet(data=data))
    assert found.samples == ["anna", "bén"]
    assert [row.fastq_2.name for row in found.rows if row.fastq_2] == ["a_R2.fq", "b_R2.fq"]
    assert {row.lane for row in found.rows} == {"1"}


@pytest.mark.parametrize(
    ("word", "sex"),
    [("XX", "F"), ("xx", "F"), ("Female", "F"), ("f", "F"), ("XY", "M"), ("MALE", "M"), ("m", "M"),
     ("NA", ""), ("unknown", ""), ("", "")],
)  # fmt: skip
def test_words_for_the_sex(sheet: Callable[..., Path], word: str, sex: str) -> None:
    (row,) = read_samplesheet(sheet("sample,sex,fastq_1,fastq_2", f"a,{word},a_R1.fq,a_R2.fq")).rows
    assert row.sex == sex


@pytest.mark.parametrize(
    ("word", "status"), [("0", 0), ("normal", 0), ("", 0), ("1", 1), ("Tumour", 1), ("tumor", 1)]
)
def test_words_for_the_status(sheet: Callable[..., Path], word: str, status: int) -> None:
    (row,) = read_samplesheet(sheet("sample,status,fastq_1,fastq_2", f"a,{word},a_R1.fq,a_R2.fq")).rows
    assert row.status == status


def test_illumina_names_give_sample_and_lane_where_the_sheet_does_not(
    sheet: Callable[..., Path], tmp_path: Path
) -> None:
    for lane in "L001", "L002":
        write_pair(tmp_path, f"my_anna_S1_{lane}", ("_R1_001.fastq.gz", "_R2_001.fastq.gz"))
    write_pair(tmp_path, "ben_S2", ("_R1_001.fastq.gz", "_R2_001.fastq.gz"))  # BCL Convert without lanes
    path = sheet(
        "sample,lane,fastq_1,fastq_2",
        ",,my_anna_S1_L001_R1_001.fastq.gz,my_anna_S1_L001_R2_001.fastq.gz",
        ",x,my_anna_S1_L002_R1_001.fastq.gz,my_anna_S1_L002_R2_001.fastq.gz",
        "other,,ben_S2_R1_001.fastq.gz,ben_S2_R2_001.fastq.gz",
    )
    assert [(row.sample, row.lane) for row in read_samplesheet(path).rows] == [
        ("my_anna", "L001"), ("my_anna", "x"), ("other", "")
    ]  # fmt: skip
    swapped = sheet(
        "fastq_1,fastq_2",
        "my_anna_S1_L001_R1_001.fastq.gz,my_anna_S1_L002_R2_001.fastq.gz",
        "a_R1.fq,a_R2.fq",
    )
    assert problems(swapped) == [
        "line 2: fastq_1 and fastq_2 are of my_anna L001 and my_anna L002, as their names say: which are mates?",
        "line 3: sample is empty, and no file is named as Illumina's are (NAME_S1_L001_R1_001.fastq.gz)",
    ]


def test_alignments_and_counts_have_a_row_each(sheet: Callable[..., Path], tmp_path: Path) -> None:
    for name in "x.bam", "y.cram", "z.h5", "x.bam.bai":
        (tmp_path / name).write_text("x")
    write_matrix(tmp_path / "outs")
    found = read_samplesheet(
        sheet(
            "sample,bam,bai,cram,path,batch,condition",
            "x,x.bam,x.bam.bai,,,,",
            "y,,,y.cram,,,",
            "z,,,,z.h5,b1,treated",
            "m,,,,outs,b2,",
        )
    )
    assert [row.kind for row in found.rows] == ["an alignment", "an alignment", "counts", "counts"]
    assert [(row.batch, row.condition) for row in found.rows[2:]] == [("b1", "treated"), ("b2", "")]
    assert found.kinds(["x", "z"]) == {"an alignment", "counts"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], ["line 1: there is no row below the names of the columns"]),
        (["p,XX,0,a,1,a_R1.fq,a_R2.fq"] * 2, ["line 3: the same as line 2"]),
        (
            ["p,XX,0,a,1,a_R1.fq,a_R2.fq", "p,XX,0,a,1,b_R1.fq,b_R2.fq"],
            ["line 3: lane '1' of sample 'a' is also on line 2: give each pair of files a lane of its own"],
        ),
        (
            ["p,XX,0,a,,a_R1.fq,a_R2.fq", "p,XX,0,a,,b_R1.fq,b_R2.fq"],
            ["line 3: sample 'a', without a lane, is also on line 2: give each pair of files a lane of its own"],
        ),
        (["p,XX,0,a,1,a_R1.fq,"], ["line 2: fastq_2 is empty: the mates of 'a_R1.fq' are missing"]),
        (["p,XX,0,a,1,,a_R2.fq"], ["line 2: fastq_1 is empty: the mates of 'a_R2.fq' are missing"]),
        (["p,XX,0,a,1,,"], ["line 2: no file: fastq_1 or fastq_2 is to be given"]),
        (["p,XX,0,a,1,a_R1.fq,a_R1.fq"], ["line 2: fastq_1 and fastq_2 are the same file, 'a_R1.fq'"]),
        (
            ["p,XX,0,a,1,a_R2.fq,a_R1.fq"],
            ["line 2: fastq_1 and fastq_2 are exchanged, as their names say: 'a_R2.fq', 'a_R1.fq'"],
        ),
        (
            ["p,XX,0,a,1,a_R1.fq,a_R2.fq", "q,XX,0,b,1,./a_R1.fq,b_R2.fq"],
            ["line 3: fastq_1 'a_R1.fq' is also the fastq_1 of line 2"],
        ),
        (["p,XX,0,an/na,1,a_R1.fq,a_R2.fq"],
         ["line 2: sample 'an/na' has a slash: files are named after it, give it another name"]),
        (["p,XX,0,an\u200bna,1,a_R1.fq,a_R2.fq"],
         ["line 2: sample: expected text that can be seen, got 'an\\u200bna' with U+200B (ZERO WIDTH SPACE); "
          "write sample=anna"]),
        (["p,XZ,0,a,1,a_R1.fq,a_R2.fq"],
         ["line 2: sex 'XZ': expected XX or female, XY or male, or NA where it is not known"]),
        (["p,XX,2,a,1,a_R1.fq,a_R2.fq"], ["line 2: status '2': expected 0 or normal, 1 or tumour"]),
        (
            ["p,XX,0,a,1,a_R1.fq,a_R2.fq", "p,XY,0,b,1,b_R1.fq,b_R2.fq"],
            ["line 3: the sex of patient 'p': XY, and XX on line 2"],
        ),
        (
            [",XX,0,a,1,a_R1.fq,a_R2.fq", ",XY,0,a,2,b_R1.fq,b_R2.fq"],
            ["line 3: the sex of sample 'a': XY, and XX on line 2"],
        ),
        (
            ["p,XX,0,a,1,a_R1.fq,a_R2.fq", "p,XX,1,a,2,b_R1.fq,b_R2.fq"],
            ["line 3: the status of sample 'a': 1, and 0 on line 2"],
        ),
        (
            ["p,XX,0,a,1,a_R1.fq,a_R2.fq", "q,XX,0,a,2,b_R1.fq,b_R2.fq"],
            ["line 3: the patient of sample 'a': q, and p on line 2"],
        ),
        (["p,XX,0,a,1,s3://bucket/a_R1.fq,a_R2.fq"],
         ["line 2: fastq_1: a URL: download it, or `stargazer add URL --sha256 SUM`, and give files of this machine",
          "line 2: fastq_1 is empty: the mates of 'a_R2.fq' are missing"]),
        (["p,XX,0,a,1,a_R1.fq,a_R2.fq,more"], ["line 2: 8 cells, expected 7: one may have a separator in it"]),
        (["p,XX,0,a,1,a_R1.fq"], ["line 2: 6 cells, expected 7: one may have a separator in it"]),
    ],
    ids=lambda value: value[0] if value and isinstance(value[0], str) and value[0].startswith("line") else "",
)  # fmt: skip
def test_what_is_refused_is_said_with_its_line(
    sheet: Callable[..., Path], lines: list[str], said: list[str]
) -> None:
    assert problems(sheet(HEAD, *lines)) == said


def test_a_file_that_is_not_there_or_cannot_be_read(
    sheet: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.fq").touch()
    (tmp_path / "folder").mkdir()
    readable = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path).name != "b_R1.fq" and readable(path, mode)
    )
    path = sheet(
        "sample,fastq_1,fastq_2",
        "a,gone_R1.fq,empty.fq",
        "b,folder,a_R1.fq/x",
        f"c,b_R1.fq,{'x' * 300}",
    )
    assert problems(path) == [
        "line 2: fastq_1: no such file: 'gone_R1.fq'",
        "line 2: fastq_2: an empty file: 'empty.fq'",
        "line 3: fastq_1: a folder, not a file: 'folder'",
        "line 3: fastq_2: no such file: 'a_R1.fq/x'",
        "line 4: fastq_1: cannot be read, check its permissions: 'b_R1.fq'",
        f"line 4: fastq_2: file name too long: '{'x' * 300}'",
        f"Paths count from the folder of the sheet, {str(tmp_path)!r}.",
    ]


def test_every_problem_of_every_row_is_said_at_once_and_a_long_list_is_cut(
    sheet: Callable[..., Path],
) -> None:
    path = sheet("sample,fastq1,fastq_2,sex", *(f"s{n},gone{n}_R1.fq,,XQ" for n in range(20)))
    said = problems(path)
    assert said[0] == "line 1: unknown column 'fastq1'; did you mean 'fastq_1'?"
    assert said[1:4] == [
        "line 2: fastq_1: no such file: 'gone0_R1.fq'",
        "line 2: fastq_2 is empty: the mates of 'gone0_R1.fq' are missing",
        "line 2: sex 'XQ': expected XX or female, XY or male, or NA where it is not known",
    ]
    assert said[30] == "... and 31 more problems"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("sample,fastq_1", "line 1: the column 'fastq_2' is missing, which has the mates of fastq_1"),
        ("sample,strandedness",
         "line 1: no column says where the files are: expected fastq_1 and fastq_2, bam, cram, or path"),
        ("sample,path,path", "line 1: the column 'path' is there twice"),
        ("sample,path,strandedness", "line 1: unknown column 'strandedness'; known are patient, sex, status, sample, "
         "library, lane, fastq_1, fastq_2, bam, cram, path, batch, condition"),
        ("sample,path,", "line 1: column 3 has no name"),
    ],
)  # fmt: skip
def test_columns(sheet: Callable[..., Path], head: str, said: str) -> None:
    cells = {"sample": "a", "fastq_1": "a_R1.fq", "path": "a_R1.fq"}
    assert said in problems(sheet(head, ",".join(cells.get(name, "x") for name in head.split(","))))


def test_alignments_and_counts_that_cannot_be_one_sample(sheet: Callable[..., Path]) -> None:
    path = sheet(
        "sample,fastq_1,fastq_2,bam,cram,path",
        "a,a_R1.fq,a_R2.fq,b_R1.fq,,",
        "b,,,b_R2.fq,c_R1.fq,",
        "c,,,c_R2.fq,,",
        "c,,,sheet.csv,,",
        "c,,,,,.",
    )
    assert problems(path) == [
        "line 2: fastq_1 and fastq_2 and bam in one row: give each kind of file a row of its own",
        "line 3: bam and cram in one row: give each kind of file a row of its own",
        "line 5: sample 'c' has an alignment on line 4 already: a sample has one such file",
        "line 6: the files of sample 'c': counts, and an alignment on line 4",
    ]


@pytest.mark.parametrize(
    "name", ["1-Mar", "Mar-01", "01-Mrz", "2024-03-01", "1.3.2024", "1E+05", "2,00E+03", "Sep 2024", "3-Sept"]
)
def test_a_name_that_a_spreadsheet_mangled_is_noted(
    sheet: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    found = read_samplesheet(sheet("sample;fastq_1;fastq_2", f"{name};a_R1.fq;a_R2.fq"))
    assert found.samples == [name]
    assert found.notes == (
        f"line 2: sample {name!r} looks like a date or a number that a spreadsheet made of another name: if so, "
        "correct it, and format the column as text",
    )
    write_pair(tmp_path, f"x_{name}")  # the file has the name: nobody changed it
    named = read_samplesheet(sheet("sample;fastq_1;fastq_2", f"{name};x_{name}_R1.fq;x_{name}_R2.fq"))
    assert named.notes == ()
    refused = sheet("sample;fastq_1;fastq_2", f"{name};a_R1.fq;")
    assert any("looks like a date" in line for line in problems(refused))


@pytest.mark.parametrize("name", ["MAR1", "NA12878", "1E5", "S-12", "2024", "1-3", "Mars", "May"])
def test_an_ordinary_name_is_not_noted(sheet: Callable[..., Path], name: str) -> None:
    assert read_samplesheet(sheet("sample,fastq_1,fastq_2", f"{name},a_R1.fq,a_R2.fq")).notes == ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty: its first line names the columns"),
        (b"\n \n,,\n", "is empty: its first line names the columns"),
        (b"PK\x03\x04...", "is a workbook, not a text file: save the sheet as CSV (UTF-8)"),
        (b"\x1f\x8b\x08\0...", "is no sample sheet: expected a table as text, CSV or TSV"),
        ("sample,path\nbén,x\n".encode("latin-1"), "line 2: a character is not in UTF-8"),
        (b'sample,path\n"anna,x\nben,y\n', "line 2: unexpected end of data"),
    ],
    ids=["nothing", "blank", "workbook", "gzip", "Latin-1", "open quote"],
)
def test_what_is_no_sheet(sheet: Callable[..., Path], data: bytes, said: str) -> None:
    with pytest.raises(InvalidAssetError) as error:
        read_samplesheet(sheet(data=data))
    assert said in str(error.value)


def test_a_sheet_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidAssetError, match="no such sample sheet"):
        read_samplesheet(tmp_path / "gone.csv")
    with pytest.raises(InvalidAssetError, match="the sample sheet: "):
        read_samplesheet(tmp_path)


def test_10_000_rows_are_read_and_each_of_their_problems_is_counted(
    sheet: Callable[..., Path], tmp_path: Path
) -> None:
    for n in range(100):
        (tmp_path / f"f{n}.fq").write_text("x")
    rows = [f"s{n},XX,{n % 100},f{n % 100}.fq,gone{n}.fq" for n in range(10_000)]
    began = time.process_time()
    said = problems(sheet("sample,sex,lane,fastq_1,fastq_2", *rows))
    assert time.process_time() - began < 60  # it takes about one second
    assert said[30] == f"... and {10_000 + 9_900 - 30:,} more problems"


NAMED = st.text(string.ascii_letters + string.digits + "-_ .,;'\"ü#=:", min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)
WORD = st.one_of(st.just(""), NAMED)


@st.composite
def sheets(draw: st.DrawFn) -> list[SheetRow]:
    """Rows that fit each other."""
    rows = []
    for number, sample in enumerate(draw(st.lists(NAMED, min_size=1, max_size=4, unique=True))):
        kind = draw(st.sampled_from(["reads", "bam", "cram", "path"]))
        of: dict[str, Any] = {"sample": sample, "patient": draw(st.sampled_from(["", f"p{number}"])),
              "sex": draw(st.sampled_from(["M", "F", ""])), "status": draw(st.sampled_from([0, 1])),
              "library": draw(WORD)}  # fmt: skip
        if kind == "reads":
            rows += [
                SheetRow(
                    **of, lane=lane, fastq_1=Path(f"{number}{lane} a"), fastq_2=Path(f"{number}{lane} b")
                )
                for lane in draw(st.lists(st.sampled_from(["", "L1", "L 2"]), min_size=1, unique=True))
            ]
        else:
            rows.append(SheetRow(**of, **{kind: Path(f"{number}")}, batch=draw(WORD), condition=draw(WORD)))
    return rows


@given(sheets())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_sheet_that_we_write_is_read_back_equal(tmp_path: Path, rows: list[SheetRow]) -> None:
    from attrs import evolve

    there = [evolve(row, **{name: tmp_path / path for name, path in row.files.items()}) for row in rows]
    for row in there:
        for path in row.files.values():
            path.write_text("x")
    path = tmp_path / "sheet.csv"
    path.write_text(samplesheet_text(there))
    assert list(read_samplesheet(path).rows) == there
    path.write_text(samplesheet_text(rows))  # relative to the sheet
    assert list(read_samplesheet(path).rows) == there


@given(st.binary(max_size=200))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_sheet_or_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(b"sample,path\n" + data)
    with contextlib.suppress(InvalidAssetError):  # and no other error
        assert read_samplesheet(path).rows


# registering


def fields(lab: Lab, asset: str) -> list[dict[str, str]]:
    """What the store has of a type, without its provenance."""
    drop = ("provenance_cid", "asset")
    return [
        {k: v for k, v in one.keyvalues.items() if k not in drop}
        for one in lab.client.store.query({"asset": asset})
    ]


def test_rows_are_registered_once_with_mates_linked_by_row(
    lab: Lab, sheet: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "a_R2.fq").rename(tmp_path / "other.fq")  # not called like its mate
    write_matrix(tmp_path / "outs")
    found = read_samplesheet(
        sheet(
            "sample,library,lane,fastq_1,fastq_2,path",
            "anna,l1,1,a_R1.fq,other.fq,",
            "anna,,2,b_R1.fq,b_R2.fq,",
            "ben,,,,,outs",
        )
    )
    records = register_samplesheet(found, lab.client.store)
    again = register_samplesheet(found, lab.client.store)

    assert [record.keyvalues["asset"] for record in records] == ["r1", "r2", "r1", "r2", "tenx_mtx"]
    assert [record.id for record in again] == [record.id for record in records]
    assert len(lab.client.store.query({"asset": "provenance"})) == 1
    assert fields(lab, "r1") == [
        {"sample": "anna", "library": "l1", "lane": "1", "platform": "ILLUMINA"},
        {"sample": "anna", "lane": "2", "platform": "ILLUMINA"},
    ]
    assert [record.keyvalues["r1_cid"] for record in records if "r1_cid" in record.keyvalues] == [
        records[0].cid, records[2].cid
    ]  # fmt: skip
    assert lab.leftovers() == []


def test_all_or_nothing_and_each_wrong_file_is_named(
    lab: Lab, sheet: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "a_R2.fq").write_text("no reads\n")
    (tmp_path / "b_R2.fq").write_text("@other/2\nACGT\n+\nIIII\n")  # no mate of b/1
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.bam").write_text("no alignment")
    found = read_samplesheet(
        sheet("sample,fastq_1,fastq_2,path,bam", "a,a_R1.fq,a_R2.fq,,", "b,b_R1.fq,b_R2.fq,,", "c,c_R1.fq,c_R2.fq,,",
              "d,,,empty,", "e,,,,x.bam")
    )  # fmt: skip
    with pytest.raises(InvalidAssetError) as error:
        register_samplesheet(found, lab.client.store)
    said = [line.strip().partition(": ")[0] for line in str(error.value).splitlines()[1:]]
    assert said == ["line 2", "line 3", "line 5", "line 6"]
    assert lab.client.store.query({}) == []

    good = read_samplesheet(sheet("sample,fastq_1,fastq_2", "a,a_R1.fq,a_R2.fq", "c,c_R1.fq,c_R2.fq"))
    with pytest.raises(InvalidAssetError, match=r"(?s)has a problem.*line 2: .*a_R2\.fq"):
        register_samplesheet(good, lab.client.store)
    assert lab.client.store.query({}) == []


# the arguments of a workflow

GERMLINE = "germline_short_variant_discovery"


def rows_of(**samples: str) -> SampleSheet:
    """A sheet in memory: by sample its sex, status and kind (reads, bam, counts), as `F0r`."""
    files = {
        "r": {"fastq_1": Path("x"), "fastq_2": Path("y")},
        "b": {"bam": Path("x")},
        "c": {"path": Path("x")},
    }
    rows = [
        SheetRow(sample=name, sex=said[0].strip("N"), status=int(said[1]), **files[said[2]])
        for name, said in samples.items()
    ]
    return SampleSheet(Path("s.csv"), tuple(rows))


@pytest.mark.parametrize(
    ("samples", "given", "expected"),
    [
        ({"a": "N0r", "b": "N0r"}, {}, {"samples": "a,b", "start": "reads"}),
        ({"a": "N0b"}, {}, {"samples": "a", "start": "alignment"}),
        ({"a": "N0b", "b": "N0r"}, {}, {"samples": "a,b", "start": "auto"}),
        ({"a": "N0b", "b": "N0r"}, {"samples": "b"}, {"samples": "b", "start": "reads"}),
        ({"a": "N0b", "b": "N0r"}, {"start": "reads"}, {"samples": "a,b", "start": "reads"}),
        ({"a": "N0r", "t": "N1b"}, {}, {"samples": "a", "start": "reads"}),
        ({"a": "N0r", "t": "N1r"}, {"samples": ["t"]}, {"samples": ["t"], "start": "reads"}),
        ({"a,b": "N0r", "c": "N0r"}, {}, {"samples": '["a,b", "c"]', "start": "reads"}),
        ({"a": "M0r", "b": "F0r"}, {"build": "GRCh38"},
         {"samples": "a,b", "start": "reads", "sex": ["a:M", "b:F"], "ploidy": "GRCh38"}),
        ({"a": "M0r"}, {"build": ["hg19"]}, {"samples": "a", "start": "reads", "sex": ["a:M"], "ploidy": "GRCh37"}),
        ({"a": "M0r", "b": "N0r"}, {"build": "GRCh38"}, {"samples": "a,b", "start": "reads"}),
        ({"a": "M0r", "b": "N0r"}, {"build": "GRCh38", "samples": "a"},
         {"samples": "a", "start": "reads", "sex": ["a:M"], "ploidy": "GRCh38"}),
        ({"a": "M0r"}, {"build": "x"}, {"samples": "a", "start": "reads"}),
        ({"a": "M0r"}, {"ploidy": "chrX:M:1"},
         {"samples": "a", "start": "reads", "sex": ["a:M"], "ploidy": "chrX:M:1"}),
        ({"a": "M0r"}, {"build": "GRCh38", "ploidy": "none"}, {"samples": "a", "start": "reads", "ploidy": "none"}),
        ({"a,b": "M0r"}, {"build": "GRCh37"},
         {"samples": '["a,b"]', "start": "reads", "sex": ['["a,b:M"]'], "ploidy": "GRCh37"}),
    ],
)  # fmt: skip
def test_arguments_of_the_germline(
    samples: dict[str, str], given: dict[str, str], expected: dict[str, str]
) -> None:
    found, _ = samplesheet_arguments(find_entry(GERMLINE), rows_of(**samples), {"build": "b", **given})
    assert found == {"build": "b", **given, **expected}


def test_what_was_decided_is_said() -> None:
    workflow = find_entry(GERMLINE)
    notes = samplesheet_arguments(workflow, rows_of(a="M0r", t="N1r"), {"build": "GRCh38"})[1]
    assert notes == [
        "left out, as tumours (status 1): t; samples= calls one all the same",
        "ploidy=GRCh38, as the sex of every sample is known; ploidy=none calls every contig with two copies",
    ]
    (chosen,) = samplesheet_arguments(workflow, rows_of(a="N0r", t="N1r"), {"build": "x", "samples": "t"})[1]
    assert chosen == "t: status 1, a tumour: a germline workflow finds no somatic variants"
    (unknown,) = samplesheet_arguments(workflow, rows_of(a="M0r", b="N0r"), {"build": "GRCh38"})[1]
    assert unknown.startswith("the sex of b is not known, so every contig is called with two copies")
    (unused,) = samplesheet_arguments(workflow, rows_of(a="M0r"), {"build": "x"})[1]
    assert unused.startswith("the sex of the samples is not used")


def test_a_workflow_of_cells_takes_tumours_too() -> None:
    found, notes = samplesheet_arguments(find_entry("scrna_clustering"), rows_of(a="F0c", t="F1c"), {})
    assert (found, notes) == ({"samples": "a,t"}, [])


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (GERMLINE, {"build": "x", "samples": "a,bem"},
         "no sample 'bem' in the sample sheet 's.csv'; did you mean 'ben'?"),
        (GERMLINE, {"build": "x", "samples": "a", "sex": "a:M"},
         "sex= is given, and the sample sheet 's.csv' has it too"),
        (GERMLINE, {}, "build is missing"),
        (GERMLINE, {"build": "x", "samples": "c"},
         "starts from reads or alignments, and the sample sheet 's.csv' has counts of"),
        ("scrna_clustering", {"samples": "a,c"},
         "starts from counts, and the sample sheet 's.csv' has counts and reads of"),
        ("preprocess_sample", {"build": "x"}, "takes one sample: give sample=, one of a, ben, c"),
        ("prepare_reference", {"build": "x"}, "takes no samples"),
    ],
)  # fmt: skip
def test_arguments_that_are_refused(name: str, given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidAssetError) as error:
        samplesheet_arguments(find_entry(name), rows_of(a="M0r", ben="F0r", c="N0c"), given)
    assert said in str(error.value)


def test_a_sheet_of_tumours_alone_is_refused_for_the_germline() -> None:
    with pytest.raises(InvalidAssetError, match=r"every sample of 's.csv' is a tumour .* give samples=t$"):
        samplesheet_arguments(find_entry(GERMLINE), rows_of(t="N1r", u="N1r"), {"build": "x"})


# made of a folder


def test_a_folder_of_illumina_files_and_plain_pairs(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for lane in "L001", "L002":
        write_pair(run / "fastq", f"anna_S1_{lane}", ("_R1_001.fastq.gz", "_R2_001.fastq.gz"))
    write_pair(run, "ben", ("_1.fastq.gz", "_2.fastq.gz"))
    write_pair(run, "carl_L001")
    write_pair(run, "Undetermined_S0_L001", ("_R1_001.fastq.gz", "_R2_001.fastq.gz"))
    write_pair(run / ".cache", "hidden")
    (run / "dora_R1.fq").write_text("x")
    (run / "anna_S1_L001_I1_001.fastq.gz").write_text("x")

    rows, notes = samplesheet_of(run)
    assert [(row.sample, row.patient, row.lane) for row in rows] == [
        ("ben", "ben", ""), ("carl", "carl", "L001"), ("anna", "anna", "L001"), ("anna", "anna", "L002"),
    ]  # fmt: skip
    assert notes == [
        f"left out: '{run}/anna_S1_L001_I1_001.fastq.gz'",
        f"left out: '{run}/dora_R1.fq', which has no mate here",
        f"left out: '{run}/Undetermined_S0_L001_R1_001.fastq.gz' and its mates, which no sample was found for",
    ]
    sheet = tmp_path / "sheets" / "made.csv"
    sheet.parent.mkdir()
    sheet.write_text(samplesheet_text(rows, sheet.parent))
    assert list(read_samplesheet(sheet).rows) == rows


@pytest.mark.parametrize(
    ("stem", "ends", "sample", "lane"),
    [
        ("anna", ("_R1.fq.gz", "_R2.fq.gz"), "anna", ""),
        ("anna", ("_1.fastq.gz", "_2.fastq.gz"), "anna", ""),
        ("anna", (".1.fq", ".2.fq"), "anna", ""),
        ("anna.L002", (".r1.fq.gz", ".r2.fq.gz"), "anna", "L002"),  # as `stargazer get` names them
        ("an-na_1_L001", ("_R1_trimmed.fq", "_R2_trimmed.fq"), "an-na_1", "L001"),
        ("R_1", ("_1.fq", "_2.fq"), "R_1", ""),
        ("", ("R1.fq", "R2.fq"), "folder", ""),
        ("", ("1.fq", "2.fq"), "folder", ""),
        ("L001", ("_R1.fq", "_R2.fq"), "L001", ""),
        ("anna_S3_L004", ("_R1_001.fastq.gz", "_R2_001.fastq.gz"), "anna", "L004"),
        ("anna_S3", ("_R1_001.fastq.gz", "_R2_001.fastq.gz"), "anna", ""),
    ],
)
def test_sample_and_lane_by_the_names_of_mates(
    tmp_path: Path, stem: str, ends: tuple[str, str], sample: str, lane: str
) -> None:
    write_pair(tmp_path / "folder", stem, ends)
    ((row,), notes) = samplesheet_of(tmp_path / "folder")
    assert (row.sample, row.lane, notes) == (sample, lane, [])


def test_pairs_of_one_sample_get_lanes_of_their_own(tmp_path: Path) -> None:
    for folder in "x", "y":
        write_pair(tmp_path / folder, "anna_S1_L001", ("_R1_001.fq.gz", "_R2_001.fq.gz"))
        write_pair(tmp_path / folder, "ben")
    write_pair(tmp_path / "carl", "", ("1.fq", "2.fq"))
    rows, notes = samplesheet_of(tmp_path)
    assert [(row.sample, row.lane) for row in rows] == [
        ("carl", ""), ("anna", "L001"), ("anna", "L001-2"), ("ben", "L001"), ("ben", "L002"),
    ]  # fmt: skip
    assert (
        notes[0]
        == f"anna: '{tmp_path}/y/anna_S1_L001_R1_001.fq.gz' is called lane L001-2: see that it is of this sample"
    )
    assert len(notes) == 3


def test_a_folder_of_cell_ranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    write_matrix(runs / "pbmc-1/outs/filtered_feature_bc_matrix")
    write_matrix(runs / "pbmc-1/outs/raw_feature_bc_matrix")
    write_matrix(runs / "pbmc-2/outs/filtered_feature_bc_matrix")
    for name in "filtered_feature_bc_matrix.h5", "raw_feature_bc_matrix.h5", "molecule_info.h5":
        (runs / "pbmc-2/outs" / name).write_text("x")
    multi = runs / "multi/outs/per_sample_outs/donor/count"
    write_matrix(multi / "sample_filtered_feature_bc_matrix")
    write_matrix(runs / "GSM1")
    (runs / "atlas.h5ad").write_text("x")

    rows, notes = samplesheet_of(runs)
    assert {row.sample: str(row.path and row.path.relative_to(runs)) for row in rows} == {
        "atlas": "atlas.h5ad",
        "GSM1": "GSM1",
        "donor": "multi/outs/per_sample_outs/donor/count/sample_filtered_feature_bc_matrix",
        "pbmc-1": "pbmc-1/outs/filtered_feature_bc_matrix",
        "pbmc-2": "pbmc-2/outs/filtered_feature_bc_matrix.h5",
    }
    assert notes == []
    monkeypatch.chdir(runs / "pbmc-1/outs")
    assert [row.sample for row in samplesheet_of(".")[0]] == ["pbmc-1"]


def test_folders_of_which_no_sheet_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidAssetError, match="no such folder"):
        samplesheet_of(tmp_path / "gone")
    (tmp_path / "a_R1.fq").write_text("x")
    with pytest.raises(
        InvalidAssetError, match=r"has neither pairs of FASTQ files nor counts .*\n.*no mate here"
    ):
        samplesheet_of(tmp_path)
    write_pair(tmp_path, "a")
    write_matrix(tmp_path / "outs")
    with pytest.raises(InvalidAssetError, match=r"has both reads .* and counts"):
        samplesheet_of(tmp_path)
