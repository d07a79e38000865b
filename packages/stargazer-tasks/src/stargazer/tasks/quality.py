"""Reading what samtools and bcftools count, and putting it together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stargazer.tasks.regions import contigs_of

__all__ = [
    "mapped_reads",
    "read_alignment_stats",
    "read_flagstat",
    "read_variant_stats",
    "summarise_germline",
]


def read_flagstat(path: Path) -> dict[str, Any]:
    """Counts of `samtools flagstat -O json`: reads, mapped, properly paired, duplicates; fractions of 1."""
    counts = json.loads(path.read_text())["QC-passed reads"]
    reads = counts["primary"]

    def share(count: int) -> float:
        return round(count / reads, 6) if reads else 0.0

    return {
        "reads": reads,
        "mapped": share(counts["primary mapped"]),
        "properly_paired": share(counts["properly paired"]),
        "duplicates": share(counts["primary duplicates"]),
    }


def mapped_reads(path: Path) -> int:
    """How many reads are mapped, each counted once, from `samtools flagstat -O json`."""
    return int(json.loads(path.read_text())["QC-passed reads"]["primary mapped"])


def read_alignment_stats(path: Path, bases: int) -> dict[str, Any]:
    """Coverage, insert size in bases and error rate, from `samtools stats`.

    Args:
        bases: of the whole reference, over which coverage is the mean. Clipped bases and duplicates do not count.
    """
    fields = (line.split("\t") for line in path.read_text().splitlines() if line.startswith("SN\t"))
    numbers = {name.rstrip(":"): float(value) for _, name, value, *_ in fields}
    covering = max(0.0, numbers["bases mapped (cigar)"] - numbers["bases duplicated"])
    return {
        "mean_coverage_of_reference": round(covering / bases, 3) if bases else 0.0,
        "insert_size": numbers["insert size average"],
        "insert_size_deviation": numbers["insert size standard deviation"],
        "mismatch_rate": numbers["error rate"],
    }


def read_variant_stats(path: Path) -> dict[str, Any]:
    """Records, SNVs, indels and transitions over transversions, and counts by sample, from `bcftools stats -s -`."""
    lines = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    numbers = {line[2].rstrip(":"): int(line[3]) for line in lines if line[0] == "SN"}
    ratio = next((float(line[4]) for line in lines if line[0] == "TSTV"), 0.0)
    samples = {
        line[2]: {
            "hom_ref": int(line[3]),
            "hom_alt": int(line[4]),
            "het": int(line[5]),
            "depth": float(line[9]),
        }
        for line in lines
        if line[0] == "PSC"
    }
    return {
        "records": numbers["number of records"],
        "snvs": numbers["number of SNPs"],
        "indels": numbers["number of indels"],
        "multiallelic_sites": numbers["number of multiallelic sites"],
        "ts_tv": ratio,
        "samples": samples,
    }


def summarise_germline(target: str, variant_stats: str, samples: list[dict[str, str]], fai: str) -> None:
    """Write the summary of a germline run as JSON."""
    bases = sum(contigs_of(Path(fai)).values())
    variants = read_variant_stats(Path(variant_stats))
    called = variants.pop("samples")
    by_sample = {
        item["sample"]: {
            **read_flagstat(Path(item["flagstat"])),
            **read_alignment_stats(Path(item["stats"]), bases),
            "genotypes": called.get(item["sample"], {}),
        }
        for item in samples
    }
    Path(target).write_text(json.dumps({"variants": variants, "samples": by_sample}, indent=1) + "\n")
