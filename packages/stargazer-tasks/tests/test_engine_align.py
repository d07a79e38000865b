"""The aligner engine: bwa mem's records, for any number of threads, and errors that name file and record."""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pysam
import pytest
from stargazer.tasks.tools import ENGINES

READ_GROUP = r"@RG\tID:lane1\tSM:NA12829\tLB:lib1\tPL:ILLUMINA\tPU:unit.1"
BWA = shutil.which("bwa")
needs_bwa = pytest.mark.skipif(BWA is None, reason="Debian's bwa, the oracle of this test, is not on PATH")

Pair = tuple[str, str, str]
"""Name, first and second sequence."""


def engine(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-I", str(ENGINES / script), *map(str, arguments)]


def mem(
    prefix: object, first: object, second: object, threads: int = 2, group: str = READ_GROUP
) -> list[str]:
    return engine("bwa_mem3.py", "mem", "-t", threads, "-R", group, prefix, first, second)


def align(*arguments: object, **options: object) -> bytes:
    done = subprocess.run(mem(*arguments, **options), capture_output=True, timeout=120)  # type: ignore[arg-type]
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout


def fail(*arguments: object, **options: object) -> str:
    done = subprocess.run(mem(*arguments, **options), capture_output=True, timeout=60)  # type: ignore[arg-type]
    message = done.stderr.decode()
    assert done.returncode == 1, message
    assert message.startswith("bwa_mem3: ")
    assert message.count("\n") == 1, message
    return message


def records(bam: bytes, folder: Path) -> list[tuple[object, ...]]:
    path = folder / "out.bam"
    path.write_bytes(bam)
    pysam.quickcheck(str(path))
    with pysam.AlignmentFile(str(path), check_sq=False) as file:
        return [key(record) for record in file]


def key(record: pysam.AlignedSegment) -> tuple[object, ...]:
    place = record.reference_name, record.pos, record.cigarstring, record.mapq
    mate = record.next_reference_name, record.mpos, record.tlen
    qualities = None if record.query_qualities is None else bytes(record.query_qualities)
    return record.query_name, record.flag, *place, *mate, record.query_sequence, qualities


def bwa_records(prefix: Path, first: Path, second: Path, folder: Path) -> list[tuple[object, ...]]:
    assert BWA is not None
    path = folder / "bwa.sam"
    with path.open("wb") as out:
        command = [BWA, "mem", "-K", "10000000", "-R", READ_GROUP, prefix, first, second]
        subprocess.run(command, check=True, stdout=out, stderr=subprocess.DEVNULL)
    with pysam.AlignmentFile(str(path), check_sq=False) as file:
        return [key(record) for record in file]


def index(reference: Path) -> Path:
    subprocess.run(engine("bwa_index.py", reference, reference), check=True, timeout=60)
    if BWA is not None:
        subprocess.run([BWA, "index", reference], check=True, capture_output=True)
    return reference


def reverse_complement(sequence: str) -> str:
    return sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


def write_fastq(path: Path, reads: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f"@{name}\n{bases}\n+\n{'I' * len(bases)}\n" for name, bases in reads))
    return path


def write_pairs(folder: Path, pairs: list[Pair]) -> tuple[Path, Path]:
    first = write_fastq(folder / "r1.fq", [(f"{name}/1", one) for name, one, _ in pairs])
    return first, write_fastq(folder / "r2.fq", [(f"{name}/2", two) for name, _, two in pairs])


@pytest.fixture(scope="module")
def genome() -> str:
    return "".join(random.Random(11).choices("ACGT", k=30_000))


@pytest.fixture(scope="module")
def prefix(genome: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    reference = tmp_path_factory.mktemp("reference") / "x.fa"
    reference.write_text(f">chr1:1-20000 odd name\n{genome[:20_000]}\n>chr2\n{genome[20_000:]}\n")
    return index(reference)


@pytest.fixture
def pairs(genome: str) -> list[Pair]:
    chance = random.Random(5)
    made = []
    for number in range(300):
        start, insert = chance.randrange(19_000), chance.randrange(250, 450)
        template = genome[start : start + insert]
        made.append((f"read:{number}", template[:100], reverse_complement(template)[:100]))
    return made


@pytest.fixture(scope="module")
def tp53() -> Path:
    if "STARGAZER_TEST_DATA" not in os.environ:
        pytest.skip("STARGAZER_TEST_DATA is not set: the folder that holds tp53/ is needed")
    return Path(os.environ["STARGAZER_TEST_DATA"]) / "tp53"


@pytest.fixture(scope="module")
def tp53_prefix(tp53: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    reference = tmp_path_factory.mktemp("tp53") / "GRCh38_TP53.fa"
    shutil.copyfile(tp53 / reference.name, reference)
    return index(reference)


@needs_bwa
def test_real_reads_get_the_records_of_bwa_mem(tp53: Path, tp53_prefix: Path, tmp_path: Path) -> None:
    first, second = tp53 / "NA12829_TP53_R1.fq.gz", tp53 / "NA12829_TP53_R2.fq.gz"

    ours = records(align(tp53_prefix, first, second), tmp_path)

    assert len(ours) == 16_025
    assert ours == bwa_records(tp53_prefix, first, second, tmp_path)


@needs_bwa
def test_several_batches_are_the_same_for_any_thread_count_and_as_good_as_bwas(
    tp53: Path, tp53_prefix: Path, tmp_path: Path
) -> None:
    reads = []
    for end in "12":
        reads.append(tmp_path / f"bafkwithoutsuffix{end}")
        reads[-1].write_bytes((tp53 / f"NA12829_TP53_R{end}.fq.gz").read_bytes() * 5)

    bams = {align(tp53_prefix, *reads, threads=threads) for threads in (1, 3)}

    assert len(bams) == 1
    ours, theirs = records(bams.pop(), tmp_path), bwa_records(tp53_prefix, *reads, tmp_path)
    assert len(ours) == len(theirs) == 5 * 16_025
    different = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    assert len(different) < len(ours) / 1000
    mapping_quality = 5
    assert all(a[mapping_quality] == b[mapping_quality] for a, b in different)


def test_the_header_has_contigs_and_the_full_read_group_and_no_path(
    prefix: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    bam = tmp_path / "out.bam"
    bam.write_bytes(align(prefix, *write_pairs(tmp_path, pairs)))

    with pysam.AlignmentFile(str(bam), check_sq=False) as file:
        groups = {record.get_tag("RG") for record in file}
        header = file.header.to_dict()

    assert groups == {"lane1"}
    assert header == {
        "HD": {"VN": "1.6", "SO": "unsorted", "GO": "query"},
        "SQ": [{"SN": "chr1:1-20000", "LN": 20_000}, {"SN": "chr2", "LN": 10_000}],
        "RG": [{"ID": "lane1", "SM": "NA12829", "LB": "lib1", "PL": "ILLUMINA", "PU": "unit.1"}],
    }


@needs_bwa
def test_odd_reads_are_aligned_as_by_bwa(
    prefix: Path, pairs: list[Pair], genome: str, tmp_path: Path
) -> None:
    name, one, two = pairs[0]
    odd = [
        ("only N", "N" * 100, "N" * 30),
        ("one base", "A", "C"),
        ("lower case", one.lower(), two.lower()),
        ("IUPAC", "RYK" + one[3:], two[:-1] + "."),
        ("long", genome[:15_000], reverse_complement(genome[4_000:19_000])),
        ("unequal", one, two[:20]),
        (name, two, one),
    ]
    mixed = pairs[:150] + [(n.replace(" ", "_"), a, b) for n, a, b in odd] + pairs[150:]
    first, second = write_pairs(tmp_path, mixed)

    assert records(align(prefix, first, second), tmp_path) == bwa_records(prefix, first, second, tmp_path)


@needs_bwa
def test_reads_without_bases_stay_without_bases(prefix: Path, pairs: list[Pair], tmp_path: Path) -> None:
    _, one, two = pairs[0]
    mixed = [*pairs, ("first", "", two), ("second", one, ""), ("both", "", "")]
    first, second = write_pairs(tmp_path, mixed)

    ours = records(align(prefix, first, second), tmp_path)

    assert ours == bwa_records(prefix, first, second, tmp_path)


def test_names_lose_their_mate_number_and_comment(prefix: Path, pairs: list[Pair], tmp_path: Path) -> None:
    _, one, two = pairs[0]
    styles = [
        ("a/1", "a/2"),
        ("b 1:N:0:ACGT", "b 2:N:0:ACGT"),
        ("c\tx", "c\ty"),
        ("d", "d"),
        ("e/1 x", "e/2 y"),
        ("SRR1.7.1", "SRR1.7.2"),
        ("SRR1.7", "SRR1.7"),
        ("f_1", "f_2"),
        ("g_1", "g_1"),
        ("h \u00fc", "h \u00e9"),
    ]
    first = write_fastq(tmp_path / "r1.fq", [(name, one) for name, _ in styles])
    second = write_fastq(tmp_path / "r2.fq", [(name, two) for _, name in styles])

    assert [record[0] for record in records(align(prefix, first, second), tmp_path)] == [
        name for name in ["a", "b", "c", "d", "e", "SRR1.7", "SRR1.7", "f", "g_1", "h"] for _ in "12"
    ]


@pytest.mark.parametrize(
    ("old", "new", "end"),
    [
        pytest.param(b"\n", b"\r\n", b"", id="Windows line ends"),
        pytest.param(b"\n+\n", b"\n+ any text\n", b"", id="text after +"),
        pytest.param(b"", b"", b"\n\n\n\n\n", id="blank lines at the end"),
        pytest.param(b"/1\n", b"/1 \xc3\xa9\xff\n", b"", id="a comment that is no ASCII"),
    ],
)
def test_what_carries_no_meaning_changes_nothing(
    old: bytes, new: bytes, end: bytes, prefix: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    plain = write_pairs(tmp_path, pairs)
    other = [path.with_suffix(".other") for path in plain]
    for path, converted in zip(plain, other, strict=True):
        converted.write_bytes(path.read_bytes().replace(old, new) + end)

    assert align(prefix, *other) == align(prefix, *plain)


def test_odd_paths_are_only_paths(prefix: Path, pairs: list[Pair], tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s "a"\nfölder -t'
    odd.mkdir()
    for path in prefix.parent.glob("x.fa.*"):
        shutil.copyfile(path, odd / path.name)

    assert align(odd / "x.fa", *write_pairs(odd, pairs)) == align(prefix, *write_pairs(tmp_path, pairs))


GOOD = b"@a\nACGT\n+\nIIII\n@b\nACGT\n+\nIIII\n@c\nACGT\n+\nIIII\n"
BAD = {
    "FASTA": (b">a\nACGT\n>b\nACGT\n", "is not FASTQ: line 1 begins with '>a'"),
    "text": (b"sample,fastq\n1,2\n", "is not FASTQ: line 1 begins with 'sample,fastq'"),
    "lengths differ": (
        GOOD.replace(b"@b\nACGT\n", b"@b\nACG\n"),
        "record 2 (line 5): sequence has 3 letters",
    ),
    "cut off": (GOOD[:-8], "record 3"),
    "no ASCII": (GOOD.replace(b"@b", b"@\xff"), "record 2 (line 5): '\ufffd' cannot be in the name"),
    "no ASCII in gzip": (
        gzip.compress(GOOD.replace(b"@c", b"@\xff")),
        "record 3 (line 9): '\ufffd' cannot be",
    ),
    "a blank line within": (GOOD.replace(b"@b", b"\n@b"), "line 5: a blank line among the records"),
    "truncated gzip": (gzip.compress(GOOD * 999)[:-20], "truncated or damaged gzip"),
    "damaged gzip": (gzip.compress(GOOD * 99)[:60] + b"damaged!" * 9, "gzip"),
    "checksum": (gzip.compress(GOOD)[:-8] + b"12345678", "gzip"),
    "ends early": (GOOD[: len(GOOD) // 3 * 2], "ends after record 2, "),
    "goes on": (GOOD * 2, "goes on"),
    "other names": (
        GOOD.replace(b"@b", b"@x"),
        "record 2: the names differ: 'b' and 'x': these files are not mates, or",
    ),
    "other lane": (
        GOOD.replace(b"@a", b"@x"),
        "record 1: the names differ: 'a' and 'x': these files are not mates: give the files of one run",
    ),
    "empty": (b"", "no reads"),
    "empty gzip": (gzip.compress(b""), "no reads"),
    "long name": (GOOD.replace(b"@a", b"@" + b"a" * 300), "record 1"),
}


@pytest.mark.parametrize("swapped", [False, True], ids=["R2", "R1"])
@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_bad_reads_are_refused_in_one_line(
    content: bytes, message: str, swapped: bool, prefix: Path, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.fq", tmp_path / "bad one.fq"
    good.write_bytes(GOOD)
    bad.write_bytes(content)

    said = fail(prefix, *((bad, good) if swapped else (good, bad)))

    assert str(bad) in said
    named = re.sub(r"'(\w)' and '(\w)'", r"'\2' and '\1'", message) if swapped else message
    assert named in said


def test_two_empty_files_hold_no_reads(prefix: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.fq"
    empty.touch()

    assert "no reads" in fail(prefix, empty, empty)


def test_names_longer_than_bam_allows_are_refused(prefix: Path, tmp_path: Path) -> None:
    reads = write_fastq(tmp_path / "r.fq", [("ok", "ACGT"), ("n" * 255, "ACGT")])

    assert "record 2 (line 5): 255 characters" in fail(prefix, reads, reads)


@pytest.mark.parametrize("suffix", [".pac", ".ann", ".amb", ".0123", ".bwt.2bit.64"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "replaced"])
def test_a_damaged_index_is_named(suffix: str, damage: str, prefix: Path, tmp_path: Path) -> None:
    for path in prefix.parent.glob("x.fa.*"):
        shutil.copyfile(path, tmp_path / path.name)
    target = tmp_path / f"x.fa{suffix}"
    content = target.read_bytes()
    target.unlink()
    if damage != "missing":
        target.write_bytes(
            {"empty": b"", "cut": content[: len(content) // 2], "replaced": b"x\n" * 5}[damage]
        )
    reads = write_fastq(tmp_path / "r.fq", [("a", "ACGT" * 20)])

    assert str(target) in fail(tmp_path / "x.fa", reads, reads)


@pytest.mark.parametrize(
    "group", ["", "lane1", r"@RG\tSM:x", r"@RG\tID:", r"@RG\tID:a b", "@RG\\tID:a\n@CO\tx"]
)
def test_a_read_group_that_is_none_is_shown(group: str, prefix: Path, tmp_path: Path) -> None:
    reads = write_fastq(tmp_path / "r.fq", [("a", "ACGT" * 20)])

    assert repr(group) in fail(prefix, reads, reads, group=group)


def test_a_reader_that_goes_away_ends_the_aligner(prefix: Path, pairs: list[Pair], tmp_path: Path) -> None:
    reads = write_pairs(tmp_path, pairs * 10)
    process = subprocess.Popen(mem(prefix, *reads), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()

    said = process.stderr.read().decode()

    assert process.wait(timeout=60) == 1
    assert said == "bwa_mem3: standard output: Broken pipe\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_a_full_disk_is_an_error(prefix: Path, pairs: list[Pair], tmp_path: Path) -> None:
    reads = write_pairs(tmp_path, pairs)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(mem(prefix, *reads), stdout=full, stderr=subprocess.PIPE, timeout=60)

    assert done.returncode == 1
    assert done.stderr == b"bwa_mem3: standard output: No space left on device\n"


def endless_aligner(prefix: Path, folder: Path) -> tuple[list[str], list[Path]]:
    """Return the command of an aligner, and the pipes from which it waits for reads."""
    pipes = [folder / "r1.fq", folder / "r2.fq"]
    for pipe in pipes:
        os.mkfifo(pipe)
    return mem(prefix, *pipes), pipes


def test_ctrl_c_ends_the_aligner_without_a_word(prefix: Path, tmp_path: Path) -> None:
    command, (first, _) = endless_aligner(prefix, tmp_path)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with first.open("wb"):
        process.send_signal(signal.SIGINT)

        out, said = process.communicate(timeout=60)

    assert (process.returncode, out, said) == (-signal.SIGINT, b"", b"")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_the_aligner_dies_with_its_parent(prefix: Path, tmp_path: Path) -> None:
    command, (first, _) = endless_aligner(prefix, tmp_path)
    start = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); sys.stdin.read()"
    parent = subprocess.Popen(
        [sys.executable, "-c", start, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    with first.open("wb"):
        parent.kill()

        assert parent.stdout.read() == b""  # the last process that holds it is gone

    parent.communicate(timeout=60)


def test_an_aligner_that_leaves_a_read_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from stargazer.tasks.tools.engines import bwa_mem3 as ours

    class Read:
        bytes = bytes(36)

    batch = ours.Batch()
    batch.add(b"r", (b"r/1", b"ACGT", b"IIII"), (b"r/2", b"ACGT", b"IIII"))
    for given in (0, 1, 3):
        monkeypatch.setattr(ours.bwa_mem3, "align_batch", lambda *_, given=given: ([Read()] * given, None))
        with pytest.raises(RuntimeError, match=f"it gave {given} primary records for 2 reads"):
            ours.align_batch(None, None, batch)  # type: ignore[arg-type]
