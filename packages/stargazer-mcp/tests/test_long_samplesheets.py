"""From a sample sheet to the report by one command: a simulated trio, real reads, a real alignment, single cells."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pysam
import pytest

from .command import COMMAND

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
GERMLINE = "germline_short_variant_discovery"


@pytest.fixture(params=["bcftools", "gatk"])
def caller(request: pytest.FixtureRequest) -> str:
    """The name of a caller, which the test's home has."""
    if request.param == "gatk":
        request.getfixturevalue("gatk_home")
    return str(request.param)


def stargazer(*words: object) -> Any:
    """What the command prints as JSON."""
    done = subprocess.run([*COMMAND, *map(str, words), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def write_sheet(path: Path, *rows: dict[str, object]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def run(workflow: str, sheet: Path, *words: str) -> dict[str, Any]:
    """The results of a workflow that is run on a sheet."""
    outdir = sheet.parent / "results"
    done = stargazer("run", workflow, "--samplesheet", sheet, *words, "--outdir", outdir)
    results: dict[str, Any] = done["results"]
    assert Path(results["report"]["path"]).parent == outdir
    return results


def names_in(report: str, samples: list[str]) -> list[str]:
    """Which of these samples a report tells of."""
    page = Path(report).read_text()
    return [name for name in samples if name in page]


def assert_called(results: dict[str, Any], samples: list[str]) -> None:
    """See that there are calls of these samples, and a report that tells of each."""
    with pysam.VariantFile(results["variants"]["path"]) as variants:
        assert sorted(variants.header.samples) == sorted(samples)
        assert any("PASS" in record.filter for record in variants)
    assert names_in(results["report"]["path"], samples) == samples


def test_the_trio_of_the_demo(caller: str, tmp_path: Path) -> None:
    from stargazer.workflows.demo.simulate import simulate_trio

    made = simulate_trio(str(tmp_path / "trio"))
    stargazer("add", made["reference"], "build=trio")
    rows = [
        {"patient": item["sample"], "sex": sex, "status": 0, "sample": item["sample"], "lane": lane["lane"],
         "fastq_1": lane["r1"], "fastq_2": lane["r2"]}
        for item, sex in zip(made["samples"], ["XY", "XX", "NA"], strict=True)
        for lane in item["lanes"]
    ]  # fmt: skip

    results = run(GERMLINE, write_sheet(tmp_path / "trio.csv", *rows), "build=trio", f"caller={caller}")

    assert_called(results, [item["sample"] for item in made["samples"]])


def test_real_reads(caller: str, test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "tp53"
    stargazer("add", folder / "GRCh38_TP53.fa", "build=GRCh38")
    known = folder / "Mills_and_1000G_gold_standard.indels.TP53.hg38.vcf"
    stargazer("add", known, "asset=known_sites", "name=mills", "build=GRCh38")
    reads = {f"fastq_{mate}": folder / f"NA12829_TP53_R{mate}.fq.gz" for mate in (1, 2)}
    sheet = write_sheet(tmp_path / "tp53.csv", {"sample": "NA12829", "lane": "L001", **reads})

    assert_called(run(GERMLINE, sheet, "build=GRCh38", f"caller={caller}"), ["NA12829"])


def test_a_real_alignment(caller: str, test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "na12878_chr20"
    stargazer("add", folder / "ucsc.hg19.chr20.unittest.fasta.gz", "build=hg19")
    row = {"sample": "NA12878", "sex": "XX", "bam": folder / "NA12878_S1.chr20.10_10p1mb.bam"}
    sheet = write_sheet(tmp_path / "na12878.csv", row)

    assert_called(run(GERMLINE, sheet, "build=hg19", f"caller={caller}"), ["NA12878"])


def test_single_cells_of_two_samples(compiled: Path, tmp_path: Path) -> None:
    pytest.importorskip("scanpy", reason="NOT TESTED: pip install 'stargazer-mcp[scrna]'")
    from stargazer.workflows.demo.cells import simulate_cells

    made = simulate_cells(str(tmp_path / "cells"))
    rows = [{"sample": item["sample"], "path": item["folder"]} for item in made["samples"]]

    results = run("scrna_clustering", write_sheet(tmp_path / "cells.csv", *rows))

    samples = [row["sample"] for row in rows]
    assert names_in(results["report"]["path"], samples) == samples
    assert Path(results["cells"]["path"]).suffix == ".h5ad"
