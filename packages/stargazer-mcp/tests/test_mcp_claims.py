"""Claims about stored files: confirmed, contradicted with the true value, or unverifiable; never by a wrong file."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import math
import struct
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stargazer import storage
from stargazer.assets import AnnData, Asset, InvalidAssetError, QcReport, Reference, Table, Variants
from stargazer.assets.provenance import Execution
from stargazer.mcp.claims import check_claims
from stargazer.mcp.server import make_server
from stargazer.storage import Store, add, amend_records, get_client, maintenance
from stargazer.workflows import watch_run

from .command import Command

SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + struct.pack("<4B4QI", 2, 8, 8, 0, 0, 2**64 - 1, 48, 48, 0)
HEADER = """##fileformat=VCFv4.2
##FILTER=<ID=LowQual,Description="x">
##FILTER=<ID=Never,Description="x">
##INFO=<ID=DP,Number=1,Type=Integer,Description="x">
##INFO=<ID=AF,Number=A,Type=Float,Description="x">
##INFO=<ID=DB,Number=0,Type=Flag,Description="x">
##INFO=<ID=END,Number=1,Type=Integer,Description="x">
##FORMAT=<ID=GT,Number=1,Type=String,Description="x">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="x">
##contig=<ID=chr1,length=10000>
##contig=<ID=chr2,length=5000>
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t"""
CALLS = [
    "chr1 100 . A G 50 PASS DP=10;AF=0.5;DB GT:DP 0/1:10 0/0:7",
    "chr1 200 . C T 20.5 LowQual DP=4;AF=1 GT:DP 1/1:4 1|0:9",
    "chr1 300 . CT C 99 PASS DP=30;AF=0.5 GT:DP 1|0:31 ./.:.",
    "chr1 400 . A C,G . . DP=12;AF=0.25,0.75 GT:DP 1/2:12 0/0:3",
    "chr2 50 . G A 61 PASS . GT:DP 0/1:8 0/1:9",
    "chr2 50 . G T 60 PASS . GT:DP 0/0:8 0/0:9",
]
ROWS = (
    "gene,cluster,score,note\nCD3D,T cells,1.5,x\nCD79A,B cells,2.25,\nMS4A1,B cells,NA,y\nNKG7,10,-3e-2,x\n"
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store."""
    monkeypatch.chdir(tmp_path)
    return get_client().store


def put(name: str, text: str | bytes, asset: type[Asset] | None = None, **fields: Any) -> str:
    """The CID of a new file."""
    data = text.encode() if isinstance(text, str) else text
    Path(name).write_bytes(data)
    cid = asyncio.run(add(name, asset=asset, **fields)).cid
    assert cid
    return cid


def calls(samples: list[str], rows: list[str] = CALLS) -> str:
    """A VCF of one or two samples."""
    lines = ["\t".join(row.split()[: 9 + len(samples)]) for row in rows]
    return HEADER + "\t".join(samples) + "\n" + "".join(f"{line}\n" for line in lines)


@pytest.fixture
def pair(store: Store) -> str:
    """The calls of two samples, A and B."""
    return put("pair.vcf", calls(["A", "B"]), Variants, samples=["A", "B"], caller="bcftools")


def checked(store: Store, **claim: Any) -> dict[str, Any]:
    """What becomes of one claim."""
    answer = check_claims(store, [claim])
    (result,) = answer["results"]
    assert answer[result["verdict"]] == 1
    json.dumps(answer, allow_nan=False)
    return dict(result)


def verdict(store: Store, cid: Any, value: Any, /, about: Any = None, **claim: Any) -> tuple[str, Any]:
    """Its verdict, and the value that was found."""
    found = checked(store, cid=cid, value=value, **({"about": about} if about else {}), **claim)
    return found["verdict"], found.get("found")


BOTH, ONLY_A, ONLY_B = {"sample": ["A", "B"]}, {"sample": "A"}, {"sample": "B"}
PASSES = {"column": "FILTER", "op": "=", "value": "PASS"}


OVER_VARIANTS: list[Any] = [
    ({"what": "count"}, BOTH, 6),
    ({"what": "count", "where": [PASSES]}, BOTH, 4),
    ({"what": "count", "where": {"column": "FILTER", "op": "!=", "value": "PASS"}}, BOTH, 2),
    ({"what": "count", "where": [{"column": "FILTER", "value": None}]}, BOTH, 1),
    ({"what": "count", "where": [{"column": "CHROM", "op": "in", "value": ["chr1", "chr2"]}]}, BOTH, 6),
    ({"what": "count", "where": [{"column": "TYPE", "value": "snv"}]}, BOTH, 5),
    ({"what": "count", "where": [{"column": "TYPE", "value": "indel"}]}, BOTH, 1),
    ({"what": "count", "where": [{"column": "TYPE", "value": "mnv"}]}, BOTH, 0),
    ({"what": "count", "where": [{"column": "FILTER", "value": "Never"}]}, BOTH, 0),
    ({"what": "count", "where": [{"column": "INFO.DB", "value": True}]}, BOTH, 1),
    ({"what": "count", "where": [{"column": "INFO.AF", "op": ">", "value": 0.6}]}, BOTH, 2),
    ({"what": "count", "where": [{"column": "POS", "op": "<=", "value": 100}]}, BOTH, 3),
    ({"what": "count", "where": [{"column": "ALT", "value": "G"}]}, BOTH, 2),
    ({"what": "share", "where": [PASSES]}, BOTH, 4 / 6),
    ({"what": "share", "where": [PASSES], "of": {"column": "CHROM", "value": "chr1"}}, BOTH, 0.5),
    ({"what": "sum", "column": "INFO.DP"}, BOTH, 56),
    ({"what": "mean", "column": "QUAL"}, BOTH, (50 + 20.5 + 99 + 61 + 60) / 5),
    ({"what": "value", "column": "QUAL", "where": [{"column": "POS", "value": 200}]}, BOTH, 20.5),
    ({"what": "count", "where": [{"column": "ZYGOSITY", "value": "het"}]}, ONLY_A, 4),
    ({"what": "count", "where": [{"column": "ZYGOSITY", "value": "hom_alt"}]}, ONLY_A, 1),
    ({"what": "count", "where": [{"column": "ZYGOSITY", "value": "missing"}]}, ONLY_B, 1),
    ({"what": "count", "where": [{"column": "FORMAT/GT", "value": "0/1"}]}, ONLY_B, 2),
    ({"what": "mean", "column": "FORMAT.DP"}, ONLY_B, 7.4),
    ({"what": "count", "where": {"column": "FORMAT.DP", "op": ">", "value": 9}, "sample": "A"}, None, 3),
]


def test_a_query_over_variants_finds_what_is_there(store: Store, pair: str) -> None:
    for query, about, found in OVER_VARIANTS:
        assert verdict(store, pair, found, about, query=query) == ("confirmed", found), query
        assert verdict(store, pair, found + 1, about, query=query) == ("contradicted", found), query


GENOTYPES: list[Any] = [
    ({"chrom": "chr1", "pos": 100}, ONLY_A, "0/1", "confirmed"),
    ({"chrom": "chr1", "pos": "100"}, ONLY_A, "G/A", "confirmed"),
    ({"chrom": "chr1", "pos": 100}, ONLY_A, "1/1", "contradicted"),
    ({"chrom": "chr1", "pos": 100}, ONLY_B, "hom_ref", "confirmed"),
    ({"chrom": "chr1", "pos": 300}, ONLY_A, "0/1", "confirmed"),
    ({"chrom": "chr1", "pos": 300}, ONLY_A, "0|1", "contradicted"),
    ({"chrom": "chr1", "pos": 300}, ONLY_A, "C|CT", "confirmed"),
    ({"chrom": "chr1", "pos": 100}, ONLY_A, "0|1", "unverifiable"),
    ({"chrom": "chr1", "pos": 400}, ONLY_A, "C/G", "confirmed"),
    ({"chrom": "chr2", "pos": 50}, ONLY_A, "0/1", "unverifiable"),
    ({"chrom": "chr2", "pos": 50, "ref": "G", "alt": "A"}, ONLY_A, "0/1", "confirmed"),
    ({"chrom": "chr2", "pos": 50, "alt": "T"}, ONLY_A, "0/1", "contradicted"),
    ({"chrom": "chr2", "pos": 50, "alt": "C"}, ONLY_A, "0/1", "unverifiable"),
    ({"chrom": "chr1", "pos": 101}, ONLY_A, "0/0", "unverifiable"),
    ({"chrom": "chr1", "pos": 10_001}, ONLY_A, "0/0", "unverifiable"),
    ({"chrom": "1", "pos": 100}, ONLY_A, "0/1", "unverifiable"),
    ({"chrom": "chr1"}, ONLY_A, "0/1", "unverifiable"),
    ({"chrom": "chr1", "pos": 100}, ONLY_A, "heterozygous", "confirmed"),
    ({"chrom": "chr1", "pos": 100}, ONLY_A, "homozygous", "contradicted"),
    ({"chrom": "chr1", "pos": 200}, ONLY_A, "homozygous", "unverifiable"),
    ({"chrom": "chr1", "pos": 200}, ONLY_A, "homozygous alternate", "confirmed"),
    ({"chrom": "chr1", "pos": 100}, ONLY_A, "AG", "contradicted"),
    ({"chrom": "chr1", "pos": 100}, ONLY_A, "one copy", "unverifiable"),
]


def test_a_genotype_is_that_of_the_record_at_the_site(store: Store, pair: str) -> None:
    for site, about, claimed, expected in GENOTYPES:
        query = {"what": "genotype", **site}
        assert verdict(store, pair, claimed, about, query=query)[0] == expected, site


def test_a_gvcf_speaks_of_places_between_its_variants(store: Store) -> None:
    rows = [
        "chr1 100 . A <NON_REF> . . END=199 GT:DP 0/0:10",
        "chr1 200 . C T,<NON_REF> 30 . DP=4 GT:DP 0/1:4",
    ]
    cid = put("a.g.vcf", calls(["A"], rows), Variants, samples=["A"], kind="gvcf")
    for at, expected in (
        (150, "confirmed"),
        (199, "confirmed"),
        (200, "contradicted"),
        (201, "unverifiable"),
    ):
        query = {"what": "genotype", "chrom": "chr1", "pos": at}
        assert verdict(store, cid, "0/0", ONLY_A, query=query)[0] == expected


def test_a_gvcf_that_is_unsure_of_a_place_confirms_no_genotype_there(store: Store) -> None:
    rows = [
        "chr1 100 . A <NON_REF> . . END=199 GT:DP:GQ 0/0:10:19",
        "chr1 200 . C T,<NON_REF> 30 . DP=4 GT:DP:GQ 0/1:4:7",
        "chr1 201 . A <NON_REF> . . END=299 GT:DP:GQ 0/0:12:20",
    ]
    text = calls(["A"], rows).replace(
        "##contig", "##FORMAT=<ID=GQ,Number=1,Type=Integer,Description=x>\n##contig", 1
    )
    cid = put("a.g.vcf", text, Variants, samples=["A"], kind="gvcf")
    for at, expected in ((100, "unverifiable"), (150, "unverifiable"), (250, "confirmed")):
        found = checked(
            store, cid=cid, value="0/0", about=ONLY_A, query={"what": "genotype", "chrom": "chr1", "pos": at}
        )
        assert found["verdict"] == expected, found
    assert (found["found"]["GQ"], found["found"]["DP"]) == (20, 12)
    for query, value in [
        ({"what": "count"}, 1),
        ({"what": "count", "where": [{"column": "TYPE", "value": "other"}]}, 0),
        ({"what": "count", "where": [{"column": "ZYGOSITY", "value": "hom_ref"}]}, 0),
    ]:
        assert verdict(store, cid, value, ONLY_A, query=query) == ("confirmed", value)
    joint = put("joint.vcf", HEADER.replace("##contig", '##ALT=<ID=NON_REF,Description="x">\n##contig', 1) + "A\n"
                "chr1\t100\t.\tA\t.\t50\tPASS\t.\tGT\t0/0\n", Variants, samples=["A"])  # fmt: skip
    assert (
        verdict(store, joint, 1, ONLY_A, query={"what": "count"})[0] == "confirmed"
    )  # it inherits a header alone
    text = text.replace("##contig", '##ALT=<ID=NON_REF,Description="x">\n##contig', 1)
    wrong = put("wrong.vcf", text, Variants, samples=["A"], kind="calls", force=True)
    assert verdict(store, wrong, 1, ONLY_A, query={"what": "count"})[0] == "confirmed"


@pytest.mark.parametrize(
    "name", ["na12878_chr20/test_nist.b37_chr20_100kbp_at_10mb.vcf.gz", "tp53/NA12829_TP53.g.vcf"]
)
def test_counts_of_real_variants_are_those_of_bcftools(store: Store, test_data: Path, name: str) -> None:
    from pysam import bcftools

    source = test_data / name
    variants = asyncio.run(add(source))
    about = {"samples": variants.keyvalues["samples"][2:-2]}
    for column, op, value, expression in [
        ("TYPE", "=", "snv", 'TYPE~"snp"'),
        ("TYPE", "=", "indel", 'TYPE~"indel"'),
        ("QUAL", ">=", 50, "QUAL>=50"),
        ("FILTER", "=", "PASS", 'FILTER="PASS"'),
        ("FILTER", "!=", "PASS", 'FILTER!="PASS"'),
        ("ZYGOSITY", "=", "het", 'GT="het"'),
        ("ZYGOSITY", "=", "hom_alt", 'GT="AA"'),
        ("FORMAT.DP", "<", 30, "FMT/DP<30"),
        ("POS", ">", 10_050_000, "POS>10050000"),
    ]:
        lines = bcftools.view("-H", "-i", expression, str(source)).splitlines()
        lines = [line for line in lines if line.split("\t")[4] != "<NON_REF>"]  # the blocks of a GVCF
        query = {"what": "count", "where": [{"column": column, "op": op, "value": value}]}
        never = column == "FILTER" and name.endswith(".g.vcf")  # was this file filtered
        expected = ("unverifiable", None) if never else ("contradicted", len(lines))
        assert verdict(store, variants.cid, -1, about, query=query) == expected, expression


OVER_TABLES: list[Any] = [
    ({"what": "count", "where": [{"column": "cluster", "value": "B cells"}]}, 2),
    ({"what": "count", "where": [{"column": "cluster", "value": 10}]}, 1),
    ({"what": "count", "where": [{"column": "score", "op": ">", "value": 0}]}, 2),
    ({"what": "count", "where": [{"column": "note", "value": None}]}, 1),
    ({"what": "mean", "column": "score"}, (1.5 + 2.25 - 0.03) / 3),
    ({"what": "sum", "column": "score", "where": [{"column": "cluster", "value": "B cells"}]}, 2.25),
    ({"what": "value", "column": "cluster", "where": [{"column": "gene", "value": "CD3D"}]}, "T cells"),
    (
        {"what": "share", "where": [{"column": "cluster", "op": "in", "value": ["B cells", "T cells"]}]},
        0.75,
    ),
]


@pytest.mark.parametrize("form", ["csv", "tsv", "gzip"])
def test_a_query_over_a_table_finds_what_is_there(store: Store, form: str) -> None:
    text = ROWS.replace(",", "\t") if form == "tsv" else ROWS
    cid = put("markers.csv", gzip.compress(text.encode()) if form == "gzip" else text, Table, kind="markers")
    for query, found in OVER_TABLES:
        assert verdict(store, cid, found, query=query) == ("confirmed", found), query
        wrong = "NK cells" if isinstance(found, str) else found + 1
        assert verdict(store, cid, wrong, query=query) == ("contradicted", found), query


COVERAGE = "#rname\tstartpos\tmeandepth\nchr1\t1\t30.25\nchr2\t1\t?\n"
PICARD = """## htsjdk.samtools.metrics.StringHeader
# MarkDuplicates INPUT=[a.bam], OUTPUT=b.bam
## htsjdk.samtools.metrics.StringHeader
# Started on: Mon Jan 01 00:00:00 UTC 2026

## METRICS CLASS\tpicard.sam.DuplicationMetrics
LIBRARY\tREAD_PAIRS_EXAMINED\tPERCENT_DUPLICATION
lib\t100\t0.0871

## HISTOGRAM\tjava.lang.Double
BIN\tVALUE
1.0\t1.5
"""


def test_reports_that_are_tables_can_be_asked(store: Store) -> None:
    coverage, duplicates = (
        put(f"{n}.txt", t, QcReport, kind=str(n)) for n, t in enumerate((COVERAGE, PICARD))
    )
    depth = {"what": "value", "column": "meandepth", "where": [{"column": "rname", "value": "chr1"}]}
    for cid, query, value, expected in [
        (coverage, depth, 30.3, "confirmed"),
        (coverage, {"what": "count", "where": [{"column": "meandepth", "value": None}]}, 1, "confirmed"),
        (duplicates, {"what": "count"}, 1, "confirmed"),
        (duplicates, {"what": "value", "column": "PERCENT_DUPLICATION"}, "8.7%", "confirmed"),
        (duplicates, {"what": "value", "column": "PERCENT_DUPLICATION"}, "0.087%", "contradicted"),
        (duplicates, {"what": "value", "column": "BIN"}, 1, "unverifiable"),
    ]:
        assert verdict(store, cid, value, query=query)[0] == expected, query


WRONG_QUERIES: list[Any] = [
    ({"what": "mean", "column": "QAUL"}, "no column", "QUAL"),
    ({"what": "mean", "column": "INFO.AFF"}, "no column", "INFO.AF"),
    ({"what": "count", "where": [{"column": "FORMAT.DPP", "value": 1}]}, "no column", "FORMAT.DP"),
    ({"what": "cuont"}, "no query", None),
    ({"what": ["count"]}, "no query", None),
    ({}, "no query", None),
    ({"what": "count", "were": []}, "takes no", "where"),
    ({"what": "mean"}, "needs a column", None),
    ({"what": "count", "where": [{"column": "POS", "op": "=>", "value": 1}]}, "no operator", None),
    ({"what": "count", "where": [{"column": "POS", "op": [1], "value": 1}]}, "no operator", None),
    ({"what": "count", "where": [{"column": "POS", "op": "<", "value": "many"}]}, "takes a number", None),
    ({"what": "count", "where": [{"column": "POS", "op": "in", "value": 1}]}, "takes a list", None),
    ({"what": "count", "where": [{"column": "POS", "value": [1]}]}, "takes a list", None),
    ({"what": "count", "where": [{"column": "POS", "value": {"a": 1}}]}, "one value", None),
    ({"what": "count", "where": ["POS > 1"]}, "column, op and value", None),
    ({"what": "count", "where": 3}, "column, op and value", None),
    ({"what": "count", "where": [{"column": "REF", "op": ">", "value": 1}]}, "is a number", None),
    ({"what": "count", "where": [{"column": "FILTER", "value": "pass"}]}, "no row has", "PASS"),
    ({"what": "count", "where": [{"column": "FILTER", "op": "!=", "value": "pass"}]}, "no row has", "PASS"),
    ({"what": "count", "where": [{"column": "CHROM", "value": "chr1q"}]}, "no row has", "chr1"),
    ({"what": "mean", "column": "INFO.AF"}, "several values", None),
    ({"what": "mean", "column": "REF"}, "no numbers", None),
    ({"what": "value", "column": "QUAL"}, "rows satisfy", None),
    ({"what": "value", "column": "QUAL", "where": [{"column": "POS", "value": 7}]}, "no row", None),
    ({"what": "mean", "column": "QUAL", "where": [{"column": "POS", "value": 7}]}, "no row", None),
    ({"what": "share", "of": [{"column": "POS", "value": 7}]}, "no row", None),
    ({"what": "genotype", "chrom": "1", "pos": 3}, "no contig", None),
    ({"what": "count", "axis": "cells", "where": [{"column": "n", "value": 3}]}, "no column", None),
]  # fmt: skip


def test_a_wrong_query_is_unverifiable_with_what_is_near(store: Store) -> None:
    cid = put("a.vcf", calls(["A"]), Variants, samples=["A"])
    for query, why, near in WRONG_QUERIES:
        found = checked(store, cid=cid, value=0, about=ONLY_A, query=query)
        assert found["verdict"] == "unverifiable", query
        assert why in found["why"]
        assert near is None or near in found["near"]


IMPOSSIBLE: list[Any] = [
    ("TYPE", "deletion", "indel"),
    ("ZYGOSITY", "0/1", "het"),
    ("ZYGOSITY", "heterozygous", "het"),
    ("FORMAT.GT", "het", "0/1"),
    ("FORMAT.GT", "0|1", "0/1"),
    ("FORMAT.GT", "1/0", "0/1"),
    ("CHROM", "chr17", "chr1"),
    ("CHROM", 17, "chr1"),
    ("FILTER", "q10", "PASS"),
    ("INFO.DB", "yes", "True"),
    ("INFO.DP", "high", None),
    ("QUAL", "50%", None),
    ("INFO.AF", "50%", None),
    ("ALT", "deletion", "A"),
]


def test_that_there_is_none_of_what_a_column_cannot_have_is_not_confirmed(store: Store) -> None:
    cid = put("a.vcf", calls(["A"]), Variants, samples=["A"])
    for column, value, near in IMPOSSIBLE:
        for op, named in (("=", value), ("in", [value])):
            query = {"what": "count", "where": [{"column": column, "op": op, "value": named}]}
            found = checked(store, cid=cid, value=0, about=ONLY_A, query=query)
            assert found["verdict"] == "unverifiable", (column, value, found)
            assert near is None or near in found["near"]
    text = {"what": "count", "where": [{"column": "INFO.DP", "value": "10"}]}
    assert verdict(store, cid, 1, ONLY_A, query=text)[0] == "confirmed"


def test_of_calls_that_were_never_filtered_nothing_passes_or_fails(store: Store) -> None:
    cid = put("a.vcf", calls(["A"], [row.replace("PASS", ".") for row in CALLS[2:]]), Variants, samples=["A"])
    for claimed in (0, 4):
        query = {"what": "count", "where": [PASSES]}
        assert "never filtered" in checked(store, cid=cid, value=claimed, about=ONLY_A, query=query)["why"]
    none = {"what": "count", "where": [{"column": "FILTER", "value": None}]}
    assert verdict(store, cid, 4, ONLY_A, query=none)[0] == "confirmed"


SHARES_AND_PERCENT = {
    "medians": {"pct_counts_mt": 6.349, "n": 3},
    "mapped %": 98.5,
    "percentMito": 6.349,
    "duplicates": 0.0871,
    "kept": 0.334,
    "PCT_CHIMERAS": 0.02,
    "depth": 55.2,
    "text": "98.5%",
}
PERCENTAGES: list[Any] = [
    ("medians.pct_counts_mt", "6.3%", "confirmed"),
    ("medians.pct_counts_mt", "634.9%", "contradicted"),
    ("medians.pct_counts_mt", 6.35, "confirmed"),
    ("medians.pct_counts_mt", "0.0635", "contradicted"),
    ("medians.pct_counts_mt", 6, "confirmed"),
    ("mapped %", "98.5%", "confirmed"),
    ("mapped %", 0.985, "contradicted"),
    ("percentMito", "6.35%", "confirmed"),
    ("duplicates", "8.71%", "confirmed"),
    ("duplicates", "0.0871%", "contradicted"),
    ("kept", "33%", "confirmed"),
    ("kept", "34%", "contradicted"),
    ("PCT_CHIMERAS", "2.0%", "confirmed"),
    ("medians.n", "300%", "unverifiable"),
    ("depth", 55, "confirmed"),
    ("depth", 56, "contradicted"),
    ("depth", 55.0, "contradicted"),
    ("depth", "55x", "unverifiable"),
    ("depth", "~55", "unverifiable"),
    ("depth", "high", "unverifiable"),
    ("medians.n", "3 cells", "unverifiable"),
    ("kept", 0, "unverifiable"),
    ("text", "98.50%", "confirmed"),
    ("text", "0.985%", "contradicted"),
    ("duplicates", 1, "contradicted"),
]


def test_a_percentage_is_of_a_share_unless_the_field_is_in_percent(store: Store) -> None:
    cid = put("r.json", json.dumps(SHARES_AND_PERCENT), QcReport, kind="x")
    for field, value, expected in PERCENTAGES:
        assert verdict(store, cid, value, field=field)[0] == expected, (field, value)
    for field, value, statement, expected in [
        ("medians.pct_counts_mt", 6.3, "The median is 6.3%.", "confirmed"),
        ("medians.pct_counts_mt", "6.3%", "The median is 6.3 percent.", "confirmed"),
        ("duplicates", 0.0871, "Duplicates are 0.0871 percent.", "unverifiable"),
        ("duplicates", 0.0871, "Duplicates are 8.71%.", "confirmed"),
        ("duplicates", "8.71%", "Duplicates are 8.71 per cent.", "confirmed"),
        ("duplicates", "8.71%", "Duplicates are 8.71 of a hundred.", "unverifiable"),
    ]:
        assert verdict(store, cid, value, field=field, statement=statement)[0] == expected, statement


def test_a_tolerance_is_a_number_for_a_figure_that_is_none_of_whole_numbers(store: Store) -> None:
    cid = put("r.json", json.dumps(SHARES_AND_PERCENT | {"reads": 100}), QcReport, kind="x")
    for field, value, tolerance, expected, then in [
        ("depth", 55.0, 0.5, "confirmed", ""),
        ("depth", 55.0, "10%", "unverifiable", '"tolerance": 0.5'),
        ("reads", 99, 2, "unverifiable", "leave out tolerance"),
        ("medians.pct_counts_mt", "6.3%", 0.1, "confirmed", ""),
    ]:
        found = checked(store, cid=cid, field=field, value=value, tolerance=tolerance)
        assert (found["verdict"], then in found.get("then", "")) == (expected, True), found


def test_lists_of_numbers_have_an_order(store: Store) -> None:
    text = HEADER.replace(
        "##contig=<ID=chr1", "##FORMAT=<ID=AD,Number=R,Type=Integer,Description=x>\n##contig=<ID=chr1"
    )
    cid = put("a.vcf", f"{text}A\nchr1\t100\t.\tA\tG\t50\tPASS\t.\tGT:AD\t0/1:23,22\n"
              "chr1\t200\t.\tA\tG\t50\tPASS\t.\tGT:AD\t0/1:.,22\n", Variants, samples=["A"])  # fmt: skip
    for at, value, expected in [
        (100, [23, 22], "confirmed"),
        (100, [22, 23], "contradicted"),
        (100, "23,22", "confirmed"),
        (100, "22,23", "contradicted"),
        (200, ".,22", "confirmed"),
        (200, [None, 22], "confirmed"),
        (200, [22], "contradicted"),
    ]:
        query = {"what": "value", "column": "FORMAT.AD", "where": [{"column": "POS", "value": at}]}
        assert verdict(store, cid, value, ONLY_A, query=query)[0] == expected, (at, value)


def test_nothing_of_a_kind_can_be_claimed_unless_it_looks_like_a_slip(store: Store) -> None:
    cid = put("markers.csv", ROWS, Table, kind="markers")

    def count(gene: str, value: int) -> str:
        where = [{"column": "gene", "value": gene}]
        return verdict(store, cid, value, query={"what": "count", "where": where})[0]

    assert count("TP53", 0) == "confirmed"
    assert count("CD3E", 0) == "unverifiable"
    assert count("cd3d", 0) == "unverifiable"
    assert count("TP53", 1) == "unverifiable"
    missing = {"what": "count", "where": [{"column": "score", "value": "NA"}]}
    assert "null" in checked(store, cid=cid, value=0, query=missing)["then"]


REPORT = {
    "samples": {"A": {"ti_tv": 1.9793, "name.with.dots": 3}, "A.2": {"ti_tv": 2.1}},
    "lanes": [{"sample": "A", "reads": 10}, {"sample": "A.2", "reads": 12}],
    "cohort": 2,
    "filters": [],
    "none": None,
}


FIELDS: list[Any] = [
    ("samples.A.ti_tv", "A", 1.98, "confirmed"),
    ("samples.A.ti_tv", "A", 1.97, "contradicted"),
    ("/samples/A/ti_tv", "A", "1.979", "confirmed"),
    ("samples.A.ti_tv", "A.2", 1.98, "contradicted"),
    ("samples.A.ti_tv", ["A", "A.2"], 1.98, "contradicted"),
    ("samples.A.2.ti_tv", "A.2", 2.1, "confirmed"),
    ("samples.A.name.with.dots", "A", 3, "confirmed"),
    ("lanes[0].reads", "A", 10, "confirmed"),
    ("lanes[1].reads", "A", 12, "contradicted"),
    ("/lanes/1/reads", "A", 12, "contradicted"),
    ("lanes[sample=A.2].reads", "A.2", 12, "confirmed"),
    ("lanes[2].reads", "A", 12, "unverifiable"),
    ("cohort", ["A", "A.2"], 2, "confirmed"),
    ("cohort", "A", 2, "unverifiable"),
    ("none", ["A", "A.2"], None, "confirmed"),
    ("filters", ["A", "A.2"], [], "confirmed"),
    ("samples.A", "A", 1, "unverifiable"),
    ("samples.C.ti_tv", "A", 1, "unverifiable"),
    ("samples..A", "A", 1, "unverifiable"),
    ("cohort.", ["A", "A.2"], 2, "unverifiable"),
]


def test_a_field_of_a_report_is_that_of_the_sample_of_the_statement(store: Store) -> None:
    variants = put("two.vcf", calls(["A", "A.2"]), Variants, samples=["A", "A.2"])
    cid = put("summary.json", json.dumps(REPORT), QcReport, kind="summary", variants_cid=variants)
    for field, sample, value, expected in FIELDS:
        found = checked(store, cid=cid, field=field, value=value, about={"sample": sample})
        assert found["verdict"] == expected, found
        assert found["file"]["samples"] == ["A", "A.2"]


def test_metadata_is_compared_with_its_type(store: Store, pair: str) -> None:
    for field, value, expected in [
        ("caller", "bcftools", "confirmed"), ("caller", "gatk", "contradicted"), ("filtered", False, "confirmed"),
        ("filtered", "true", "contradicted"), ("samples", ["B", "A"], "confirmed"), ("samples", ["A"], "contradicted"),
        ("build", None, "confirmed"), ("build", "GRCh38", "unverifiable"), ("asset", "variants", "confirmed"),
        ("name", "pair.vcf", "confirmed"), ("size", Path("pair.vcf").stat().st_size, "confirmed"),
        ("size", 1, "contradicted"), ("caler", "bcftools", "unverifiable"),
    ]:  # fmt: skip
        assert verdict(store, pair, value, BOTH, field=field)[0] == expected, field
    assert "caller" in checked(store, cid=pair, field="caler", value=1, about=BOTH)["near"]
    assert verdict(store, pair, "A", field="sample")[0] == "contradicted"


WRONG_FILES: list[Any] = [
    ({}, "unverifiable", "does not say which sample"),
    ({"about": {"sample": "C"}}, "contradicted", "the file is not of it"),
    ({"about": {"sample": "A"}}, "unverifiable", "about fewer"),
    ({"about": {"sample": ["A", "C"]}}, "contradicted", "the file is not of it"),
    ({"about": {"sample": ["B", "A"]}}, "confirmed", ""),
    ({"about": {"samples": ["B", "A"], "caller": "bcftools"}}, "confirmed", ""),
    ({"about": {**BOTH, "caller": "gatk"}}, "contradicted", '"caller"'),
    ({"about": {**BOTH, "build": "GRCh38"}}, "unverifiable", '"build"'),
    ({"about": {**BOTH, "condition": "tumour"}}, "unverifiable", '"condition"'),
    ({"about": {"sample": 3}}, "unverifiable", "by text"),
    ({"about": "A"}, "unverifiable", "an object"),
    ({"about": BOTH, "tolerance": 2}, "unverifiable", "too much"),
    ({"about": BOTH, "tolerance": -1}, "unverifiable", "tolerance"),
    ({"about": BOTH, "field": "size"}, "unverifiable", "either"),
    ({"about": BOTH, "fields": "size"}, "unverifiable", "has no"),
    ({"about": BOTH, "statement": "A and B have 6 calls."}, "confirmed", ""),
    ({"about": BOTH, "statement": "A and B have 60 calls."}, "unverifiable", "does not give the value 6"),
    ({"about": BOTH, "statement": "A and NA12878 have 6 calls."}, "contradicted", '"NA12878"'),
    ({"about": BOTH, "statement": "A, B and HG002 have 6 calls."}, "contradicted", '"HG002"'),
    ({"about": BOTH, "statement": 6}, "unverifiable", "a text"),
    ({"about": {"sample": "A"}, "query": {"what": "count", "sample": "B"}}, "contradicted", "beside it"),
]  # fmt: skip


def test_the_right_number_of_a_wrong_file_is_not_confirmed(store: Store, pair: str) -> None:
    put("reads_R1.fq", "@r\nACGT\n+\nIIII\n", sample="NA12878")
    put("other.vcf", calls(["HG002"]), Variants, samples=["HG002"])
    for claim, expected, why in WRONG_FILES:
        found = checked(store, cid=pair, value=6, **{"query": {"what": "count"}} | claim)
        assert (found["verdict"], why in found.get("why", "")) == (expected, True), found


SNV, MANY = {"column": "TYPE", "value": "snv"}, {"column": "QUAL", "op": ">", "value": 20}
STATEMENTS: list[Any] = [
    ([], 6, "A has 6 calls.", "confirmed", ""),
    ([], 6, "HG002 has 6 calls.", "unverifiable", 'name the sample "A"'),
    ([], 6, "A does not have 6 calls.", "unverifiable", '"not"'),
    ([], 6, "It is wrong that A has 6 calls.", "unverifiable", '"wrong"'),
    ([], 6, "A doesn't have 6 calls.", "unverifiable", "denial"),
    ([], 6, "A has 6 million calls.", "unverifiable", "does not give"),
    ([], 6, "A has 6 calls. " * 200, "unverifiable", "3,000 characters"),
    ([], 6, "A has 6k calls.", "unverifiable", "does not give"),
    ([], 6, "A has more than 6 calls.", "unverifiable", "does not give"),
    ([], 6, "A has 6% of calls.", "unverifiable", "does not give"),
    ([], 6, "A has 1,6 calls.", "unverifiable", "does not give"),
    ([], 6, "A has 6-9 calls.", "unverifiable", "does not give"),
    ([], 6, "A has 6 calls that pass all filters.", "unverifiable", "does not look at FILTER"),
    ([], 6, "A has 6 SNVs.", "unverifiable", "does not look at TYPE"),
    ([PASSES], 4, "A has 4 calls that pass.", "confirmed", ""),
    ([PASSES], 4, "A has 4 calls.", "unverifiable", "says nothing"),
    ([SNV], 5, "A has 5 SNVs.", "confirmed", ""),
    ([MANY], 5, "A has 5 calls of QUAL over 20.", "confirmed", ""),
    ([{"column": "CHROM", "value": "chr2"}], 2, "A has 2 calls on chromosome 2.", "confirmed", ""),
    ([{"column": "CHROM", "value": "chr2"}], 2, "A has 2 calls on chr1.", "unverifiable", "says nothing"),
]


def test_a_statement_says_what_was_asked_as_far_as_that_is_compared(store: Store) -> None:
    cid = put("a.vcf", calls(["A"]), Variants, samples=["A"])
    for where, value, statement, expected, why in STATEMENTS:
        query = {"what": "count", "where": where}
        found = checked(store, cid=cid, value=value, about=ONLY_A, query=query, statement=statement)
        assert (found["verdict"], why in found.get("why", "")) == (expected, True), found
        assert found["asked"].startswith("count of ")
    for statement, expected in [
        ("A is heterozygous at chr1:100.", "confirmed"),
        ("A is heterozygous at chr1:1,000.", "unverifiable"),
        ("A is heterozygous at chr2:100.", "unverifiable"),
    ]:
        query = {"what": "genotype", "chrom": "chr1", "pos": 100}
        assert (
            checked(store, cid=cid, value="het", about=ONLY_A, query=query, statement=statement)["verdict"]
            == expected
        )


def test_the_answer_repeats_what_was_asked(store: Store, pair: str) -> None:
    report = put("r.json", json.dumps(REPORT), QcReport, kind="x", sample="A")
    site = {"what": "genotype", "chrom": "chr1", "pos": 100, "alt": "G"}
    passing = 'count of records where "FILTER" = "PASS" of A, B'
    for cid, about, claim, words in [
        (pair, BOTH, {"query": {"what": "count"}}, "count of all records of A, B"),
        (pair, BOTH, {"query": {"what": "count", "where": [PASSES]}}, passing),
        (pair, BOTH, {"query": {"what": "mean", "column": "QUAL"}}, 'mean of "QUAL" of all records of A, B'),
        (pair, BOTH, {"query": {"what": "share", "where": 3}}, "share of records where 3 among all records of A, B"),
        (pair, ONLY_A, {"query": site}, 'genotype at "chr1", 100 alt "G" of A'),
        (report, ONLY_A, {"field": "samples.A.ti_tv"}, "samples.A.ti_tv"),
        (report, ONLY_A, {"field": "lanes[0].reads"}, "lanes[0].reads of A"),
    ]:  # fmt: skip
        found = checked(store, cid=cid, value=1, about=about, **claim)
        assert found["asked"] == words
        assert claim.items() <= found.items()


def test_a_claim_may_come_as_json_text(store: Store, pair: str) -> None:
    claim = {"cid": pair, "query": {"what": "count"}, "value": 6, "about": BOTH}
    found = check_claims(store, [json.dumps(claim), "{"])["results"]
    assert [each["verdict"] for each in found] == ["confirmed", "unverifiable"]
    assert "no JSON" in found[1]["why"]


def test_links_say_what_a_file_without_fields_of_its_own_is_about(store: Store) -> None:
    reference = put("g.fa", ">chr1\nACGT\n", Reference, build="tiny")
    cid = put("ref.json", '{"bases": 4}', QcReport, kind="reference", reference_cid=reference)
    assert verdict(store, cid, 4, {"build": "tiny"}, field="bases")[0] == "confirmed"
    found = checked(store, cid=cid, field="bases", value=4, about={"build": "GRCh38"})
    assert (found["verdict"], found["is_of"]) == ("contradicted", {"build": "tiny"})
    assert verdict(store, cid, 4, {"sample": "A"}, field="bases")[0] == "unverifiable"


def test_the_build_is_that_of_the_reference_however_far_the_links_go(store: Store) -> None:
    reference = put("g.fa", ">chr1\nACGT\n", Reference, build="tiny")
    cid = put("a.vcf", calls(["A"]), Variants, samples=["A"], reference_cid=reference, force=True)
    report = put("r.json", '{"calls": 6}', QcReport, kind="calls", variants_cid=cid)
    for file, field, value in ((cid, "build", "tiny"), (report, "calls", 6), (report, "build", "tiny")):
        assert verdict(store, file, value, {**ONLY_A, "build": "tiny"}, field=field)[0] == "confirmed"
        assert verdict(store, file, value, {**ONLY_A, "build": "GRCh38"}, field=field)[0] == "contradicted"
    unknown = checked(store, cid=reference, field="build", value="tiny", about={"caller": "gatk"})
    assert "leave it out" not in unknown["then"]


def test_what_registrations_of_one_file_say_has_to_agree_or_to_be_named(store: Store) -> None:
    cid = put("t.csv", ROWS, Table, kind="markers", sample="S")
    put("t.csv", ROWS, Table, kind="genes", sample="S")
    put("t.csv", ROWS, Table, kind="other", sample="T")
    s, t = {"sample": "S"}, {"sample": "T"}
    assert verdict(store, cid, "other", t, field="kind")[0] == "confirmed"
    assert verdict(store, cid, "S", s, field="sample")[0] == "confirmed"
    found = checked(store, cid=cid, field="kind", value="markers", about=s)
    assert found["verdict"] == "unverifiable"
    assert {each["found"]: each["samples"] for each in found["registrations"]} == {
        "markers": ["S"],
        "genes": ["S"],
    }
    ids = {each["found"]: each["id"] for each in found["registrations"]}
    assert verdict(store, cid, "genes", {**s, "id": ids["genes"]}, field="kind")[0] == "confirmed"
    assert verdict(store, cid, "genes", {**s, "id": ids["markers"]}, field="kind")[0] == "contradicted"
    assert verdict(store, cid, "genes", {**s, "id": "0"}, field="kind")[0] == "unverifiable"
    assert verdict(store, cid, 4, {**s, "kind": "genes"}, query={"what": "count"})[0] == "confirmed"
    assert verdict(store, cid, 4, {**s, "kind": "cells"}, query={"what": "count"})[0] == "contradicted"


def test_what_a_task_said_cannot_be_amended_and_is_not_confirmed_if_it_was(store: Store) -> None:
    path, report = store.objects.work / "a.vcf", store.objects.work / "r.json"
    path.write_text(calls(["A"]))
    report.write_text('{"kind": "bytes", "reads": 3}')
    made = [
        ("calls", Variants(path=path, samples=["A"], caller="bcftools")),
        ("report", QcReport(path=report, kind="bytes", sample="A")),
    ]
    store.commit(Execution(task="lab.call", finished="2026-01-01T00:00:00Z"), made)
    (record,), (summary,) = (store.query({"asset": kind}) for kind in ("variants", "qc_report"))
    for change in ({"caller": "gatk"}, {"caller": None}, {"samples": ["B"]}):
        with pytest.raises(InvalidAssetError, match="a task computed this file"):
            amend_records(store, [record], change)
    assert amend_records(store, [record], {"caller": "bcftools"}) == [record]
    put(
        "again.vcf", calls(["A"]), Variants, samples=["A"], caller="gatk"
    )  # the same bytes, said to be another's
    for value in ("gatk", "bcftools"):
        assert verdict(store, record.cid, value, ONLY_A, field="caller")[0] == "unverifiable"
    assert (
        verdict(store, record.cid, 6, {**ONLY_A, "caller": "gatk"}, query={"what": "count"})[0]
        == "contradicted"
    )
    storage.retract(store, next(each for each in store.query({"cid": record.cid}) if each.id != record.id))
    (named,) = amend_records(store, [record], {"build": "tiny"})  # which the task did not say
    assert verdict(store, record.cid, "bcftools", ONLY_A, field="caller")[0] == "confirmed"
    assert "amended" in checked(store, cid=record.cid, field="build", value="tiny", about=ONLY_A)["why"]

    storage.amend(store, named, {"caller": "gatk"})  # as older versions did
    storage.amend(store, summary, {"kind": "else"})

    count = {"query": {"what": "count"}, "value": 6}
    assert "amended" in checked(store, cid=record.cid, field="caller", value="gatk", about=ONLY_A)["why"]
    assert "amended" in checked(store, cid=record.cid, about={**ONLY_A, "caller": "gatk"}, **count)["why"]
    assert verdict(store, record.cid, 6, ONLY_A, query={"what": "count"})[0] == "confirmed"
    linked = put("l.json", '{"calls": 6}', QcReport, kind="x", variants_cid=record.cid)
    assert (
        "amended"
        in checked(store, cid=linked, field="calls", value=6, about={**ONLY_A, "caller": "gatk"})["why"]
    )
    assert verdict(store, summary.cid, "else", ONLY_A, field="kind") == ("contradicted", "bytes")


def test_a_superseded_file_confirms_nothing_that_is_said_of_today(store: Store) -> None:
    old, new = (put(f"{n}.vcf", calls(["A"], CALLS[:n]), Variants, samples=["A"]) for n in (2, 3))
    first, second = (store.query({"cid": cid})[0] for cid in (old, new))
    storage.supersede(store, first, second, "wrong")

    found = checked(store, cid=old, value=2, about=ONLY_A, query={"what": "count"})

    assert found["verdict"] == "unverifiable"
    assert found["file"]["superseded_by"] == new
    knowing = {**ONLY_A, "superseded": True}
    assert verdict(store, old, 2, knowing, query={"what": "count"})[0] == "confirmed"
    assert verdict(store, new, 3, ONLY_A, query={"what": "count"})[0] == "confirmed"


def test_evicted_and_damaged_bytes_are_not_believed(store: Store, pair: str) -> None:
    other = put("a.vcf", calls(["A"]), Variants, samples=["A"])
    maintenance.evict(store, store.query({"cid": pair}), force=True)
    path = store.objects.path(other)
    path.chmod(0o644)
    path.write_text(path.read_text().replace("PASS", "FAIL"))

    evicted = checked(store, cid=pair, value=6, about=BOTH, query={"what": "count"})
    damaged = checked(store, cid=other, value=6, about=ONLY_A, query={"what": "count"})

    assert (evicted["verdict"], evicted["file"]["bytes"]) == ("unverifiable", "evicted")
    assert f'download_file {{"cid": "{pair}", "folder": "results"}}' in evicted["then"]
    assert (damaged["verdict"], damaged["file"]["bytes"]) == ("unverifiable", "damaged")
    assert verdict(store, pair, "bcftools", BOTH, field="caller") == ("confirmed", "bcftools")


def test_what_is_not_registered_or_not_read_is_unverifiable(store: Store) -> None:
    query = {"what": "count"}
    gone = put("a.vcf", calls(["A"]), Variants, samples=["A"])
    storage.retract(store, store.query({"cid": gone})[0])
    text = put("stats.txt", "SN\tx\n" * 3 + "\0", QcReport, kind="samtools_stats")
    cut = put("cut.txt", calls(["A"], [*CALLS, "chr1 x . A"]), QcReport, kind="calls")
    unknown: list[Any] = [(gone, ONLY_A), (text, None), ("bafk", None), (7, None), (None, None), ([], None)]
    for cid, about in unknown:
        assert verdict(store, cid, 1, about, query=query)[0] == "unverifiable"
    assert "not registered any more" in checked(store, cid=gone, value=1, query=query)["why"]
    assert "to its end" in checked(store, cid=cut, value=1, query=query, about=ONLY_A)["why"]
    unclear: list[Any] = [None, [], "x", {}, {"cid": gone}, {"cid": gone, "value": 1}]
    for claim in unclear:
        assert check_claims(store, [claim])["unverifiable"] == 1
    no_list: list[Any] = [[], "x", {}, [{}] * 101]
    for claims in no_list:
        with pytest.raises(InvalidAssetError, match="1 to 100"):
            check_claims(store, claims)


FINITE = st.floats(-1e9, 1e9).map(lambda x: x + 0.0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.lists(FINITE, min_size=1, max_size=8), st.integers(0, 6), st.integers(2, 9), st.data())
def test_a_claim_made_from_the_true_value_is_confirmed_and_a_changed_one_contradicted(
    store: Store, numbers: list[float], digits: int, off: int, data: st.DataObject
) -> None:
    text = "".join(f"{place},{value!r}\n" for place, value in enumerate(numbers))
    cid = put("numbers.csv", f"row,x\n{text}", Table, kind="numbers")
    at = data.draw(st.integers(0, len(numbers) - 1))
    higher = {"column": "x", "op": ">=", "value": numbers[at]}
    true = {
        math.fsum(numbers): {"what": "sum", "column": "x"},
        math.fsum(numbers) / len(numbers): {"what": "mean", "column": "x"},
        sum(x >= numbers[at] for x in numbers) / len(numbers): {"what": "share", "where": [higher]},
        numbers[at]: {"what": "value", "column": "x", "where": [{"column": "row", "value": at}]},
    }
    right, wrong = [], []
    for value, query in true.items():
        written = f"{value:.{digits}f}"
        moved = str(Decimal(written) + Decimal(1).scaleb(-digits) * off)
        right += [
            {"cid": cid, "query": query, "value": each} for each in (value, written if digits else value)
        ]
        wrong.append({"cid": cid, "query": query, "value": moved})

    results = check_claims(store, [*right, *wrong])["results"]

    assert {result["verdict"] for result in results[: len(right)]} == {"confirmed"}
    for result, value in zip(results[len(right) :], true, strict=True):
        assert result["verdict"] == "contradicted"
        assert math.isclose(result["found"], value, rel_tol=1e-9, abs_tol=1e-9)


WORDS = ["count", "value", "genotype", "POS", "FILTER", "FORMAT.GT", "A", "chr1", "=", "in", "<", "1e999"]
KEYS = ["what", "where", "of", "column", "op", "value", "sample", "chrom", "pos", "ref", "alt", "axis"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
QUERY = st.fixed_dictionaries(
    {"what": st.sampled_from(["count", "mean", "value", "genotype"])},
    optional=dict.fromkeys(["where", "of", "column", "chrom", "pos", "alt", "axis"], JSON),
)


@pytest.fixture
def three(store: Store) -> list[str]:
    """Variants, a table and a report."""
    return [
        put("a.vcf", calls(["A"]), Variants, samples=["A"]),
        put("t.csv", ROWS, Table, kind="markers"),
        put("r.json", json.dumps(REPORT), QcReport, kind="x", sample="A"),
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON, JSON, JSON, QUERY)
def test_whatever_a_claim_holds_the_call_is_answered(
    store: Store, three: list[str], value: Any, field: Any, tolerance: Any, query: dict[str, Any]
) -> None:
    claims = [{"cid": cid, "value": value, "about": ONLY_A if cid != three[1] else {}} | more for cid in three
              for more in ({"query": query}, {"field": field, "tolerance": tolerance}, {"query": field})]  # fmt: skip
    answer = check_claims(store, claims)
    assert len(answer["results"]) == len(claims)
    json.dumps(answer, allow_nan=False)


@pytest.fixture
def cells(store: Store, tmp_path: Path) -> str:
    """Six cells of two samples, in three clusters, with three genes."""
    anndata = pytest.importorskip("anndata", reason="NOT TESTED: pip install 'stargazer-mcp[scrna]'")
    import numpy as np
    import pandas as pd
    from scipy import sparse

    counts = np.array([[0, 1, 2], [3, 0, 0], [0, 0, 1], [5, 1, 0], [0, 2, 0], [1, 0, 0]], dtype=np.float32)
    obs = pd.DataFrame(
        {
            "sample": pd.Categorical(["s0"] * 4 + ["s1"] * 2),
            "leiden": pd.Categorical(list("001122")),
            "pct": [1.5, 2.5, None, 4.0, 5.0, 6.0],
            "doublet": [False, True, False, False, False, True],
        },
        index=[f"c{number}" for number in range(6)],
    )
    made = anndata.AnnData(
        sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=["CD3D", "MS4A1", "NKG7"])
    )
    made.var["highly_variable"] = [True, False, True]
    made.layers["counts"] = sparse.csc_matrix(counts * 2)
    made.layers["dense"] = counts + 1
    made.write_h5ad("cells.h5ad")
    return put("cells.h5ad", Path("cells.h5ad").read_bytes(), AnnData)


def test_a_query_over_cells_finds_what_is_there(store: Store, cells: str) -> None:
    both, s0, of_s0 = {"sample": ["s0", "s1"]}, {"sample": "s0"}, {"column": "sample", "value": "s0"}
    expressed = {"column": "gene:CD3D", "op": ">", "value": 0}
    for query, about, found in [
        ({"what": "count"}, both, 6),
        ({"what": "count", "where": [{"column": "leiden", "value": "1"}]}, both, 2),
        ({"what": "count", "where": [{"column": "doublet", "value": True}]}, both, 2),
        ({"what": "mean", "column": "pct"}, both, 19 / 5),
        ({"what": "mean", "column": "pct", "where": [of_s0]}, s0, 8 / 3),
        ({"what": "share", "where": [expressed], "of": [of_s0]}, s0, 0.5),
        ({"what": "sum", "column": "gene:CD3D"}, both, 9),
        ({"what": "sum", "column": "gene:CD3D", "layer": "counts"}, both, 18),
        ({"what": "mean", "column": "gene:NKG7", "layer": "dense"}, both, 1.5),
        ({"what": "value", "column": "leiden", "where": [{"column": "index", "value": "c3"}]}, both, 1),
        ({"what": "count", "where": [{"column": "pct", "op": "<", "value": "5%"}]}, both, 3),
        ({"what": "count", "where": [{"column": "pct", "value": "4"}]}, both, 1),
        ({"what": "count", "axis": "var", "where": [{"column": "highly_variable", "value": True}]}, both, 2),
    ]:
        assert verdict(store, cells, found, about, query=query) == ("confirmed", found), query
        assert verdict(store, cells, found + 1, about, query=query) == ("contradicted", found), query
    for query, why in [
        ({"what": "count", "where": [{"column": "lieden", "value": "1"}]}, "no column"),
        ({"what": "sum", "column": "gene:CD3E"}, "no gene"),
        ({"what": "sum", "column": "gene:CD3D", "layer": "raw"}, "no layer"),
        ({"what": "count", "axis": "obsm"}, "no axis"),
        ({"what": "genotype", "chrom": "c", "pos": 1}, "VCF"),
        ({"what": "count", "where": [{"column": "leiden", "value": "9"}]}, "none can have it"),
        ({"what": "count", "where": [{"column": "doublet", "value": "yes"}]}, "none can have it"),
        ({"what": "count", "where": [{"column": "pct", "value": "high"}]}, "has numbers"),
        ({"what": "count", "where": [{"column": "gene:CD3D", "op": ">", "value": "20%"}]}, "percentage"),
    ]:
        found = checked(store, cid=cells, value=1, about=both, query=query)
        assert (found["verdict"], why in found["why"]) == ("unverifiable", True), found
    assert verdict(store, cells, 6, s0, query={"what": "count"})[0] == "unverifiable"
    assert verdict(store, cells, 6, {"sample": "s2"}, query={"what": "count"})[0] == "contradicted"
    assert verdict(
        store, cells, 2, s0, query={"what": "count", "where": [{"column": "sample", "value": "s1"}]}
    ) == (
        "contradicted",
        None,
    )


def test_without_the_extra_an_h5ad_is_unverifiable_with_the_command_that_installs_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid = put("cells.h5ad", SUPERBLOCK, AnnData, sample="s0", force=True)
    for name in ("h5py", "anndata", "anndata.io"):
        monkeypatch.setitem(sys.modules, name, None)
    found = checked(store, cid=cid, value=1, about={"sample": "s0"}, query={"what": "count"})
    assert found["verdict"] == "unverifiable"
    assert "pip install 'stargazer-mcp[scrna]'" in found["then"]


def test_the_command_checks_a_file_of_claims(
    store: Store, pair: str, stargazer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = ({"cid": pair, "query": {"what": "count"}, "value": n, "about": BOTH} for n in (6, 7))
    slip = {"cid": pair, "field": "caler", "value": "x\x1b[2J", "about": BOTH}
    Path("right.json").write_text(json.dumps([right]))
    Path("claims.json").write_text(json.dumps([right, wrong, slip]))
    assert stargazer("claims", "right.json") == (
        0,
        f"0: confirmed: count of all records of A, B: 6 ({pair})\n",
        "",
    )
    status, out, _ = stargazer("claims", "claims.json")
    assert status == 1
    assert out.splitlines()[1] == f"1: contradicted: count of all records of A, B: 7; the file has 6 ({pair})"
    assert "near: caller" in out.splitlines()[2]
    assert "\x1b" not in out
    assert json.loads(stargazer("claims", "claims.json", "--json")[1])["contradicted"] == 1
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps([wrong])))
    assert stargazer("claims", "-")[0] == 1
    Path("none.json").write_text('[{"cid": NaN}]')
    for words, said in [
        (["none.json"], "no list of claims"),
        (["gone.json"], "cannot be read"),
        ([], "say which file"),
    ]:
        status, _, err = stargazer("claims", *words)
        assert status in (1, 2)
        assert said in err


async def through_server(client: Client[Any], claims: Any) -> dict[str, Any]:
    """The answer of the tool, waited for."""
    answer = (await client.call_tool("check_claims", {"claims": claims})).structured_content or {}
    if answer.get("state") == "running":
        run = await watch_run(answer["run"], seconds=100)
        assert run.state == "succeeded", run.error
        answer = run.results["result"]
    return dict(answer)


def test_claims_are_checked_through_the_server(store: Store) -> None:
    reference = put("g.fa", f">chr1\n{'ACGT' * 2500}\n>chr2\n{'ACGT' * 1250}\n", Reference, build="tiny")
    calls_of = {
        name: put(f"{name}.vcf", calls([name]), Variants, samples=[name], reference_cid=reference)
        for name in ("A", "B")
    }
    summary = put("s.json", json.dumps(REPORT), QcReport, kind="x", sample="A", reference_cid=reference)
    ratio = {"cid": summary, "field": "samples.A.ti_tv", "about": {"sample": "A", "build": "tiny"}}
    count = {"query": {"what": "count", "where": [PASSES]}, "value": 4, "about": {"sample": "A"}}
    site = {"what": "genotype", "chrom": "chr1", "pos": 100}
    claims = [
        {**ratio, "value": 1.98, "statement": "The Ti/Tv of A is 1.98."},
        {**ratio, "value": 2.08},
        {"cid": calls_of["A"], **count},
        {"cid": calls_of["B"], **count},
        {"cid": calls_of["A"], "field": "sample", "value": "A"},
        {"cid": calls_of["A"], "about": {"sample": "A"}, "query": site, "value": "0/1"},
    ]

    async def run() -> tuple[dict[str, Any], str]:
        async with Client(make_server()) as client:
            refused = await client.call_tool("check_claims", {"claims": "x"}, raise_on_error=False)
            return await through_server(client, json.dumps(claims)), str(refused.content[0].text)

    answer, refused = asyncio.run(asyncio.wait_for(run(), 120))
    assert [each["verdict"] for each in answer["results"]] == [
        "confirmed", "contradicted", "confirmed", "contradicted", "confirmed", "confirmed",
    ]  # fmt: skip
    edited, elsewhere = answer["results"][1], answer["results"][3]
    assert edited["found"] == 1.9793
    assert (elsewhere["cid"], elsewhere["is_of"]) == (calls_of["B"], {"samples": ["B"]})
    assert all(each["file"]["bytes"] == "verified" for each in answer["results"][:3])
    assert (answer["confirmed"], answer["contradicted"], answer["unverifiable"]) == (4, 2, 0)
    assert (
        'for example: {"claims": [{"cid": "bafkrei...", "about": {"sample": "NA12878"}, "field": ' in refused
    )
