"""Reads the statistics that samtools and bcftools print, and joins them into the summary of a germline run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stargazer.tasks.germline.ploidy import MALE_NAMES, SINGLE_NAMES, TABLES
from stargazer.tasks.germline.records import IN_DELETION, count_records
from stargazer.tasks.regions import contigs_of

__all__ = [
    "mapped_reads",
    "read_alignment_stats",
    "read_flagstat",
    "read_variant_stats",
    "summarise_germline",
]

OFTEN = 0.2
"""Of the reads of a sample: what is not properly paired in a usual library is less."""


def read_flagstat(path: Path) -> dict[str, Any]:
    """Counts of `samtools flagstat -O json`: reads, mapped, properly paired, duplicates; fractions of 1.

    `left_out`: those that are mapped as of a pair and not properly, or that failed the quality checks of the sequencer
    (flag 0x200), of all reads; `bcftools mpileup` does not look at them.
    """
    both = json.loads(path.read_text())
    counts, failed = both["QC-passed reads"], both["QC-failed reads"]["primary"]
    reads = counts["primary"]
    discordant = counts["with itself and mate mapped"] + counts["singletons"] - counts["properly paired"]

    def share(count: int) -> float:
        return round(count / reads, 6) if reads else 0.0

    return {
        "reads": reads,
        "mapped": share(counts["primary mapped"]),
        "properly_paired": share(counts["properly paired"]),
        "left_out": round((discordant + failed) / (reads + failed), 6) if reads + failed else 0.0,
        "duplicates": share(counts["primary duplicates"]),
    }


def mapped_reads(path: Path) -> int:
    """How many reads are mapped, each counted once, from `samtools flagstat -O json`."""
    return int(json.loads(path.read_text())["QC-passed reads"]["primary mapped"])


def read_alignment_stats(path: Path, bases: int) -> dict[str, Any]:
    """Coverage, insert size in bases and error rate, from `samtools stats`.

    Args:
        bases: of the whole reference, over which coverage is the mean. Clipped bases and duplicates do not count.

    Returns:
        Among others `deepest`: the reads at the place that has most of them, duplicates included.
    """
    numbers, deepest = {}, 0
    with path.open() as lines:
        for line in lines:
            kind, *fields = line.rstrip("\n").split("\t")
            if kind == "SN":
                numbers[fields[0].rstrip(":")] = float(fields[1])
            elif kind == "COV":
                deepest = max(deepest, int(fields[1]))
    covering = max(0.0, numbers["bases mapped (cigar)"] - numbers["bases duplicated"])
    return {
        "mean_coverage_of_reference": round(covering / bases, 3) if bases else 0.0,
        "deepest": deepest,
        "insert_size": numbers["insert size average"],
        "insert_size_deviation": numbers["insert size standard deviation"],
        "mismatch_rate": numbers["error rate"],
    }


def read_variant_stats(path: Path) -> dict[str, Any]:
    """Transitions over transversions, multiallelic sites, and genotypes by sample, from `bcftools stats -s -`."""
    lines = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    numbers = {line[2].rstrip(":"): int(line[3]) for line in lines if line[0] == "SN"}
    ratio = next((float(line[4]) for line in lines if line[0] == "TSTV"), 0.0)
    samples = {
        line[2]: {
            "snvs_hom_alt": int(line[4]),
            "snvs_het": int(line[5]),
            "snvs_haploid_alt": int(line[12]),
            "indels": int(line[8]),
            "mean_depth_at_calls": float(line[9]),
        }
        for line in lines
        if line[0] == "PSC"
    }
    return {"multiallelic_sites": numbers["number of multiallelic sites"], "ts_tv": ratio, "samples": samples}


def summarise_germline(
    target: str,
    calls: str,
    variant_stats: str,
    samples: list[dict[str, str]],
    lanes: list[dict[str, str]],
    duplicates: list[dict[str, str]],
    picard: list[dict[str, str]],
    fai: str,
    reference_report: str,
    checks: list[str],
    settings: dict[str, Any],
) -> None:
    """Write the summary of a germline run as JSON.

    Args:
        calls: the filtered VCF.
        samples: of each its name, and where its flagstat and stats are.
        reference_report, checks: JSON documents with `notes`: of the reference, and of alignments from elsewhere.
        settings: `ploidy`, `sex`, `max_depth`, `marked_elsewhere` (samples whose duplicates were marked before),
            `caller`, `why_this_caller` (if nobody said which), `known_sites` (names of those used).
    """
    contigs = contigs_of(Path(fai))
    variants = read_variant_stats(Path(variant_stats))
    called = variants.pop("samples")
    counts = count_records(calls)
    by_sample = {
        item["sample"]: {
            **read_flagstat(Path(item["flagstat"])),
            **read_alignment_stats(Path(item["stats"]), sum(contigs.values())),
            "calls_that_pass": called.get(item["sample"], {}),
        }
        for item in samples
    }
    reference = json.loads(Path(reference_report).read_text())
    notes = [
        *reference.pop("notes"),
        *(note for path in checks for note in json.loads(Path(path).read_text())["notes"]),
    ]
    notes += _notes(settings, contigs, by_sample, counts)
    summary = {
        "notes": notes,
        "reference": reference,
        "ploidy": {"default": 2, "given": settings["ploidy"], "sex": settings["sex"]},
        "max_depth": settings["max_depth"],
        "variants": {"pass": {**counts["pass"], **variants}, "filtered": counts["filtered"]},
        "samples": by_sample,
    }
    Path(target).write_text(json.dumps(summary, indent=1) + "\n")


def _notes(
    settings: dict[str, Any], contigs: dict[str, int], samples: dict[str, Any], counts: dict[str, Any]
) -> list[str]:
    """What was not done, or was done otherwise than one might think, in sentences."""
    notes = []
    if marked := settings["marked_elsewhere"]:
        notes.append(
            f"Duplicates of {', '.join(marked)} were not marked here: header or metadata say that they are."
        )
    given = settings["ploidy"]
    tables = TABLES.keys() & set(given)
    special = [name for name in contigs if name in SINGLE_NAMES | MALE_NAMES]
    doubtful = [
        name
        for name in special
        if not tables and not any(item.startswith((f"{name}:", f"{name}=")) for item in given)
    ]
    if tables and not special:
        notes.append(
            f"ploidy={', '.join(sorted(tables))} changed nothing: the reference has no contig that is named chrX, "
            "chrY, chrM, or so without chr; where they have other names, give copies by these."
        )
    if doubtful:
        notes.append(f"Two copies are assumed of {', '.join(doubtful)}, as of every contig that ploidy= does not name; "
                     "give ploidy=chrM:1, and for males ploidy=GRCh38 sex=SAMPLE:M.")  # fmt: skip
    deep = [f"{name} ({found['deepest']:,} reads)" for name, found in samples.items()
            if settings["caller"] == "bcftools" and found["deepest"] > settings["max_depth"]]  # fmt: skip
    if deep:
        notes.append(f"Some places are deeper than max_depth={settings['max_depth']}: {', '.join(deep)}. Reads may be "
                     "left out there, and depths and allele depths be too low: give a higher max_depth.")  # fmt: skip
    if discordant := [f"{name} ({found['left_out']:.0%})" for name, found in samples.items()
                      if found["left_out"] > OFTEN]:  # fmt: skip
        unused = "Variants were called without them; " if settings["caller"] == "bcftools" else "Please "
        notes.append(
            f"Many reads are of pairs that are not properly paired, or failed quality checks (flag 0x200): "
            f"{', '.join(discordant)}. {unused}see whether the two files of reads belong "
            "together, and the library is as it should be."
        )
    if inside := counts["filtered"]["by_filter"].get(IN_DELETION, 0):
        notes.append(
            f"{inside:,} calls lie in a deletion of all copies of their samples: FILTER {IN_DELETION}."
        )
    if inside := counts["pass"]["genotypes_in_deletions"]:
        notes.append(f"{inside:,} genotypes of calls that pass for other samples lie in a deletion of all copies of "
                     f"theirs: FT {IN_DELETION}.")  # fmt: skip
    if settings["why_this_caller"]:
        notes.append(settings["why_this_caller"])
    if settings["caller"] == "gatk" and not settings["known_sites"]:
        notes.append("Base qualities were not recalibrated: no known sites are registered for this build "
                     "(`stargazer add sites.vcf.gz asset=known_sites name=dbSNP build=...`).")  # fmt: skip
    elif settings["caller"] != "gatk":
        notes.append("Base qualities were not recalibrated.")
    notes.append("Adapters were not trimmed.")
    return notes
