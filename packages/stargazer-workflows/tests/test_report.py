"""The HTML report of a germline run: self-contained, escaped, reproducible, and readable whatever the run was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from stargazer.workflows.report.citations import citations
from stargazer.workflows.report.germline import write_germline_report

HOSTILE = "<script>alert('x')</script> & \"quoted\" $x_$ naïve Ωμέγα"


def reads(**figures: Any) -> dict[str, Any]:
    return {"reads": 1000, "mapped": 0.99, "properly_paired": 0.98, "left_out": 0.01, "mean_read_length": 150.0,
            "mean_base_quality": 33.5, "insert_size": 401.0, "insert_size_deviation": 80.0, "insert_size_median": 399,
            "mismatch_rate": 0.004, **figures}  # fmt: skip


def sample(**figures: Any) -> dict[str, Any]:
    """What a summary has of a sample."""
    return {
        **reads(),
        "duplicates": 0.05,
        "mean_coverage_of_reference": 29.0,
        "deepest": 61,
        "insert_sizes": {"step": 10, "counts": [0] * 30 + [5, 20, 30, 20, 5], "beyond": 2},
        "coverage": {
            "bases": 12_345, "mean": 30.25, "median": 30, "at_least": {"1": 1.0, "10": 0.9876, "20": 0.95, "30": 0.5},
            "depths": {"step": 1, "counts": [1] * 20 + [30] * 20, "beyond": 3},
        },
        "calls_that_pass": {
            "snvs_hom_alt": 3, "snvs_het": 5, "haploid_alt": 0, "het_hom": 1.667, "indels": 2, "singletons": 4,
            "missing": 0, "mean_depth_at_calls": 27.5,
            "alt_read_shares": {"snvs": [0] * 9 + [2, 3, 1] + [0] * 8 + [3], "indels": [0] * 21},
        },
        **figures,
    }  # fmt: skip


NO_READS = sample(
    **reads(reads=0, mapped=0.0, properly_paired=0.0, mean_read_length=0.0, mean_base_quality=0.0, insert_size=0.0,
            insert_size_deviation=0.0, insert_size_median=None, mismatch_rate=0.0),
    duplicates=0.0,
    deepest=0,
    insert_sizes={"step": 10, "counts": [], "beyond": 0},
    coverage={"bases": 12_345, "mean": 0.0, "median": 0, "at_least": dict.fromkeys(("1", "10", "20", "30"), 0.0),
              "depths": {"step": 1, "counts": [12_345], "beyond": 0}},
)  # fmt: skip


def summary(*names: str, **changed: Any) -> dict[str, Any]:
    """A summary of samples of these names."""
    return {
        "notes": ["Adapters were not trimmed."],
        "unusual": [],
        "run": {"caller": "bcftools", "aligner": "bwa-mem3", "contigs": [], "intervals": "", "known_sites": [],
                "filters": {"LowQual": "QUAL<30"}},
        "reference": {"build": "small", "bases": 12_400, "n": 55, "contigs": 2},
        "ploidy": {"default": 2, "given": [], "sex": []},
        "max_depth": 100_000,
        "variants": {
            "pass": {"records": 10, "snvs": 8, "indels": 2, "genotypes_in_deletions": 0, "multiallelic_sites": 1,
                     "ts_tv": 2.25},
            "filtered": {"records": 3, "snvs": 2, "indels": 1, "by_filter": {"LowQual": 2, "odd": 1}},
            "distributions": {
                "quality": {"step": 10, "snvs": [0] * 49 + [8], "indels": [0, 2] + [0] * 48},
                "indel_lengths": {"-3": 1, "2": 1},
                "substitutions": {"A>C": 3, "A>G": 5},
            },
        },
        "samples": {name: sample() for name in names or ("NA1",)},
        "lanes": [],
        "duplicates": [{"sample": name, "library": "lib1", "reads": 990, "duplicates": 50, "share": 0.0505,
                        "optical": None, "library_size": 7654} for name in names or ("NA1",)],
        "picard": [],
        **changed,
    }  # fmt: skip


NO_VARIANTS = {
    "pass": {"records": 0, "snvs": 0, "indels": 0, "genotypes_in_deletions": 0, "multiallelic_sites": 0, "ts_tv": 0.0},
    "filtered": {"records": 0, "snvs": 0, "indels": 0, "by_filter": {}},
    "distributions": {"quality": {"step": 10, "snvs": [0] * 50, "indels": [0] * 50}, "indel_lengths": {},
                      "substitutions": {"A>C": 0}},
}  # fmt: skip


def comparison(name: str) -> dict[str, Any]:
    scores = {kind: {"truth": 12, "calls": 11, "tp": 10, "fp": 1, "fn": 2, "precision": 0.99, "recall": 0.98,
                     "f1": 0.985, "genotype_concordance": None} for kind in ("snv", "indel")}  # fmt: skip
    site = {"contig": name, "position": 12_345, "ref": "A", "alt": "C", "quality": 31.5}
    error = {
        **site,
        "sample": name,
        "kind": "false",
        "type": "snv",
        "truth": None,
        "call": "0/1",
        "depth": 20,
        "alt_depth": 4,
    }
    listed = {**site, "father": "0/0", "mother": "0/0", "child": "0/1", "quality": None}
    return {
        "comparison": {"samples": {name: scores}, "total": scores, "errors": [error], "errors_total": 5},
        "inheritance": {"sites": 10, "violations": 1, "rate": 0.1, "listed": [listed]},
    }


def step(name: str = "env.call_variants", count: int = 1, on: str = "NA1", node: int = 0) -> dict[str, Any]:
    """A step, as `lineage_steps` gives it."""
    execution = {"on": [on], "seconds": 1.25, "commands": [["bcftools", "call", "-e", "QUAL<30"]],
                 "outputs": [{"cid": f"bafk-{on}", "name": "calls.vcf.gz"}]}  # fmt: skip
    return {
        "task": name,
        "distribution": "stargazer-tasks 0.1.0",
        "tools": [{"name": "bcftools", "version": "1.24", "source": "wheel pysam==0.24.1"}],
        "count": count,
        "seconds": 1.25 * count,
        "longest": 1.25,
        "peak_memory": 1_234_000_000,
        "cores": 2,
        "spans": [{"start": 1.767e9, "seconds": 1.25, "calls": count, "on": [on]}],
        "nodes": [
            {
                "node": node,
                "layer": 1,
                "calls": count,
                "on": [on],
                "after": [],
                "imported": [{"node": 1000, "kinds": ["reference"], "files": 1, "of": on}],
            }
        ],
        "executions": [execution, execution],
    }


class Strict(HTMLParser):
    """Notes every tag and all text, and any tag that is closed out of turn."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.marked: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if "u" in (dict(attrs).get("class") or "").split():
            self.marked.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "li":
            assert self.open.pop() == tag
        elif self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def parsed(html: str) -> Strict:
    parser = Strict()
    parser.feed(html)
    assert parser.open == []
    return parser


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a report of a summary; gives its HTML."""

    def written(content: dict[str, Any], steps: Sequence[dict[str, Any]] = (), compared: Any = None) -> str:
        (tmp_path / "summary.json").write_text(json.dumps(content))
        if compared:
            (tmp_path / "comparison.json").write_text(json.dumps(compared))
        page = tmp_path / "report.html"
        write_germline_report(str(page), str(tmp_path / "summary.json"), steps or [step()],
                              str(tmp_path / "comparison.json") if compared else None)  # fmt: skip
        return page.read_text(encoding="utf-8")

    return written


def test_the_same_content_gives_the_same_bytes_under_any_matplotlibrc(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib

    first = write(summary())
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "red")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 22)

    assert write(summary()) == first


def test_it_loads_nothing_and_has_no_date_but_that_of_its_steps(write: Any) -> None:
    html = write(summary(), compared=comparison("NA1"))

    tags = parsed(html).seen
    assert not tags & {"script", "link", "img", "iframe", "image", "metadata"}
    assert not re.search(r"@import|url\((?!#)|\bsrc=", html)
    assert set(re.findall(r"https?://[^/\"]*", html)) == {
        "https://doi.org"
    }  # links, which nobody follows unasked
    assert set(re.findall(r"\b20\d\d-\d\d-\d\d", html)) == {"2025-12-29"}


def test_whatever_the_content_says_is_text(write: Any) -> None:
    content = summary(
        HOSTILE, notes=[HOSTILE], picard=[{"sample": HOSTILE, "kind": HOSTILE, "rows": [{HOSTILE: HOSTILE}]}]
    )
    content["run"] = {
        **content["run"],
        "filters": {HOSTILE: HOSTILE},
        "intervals": HOSTILE,
        "contigs": [HOSTILE],
    }
    content["lanes"] = [{"sample": HOSTILE, "library": HOSTILE, "lane": HOSTILE, **reads()}]
    content["unusual"] = [{"sample": HOSTILE, "lane": f"{HOSTILE} {HOSTILE}", "figure": "mapped", "value": 0.5,
                           "usual": {"bound": "at least", "value": 0.9}, "means": HOSTILE}]  # fmt: skip

    page = parsed(html := write(content, [step(HOSTILE, on=HOSTILE)], comparison(HOSTILE)))

    assert "script" not in page.seen
    assert "&lt;script&gt;" in html
    assert HOSTILE in page.text
    assert len(page.marked) == 2  # in the list of what is unusual, and in the row of the lane


def test_it_shows_every_figure(write: Any) -> None:
    lanes = [
        {"sample": "NA1", "library": "lib1", "lane": lane, **reads(reads=501)} for lane in ("L001", "L002")
    ]
    page = parsed(html := write(summary(lanes=lanes), compared=comparison("NA1")))

    for expected in (
        "1,000", "99.00 %", "98.00 %", "0.40 %", "33.5", "150", "399",  # reads
        "L002", "501",
        "12,345 bases", "30.2x", "98.76 %", "95.00 %", "61",  # coverage
        "lib1", "5.05 %", "7,654",  # duplicates
        "2.25", "LowQual", "QUAL<30", "odd", "1.67", "27.5x",  # variants
        "Adapters were not trimmed.", "bcftools 1.24", "as they were read", "wheel pysam==0.24.1",
        "bcftools call -e 'QUAL<30'",
        "doi:10.1093/bioinformatics/btr509", "bafk-NA1",
        "0.9850", "12,345", "4 of 20", "and 4 more", "Mendelian violations",  # the demo's
    ):  # fmt: skip
        assert expected in page.text, expected
    assert html.count("<svg") == 9
    assert re.search(r"call_variants\s+1\s+1.2 s\s+1.2 s\s+1.2 GB\s+2", page.text)
    assert "Nothing unusual." in page.text


def test_what_is_unusual_is_said_first_and_marked(write: Any) -> None:
    found = {
        "figure": "coverage.mean",
        "value": 4.5,
        "usual": {"bound": "at least", "value": 10},
        "means": "too little",
    }
    page = parsed(write(summary("a", "b", unusual=[{"sample": "b", **found}])))

    assert "1 unusual figure." in page.text
    assert re.search(r"b\s+mean coverage\s+4.5x\s+at least 10.0x\s+too little", page.text)
    assert page.text.index("too little") < page.text.index("Reads")
    assert len(page.marked) == 2


def test_a_run_without_reads_and_without_variants_has_a_page_too(write: Any) -> None:
    empty = {**NO_READS, "calls_that_pass": {}}
    page = parsed(html := write(summary(samples={"NA1": empty}, variants=NO_VARIANTS, duplicates=[])))

    assert html.count("<svg") == 2  # of its steps
    assert "There are no reads" in page.text
    assert "No call passes" in page.text
    assert not {"nan", "None"} & set(page.text.split())


def test_a_sample_without_reads_among_others_keeps_the_colours(write: Any) -> None:
    html = write(summary(samples={"a": NO_READS, "b": sample()}))

    plots = html[html.index("Coverage and insert sizes") : html.index("Duplicates by library")]
    assert "var(--series-2)" in plots.split("<svg", 1)[1]
    assert "var(--series-1)" not in plots.split("<svg", 1)[1]


def test_haploid_genotypes_have_a_column_where_there_are_any(write: Any) -> None:
    haploid = sample()
    haploid["calls_that_pass"] = {**haploid["calls_that_pass"], "haploid_alt": 17}

    assert '<th class="n">haploid<' in write(summary(samples={"a": haploid}))
    assert '<th class="n">haploid<' not in write(summary())


def test_metrics_of_picard_are_shown_as_they_are(write: Any) -> None:
    def metrics(rows: int) -> str:
        found = [{"SAMPLE_ALIAS": f"s{number}", "DBSNP_TITV": 2.1, "NOTHING": None} for number in range(rows)]
        picard = [{"sample": "", "kind": "variant_calling_detail_metrics", "rows": found}]
        html: str = write(summary(picard=picard))
        return html[html.index("Metrics of GATK and Picard") : html.index("How it was run")]

    assert re.search(r"<td>SAMPLE_ALIAS</td><td>s0</td><td>s1</td>", metrics(2))
    assert re.search(r"<th>SAMPLE_ALIAS</th><th>DBSNP_TITV</th>", metrics(50))
    assert "None" not in metrics(1)


def test_fifty_samples_are_readable_and_small(write: Any) -> None:
    names = [f"sample-{number:02}" for number in range(50)]
    steps = [step(f"env.task{number}", count=5_000, node=number) for number in range(20)]

    html = write(summary(*names), steps)

    assert len(html.encode()) < 1_000_000
    assert "Germline short variants: 50 samples" in html
    assert 'class="wide long"' in html  # scrolls by itself
    assert "<ul class=legend>" not in html
    assert "Each of the 50 lines is a sample." in html
    assert "and 4,998 more" in html


def test_papers_are_those_of_what_was_used() -> None:
    def dois(tools: set[str], tasks: set[str]) -> set[str]:
        return {paper.doi for paper in citations(tools, tasks)}

    assert dois({"bwa", "samtools"}, {"align_with_bwa"}) == {
        "10.48550/arXiv.1303.3997",
        "10.1093/gigascience/giab008",
    }
    assert dois({"gatk"}, {"haplotype_caller", "base_recalibrator"}) == {
        "10.1101/gr.107524.110", "10.1038/ng.806", "10.1101/201178", "10.1002/0471250953.bi1110s43"
    }  # fmt: skip
    assert dois(set(), {"normalise_variants", "call_variants"}) == {
        "10.1093/bioinformatics/btr509", "10.1093/bioinformatics/btv112"
    }  # fmt: skip
