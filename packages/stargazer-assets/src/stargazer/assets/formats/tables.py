"""Checks of tab-separated files (VCF, BED, GFF3, GTF, sequence dictionaries, FASTA indexes), whole to the last line.

A file that was cut, and then perhaps compressed, ends in the middle of a line as a rule. Small files are read whole, of
large ones the lines at either end. A last line that is complete but lacks its line end is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote

import attrs
from stargazer.assets.errors import FormatError
from stargazer.assets.formats.compression import GZIP, both_ends, check_bgzf, first_bytes, opened

__all__ = ["check_annotation", "check_bed", "check_dict", "check_fai", "check_vcf"]

LARGEST_HEADER = 256 << 20  # bytes
VCF_COLUMNS = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
BED_INTERVAL = re.compile(r"[^\t]+\t([0-9]{1,18})\t([0-9]{1,18})(\t.*)?")
ANNOTATION_COLUMNS = 9
FAI_COLUMNS = 5
MD5 = re.compile(r"[0-9A-Fa-f]{32}")


def check_vcf(path: Path) -> None:
    """VCF, plain or BGZF, whose records have the fields that its header names; or BCF."""
    raw, head = first_bytes(path)
    if raw and not head.startswith((b"##fileformat=VCF", b"BCF\x02")):
        _text_of(path, "VCF")  # says if it is cut or holds nothing
        raise FormatError(f"{path.name!r} is not VCF: expected '##fileformat=VCF' first, got {head[:20]!r}")
    text = _text_of(path, "VCF")
    if raw.startswith(GZIP):
        check_bgzf(path)
    if head.startswith(b"BCF"):
        return
    columns = _vcf_columns(path)

    def wrong(line: str, before: str, *, is_cut: bool) -> str:
        few = _fewer(_fields(line, is_cut=is_cut), columns)
        if few or not is_cut:
            return few
        return _cut_value(line.split("\t"), before.split("\t")) or _cut_key(line.split("\t"), text.first)

    _check_lines(path, text, _rows(text, ("#",)), wrong)
    if "" in text.first or "" in text.last:
        where = f"line {text.first.index('') + 1}" if "" in text.first else "a line near its end"
        raise FormatError(f"{path.name!r}: {where} is blank, which no reader of VCF takes: remove it")


def check_bed(path: Path) -> None:
    """BED: tab-separated contig, start, end, zero-based and half open."""
    text = _text_of(path, "BED")

    def wrong(line: str, before: str, *, is_cut: bool) -> str:
        count = _fields(line, is_cut=is_cut)
        if is_cut and 1 < count < (wanted := max(3, before.count("\t") + 1)):
            return _fewer(count, wanted)
        interval = BED_INTERVAL.fullmatch(line)
        if not interval or int(interval[1]) > int(interval[2]):
            raise _NotOfType(f"not BED (contig, start, end, separated by tabs): {line[:60]!r}")
        return ""

    found = _check_lines(path, text, _rows(text, ("#", "track", "browser")), wrong)
    if text.whole and not found:
        raise FormatError(
            f"{path.name!r} holds no interval: expected lines of contig, start, end, separated by tabs"
        )


def check_annotation(path: Path) -> None:
    """GFF3 or GTF, plain or gzip: nine columns, of which start and end are whole numbers."""
    text = _text_of(path, "GFF3 or GTF")

    def wrong(line: str, before: str, *, is_cut: bool) -> str:
        fields = line.split("\t")
        count = _fields(line, is_cut=is_cut)
        if count < ANNOTATION_COLUMNS and "\t" in line:
            return _fewer(count, ANNOTATION_COLUMNS)
        if len(fields) < ANNOTATION_COLUMNS or not all(_is_number(field) for field in fields[3:5]):
            raise _NotOfType(
                "neither GFF3 nor GTF (9 columns separated by tabs, of which start and end are whole numbers): "
                f"{line[:60]!r}"
            )
        return _cut_attributes(fields[8], before.rpartition("\t")[2]) if is_cut else ""

    found = _check_lines(path, text, _features(text), wrong)
    if text.whole and not found and not text.first[0].startswith("##gff-version"):
        raise FormatError(f"{path.name!r} holds no feature: expected GFF3 or GTF, lines of 9 columns")


def check_dict(path: Path) -> None:
    """A sequence dictionary: a SAM header whose @SQ lines have name and length."""
    text = _plain_text(path, "a sequence dictionary")

    def wrong(line: str, before: str, *, is_cut: bool) -> str:
        fields = dict(field.split(":", 1) for field in line.split("\t")[1:] if ":" in field)
        wanted = before.count("\t") + 1 if before.startswith("@SQ") else 0
        ends_alike = line.rpartition("\t")[2][:3] == before.rpartition("\t")[2][:3]  # the same tag
        if is_cut and not ends_alike and (few := _fewer(_fields(line, is_cut=True), wanted)):
            return few
        if not fields.get("SN") or not _is_number(fields.get("LN", "")):
            if is_cut and line.startswith("@SQ"):
                return "ends before the length of the contig (LN)"
            raise _NotOfType(f"not a sequence dictionary (@SQ, SN:name, LN:length): {line[:60]!r}")
        if is_cut and ":" not in line.rpartition("\t")[2][:-1]:
            return f"ends within a field: {line[-40:]!r}"
        if is_cut and "M5" in fields and not MD5.fullmatch(fields["M5"]):
            return f"ends within a checksum (M5): {fields['M5']!r}"
        return ""

    if not any(line.startswith("@SQ") for line in text.first):
        raise FormatError(f"{path.name!r} is no sequence dictionary: expected lines that begin with @SQ")
    _check_lines(path, text, _rows(text, ("@HD", "@RG", "@PG", "@CO")), wrong)


def check_fai(path: Path) -> None:
    """A FASTA index: name, length, offset, bases and bytes of a line; a FASTQ index has one column more."""
    text = _plain_text(path, "a FASTA index")

    def wrong(line: str, before: str, *, is_cut: bool) -> str:
        fields = line.split("\t")
        count = _fields(line, is_cut=is_cut)
        if is_cut and count < FAI_COLUMNS and (count > 1 or before):
            return _fewer(count, FAI_COLUMNS)
        if not FAI_COLUMNS <= len(fields) <= FAI_COLUMNS + 1 or not all(map(_is_number, fields[1:])):
            raise _NotOfType(
                "not a FASTA index (name, length, offset, bases and bytes of a line, separated by tabs): "
                f"{line[:60]!r}; make it with `samtools faidx`"
            )
        if int(fields[4]) < int(fields[3]):
            problem = f"says that {fields[3]} bases take {fields[4]} bytes"
            if is_cut:
                return problem
            raise _NotOfType(f"{problem}; make the index again: `samtools faidx`")
        return ""

    if not _check_lines(path, text, _rows(text, ()), wrong):
        raise FormatError(f"{path.name!r} is not a FASTA index: it names no contig")


@attrs.frozen
class _Text:
    """The lines of a text file, without their ends: all of them, or those at either end of a large file.

    Attributes:
        first, last: whole lines; all lines in both where the file is small, `last` empty where it is out of reach.
        whole: these are all lines of the file.
        ended: the last line has a line end.
    """

    first: list[str]
    last: list[str]
    whole: bool
    ended: bool


def _text_of(path: Path, what: str) -> _Text:
    """The lines of a text file, decompressed if it is gzip.

    Raises:
        FormatError: it is empty, or a gzip file that is cut or damaged.
    """
    if not path.stat().st_size:
        raise FormatError(f"{path.name!r} is empty, expected {what}")
    first, last, whole = both_ends(path)
    if not first:
        raise FormatError(f"{path.name!r} holds nothing, expected {what}")
    if whole:
        lines = _split(first)
        return _Text(lines, lines, whole=True, ended=first.endswith(b"\n"))
    inside = last.partition(b"\n")[2]
    ended = not inside or inside.endswith(b"\n")
    return _Text(_split(first.rpartition(b"\n")[0]), _split(inside), whole=False, ended=ended)


def _split(data: bytes) -> list[str]:
    lines = [line.removesuffix("\r") for line in data.decode("latin-1").split("\n")]
    return lines if lines[-1] else lines[:-1]


class _NotOfType(Exception):
    """Why a line is none of the format."""


def _check_lines(
    path: Path, text: _Text, rows: Iterator[tuple[int, str, bool]], wrong: Callable[..., str]
) -> bool:
    """Refuse a file with a line that is wrong; whether there is any line.

    Args:
        rows: the number of each line (0: not known), the line, and whether it is the last of the file.
        wrong: what is wrong with a line, given the one before, and whether it may have been cut.
    """
    before, found = "", False
    for number, line, is_last in rows:
        try:
            problem = wrong(line, before, is_cut=is_last and not text.ended)
        except _NotOfType as error:
            where = f"line {number}" if number else "near its end"
            raise FormatError(f"{path.name!r}, {where}: {error}") from None
        if problem and is_last:
            raise FormatError(f"{path.name!r} is truncated: its last line {problem}; copy it again")
        if problem:
            where = f"line {number}" if number else "a line near its end"
            raise FormatError(f"{path.name!r}: {where} {problem}; copy it again")
        before, found = line, True
    return found


def _rows(text: _Text, comments: tuple[str, ...]) -> Iterator[tuple[int, str, bool]]:
    """The lines of a table: those that are blank or begin with one of these left out."""
    last = next((at for at in range(len(text.last) - 1, -1, -1) if text.last[at]), -1)
    for number, line in enumerate(text.first, 1):
        if line and not (comments and line.startswith(comments)):
            yield number, line, text.whole and number == last + 1
    for at, line in enumerate(() if text.whole else text.last):
        if line and not (comments and line.startswith(comments)):
            yield 0, line, at == last


def _features(text: _Text) -> Iterator[tuple[int, str, bool]]:
    """The features of an annotation, up to the sequences that a GFF3 may end with."""
    rows = _rows(text, ("#", "track ", "browser "))
    fasta = next((at for at, line in enumerate(text.first, 1) if line.startswith(("##FASTA", ">"))), None)
    in_sequences = bool(text.last) and "\t" not in text.last[0] and not text.last[0].startswith("#")
    for number, line, is_last in rows:
        is_behind = number > fasta if fasta and number else fasta or (not number and in_sequences)
        if is_behind or line.startswith(">"):
            return
        yield number, line, is_last


def _cut_value(fields: list[str], before: list[str]) -> str:
    """How the last field of the last record of a VCF shows that it was cut; "" if it does not."""
    value = fields[-1]
    if value.endswith((":", "/", "|", ",", ";", "=")):
        return f"ends within a value: {value[-40:]!r}"
    called = not value.startswith(".") and len(fields) > len(VCF_COLUMNS) + 1
    wanted = fields[8].count(":") if called else 0
    if value.count(":") < wanted and fields[8:9] == before[8:9] and before[-1].count(":") == wanted:
        return f"ends within a genotype, with {value.count(':') + 1} of {wanted + 1} values: {value[-40:]!r}"
    return ""


def _cut_key(fields: list[str], header: list[str]) -> str:
    """How the INFO of the last record, if that is its last field, ends with what is no flag by the header."""
    tail = fields[-1].rpartition(";")[2]
    declared = [line for line in header if line.startswith("##INFO=<")]
    if len(fields) > len(VCF_COLUMNS) or tail in ("", ".") or "=" in tail or not declared:
        return ""
    is_flag = any(f"ID={tail}," in line and "Type=Flag" in line for line in declared)
    return "" if is_flag else f"ends within the name of a value: {fields[-1][-40:]!r}"


def _cut_attributes(attributes: str, before: str) -> str:
    """How the attributes of the last feature show that it was cut; "" if they do not."""
    tail = attributes.rpartition(";")[2].strip()
    if attributes.count('"') % 2:
        return f"ends within quotes: {attributes[-40:]!r}"
    if tail.endswith("="):
        return f"ends within an attribute: {attributes[-40:]!r}"
    if tail and before.rstrip().endswith(";"):
        return f"ends otherwise than the line before, without a semicolon: {attributes[-40:]!r}"
    if tail not in ("", ".") and "=" in before and "=" not in tail:
        return f"ends within the name of an attribute: {attributes[-40:]!r}"
    return ""


def _fields(line: str, *, is_cut: bool) -> int:
    """How many fields a line has; one that was cut may end with the separator of the next."""
    return (line.rstrip("\t") if is_cut else line).count("\t") + 1


def _fewer(count: int, wanted: int) -> str:
    return f"has {count} of {wanted} fields" if count < wanted else ""


def _vcf_columns(path: Path) -> int:
    """How many columns each record of a VCF has at least, by its header."""
    left, line = LARGEST_HEADER, b"##"
    with opened(path) as file:
        while line.startswith(b"##") and left > 0:
            line = file.readline(left)
            left -= len(line)
    columns = line.decode("latin-1").rstrip("\r\n\t").split("\t")
    fixed, more = columns[: len(VCF_COLUMNS)], columns[len(VCF_COLUMNS) :]
    if fixed == VCF_COLUMNS:
        _check_samples(path.name, line.decode("utf-8", "replace").rstrip("\r\n").split("\t")[9:])
        return len(fixed) if more in ([], ["FORMAT"]) else len(columns)
    if line.startswith(b"#") and not line.endswith(b"\n"):
        problem = f"its header ends with {line[:40]!r}"
    elif line.startswith(b"#CHROM"):
        raise FormatError(
            f"{path.name!r} is not VCF: its columns are {' '.join(columns)[:60]!r}, expected "
            f"{' '.join(VCF_COLUMNS)!r} first, separated by tabs"
        )
    else:
        problem = "its header has no line that begins with #CHROM"
    raise FormatError(f"{path.name!r} is truncated: {problem}; copy it again")


def _check_samples(title: str, samples: list[str]) -> None:
    """Refuse names of samples that htslib does not take."""
    remedy = f"name each sample once: `bcftools reheader -s NAMES.txt {quote(title)}`"
    for number, sample in enumerate(samples):
        if not sample.strip():
            raise FormatError(
                f"{title!r}: column {10 + number} of its header names no sample (a tab too many, or an empty name); "
                "mend that line"
            )
        if (first := samples.index(sample)) < number:
            raise FormatError(
                f"{title!r}: its header names the sample {sample!r} twice, in columns {10 + first} and "
                f"{10 + number}, which no reader of VCF takes; {remedy}"
            )


def _plain_text(path: Path, what: str) -> _Text:
    """The lines of a text that tools read as it is."""
    if first_bytes(path)[0].startswith(GZIP):
        raise FormatError(f"{path.name!r} is compressed, expected {what} as text: decompress it (`gunzip`)")
    return _text_of(path, what)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
