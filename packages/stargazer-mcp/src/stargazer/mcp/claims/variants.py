"""Rows of VCF and BCF files, and the genotype of a sample at a site."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from stargazer.assets.keyvalues import composed
from stargazer.mcp.claims.conditions import Column, Row, Values
from stargazer.mcp.claims.verdicts import Unverifiable, near
from stargazer.mcp.strict_json import shortened

__all__ = ["Genotype", "Variants", "genotype_of", "matches"]

FIXED = {"CHROM": 0, "POS": 1, "ID": 2, "REF": 3, "ALT": 4, "QUAL": 5, "FILTER": 6}
LISTS = {"ID": ";", "ALT": ",", "FILTER": ";"}
NUMERIC = ("Integer", "Float")
CALLS = 9  # the column of the first sample
TYPE, ZYGOSITY = "TYPE", "ZYGOSITY"
TYPES = ("snv", "indel", "mnv", "other")
ZYGOSITIES = ("hom_ref", "het", "hom_alt", "missing")
HET, HOM_REF, HOM_ALT = "het", "hom_ref", "hom_alt"
WORDS = {
    "heterozygous": HET,
    "homozygous reference": HOM_REF,
    "homozygous ref": HOM_REF,
    "hom ref": HOM_REF,
    "homozygous alternative": HOM_ALT,
    "homozygous alternate": HOM_ALT,
    "homozygous alt": HOM_ALT,
    "homozygous variant": HOM_ALT,
    "hom alt": HOM_ALT,
}
"""Other words for what a genotype is."""
GENOTYPES = ("0/0", "0/1", "1/1", "1/2", "./.")
GENOTYPE = re.compile(r"(?:\d{1,4}|\.)(?:/(?:\d{1,4}|\.))*")
SPELLED = re.compile(r"\d{1,4}|[ACGTUNRYSWKMBDHV]+|[*.]|<[^<>]+>|\S*[\[\]]\S*", re.IGNORECASE)
ALLELE = re.compile(r"[ACGTUNRYSWKMBDHVacgtunryswkmbdhv*.]+|<[^<>]+>|\S*[\[\]]\S*")
NON_REF = "<NON_REF>"
FIRST = 1_000  # records that tell what a file is
ANY_ALLELE = (NON_REF, "<*>", ".")
"""What stands for no known alternative allele where a GVCF says that a sample is like the reference."""
LEAST_GQ = 20
"""The quality from which a block of a GVCF says that a sample is like the reference."""
NEVER_FILTERED = "FILTER is missing in every record: the file was never filtered"


class Variants:
    """An open VCF or BCF.

    Args:
        path: of the file.
        is_gvcf: it is known to be one; else its first records say it, for joint calls inherit its header.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, *, is_gvcf: bool = False):
        import pysam

        self.file = pysam.VariantFile(str(path))
        self.header = self.file.header
        self.samples = [composed(name) for name in self.header.samples]
        self.contigs = {str(name): contig.length for name, contig in self.header.contigs.items()}
        if not is_gvcf and NON_REF[1:-1] in self.header.alts:
            with pysam.VariantFile(str(path)) as file:
                is_gvcf = any(NON_REF in (record.alts or ()) for record in itertools.islice(file, FIRST))
        self.passed_over: Callable[[Row], bool] | None = _is_block if is_gvcf else None
        self.noun = "variants" if is_gvcf else "records"

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def rows(self) -> Iterator[Row]:
        """The columns of every record as text."""
        return (str(record).rstrip("\n").split("\t") for record in self.file)

    def column(self, name: str, query: Mapping[str, Any]) -> Column:
        """A column by its name: CHROM to FILTER, TYPE, INFO.x; of a sample FORMAT.x and ZYGOSITY."""
        group, _, field = name.replace("/", ".", 1).partition(".")
        if group == "INFO" and field in self.header.info:
            return self._info(field)
        if (group == "FORMAT" and field in self.header.formats) or name == ZYGOSITY:
            return self._call(field or "GT", name, self._place(query))
        if name == TYPE:
            return Column(TYPE, _types, TYPES, closed=True)
        if name not in FIXED:
            fields = {"INFO": self.header.info, "FORMAT": self.header.formats}
            names = [*FIXED, TYPE, ZYGOSITY] + [
                f"{group}.{each}" for group, of in fields.items() for each in of
            ]
            raise Unverifiable(
                f"no column {shortened(name)}",
                "name a column: CHROM, POS, ID, REF, ALT, QUAL, FILTER, TYPE, INFO.x, FORMAT.x or ZYGOSITY",
                near(name, names),
            )
        place, separator = FIXED[name], LISTS.get(name)

        def values(row: Row) -> Values:
            text = row[place]
            return () if text == "." else tuple(text.split(separator)) if separator else (text,)

        if name == "FILTER":
            filters = ("PASS", *(each for each in self.header.filters if each != "PASS"))
            return Column(name, values, filters, closed=True, unset=NEVER_FILTERED)
        if name in ("REF", "ALT"):
            return Column(name, values, tuple("ACGT"), form=ALLELE.fullmatch)
        contigs = tuple(self.contigs) if name == "CHROM" else ()
        return Column(name, values, contigs, closed=bool(contigs), numeric=name in ("POS", "QUAL"))

    def _info(self, field: str) -> Column:
        is_flag = self.header.info[field].type == "Flag"

        def values(row: Row) -> Values:
            for item in row[7].split(";"):
                key, _, text = item.partition("=")
                if key == field:
                    return (True,) if is_flag else _listed(text)
            return (False,) if is_flag else ()

        if is_flag:
            return Column(f"INFO.{field}", values, (True, False), closed=True)
        return Column(f"INFO.{field}", values, numeric=self.header.info[field].type in NUMERIC)

    def _call(self, field: str, name: str, place: int) -> Column:
        def values(row: Row) -> Values:
            text = _field(row, field, place)
            if name == ZYGOSITY:
                return (_zygosity(text),)
            if field == "GT":
                return ("/".join(sorted(_alleles(text))),)
            return _listed(text)

        if name == ZYGOSITY:
            return Column(name, values, ZYGOSITIES, closed=True, of_sample=True)
        if field == "GT":
            return Column(name, values, GENOTYPES, form=_is_unphased, of_sample=True)
        return Column(name, values, numeric=self.header.formats[field].type in NUMERIC, of_sample=True)

    def _place(self, query: Mapping[str, Any]) -> int:
        """The column of the sample that a query is about.

        Raises:
            Unverifiable: it is about none, several, or one that the file does not have.
        """
        if not self.samples:
            raise Unverifiable("the file has sites alone, and no calls of samples")
        sample = query.get("sample") or (self.samples[0] if len(self.samples) == 1 else None)
        if not isinstance(sample, str):
            raise Unverifiable(
                "the query reads the calls of one sample, and the claim does not say of which",
                'give "about": {"sample": NAME}, with the sample that the statement is about',
                self.samples[:20],
            )
        if sample not in self.samples:
            raise Unverifiable(f"the file has no sample {shortened(sample)}", "", near(sample, self.samples))
        return CALLS + self.samples.index(sample)

    def genotype(self, query: Mapping[str, Any]) -> Genotype:
        """What looks for a sample's genotype at a site while the rows go by.

        Raises:
            Unverifiable: there is no such site or sample.
        """
        contig, at = query.get("chrom"), query.get("pos")
        if (
            not isinstance(contig, str)
            or isinstance(at, bool)
            or not str(at).isdecimal()
            or len(str(at)) > 12
        ):
            raise Unverifiable(
                "a genotype is that at chrom (text) and pos (from 1)", "give both, as numbers are"
            )
        if self.contigs and contig not in self.contigs:
            raise Unverifiable(
                f"the file has no contig {shortened(contig)}",
                "name one that it has",
                near(contig, self.contigs),
            )
        length = self.contigs.get(contig)
        if int(str(at)) < 1 or (length and int(str(at)) > length):
            raise Unverifiable(
                f"position {int(str(at)):,} is outside of the contig, which has {length or 'no'} bases"
            )
        ref, alt = query.get("ref"), query.get("alt")
        return Genotype(contig, int(str(at)), ref, alt, self._place(query))


@attrs.define
class Genotype:
    """The genotype of a sample at a site, as far as the rows that went by tell."""

    contig: str
    at: int
    ref: str | None
    alt: str | None
    place: int
    rows: int = 0
    here: list[list[str]] = attrs.field(factory=list)
    blocks: list[list[str]] = attrs.field(factory=list)
    before: str = ""
    after: str = ""

    def add(self, row: Row) -> None:
        """Take one row into account."""
        self.rows += 1
        if row[0] != self.contig:
            return
        begin = int(row[1])
        if begin == self.at:
            self.here.append(row)
        elif begin < self.at:
            self.before = row[1]
            if row[4] in ANY_ALLELE and self.at <= _end(row):
                self.blocks.append(row)
        elif not self.after:
            self.after = row[1]

    def result(self, claimed: Any) -> Any:
        """The genotype, and what it means in alleles and in a word.

        Raises:
            Unverifiable: the file says nothing of the site, or several things.
        """
        found = [
            row
            for row in self.here
            if self.ref in (None, row[3]) and (self.alt is None or self.alt in row[4].split(","))
        ]
        sites = [f"{row[3]}>{row[4]}" for row in self.here]
        if not self.here and self.blocks:  # of a GVCF
            found = self.blocks[-1:]
        if len(found) > 1:
            raise Unverifiable("several records are at this position", "give ref and alt of one", sites)
        if not found and self.here:
            raise Unverifiable(
                "no record at this position has these alleles", "give ref and alt of one", sites
            )
        if not found:
            raise Unverifiable(
                "no record is at this position: that calls do not list a place says nothing of the genotype there",
                "ask at a position that has one, or ask a GVCF of the sample",
                [each for each in (self.before, self.after) if each],
            )
        row = found[0]
        told: dict[str, Any] = genotype_of(_field(row, "GT", self.place), [row[3], *row[4].split(",")])
        for field in ("GQ", "DP"):
            if (text := _field(row, field, self.place)) != ".":
                told[field] = int(text) if text.isdecimal() else text
        quality = told.get("GQ")
        if _is_block(row) and row[4] != "." and isinstance(quality, int) and quality < LEAST_GQ:
            raise Unverifiable(
                f"the file says that this stretch is like the reference with a quality (GQ) of {quality} alone",
                f"a genotype can be claimed from GQ {LEAST_GQ} on: say that it is not known here",
            )
        return told

    def as_dict(self) -> dict[str, int]:
        """How many rows the result rests on."""
        return {"rows": self.rows, "matched": len(self.here) or len(self.blocks[-1:])}


def genotype_of(text: str, alleles: list[str]) -> dict[str, str]:
    """A genotype in the three ways in which a claim may give it.

    Args:
        text: as the record has it.
        alleles: of the record, that of the reference first.
    """
    separator = "|" if "|" in text else "/"
    spelled = [
        alleles[int(each)] if each.isdecimal() and int(each) < len(alleles) else each
        for each in text.replace("|", "/").split("/")
    ]
    return {"GT": text, "alleles": separator.join(spelled), "zygosity": _zygosity(text)}


def matches(found: Mapping[str, Any], claimed: Any) -> bool:
    """Whether a genotype is the one claimed: as `0/1`, `A/G` or `het`; the order counts where the claim is phased.

    Raises:
        Unverifiable: the claim is phased, and the genotype is not.
    """
    text = str(claimed).strip()
    word = " ".join(text.lower().replace("_", " ").replace("-", " ").split())
    zygosity = WORDS.get(word, word.replace(" ", "_"))
    if zygosity in ZYGOSITIES:
        return bool(found["zygosity"] == zygosity)
    if word in ("homozygous", "hom") and found["zygosity"] == HET:
        return False
    if not all(SPELLED.fullmatch(each) for each in _alleles(text)):
        raise Unverifiable(
            f"{shortened(claimed)} is not written as a genotype",
            f"write it as 0/1, as A/G, or as one of {', '.join(ZYGOSITIES)}",
        )
    is_numbered = all(each.isdecimal() or each == "." for each in _alleles(text))
    spelled = str(found["GT"] if is_numbered else found["alleles"])
    if "|" in text and "|" not in spelled and len(set(_alleles(spelled))) > 1:
        raise Unverifiable("the claim is phased, and the genotype in the file is not", "claim it with /")
    if "|" in text:
        return _alleles(spelled) == _alleles(text)
    return sorted(_alleles(spelled)) == sorted(_alleles(text))


def _alleles(text: str) -> list[str]:
    return text.replace("|", "/").split("/")


def _is_unphased(text: str) -> bool:
    """Whether a genotype is written as conditions compare it: with slashes, and sorted."""
    return bool(GENOTYPE.fullmatch(text)) and text.split("/") == sorted(text.split("/"))


def _zygosity(text: str) -> str:
    alleles = set(_alleles(text))
    if "." in alleles or "" in alleles:
        return "missing"
    return "het" if len(alleles) > 1 else "hom_ref" if alleles == {"0"} else "hom_alt"


def _field(row: list[str], field: str, place: int) -> str:
    """A field of a sample's call; `.` if it has none."""
    names = row[8].split(":") if len(row) > CALLS else []
    values = row[place].split(":") if place < len(row) else []
    return dict(zip(names, values, strict=False)).get(field, ".")


def _listed(text: str) -> Values:
    """The values of a field, in order; None for one that is missing among others."""
    values = tuple(None if each in (".", "") else each for each in text.split(","))
    return values if any(each is not None for each in values) else ()


def _is_block(row: Row) -> bool:
    """Whether a record is none of a variant, but says of a stretch that it is like the reference."""
    return all(alt in ANY_ALLELE for alt in row[4].split(","))


def _types(row: Row) -> Values:
    ref, kinds = row[3], []
    for alt in row[4].split(","):
        if alt in ANY_ALLELE:
            continue
        if alt[0] in "<*" or "[" in alt or "]" in alt or alt[0] == "." or alt[-1] == ".":
            kinds.append("other")
        else:
            kinds.append("indel" if len(alt) != len(ref) else "snv" if len(ref) == 1 else "mnv")
    return tuple(dict.fromkeys(kinds))


def _end(row: list[str]) -> int:
    """The last position of a record."""
    for item in row[7].split(";"):
        if item.startswith("END=") and item[4:].isdecimal():
            return int(item[4:])
    return int(row[1]) + len(row[3]) - 1
