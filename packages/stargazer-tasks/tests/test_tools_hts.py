"""samtools and bcftools from pysam's wheel behave as the programs do: streams, statuses, errors, names."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from stargazer.assets import ToolError
from stargazer.tasks import bcftools, samtools
from stargazer.tasks.tools import Command, Session, expect, use_session

REFERENCE = (
    "ACGTTGCATGCCATGACTGACTTAGGCATCGATTACGGCATTACGGATCCATTGCAAGTCCGATTTACGCAATGCCGTAAGCTAGCTTACGGATCAGT"
)
ODD_NAMES = ["a b.bam", 'it\'s "q".bam', "new\nline.bam", "zürich-日本.bam", "-o.bam"]


def sam(pairs: int = 10) -> str:
    """Reads on one contig with a colon and dashes in its name; every second one has a T at position 31."""
    lines = ["@HD\tVN:1.6\tSO:unsorted", f"@SQ\tSN:chr1:1-99\tLN:{len(REFERENCE)}", "@RG\tID:l1\tSM:s1"]
    for number in reversed(range(pairs)):
        start = number % 10
        bases = list(REFERENCE[start : start + 60])
        if number % 2:
            bases[30 - start] = "A"
        read = "".join(bases)
        position = f"chr1:1-99\t{start + 1}"
        lines.append(f"r{number:04}\t0\t{position}\t60\t60M\t*\t0\t0\t{read}\t{'I' * 60}\tRG:Z:l1")
    return "\n".join(lines) + "\n"


@pytest.fixture
def session(tmp_path: Path):
    (folder := tmp_path / "work").mkdir()
    tools = {tool.name: tool.resolve({}) for tool in (samtools, bcftools)}
    (folder / "in.sam").write_text(sam())
    (folder / "ref.fa").write_text(f">chr1:1-99\n{REFERENCE}\n")
    with use_session(Session(folder=folder, log=tmp_path / "log", tools=tools)) as session:
        yield session


def run(command: Command) -> None:
    async def main() -> None:
        await command

    asyncio.run(main())


def text(command: Command) -> str:
    return asyncio.run(command.text())


def test_text_commands_print(session: Session):
    run(samtools("sort", "-o", "in.bam", "in.sam"))
    run(samtools("index", "in.bam"))

    assert text(samtools("view", "-c", "in.bam")) == "10\n"
    assert text(samtools("flagstat", "in.bam")).startswith("10 + 0 in total")
    assert text(samtools("idxstats", "in.bam")).splitlines()[0] == f"chr1:1-99\t{len(REFERENCE)}\t10\t0"
    assert "SN\traw total sequences:\t10\t" in text(samtools("stats", "in.bam"))
    assert text(samtools("view", "in.bam")).count("\n") == 10
    assert "samtools 1.24" in text(samtools("--version"))


@pytest.mark.skipif(shutil.which("samtools") is None, reason="needs a samtools of the system to compare with")
@pytest.mark.parametrize("command", ["flagstat", "idxstats", "coverage", "depth", "view", "faidx"])
def test_the_output_is_that_of_the_program(session: Session, command: str):
    name = "ref.fa" if command == "faidx" else "in.bam"
    run(samtools("sort", "--no-PG", "-o", "in.bam", "in.sam"))
    run(samtools("index", "in.bam"))
    arguments = [command, name, *(["{chr1:1-99}:5-20"] if command == "faidx" else [])]

    ours = text(samtools(*arguments))

    theirs = subprocess.run(
        ["samtools", *arguments], cwd=session.folder, capture_output=True, text=True, check=True
    )
    assert ours == theirs.stdout
    assert ours


def test_a_pipeline_of_stages_sorts_and_marks_duplicates(session: Session):
    run(
        samtools("sort", "-n", "-u", "in.sam")
        | samtools("fixmate", "-m", "-u", "-", "-")
        | samtools("sort", "-u", "-")
        | samtools("markdup", "--no-PG", "-", Path("marked.bam"))
    )

    assert "SO:coordinate" in text(samtools("view", "-H", expect("marked.bam", by="samtools markdup")))
    assert text(samtools("view", "-c", "marked.bam")) == "10\n"


def test_variants_are_called_through_a_pipe(session: Session):
    run(samtools("sort", "-o", "in.bam", "in.sam"))
    run(samtools("index", "in.bam"))
    run(
        bcftools("mpileup", "--no-version", "-Ou", "-f", "ref.fa", "in.bam")
        | bcftools("call", "--no-version", "-mv", "-Oz", "-o", Path("calls.vcf.gz"), "-")
    )
    run(bcftools("index", "-t", "calls.vcf.gz"))

    called = text(bcftools("query", "-f", "%CHROM %POS %REF %ALT\n", "calls.vcf.gz"))

    assert called == f"chr1:1-99 31 {REFERENCE[30]} A\n"
    assert "SN\t0\tnumber of SNPs:\t1" in text(bcftools("stats", "calls.vcf.gz"))
    assert text(bcftools("view", "-H", "calls.vcf.gz")).startswith("chr1:1-99\t31\t")


def test_dash_is_stdin_and_stdout(session: Session):
    run(samtools("view", "-b", "-o", "-", "-", stdin=Path("in.sam"), stdout=Path("out.bam")))

    assert text(samtools("view", "-c", "out.bam")) == "10\n"


def test_mpileup_prints_and_writes_the_same(session: Session):
    run(samtools("sort", "-o", "in.bam", "in.sam"))
    run(samtools("mpileup", "-f", "ref.fa", "-o", Path("pileup"), "in.bam"))

    printed = text(samtools("mpileup", "-f", "ref.fa", "in.bam"))  # `-o -` writes a file called `-`, as ever

    assert printed == (session.folder / "pileup").read_text() != ""


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_work(session: Session, name: str):
    path = session.folder / name
    run(samtools("sort", "--no-PG", "-o", path, "in.sam"))  # a newline in @PG CL would break the header
    run(samtools("index", path))

    assert text(samtools("view", "-c", path)) == "10\n"
    assert path.with_name(f"{name}.bai").exists()


def test_the_same_bytes_wherever_the_workspace_is(session: Session, tmp_path: Path):
    (other := tmp_path / "elsewhere, deeper").mkdir()
    for folder, threads in (session.folder, 1), (other, 3):
        session.folder = folder
        (folder / "in.sam").write_text(sam())
        run(samtools("sort", "-@", threads, "--no-PG", "-o", folder / "out.bam", folder / "in.sam"))

    assert (other / "out.bam").read_bytes() == (tmp_path / "work" / "out.bam").read_bytes()


def test_a_missing_input_is_an_error_of_the_tool(session: Session):
    with pytest.raises(
        ToolError, match=r"^samtools view failed with exit status 1: .*\"gone.bam\" : No such file"
    ):
        run(samtools("view", "gone.bam"))


def test_an_unknown_option_is_the_line_shown_first(session: Session):
    with pytest.raises(
        ToolError, match=r"^samtools sort failed with exit status 1: sort: unrecognized option '--bad'"
    ):
        run(samtools("sort", "--bad", "in.sam"))


def test_an_unknown_subcommand_is_an_error(session: Session):
    with pytest.raises(ToolError, match=r"bcftools frobnicate failed .*unrecognized command 'frobnicate'"):
        run(bcftools("frobnicate"))


def test_corrupt_input_is_an_error(session: Session):
    run(samtools("sort", "-o", "in.bam", "in.sam"))
    whole = (session.folder / "in.bam").read_bytes()
    (session.folder / "cut.bam").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ToolError, match=r"samtools sort failed"):
        run(samtools("sort", "-o", "out.bam", "cut.bam"))


def test_a_failing_stage_in_the_middle_is_the_one_reported(session: Session):
    with pytest.raises(ToolError, match=r"^samtools fixmate failed"):
        run(samtools("view", "-u", "in.sam") | samtools("fixmate", "--bad", "-", "-") | samtools("sort", "-"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["flagstat", "view"])
def test_a_full_disk_is_an_error(session: Session, command: str):
    (session.folder / "full").symlink_to("/dev/full")

    with pytest.raises(ToolError, match=rf"samtools {command} failed with exit status 1: .*standard output"):
        run(samtools(command, "in.sam", stdout=Path("full")))
