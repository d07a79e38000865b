"""A valid reference: names, line structure and bases; what breaks a rule, in which line, and what mends it."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stargazer.assets.errors import FormatError
from stargazer.assets.formats import fasta
from stargazer.assets.formats.fasta import (
    FastaContig,
    ambiguity_notes,
    check_beginning,
    check_fasta,
    read_contigs,
    small_contigs,
)


def contigs(path: Path, data: bytes) -> list[FastaContig]:
    path.write_bytes(data)
    return list(read_contigs(path))


@pytest.mark.parametrize(
    "name",
    [
        "1", "chrM", "HLA-A*01:01:01:01", "chr17:7658421-7697490", "gi|568336023|gb|CM000663.2|", "NC_000001.11",
        "chrUn_KI270302v1", "a/b", "x=1", "?", "~", "GL000207.1_random@2;x",
    ],
)  # fmt: skip
def test_names_of_the_field_are_right(name: str, tmp_path: Path) -> None:
    (contig,) = contigs(tmp_path / "r.fa", b">%s a title, with <anything>\nACGT\n" % name.encode())

    assert contig.name == name


BAD_NAMES = [
    "aa>1", "chr1,2", "c(1)", "c[1]", "c{1}", "c<1", 'c"1', "c'1", "c`1", "c\\1", "chré", "c\x001", "*1", "=1", "#1",
    "染色体"
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_name_that_headers_cannot_hold_is_refused_with_a_command_that_renames_it(
    name: str, end: str, tmp_path: Path
) -> None:
    text = end.join([">first", "ACGT", f">{name} a title", "GGCC", ""])

    message = refused(tmp_path / "r.fa", text.encode())

    assert message.startswith(f"'r.fa', line 3: the contig {name!r} has a name that SAM and VCF cannot hold")
    first, second = mended(tmp_path / "r.fa", message)
    assert (first.name, first.length, second.length) == ("first", 4, 4)
    assert second.name.replace("_", "") == "".join(c for c in name if c.isascii() and c.isalnum())


def refused(path: Path, data: bytes) -> str:
    """Why a file is refused, in full and by the check at registration."""
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        list(read_contigs(path))
    with pytest.raises(FormatError) as by_check:
        check_fasta(path)
    assert str(by_check.value) == str(caught.value)
    return str(caught.value)


def mended(path: Path, message: str) -> list[FastaContig]:
    """The contigs after the command in a message was run where the file is."""
    command = message.rpartition(": `")[2].removesuffix("`")
    subprocess.run(["sh", "-c", command], cwd=path.parent, check=True)
    return list(
        read_contigs(path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.fa')}.mended.fa"))
    )


MENDED = {
    "a space before the name": (b"> c1 x\nACGT\n", "line 1: a contig without a name: '> c1 x'", ["c1"]),
    "a tab before the name": (b">c0\nA\n>\tc1\nACGT\n", "line 3: a contig without a name", ["c0", "c1"]),
    "a name twice": (
        b">a\nAC\n>b\nAC\n>a x\nGT\n",
        "line 5: the contig 'a' is there twice, it has line 1 too",
        ["a", "b", "a_2"],
    ),
    "a short line": (
        b">c1\nACGTAA\nAC\nACGTTT\n",
        "line 3: 2 bases, and the first line of the contig 'c1' has 6",
        ["c1"],
    ),
    "a long line": (
        b">c1\nACGT\nACGT\nACGTA\nA\n",
        "line 4: 5 bases, and the first line of the contig 'c1' has 4",
        ["c1"],
    ),
    "a long last line": (b">c1\nACGT\nACGTA", "line 3: 5 bases", ["c1"]),
    "a blank line": (
        b">c1\nACGT\n\nACGT\n>c2\nACGT\n",
        "line 3: a blank line inside the sequence of the contig 'c1'",
        ["c1", "c2"],
    ),
    "a blank line first": (b">c1\n\nACGT\n", "line 2: a blank line inside", ["c1"]),
    "a blank Windows line": (b">c1\r\nACGT\r\n\r\nACGT\r\n", "line 3: a blank line inside", ["c1"]),
    "old Mac line ends": (
        b">c1\rACGT\rACGT\r>c2\rA\r",
        "line 1: a carriage return without a line feed: these are line ends of an old Mac",
        ["c1", "c2"],
    ),
    "mixed line ends": (
        b">c1\nACGT\r\nACGT\n",
        "line 3: the lines of the contig 'c1' end in two ways",
        ["c1"],
    ),
    "mixed the other way": (
        b">c1\nACGT\nACGT\r\nAC\n",
        "line 3: the lines of the contig 'c1' end in two ways",
        ["c1"],
    ),
    "a stray carriage return": (
        b">c1\nACGT\nAC\rGT\nAC\n",
        "line 3: a carriage return without a line feed: it is no line end",
        ["c1"],
    ),
    "a carriage return at the end": (
        b">c1\nACGT\nAC\r",
        "line 3: a carriage return without a line feed",
        ["c1"],
    ),
    "a carriage return in a title": (
        b">c1\nA\n>c2 x\ry\nA\n",
        "line 3: a carriage return without a line feed",
        ["c1", "c2"],
    ),
    "white space in lines": (
        b">c1\nACGT ACGT\n",
        "line 2: not a nucleotide sequence: 'ACGT ACGT' has ' ' in column 5; remove the white space",
        ["c1"],
    ),
    "white space after lines": (
        b">c1\nACGT\t\nAC\n",
        "line 2: not a nucleotide sequence: 'ACGT\\t' has '\\t' in column 5",
        ["c1"],
    ),
}


@pytest.mark.parametrize(("data", "message", "names"), MENDED.values(), ids=MENDED)
def test_what_breaks_a_rule_is_told_by_line_and_mended_by_the_command(
    data: bytes, message: str, names: list[str], tmp_path: Path
) -> None:
    said = refused(tmp_path / "r.fa", data)

    assert f"'r.fa', {message}" in said
    assert [contig.name for contig in mended(tmp_path / "r.fa", said)] == names


REFUSED = {
    "nothing but line ends": (b"\n\r\n\n", "'r.fa': no contig"),
    "text": (b"\nhello\n", "'r.fa' is not FASTA: line 2 begins with 'hello', expected '>'"),
    "a byte order mark": (b"\xef\xbb\xbf>c1\nACGT\n", "is not FASTA: line 1 begins with '\\ufeff>c1'"),
    "a name that is missing": (b">\nACGT\n", "line 1: a contig without a name: '>' "),
    "an empty contig": (b">a\nAC\n>b\n>c\nAC\n", "line 3: the contig 'b' is empty"),
    "an empty contig, blank": (b">a\r\n\r\n", "line 1: the contig 'a' is empty"),
    "an empty last contig": (b">a\nAC\n>b", "line 3: the contig 'b' is empty"),
    "protein": (
        b">p\nMACD\nEEPQ\n",
        "line 3: not a nucleotide sequence: 'EEPQ' has 'E' in column 1; letters of the IUPAC",
    ),
    "a page": (b">p\nACGT\nACG\n<html>\n", "line 4: not a nucleotide sequence: '<html>' has '<' in column 1"),
    "numbers": (b">p\n1 ACGT\n", "line 2: not a nucleotide sequence: '1 ACGT' has '1' in column 1"),
    "zeros": (b">p\nACGT\nAC\0T\n", "line 3: not a nucleotide sequence: 'AC\\x00T' has '\\x00' in column 3"),
    "a title in a line": (
        b">p\nACGT>q\nACGT\n",
        "line 2: not a nucleotide sequence: 'ACGT>q' has '>' in column 5",
    ),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_no_command_mends_is_told_by_line(data: bytes, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path / "r.fa", data)


def test_a_compressed_file_is_mended_too(tmp_path: Path) -> None:
    (tmp_path / "r.fa.gz").write_bytes(gzip.compress(b">a>1\nACGT\n"))
    with pytest.raises(FormatError) as caught:
        list(read_contigs(tmp_path / "r.fa.gz"))

    assert [contig.name for contig in mended(tmp_path / "r.fa.gz", str(caught.value))] == ["a_1"]


def test_a_name_with_spaces_is_quoted_in_the_command(tmp_path: Path) -> None:
    message = refused(tmp_path / "my genome's.fa", b"> c1\nACGT\n")

    assert [contig.name for contig in mended(tmp_path / "my genome's.fa", message)] == ["c1"]


def test_what_is_counted(tmp_path: Path) -> None:
    (contig, other) = contigs(tmp_path / "r.fa", b">c x\nACgtN\nnKACU\nr-\n>d\nA")

    assert contig.name == "c"
    assert contig.length == 12
    assert contig.md5 == hashlib.md5(b"ACGTNNKACUR-").hexdigest()
    assert (contig.n, contig.soft_masked) == (2, 4)
    assert contig.codes == {"K": 1, "U": 1, "R": 1, "-": 1}
    assert contig.places == ((7, "K"), (10, "U"), (11, "R"), (12, "-"))
    assert (other.length, other.codes) == (1, {})


def test_the_notes_say_what_ambiguity_codes_mean(tmp_path: Path) -> None:
    one = contigs(tmp_path / "r.fa", b">c\nACK\n")
    some = contigs(tmp_path / "r.fa", b">c\nACK\n>d\nAR\n")
    many = contigs(tmp_path / "r.fa", b">c\n" + b"Y" * 2000 + b"\n>d\nK\n")
    rna = contigs(tmp_path / "r.fa", b">c\nACU\n")

    assert ambiguity_notes(contigs(tmp_path / "r.fa", b">c\nACGTNacgtn\n"), "R") == []
    assert ambiguity_notes(one, "R") == [
        "1 base of the reference R is an ambiguity code (K at c:3): no variant can be called there"
    ]
    assert ambiguity_notes(some, "R") == [
        "2 bases of the reference R are ambiguity codes (K at c:3, R at d:2): no variant can be called there"
    ]
    assert ambiguity_notes(many, "R")[0].endswith(
        "Y at c:10, and 1,991 more): no variant can be called there"
    )
    assert ambiguity_notes(rna, "R")[0].endswith("write T for U, and add that")


def test_a_contig_that_is_too_long_for_sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fasta, "MOST_BASES", 8)

    assert contigs(tmp_path / "r.fa", b">c\nACGT\nACGT\n")[0].length == 8
    assert "the contig 'c' has more than 8 bases" in refused(tmp_path / "r.fa", b">c\nACGT\nACGT\nA\n")


def test_the_head_of_a_large_file_is_judged_by_the_same_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fasta, "SMALL", 40)
    right = b">c\n" + b"ACGT\n" * 99
    (tmp_path / "right.fa").write_bytes(right + b">bad,name\n")
    assert small_contigs(tmp_path / "right.fa") is None
    check_beginning(right[:-2], "right.fa")

    with pytest.raises(FormatError, match="line 1: the contig 'c>d' has a name"):
        check_beginning(right.replace(b">c", b">c>d"), "wrong.fa")
    with pytest.raises(FormatError, match="line 101: the contig 'c' is there twice"):
        check_beginning(right + right, "wrong.fa")


def test_a_small_file_that_grows_too_large_when_decompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.fa.gz"
    path.write_bytes(gzip.compress(b">c\n" + b"ACGT\n" * 999))
    monkeypatch.setattr(fasta, "SMALL", path.stat().st_size + 1)

    assert small_contigs(path) is None
    assert [contig.length for contig in read_contigs(path)] == [3996]


def test_a_gzip_file_that_was_cut(tmp_path: Path) -> None:
    data = gzip.compress(b">c\n" + b"ACGT\n" * 999)
    with pytest.raises(
        FormatError, match=r"'r\.fa\.gz' is a truncated or damaged gzip file: .*; copy it again"
    ):
        contigs(tmp_path / "r.fa.gz", data[:-9])


TEXT = st.lists(
    st.sampled_from(
        [b">a", b">b c", b">", b"ACGT", b"ACGT", b"AC", b"K", b"\n", b"\n", b"\r\n", b"\r", b" "]
    ),
    max_size=14,
).map(b"".join)


@given(TEXT, st.integers(1, 9))
@example(b">a\r\nACGT\r\nACGT\r\n", 1)
@example(b">a\nACGT\nACGT\nAC", 4)
def test_it_makes_no_difference_how_a_file_is_read(text: bytes, size: int) -> None:
    assert outcome([text]) == outcome([text[at : at + size] for at in range(0, len(text), size)])


def outcome(parts: list[bytes]) -> list[FastaContig] | str:
    reader = fasta._Reader("r.fa")
    try:
        return [contig for part in parts for contig in reader.take(part)] + list(reader.end())
    except FormatError:
        return "refused"  # of two faults, the first that is seen is told
