"""Headers of alignments (SAM, BAM) and variants (VCF, BCF) in brief, from the first megabytes of a file."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from stargazer.mcp.previews.text import first, lines_of, shown

__all__ = ["bam_preview", "bcf_preview", "sam_preview", "vcf_preview"]

CONTIGS, SAMPLES, FIELDS, RECORDS, GROUPS, PROGRAMS = 5, 12, 30, 5, 8, 8  # that are shown
NAME = 80  # characters of a name or a field

DECLARED = re.compile(r"##(contig|INFO|FORMAT|FILTER)=<ID=([^,>]*)")
LENGTH = re.compile(r"[,<]length=(\d{1,18})")
SAID = re.compile(r"##(fileformat|source|reference|bcftools_callCommand|GATKCommandLine)\b[^=]*=")


def vcf_preview(data: bytes, whole: bool) -> dict[str, Any]:
    """The header of a VCF and its first records."""
    declared: dict[str, list[str]] = {"contig": [], "INFO": [], "FORMAT": [], "FILTER": []}
    about, samples, records, at = {}, [], [], None
    lines = lines_of(data)
    for number, text in enumerate(lines):
        if found := DECLARED.match(text):
            length = LENGTH.search(text) if found[1] == "contig" else None
            declared[found[1]].append(f"{found[2]}:{length[1]}" if length else found[2])
        elif found := SAID.match(text):
            about[found[1]] = shown(text[found.end() :])
        elif text.startswith("#CHROM"):
            at, samples = number, text.split("\t")[9:]
            records = [record for record in lines[number + 1 :] if record.strip()]
            break
        elif not text.startswith("#"):
            break
    described: dict[str, Any] = {"kind": "vcf", "about": about}
    if at is None:
        described["flaw"] = "no line that begins with #CHROM" + ("" if whole else " in its first megabytes")
    described |= {
        "contigs": first(declared["contig"], len(declared["contig"]), CONTIGS, NAME),
        "samples": first(samples, len(samples), SAMPLES, NAME),
        **{
            name: first(ids, len(ids), FIELDS, NAME // 2)
            for name, ids in declared.items()
            if name != "contig"
        },
        "first_records": [shown(record) for record in records[:RECORDS]],
    }
    return {**described, "records": len(records)} if whole and at is not None else described


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
        names: list[str] = []
        count = _count(data, place)
        place += 4
        while len(names) < min(count, CONTIGS) and place + 4 <= len(data):
            end = place + 4 + _count(data, place)
            if end + 4 > len(data):
                break
            name = data[place + 4 : end].rstrip(b"\0").decode("utf-8", "replace")
            names.append(f"{name[:NAME]}:{_count(data, end)}")
            place = end + 4
        described["contigs"] = first(names, count, CONTIGS, NAME)
    return described


def sam_preview(data: bytes, whole: bool) -> dict[str, Any]:
    """The header of a SAM or of a sequence dictionary."""
    lines: dict[str, list[Mapping[str, str]]] = {"@HD": [], "@SQ": [], "@RG": [], "@PG": []}
    rest = []
    for text in lines_of(data):
        tag, *fields = text.split("\t")
        if tag in lines:
            lines[tag].append(dict(field.split(":", 1) for field in fields if ":" in field))
        elif not tag.startswith("@") and tag:
            rest.append(text)
    contigs = [f"{line.get('SN', '')}:{line.get('LN', '')}" for line in lines["@SQ"]]
    described: dict[str, Any] = {
        "kind": "sam",
        "order": shown("".join(line.get("SO", "") for line in lines["@HD"][:1]), NAME),
        "contigs": first(contigs, len(contigs), CONTIGS, NAME),
        "read_groups": _in_brief(lines["@RG"], ("ID", "SM", "LB", "PL", "PU"), GROUPS),
        "programs": _in_brief(lines["@PG"], ("ID", "PN", "VN", "CL"), PROGRAMS),
    }
    if rest:
        described["first_records"] = [shown(record) for record in rest[:RECORDS]]
    return (
        described if whole else {**described, "cut": "the header goes on: counts are of its first megabytes"}
    )


def _in_brief(lines: Sequence[Mapping[str, str]], tags: Sequence[str], most: int) -> dict[str, Any]:
    """Of lines of a header: how many, and these fields of the first."""
    return first(({tag: line[tag] for tag in tags if tag in line} for line in lines), len(lines), most, NAME)


def _count(data: bytes, place: int) -> int:
    """A count in a binary header: four bytes, not negative; 0 where they are not there."""
    found = struct.unpack_from("<i", data, place)[0] if place + 4 <= len(data) else 0
    return max(0, int(found))
