"""The section of the report on variants: calls by type and filter, genotypes by sample, and their distributions."""

from __future__ import annotations

from stargazer.workflows.report import page, plots
from stargazer.workflows.report.figures import Column, Figures, by_sample, each_line
from stargazer.workflows.report.numbers import count, decimal, depth

__all__ = ["variants"]

SNVS = (
    Column("SNVs het", "calls_that_pass.snvs_het", count),
    Column("SNVs hom", "calls_that_pass.snvs_hom_alt", count),
)
OWN = Column("only in this sample", "calls_that_pass.singletons", count)
HAPLOID = Column("haploid", "calls_that_pass.haploid_alt", count)
GENOTYPES = (
    Column("het/hom", "calls_that_pass.het_hom", decimal),
    Column("indels", "calls_that_pass.indels", count),
    Column("no genotype", "calls_that_pass.missing", count),
    Column("mean depth at calls", "calls_that_pass.mean_depth_at_calls", depth),
)


def variants(summary: Figures) -> str:
    """Calls by type and filter, genotypes by sample, and distributions."""
    passing, filtered = summary["variants"]["pass"], summary["variants"]["filtered"]
    rows = [
        (name, *(count(found[kind]) for kind in ("records", "snvs", "indels")))
        for name, found in (("pass", passing), ("filtered", filtered))
    ]
    meanings = summary["run"]["filters"]
    numbers = {**dict.fromkeys(meanings, 0), **filtered["by_filter"]}
    filters = [(name, count(number), meanings.get(name, "")) for name, number in numbers.items()]
    called = {name: found for name, found in summary["samples"].items() if found["calls_that_pass"]}
    haploid = any(found["calls_that_pass"]["haploid_alt"] for found in called.values())
    columns = [*SNVS, *([HAPLOID] if haploid else []), *GENOTYPES, *([OWN] if len(called) > 1 else [])]
    ratio = decimal(passing["ts_tv"] if passing["snvs"] else None)
    return page.section(
        "Variants",
        page.table(("", "calls", "SNVs", "indels"), rows, (1, 2, 3), "small"),
        page.text(
            f"Ti/Tv of SNVs that pass: {ratio}. Sites with several alternative alleles: "
            f"{count(passing['multiallelic_sites'])}. A call with an SNV and an indel counts as both.",
            "note",
        ),
        page.part(
            "By filter",
            page.table(("filter", "calls", "marks calls with"), filters, (1,), "small"),
            page.text("A call can have several.", "note") if len(filters) > 1 else "",
        ),
        page.part(
            "By sample, of calls that pass",
            by_sample(columns, summary, called),
            page.text("Haploid: SNVs and indels together; they count in no other column.", "note")
            if haploid
            else "",
        ),
        _distributions(summary)
        if passing["records"]
        else page.text("No call passes: there is nothing to draw."),
    )


def _distributions(summary: Figures) -> str:
    found, samples = summary["variants"]["distributions"], summary["samples"]
    shares = [
        sample["calls_that_pass"].get("alt_read_shares", {}).get("snvs", ()) for sample in samples.values()
    ]
    drawn = [
        page.figure(
            plots.quality_plot(found["quality"]), "Quality of calls: SNVs, and on them indels (orange)."
        )
    ]
    if any(map(any, shares)):
        balance = plots.balance_plot([counts if any(counts) else None for counts in shares])
        drawn.append(
            page.figure(
                balance,
                "Reads with the alternative allele at SNVs: about half where the sample is heterozygous, nearly all "
                "where it is homozygous; a bump elsewhere hints at contamination." + each_line(samples),
            )
        )
    if any(found["substitutions"].values()):
        drawn.append(
            page.figure(plots.substitution_plot(found["substitutions"]), "SNVs by what is replaced.")
        )
    if found["indel_lengths"]:
        drawn.append(page.figure(plots.length_plot(found["indel_lengths"]), "Indels by length."))
    return page.legend(plots.colours(list(samples))) + page.plots(*drawn)
