"""Reads the statistics that samtools, bcftools and Picard print, and joins them into the summary of a germline run."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stargazer.tasks.germline.ploidy import MALE_NAMES, SINGLE_NAMES, TABLES
from stargazer.tasks.germline.records import IN_DELETION, count_records
from stargazer.tasks.regions import contigs_of
from stargazer.tasks.unusual import LEFT_OUT, unusual_calls, unusual_reads

__all__ = [
    "mapped_reads",
    "read_alignment_stats",
    "read_coverage",
    "read_duplicates",
    "read_flagstat",
    "read_picard_metrics",
    "read_variant_stats",
    "summarise_germline",
]

DEPTHS = ("1", "10", "20", "30")
"""Reads that a base is asked to have at least."""

BINS = 100
"""Of a distribution of depths, at most: as wide as that takes."""

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
"""In a table of Picard; `001` is a name."""

NO_VALUES = ("", "?", "NaN", "Infinity", "-Infinity")
"""What Picard writes where there is no number."""

INSERT_STEP, INSERT_BINS = 10, 100
QUALITY_STEP, QUALITY_BINS = 10, 50


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
    """Coverage, insert size in bases, base quality and error rate, from `samtools stats`.

    Args:
        bases: of the whole reference, over which coverage is the mean. Clipped bases and duplicates do not count.

    Returns:
        Among others `deepest`: the reads at the place that has most of them, duplicates included; and `insert_sizes`:
        pairs by insert size, in `counts` of `step` bases each from zero on, and how many lie `beyond`.
    """
    numbers, deepest = {}, 0
    pairs: dict[int, int] = {}
    for kind, fields in _sections(path):
        if kind == "SN":
            numbers[fields[0].rstrip(":")] = float(fields[1])
        elif kind == "COV":
            deepest = max(deepest, int(fields[1]))
        elif kind == "IS" and int(fields[1]):
            pairs[int(fields[0])] = int(fields[1])
    covering = max(0.0, numbers["bases mapped (cigar)"] - numbers["bases duplicated"])
    return {
        "mean_coverage_of_reference": round(covering / bases, 3) if bases else 0.0,
        "deepest": deepest,
        "mean_read_length": numbers["average length"],
        "mean_base_quality": numbers["average quality"],
        "insert_size": numbers["insert size average"],
        "insert_size_deviation": numbers["insert size standard deviation"],
        "insert_size_median": _median(pairs),
        "insert_sizes": _binned(pairs, INSERT_STEP, INSERT_BINS),
        "mismatch_rate": numbers["error rate"],
    }


def read_coverage(path: Path, bases: int) -> dict[str, Any]:
    """How deep bases are, duplicates and clipped bases left out, from `samtools stats -d -c 1,MOST,1`.

    Args:
        bases: that could be covered; what `samtools stats -t` counts in targets comes before it.

    Returns:
        `bases`; `mean` and `median` depth; `at_least`, the share of bases that are 1, 10, 20 and 30 deep; and
        `depths`, the number of bases of each depth, in `counts` of `step` depths each from zero on, and `beyond`.
    """
    covered: dict[int, int] = {}
    for kind, fields in _sections(path):
        if kind == "SN" and fields[0] == "bases inside the target:":
            bases = int(fields[1])
        elif kind == "COV":
            covered[int(fields[1])] = int(fields[2])
    covered[0] = max(0, bases - sum(covered.values()))
    whole = sum(covered.values())

    def share(least: int) -> float:
        return round(sum(count for depth, count in covered.items() if depth >= least) / whole, 6)

    deepest = _quantile(covered, 0.999) or 0
    return {
        "bases": bases,
        "mean": round(sum(depth * count for depth, count in covered.items()) / whole, 3) if whole else 0.0,
        "median": _median(covered) or 0,
        "at_least": {least: share(int(least)) if whole else 0.0 for least in DEPTHS},
        "depths": _binned(covered, 1 + deepest // BINS, BINS),
    }


def read_duplicates(path: Path) -> list[dict[str, Any]]:
    """Duplicates by library, from the metrics of `samtools markdup -f` or of Picard MarkDuplicates.

    Returns:
        `library`, where the metrics name it; `reads` that were looked at, `duplicates` among them and their `share`;
        `optical` ones, None where they were not told apart; `library_size`, the estimated number of molecules, or None.
    """
    if not path.read_text().startswith("COMMAND: samtools"):
        return [_duplicates_of_picard(row) for row in read_picard_metrics(path)[0]]
    lines = (line.partition(": ") for line in path.read_text().splitlines())
    numbers = {name: int(value) for name, _, value in lines if value.strip().isdecimal()}
    return [
        _duplicates(
            numbers["EXAMINED"], numbers["DUPLICATE TOTAL"], None, numbers.get("ESTIMATED_LIBRARY_SIZE")
        )
    ]


def read_picard_metrics(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows below `## METRICS CLASS` of a file of Picard or GATK, and those below `## HISTOGRAM`.

    A row has a value for each column: a number where it is one, None where there is none, else text.
    """
    tables: dict[str, list[dict[str, Any]]] = {"METRICS CLASS": [], "HISTOGRAM": []}
    lines = iter(path.read_text().splitlines())
    for line in lines:
        name = next((name for name in tables if line.startswith(f"## {name}\t")), None)
        if name:
            columns = next(lines, "").split("\t")
            rows = itertools.takewhile(lambda row: row.strip() and not row.startswith("#"), lines)
            tables[name] += [dict(zip(columns, map(_value, row.split("\t")), strict=False)) for row in rows]
    return tables["METRICS CLASS"], tables["HISTOGRAM"]


def read_variant_stats(path: Path) -> dict[str, Any]:
    """What `bcftools stats -s -` counts: transitions over transversions, multiallelic sites, genotypes by sample.

    Returns:
        Of each sample `alt_read_shares` has genotypes by the share of reads with the alternative allele, in steps of
        0.05 from 0 to 1. `distributions` has calls by `quality`, the last count with all above; indels by their length,
        deletions negative; and SNVs by what is replaced.
    """
    lines = [line.split("\t") for line in path.read_text().splitlines() if line and not line.startswith("#")]
    numbers = {line[2].rstrip(":"): int(line[3]) for line in lines if line[0] == "SN"}
    ratio = next((float(line[4]) for line in lines if line[0] == "TSTV"), 0.0)
    samples = {line[2]: _genotypes(line) for line in lines if line[0] == "PSC"}
    for line in lines:
        if line[0] == "PSI":
            samples[line[2]] |= {"insertions_het": int(line[7]), "deletions_het": int(line[8]),
                                 "insertions_hom_alt": int(line[9]), "deletions_hom_alt": int(line[10])}  # fmt: skip
        elif line[0] == "VAF":
            both = zip(("snvs", "indels"), line[3:5], strict=True)
            samples[line[2]]["alt_read_shares"] = {
                kind: list(map(int, counts.split(","))) for kind, counts in both
            }
    quality = {kind: [0] * QUALITY_BINS for kind in ("snvs", "indels")}
    for line in lines:
        if line[0] == "QUAL" and line[2] != ".":
            place = min(QUALITY_BINS - 1, int(float(line[2]) // QUALITY_STEP))
            quality["snvs"][place] += int(line[3])
            quality["indels"][place] += int(line[6])
    return {
        "multiallelic_sites": numbers["number of multiallelic sites"],
        "ts_tv": ratio,
        "samples": samples,
        "distributions": {
            "quality": {"step": QUALITY_STEP, **quality},
            "indel_lengths": {line[2]: int(line[3]) for line in lines if line[0] == "IDD"},
            "substitutions": {line[2]: int(line[3]) for line in lines if line[0] == "ST"},
        },
    }


def summarise_germline(
    target: str,
    calls: str,
    variant_stats: str,
    samples: list[dict[str, str]],
    fai: str,
    reference_report: str,
    checks: list[str],
    settings: dict[str, Any],
    lanes: Sequence[dict[str, str]] = (),
    duplicates: Sequence[dict[str, str]] = (),
    picard: Sequence[dict[str, str]] = (),
) -> None:
    """Write the summary of a germline run as JSON.

    Args:
        calls: the filtered VCF.
        samples: of each its name, and where its flagstat, stats and coverage are.
        reference_report, checks: JSON documents with `notes`: of the reference, and of alignments from elsewhere.
        settings: as the task `summarise_germline` has them.
        lanes: of each its sample, library and lane, and where its flagstat or its stats are.
        duplicates: of each library its sample and its name, and where its metrics are.
        picard: of each its sample, its kind, and where the metrics are.
    """
    contigs = contigs_of(Path(fai))
    variants = read_variant_stats(Path(variant_stats))
    called, distributions = variants.pop("samples"), variants.pop("distributions")
    counts = count_records(calls)
    reference = json.loads(Path(reference_report).read_text())
    bases = sum(contigs.values())
    by_sample = {
        item["sample"]: {
            **read_flagstat(Path(item["flagstat"])),
            **read_alignment_stats(Path(item["stats"]), bases),
            "coverage": read_coverage(Path(item["coverage"]), bases - reference.get("n", 0)),
            "calls_that_pass": called.get(item["sample"], {}),
        }
        for item in samples
    }
    by_lane = _lanes(lanes)
    notes = [
        *reference.pop("notes"),
        *(note for path in checks for note in json.loads(Path(path).read_text())["notes"]),
    ]
    notes += _notes(settings, contigs, by_sample, counts)
    summary = {
        "notes": notes,
        "unusual": [*unusual_reads(by_sample, by_lane), *unusual_calls(counts, variants["ts_tv"], by_sample)],
        "run": {name: settings[name] for name in ("caller", "aligner", "contigs", "intervals", "filters",
                                                  "known_sites")},
        "reference": reference,
        "ploidy": {"default": 2, "given": settings["ploidy"], "sex": settings["sex"]},
        "max_depth": settings["max_depth"],
        "variants": {
            "pass": {**counts["pass"], **variants},
            "filtered": counts["filtered"],
            "distributions": distributions,
        },
        "samples": by_sample,
        "lanes": by_lane,
        "duplicates": [
            {"sample": item["sample"], "library": item["library"] or "", **{k: v for k, v in found.items() if v != ""}}
            for item in duplicates
            for found in read_duplicates(Path(item["metrics"]))
        ],
        "picard": [
            {"sample": item["sample"], "kind": item["kind"], "rows": read_picard_metrics(Path(item["metrics"]))[0]}
            for item in picard
        ],
    }  # fmt: skip
    Path(target).write_text(_json(summary))


def _sections(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The lines of `samtools stats`: what each is about, and its fields."""
    with path.open() as lines:
        for line in lines:
            kind, *fields = line.rstrip("\n").split("\t")
            yield kind, fields


def _quantile(counts: Mapping[int, int], share: float) -> int | None:
    """The least value that this share of the counted do not exceed; None of nothing."""
    below, whole = 0, sum(counts.values())
    for value in sorted(counts):
        below += counts[value]
        if whole and below >= share * whole:
            return value
    return None


def _median(counts: Mapping[int, int]) -> int | None:
    return _quantile(counts, 0.5)


def _binned(counts: Mapping[int, int], step: int, most: int) -> dict[str, Any]:
    """Counts by value, in at most so many bins of equal width from zero on, and how many lie beyond."""
    within = {value // step: 0 for value in counts if value // step < most}
    for value, count in counts.items():
        if value // step in within:
            within[value // step] += count
    bins = [within.get(number, 0) for number in range(max(within, default=-1) + 1)]
    return {"step": step, "counts": bins, "beyond": sum(counts.values()) - sum(bins)}


def _duplicates(reads: int, duplicates: int, optical: int | None, library_size: int | None) -> dict[str, Any]:
    return {
        "reads": reads,
        "duplicates": duplicates,
        "share": round(duplicates / reads, 6) if reads else 0.0,
        "optical": optical,
        "library_size": library_size or None,
    }


def _duplicates_of_picard(row: Mapping[str, Any]) -> dict[str, Any]:
    reads, duplicates = (
        (row[f"UNPAIRED_READ{name}"] or 0) + 2 * (row[f"READ_PAIR{name}"] or 0)
        for name in ("S_EXAMINED", "_DUPLICATES")
    )
    optical = 2 * (row["READ_PAIR_OPTICAL_DUPLICATES"] or 0)
    counted = _duplicates(reads, duplicates, optical, row["ESTIMATED_LIBRARY_SIZE"])
    return {"library": str(row["LIBRARY"]), **counted}


def _value(text: str) -> Any:
    if NUMBER.fullmatch(text):
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    return None if text in NO_VALUES else text


def _genotypes(line: Sequence[str]) -> dict[str, Any]:
    """The genotypes of a sample, from its line PSC: of SNVs and indels together where their names do not say."""
    hom, het = int(line[4]), int(line[5])
    return {
        "snvs_hom_alt": hom,
        "snvs_het": het,
        "haploid_alt": int(line[12]),
        "het_hom": round(het / hom, 3) if hom else None,
        "indels": int(line[8]),
        "singletons": int(line[10]),
        "missing": int(line[13]),
        "mean_depth_at_calls": float(line[9]),
    }


def _lanes(lanes: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Figures of the lanes of samples that have several: flagstat and stats of one lane joined."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for item in lanes:
        names = {name: item[name] or "" for name in ("sample", "library", "lane")}
        figures = found.setdefault((names["sample"], names["library"], names["lane"]), names)
        if "flagstat" in item:
            figures |= read_flagstat(Path(item["flagstat"]))
            del figures["duplicates"]  # they are marked in the library
        else:
            stats = read_alignment_stats(Path(item["samtools_stats"]), 0)
            left = ("mean_coverage_of_reference", "deepest", "insert_sizes")
            figures |= {name: value for name, value in stats.items() if name not in left}
    return list(found.values())


def _json(content: Any) -> str:
    """JSON to be read by people too: lists of numbers on one line."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    numbers = r"\[\s+(-?[\d.e+-]+(?:,\s+-?[\d.e+-]+)*)\s+\]"
    return re.sub(numbers, lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


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
                      if found["left_out"] > LEFT_OUT]:  # fmt: skip
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
