"""Headers of alignments (SAM, BAM) and variants (VCF, BCF) in brief, from the first megabytes of a file."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence
from itertools import islice
from typing import Any

from stargazer.mcp.previews.text import Few, lines_of, shown

__all__ = ["bam_preview", "bcf_preview", "sam_preview", "vcf_preview"]

CONTIGS, SAMPLES, FIELDS, RECORDS, GROUPS, PROGRAMS = 5, 12, 30, 5, 8, 8  # that are shown
NAME, WIDTH = 80, 240  # characters of a name or a field, and of a record

DECLARED = re.compile(r"##(contig|INFO|FORMAT|FILTER)=<ID=([^,>]*)")
LENGTH = re.compile(r"[,<]length=(\d{1,18})")
SAID = re.compile(r"##(fileformat|source|reference|bcftools_callCommand|GATKCommandLine)\b[^=]*=")


def vcf_preview(data: bytes, whole: bool) -> dict[str, Any]:
    """The header of a VCF and its first records."""
    declared = {name: Few(FIELDS, NAME // 2) for name in ("INFO", "FORMAT", "FILTER")}
    contigs, samples = Few(CONTIGS, NAME), Few(SAMPLES, NAME)
    about: dict[str, str] = {}
    is_named, place = False, 0
    for line in io.BytesIO(data):
        place += len(line)
        text = line.rstrip(b"\r\n").decode("utf-8", "replace")
        if found := DECLARED.match(text):
            if found[1] != "contig":
                declared[found[1]].add(found[2])
                continue
            length = LENGTH.search(text)
            contigs.add(f"{found[2]}:{length[1]}" if length else found[2])
        elif found := SAID.match(text):
            about[found[1]] = shown(text[found.end() :])
        elif text.startswith("#CHROM"):
            is_named = True
            for name in text.split("\t", 9 + SAMPLES)[9 : 9 + SAMPLES]:
                samples.add(name)
            samples.count = max(text.count("\t") - 8, 0)
            break
        elif not text.startswith("#"):
            break
    described: dict[str, Any] = {"kind": "vcf", "about": about}
    if not is_named:
        described["flaw"] = "no line that begins with #CHROM" + ("" if whole else " in its first megabytes")
    rest = data[place:] if is_named else b""
    records = [shown(text) for text in islice(filter(str.strip, lines_of(rest)), RECORDS)]
    described |= {
        "contigs": contigs.as_dict(),
        "samples": samples.as_dict(),
        **{name: few.as_dict() for name, few in declared.items()},
        "first_records": records,
    }
    if whole and is_named:
        described["records"] = sum(not line.isspace() for line in io.BytesIO(rest))
    return described


def bcf_preview(data: bytes, whole: bool) -> dict[str, Any]:
    """The header of a BCF; its records are no text."""
    size = _count(data, 5)
    text = data[9 : 9 + size]
    described = {**vcf_preview(text.rstrip(b"\0"), len(text) == size), "kind": "bcf"}
    del described["first_records"]
    described.pop("records", None)
    return described


def bam_preview(data: bytes, whole: bool) -> dict[str, Any]:
    """The header of a BAM: order, contigs, read groups, and the programs that made it."""
    size = _count(data, 4)
    text = data[8 : 8 + size]
    described = {**sam_preview(text.rstrip(b"\0"), len(text) == size), "kind": "bam"}
    described.pop("first_records", None)
    place = 8 + size
    if place + 4 <= len(data):
        contigs, count = Few(CONTIGS, NAME), _count(data, place)
        place += 4
        while contigs.count < min(count, CONTIGS) and place + 4 <= len(data):
            end = place + 4 + _count(data, place)
            if end + 4 > len(data):
                break
            name = data[place + 4 : min(end, place + 4 + NAME)].rstrip(b"\0").decode("utf-8", "replace")
            contigs.add(f"{name}:{_count(data, end)}")
            place = end + 4
        described["contigs"] = contigs.as_dict(count)
    return described


def sam_preview(data: bytes, whole: bool) -> dict[str, Any]:
    """The header of a SAM or of a sequence dictionary."""
    order = ""
    contigs, groups, programs = Few(CONTIGS, NAME), Few(GROUPS, NAME), Few(PROGRAMS, NAME)
    records = Few(RECORDS, WIDTH)
    for raw in io.BytesIO(data):
        if raw.startswith(b"@SQ\t") and contigs.count >= CONTIGS:
            contigs.count += 1
            continue
        text = raw.rstrip(b"\r\n").decode("utf-8", "replace")
        if text.startswith("@SQ\t"):
            line = _fields(text, ("SN", "LN"))
            contigs.add(f"{line.get('SN', '')}:{line.get('LN', '')}")
        elif text.startswith("@RG\t"):
            groups.add(_fields(text, ("ID", "SM", "LB", "PL", "PU")))
        elif text.startswith("@PG\t"):
            programs.add(_fields(text, ("ID", "PN", "VN", "CL")))
        elif text.startswith("@HD\t"):
            order = order or _fields(text, ("SO",)).get("SO", "")
        elif text and not text.startswith("@"):
            records.add(text)
    described: dict[str, Any] = {
        "kind": "sam",
        "order": shown(order, NAME),
        "contigs": contigs.as_dict(),
        "read_groups": groups.as_dict(),
        "programs": programs.as_dict(),
    }
    if records.count:
        described["first_records"] = records.as_dict()["first"]
    return (
        described if whole else {**described, "cut": "the header goes on: counts are of its first megabytes"}
    )


def _fields(text: str, tags: Sequence[str]) -> dict[str, str]:
    """These fields of a line of a SAM header, as far as it has them."""
    found = (re.search(rf"\t{tag}:([^\t]*)", text) for tag in tags)
    return {tag: match[1] for tag, match in zip(tags, found, strict=True) if match}


def _count(data: bytes, place: int) -> int:
    """A count in a binary header: four bytes, not negative; 0 where they are not there."""
    found = struct.unpack_from("<i", data, place)[0] if place + 4 <= len(data) else 0
    return max(0, int(found))
