"""The indexing engine: bwa's files byte for byte, a correct FM-index, errors that name file and line."""

from __future__ import annotations

import gzip
import importlib.util
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from stargazer.assets import FormatError
from stargazer.tasks.aligner_index import compare_index
from stargazer.tasks.tools import ENGINES

ENGINE = ENGINES / "bwa_index.py"
SUFFIXES = (".pac", ".ann", ".amb", ".0123", ".bwt.2bit.64")
BWA = shutil.which("bwa")
needs_bwa = pytest.mark.skipif(BWA is None, reason="Debian's bwa, the oracle of this test, is not on PATH")


def run(reference: Path | str, prefix: Path | str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", ENGINE, reference, prefix]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]


def index(reference: Path, prefix: Path) -> dict[str, bytes]:
    done = run(reference, prefix)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return {suffix: Path(f"{prefix}{suffix}").read_bytes() for suffix in SUFFIXES}


def load_engine() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bwa_index_under_test", ENGINE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def bases(count: int, seed: int = 1) -> str:
    return "".join(random.Random(seed).choices("ACGT", k=count))


ODD = {
    "plain": f">chr1 a comment\n{bases(997)}\n",
    "length divisible by four": f">chr1\n{bases(64)}\n",
    "one base": ">x\nA\n",
    "windows line ends": f">chr1 two words\r\n{bases(70)}\r\n{bases(30)}\r\n>chr2\r\nACGT\r\n",
    "lower case": f">chr1\n{bases(50).lower()}{bases(50)}\n",
    "IUPAC codes": ">chr1\nACGTRYSWKMBDHVNacgtryswkmbdhvn\nACGT-*\n",
    "N runs over lines and contigs": f">a\nNNNN{bases(20)}NN\nNNN\n>b\nNNNACGTnnnNN\nACG\n",
    "only N": ">a\nNNNNNNNN\n",
    "empty contigs": ">a\n>b\nACGTACGT\n>c comment\n\n>d\nAC\n>e\n",
    "blank lines and no last newline": "\n\n>a\n\nACGT\n\nACG",
    "odd names": ">chr17:1-2\tTabbed comment\nACGT\n>a|b=c  two spaces\nACG\n>c \nAC\n",
}


@needs_bwa
@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_pac_ann_and_amb_are_those_of_bwa_index(text: str, tmp_path: Path) -> None:
    reference = tmp_path / "x.fa"
    reference.write_text(text, newline="")
    assert BWA is not None
    subprocess.run([BWA, "index", "-p", tmp_path / "bwa", reference], check=True, capture_output=True)

    built = index(reference, tmp_path / "ours")

    for suffix in (".pac", ".ann", ".amb"):
        assert built[suffix] == (tmp_path / f"bwa{suffix}").read_bytes(), suffix


@needs_bwa
def test_a_real_reference_is_packed_as_by_bwa(tp53: Path, tmp_path: Path) -> None:
    reference = tp53 / "GRCh38_TP53.fa"
    assert BWA is not None
    subprocess.run([BWA, "index", "-p", tmp_path / "bwa", reference], check=True, capture_output=True)

    built = index(reference, tmp_path / "ours")

    for suffix in (".pac", ".ann", ".amb"):
        assert built[suffix] == (tmp_path / f"bwa{suffix}").read_bytes(), suffix


@pytest.fixture
def tp53() -> Path:
    if "STARGAZER_TEST_DATA" not in os.environ:
        pytest.skip("STARGAZER_TEST_DATA is not set: the folder that holds tp53/ is needed")
    return Path(os.environ["STARGAZER_TEST_DATA"]) / "tp53"


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 200, 999])
def test_the_fm_index_is_that_of_a_plain_suffix_sort(length: int, tmp_path: Path) -> None:
    forward = ["ACGT".index(base) for base in bases(length // 2, seed=length) + "A" * (length - length // 2)]
    both = bytes(forward + [3 - code for code in reversed(forward)])
    reference = tmp_path / "x.fa"
    reference.write_text(">x\n" + "".join("ACGT"[code] for code in forward) + "\n")

    built = index(reference, tmp_path / "ours")

    assert built[".0123"] == both
    suffixes = sorted(range(len(both) + 1), key=lambda position: both[position:])
    bwt = [both[position - 1] if position else 4 for position in suffixes]
    expected = struct.pack("<q", len(suffixes))
    expected += struct.pack("<5q", *(sum(code < base for code in both) for base in range(5)))
    for start in range(0, (len(suffixes) // 64 + 1) * 64, 64):
        block = bwt[start : start + 64]
        expected += struct.pack("<4q", *(bwt[:start].count(base) for base in range(4)))
        for base in range(4):
            expected += struct.pack("<Q", sum(1 << (63 - i) for i, code in enumerate(block) if code == base))
    sampled = suffixes[::8] + [0] * (len(suffixes) // 8 + 1 - len(suffixes[::8]))
    expected += bytes(len(sampled)) + struct.pack(f"<{len(sampled)}I", *sampled)
    expected += struct.pack("<q", bwt.index(4))
    assert built[".bwt.2bit.64"] == expected


def test_the_size_of_chunks_changes_no_byte(tmp_path: Path) -> None:
    reference = tmp_path / "x.fa"
    lines = [f">c{number}\n{bases(61, number)}\nNNRRN{bases(40, -number)}\n" for number in range(30)]
    reference.write_text("".join(lines))
    whole = index(reference, tmp_path / "whole")
    engine = load_engine()
    engine.CHUNK_ROWS, engine.READ_BYTES = 128, 50

    engine.build_index(str(reference), str(tmp_path / "chunks"))

    assert {suffix: (tmp_path / f"chunks{suffix}").read_bytes() for suffix in SUFFIXES} == whole


def test_gzip_and_bgzip_give_the_same_index_whatever_the_name(tmp_path: Path) -> None:
    text = f">chr1\n{bases(5000)}\n".encode()
    plain, packed = tmp_path / "x.fa", tmp_path / "bafkcid with space\nand newline"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text[:1000]) + gzip.compress(text[1000:]))

    assert index(plain, tmp_path / "plain") == index(packed, tmp_path / "packed")


BAD = {
    "empty": (b"", "empty"),
    "blank": (b"\n\n", "empty"),
    "no bases": (b">a\n>b\n", "without a single base"),
    "FASTQ": (b"@a\nACGT\n+\nIIII\n", "not FASTA: the first line"),
    "headless": (b"ACGT\n>a\nACGT\n", "not FASTA: the first line"),
    "binary": (b">a\nACGT\n\x00\x01\n", "line 3"),
    "FASTQ after FASTA": (b">a\nACGT\n@b\nACGT\n", "line 3: '@'"),
    "digits": (b">a\nACGT\nAC1T\n>b\nACGT\n", "line 3: '1'"),
    "nameless": (b">a\nACGT\n>\nACGT\n", "line 3: a contig without a name"),
    "name twice": (b">a\nACGT\n>b\nAC\n>a x\nACGT\n", "line 5: contig 'a' is already on line 1"),
    "old Mac line ends": (b">a\rACGT\r>b\rACGT\r", "carriage return"),
    "truncated gzip": (gzip.compress(b">a\n" + bases(9000).encode())[:-400], "gzip"),
    "damaged gzip": (gzip.compress(b">a\n" + bases(9000).encode())[:-8] + b"12345678", "gzip"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_bad_references_are_refused_in_one_line_and_leave_nothing(
    content: bytes, message: str, tmp_path: Path
) -> None:
    reference = tmp_path / "it's bad.fa"
    reference.write_bytes(content)

    done = run(reference, tmp_path / "index")

    assert done.returncode == 1
    assert done.stderr.startswith("bwa_index: ")
    assert done.stderr.count("\n") == 1
    assert "it's bad.fa" in done.stderr
    assert message in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["it's bad.fa"]


def test_a_missing_reference_is_named(tmp_path: Path) -> None:
    done = run(tmp_path / "none.fa", tmp_path / "index")

    assert done.returncode == 1
    assert done.stderr == f"bwa_index: {str(tmp_path / 'none.fa')!r}: No such file or directory\n"


def test_an_index_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    reference = tmp_path / "x.fa"
    reference.write_text(f">a\n{bases(100_000)}\n")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))"
    start = f"{limit}; import os, sys; os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", start, sys.executable, "-I", ENGINE, reference, tmp_path / "index"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert done.stderr.startswith("bwa_index: ")
    assert "too large" in done.stderr
    assert os.listdir(tmp_path) == ["x.fa"]


CONTIGS = {"c1": "ACGTNNRYacgtt" * 7, "HLA-A*01:01": "GATTACA" * 9}


def fasta(path: Path, contigs: dict[str, str], width: int = 10) -> Path:
    lines = [[f">{name} x"] + [bases[at : at + width] for at in range(0, len(bases), width)]
             for name, bases in contigs.items()]  # fmt: skip
    path.write_text("".join(f"{line}\n" for contig in lines for line in contig))
    return path


def test_an_index_is_that_of_its_reference(tmp_path: Path):
    index(fasta(tmp_path / "r.fa", CONTIGS), tmp_path / "i")
    same = fasta(tmp_path / "s.fa", {name: bases.upper() for name, bases in CONTIGS.items()}, 60)

    compare_index(str(same), str(tmp_path / "i"), "index", "rm")
    (tmp_path / "s.fa.gz").write_bytes(gzip.compress(same.read_bytes()))
    compare_index(str(tmp_path / "s.fa.gz"), str(tmp_path / "i"), "index", "rm")


@pytest.mark.parametrize(
    ("contigs", "says"),
    [
        (dict(reversed(CONTIGS.items())), "it has 'c1' where the reference has 'HLA-A"),
        ({"c1": CONTIGS["c1"]}, "it has more contigs"),
        (CONTIGS | {"c3": "ACGT"}, "it has 'none' where the reference has 'c3'"),
        (CONTIGS | {"c1": CONTIGS["c1"][:-1]}, "it has more bases of 'c1'"),
        (CONTIGS | {"c1": CONTIGS["c1"] + "A"}, "it has fewer bases of 'c1'"),
        (CONTIGS | {"c1": CONTIGS["c1"][:14] + "G" + CONTIGS["c1"][15:]}, "it has another base at c1:15"),
        (CONTIGS | {"HLA-A*01:01": "C" + CONTIGS["HLA-A*01:01"][1:]}, "it has another base at HLA-A.01:01:1"),
    ],
)
def test_an_index_of_another_reference(tmp_path: Path, contigs: dict[str, str], says: str):
    index(fasta(tmp_path / "r.fa", CONTIGS), tmp_path / "i")

    with pytest.raises(FormatError, match=f"index: {says}.*; rm"):
        compare_index(str(fasta(tmp_path / "o.fa", contigs)), str(tmp_path / "i"), "index", "rm")
