"""A reference is read as a whole before work, and what is valid here is valid for samtools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pysam
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from stargazer.assets import FormatError, QcReport, Reference, ReferenceIndex, SequenceDict
from stargazer.assets.formats import read_contigs
from stargazer.tasks.execution import AssetEnvironment, workspace
from stargazer.tasks.reference import check_reference, samtools_faidx, select_contigs, sequence_dictionary

env = AssetEnvironment(name="wrongly")


def add(bench: Any, path: Path, text: str | bytes) -> Reference:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    reference: Reference = bench.add(path, Reference(build="R"))
    return reference


def counted(bench: Any, report: QcReport) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bench.path(report).read_text())
    return found


def test_the_report_of_a_reference(bench: Any, tmp_path: Path) -> None:
    reference = add(bench, tmp_path / "r.fa", ">chrT x\nACGTNKacgn\nAC\n>c2\nGRG\n")

    report = bench.run(check_reference, reference)

    assert (report.kind, report.reference_cid) == ("reference", reference.cid)
    assert counted(bench, report) == {
        "build": "R",
        "contigs": 2,
        "bases": 15,
        "n": 2,
        "soft_masked": 4,
        "ambiguity_codes": {"K": 1, "R": 1},
        "ambiguity_places": ["chrT:6", "c2:2"],
        "longest": {"contig": "chrT", "bases": 12},
        "notes": [
            "2 bases of the reference R are ambiguity codes (K at chrT:6, R at c2:2): "
            "no variant can be called there"
        ],
    }


def test_a_reference_without_ambiguity_codes_needs_no_note(bench: Any, tmp_path: Path) -> None:
    report = bench.run(check_reference, add(bench, tmp_path / "r.fa", ">HLA-A*01:01\r\nNNac\r\nGT\r\n"))

    assert counted(bench, report)["notes"] == []
    assert counted(bench, report)["ambiguity_codes"] == {}


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_wrong_late_in_a_large_reference_is_found_before_any_work(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    monkeypatch.setattr("stargazer.assets.formats.fasta.SMALL", 1000)
    text = ">c1\n" + "ACGTACGTAC\n" * 20_000 + ">c,2\nACGT\n"
    path = tmp_path / "r.fa"
    path.write_text(text)
    if compressed:
        pysam.tabix_compress(str(path), f"{path}.gz")
        path = tmp_path / "r.fa.gz"
    reference = bench.add(path, Reference(build="R"))

    with pytest.raises(FormatError) as caught:
        bench.run(check_reference, reference)

    assert str(caught.value).startswith(f"'{path.name}', line 20002: the contig 'c,2' has a name")
    assert "qc_report" not in bench.types()


def test_chosen_contigs_are_judged_alone(bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stargazer.assets.formats.fasta.SMALL", 1000)
    reference = add(bench, tmp_path / "r.fa", ">c1\n" + "ACGTACGTAC\n" * 20_000 + ">c,2\nACGT\n>c3\nAK\n")

    chosen = bench.run(select_contigs, reference, ["c1", "c3"], "R[c1,c3]")

    assert counted(bench, bench.run(check_reference, chosen))["ambiguity_places"] == ["c3:2"]


# agreement with samtools

LINE = st.sampled_from([">", "ACGT", "ACGT", "ACGT", "ACG", "A", "ACGTA", "", "", "NNNN", "acgt", " ", "AC "])
FASTA = st.tuples(
    st.lists(st.tuples(LINE, st.sampled_from(["\n", "\n", "\n", "\n", "\r\n"])), max_size=12),
    st.sampled_from([None, None, "\n", "\r\n"]),
    st.booleans(),
)


@given(FASTA)
@settings(max_examples=400)
@example(([(">", "\n"), ("ACGT", "\n"), ("", "\n"), ("ACGT", "\n")], "\n", True))
@example(([(">", "\n"), ("ACGT", "\r\n"), ("ACG", "\r\n"), (">", "\r\n"), ("A", "\n")], None, True))
@example(([("", "\n"), (">", "\n"), ("ACGT", "\n"), ("", "\n"), ("", "\n")], "\n", False))
@example(([(">", "\n"), ("ACG", "\n"), ("ACGT", "\n")], "\r\n", False))
def test_lines_are_right_if_samtools_can_index_them(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[list[tuple[str, str]], str | None, bool]
) -> None:
    """The only differences are where samtools gives wrong offsets, or drops or shortens what it indexes."""
    lines, ends, whole = drawn
    named = ((f">c{number}" if line == ">" else line, end) for number, (line, end) in enumerate(lines))
    text = "".join(line + (ends or end) for line, end in named)
    if not whole:
        text = text.removesuffix("\n").removesuffix("\r")
    path = tmp_path_factory.getbasetemp() / "lines.fa"
    path.write_bytes(text.encode())

    ours = ours_of(path)
    theirs = theirs_of(path)

    event(f"ours {isinstance(ours, dict)}, theirs {isinstance(theirs, dict)}")
    if isinstance(ours, dict):
        assert theirs == ours
    elif isinstance(theirs, dict):
        stricter = ["empty", "end in two ways", "white space", "carriage return without"]
        if not text.endswith("\n"):  # samtools takes a longer last line, and finds its bases elsewhere
            stricter.append("needs lines of the same length")
        assert any(reason in ours for reason in stricter), ours


def ours_of(path: Path) -> dict[str, int] | str:
    try:
        return {contig.name: contig.length for contig in read_contigs(path)}
    except FormatError as error:
        return str(error)


def theirs_of(path: Path) -> dict[str, int] | str:
    fai = path.with_name(path.name + ".fai")
    fai.unlink(missing_ok=True)
    try:
        pysam.faidx(str(path))
    except pysam.SamtoolsError as error:
        return str(error)
    rows = (line.split("\t") for line in fai.read_text().splitlines())
    return {name: int(length) for name, length, *_ in rows}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_checksums_are_those_of_samtools_dict(tmp_path: Path, end: str) -> None:
    lines = [">a x", "ACGTn", "KacgU", "-.*X", ">HLA-A*01:01:01:01", "ACGT", "", ">c", "A"]
    (tmp_path / "r.fa").write_bytes(end.join(lines).encode())
    pysam.dict("-o", str(tmp_path / "r.dict"), str(tmp_path / "r.fa"))
    rows = [line.split("\t") for line in (tmp_path / "r.dict").read_text().splitlines() if line[:3] == "@SQ"]

    found = [
        [f"SN:{contig.name}", f"LN:{contig.length}", f"M5:{contig.md5}"]
        for contig in read_contigs(tmp_path / "r.fa")
    ]

    assert found == [row[1:4] for row in rows]


# what tasks make to lie beside a reference


@env.task
async def wrong_dictionary(reference: Reference) -> SequenceDict:
    (workspace() / "r.dict").write_text("@HD\tVN:1.0\n@SQ\tSN:\tLN:4\n")
    return SequenceDict(path=workspace() / "r.dict", reference_cid=reference)


@env.task
async def wrong_index(reference: Reference) -> ReferenceIndex:
    (workspace() / "r.fai").write_text("c1\t4\t5\t4\t5\nc2\t1\t13\t1\t2\n")
    return ReferenceIndex(path=workspace() / "r.fai", reference_cid=reference)


@env.task
async def short_index(reference: Reference) -> ReferenceIndex:
    (workspace() / "r.fai").write_text("c1\t4\t4\t4\t5\n")
    return ReferenceIndex(path=workspace() / "r.fai", reference_cid=reference)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (
            wrong_dictionary,
            "is not the dictionary of the reference R: it has '' too many and lacks 'c1', 'c2'",
        ),
        (wrong_index, "is not the index of the reference R: the sequence of 'c1' does not begin at byte 5"),
        (short_index, "is not the index of the reference R: it has none too many and lacks 'c2'"),
    ],
)
def test_a_companion_that_does_not_fit_fails_its_task(
    bench: Any, tmp_path: Path, task: Any, reason: str
) -> None:
    reference = add(bench, tmp_path / "r.fa", ">c1\nACGT\n>c2\nA\n")

    with pytest.raises(FormatError) as caught:
        bench.run(task, reference)

    assert str(caught.value).startswith(f"{task.name}: ")
    assert reason in str(caught.value)
    assert bench.types() == ["provenance", "reference"]


def test_index_and_dictionary_of_a_reference_have_its_names(bench: Any, tmp_path: Path) -> None:
    names = ["HLA-A*01:01:01:01", "chr17:7658421-7697490", "1"]
    reference = add(bench, tmp_path / "r.fa", "".join(f">{name} a title\nACGT\n" for name in names))

    fai = bench.path(bench.run(samtools_faidx, reference).fai).read_text()
    dictionary = bench.path(bench.run(sequence_dictionary, reference)).read_text()

    assert [line.split("\t")[0] for line in fai.splitlines()] == names
    assert [line.split("\t")[1] for line in dictionary.splitlines()[1:]] == [f"SN:{name}" for name in names]
