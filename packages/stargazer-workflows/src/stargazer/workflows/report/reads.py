"""The sections of the report on reads: by sample and lane, coverage, insert sizes, duplicates by library."""

from __future__ import annotations

from stargazer.workflows.report import page, plots
from stargazer.workflows.report.figures import Column, Figures, by_sample, each_line, row
from stargazer.workflows.report.numbers import NOTHING, count, depth, percent, tenths, whole

__all__ = ["coverage", "duplicates", "reads"]

READS = (
    Column("reads", "reads", count),
    Column("mapped", "mapped", percent),
    Column("properly paired", "properly_paired", percent, "left_out"),
    Column("mismatches", "mismatch_rate", percent),
    Column("base quality", "mean_base_quality", tenths),
    Column("read length", "mean_read_length", whole),
    Column("insert size", "insert_size_median", whole),
    Column("± SD", "insert_size_deviation", whole),
)
DUPLICATES = Column("duplicates", "duplicates", percent)
COVERAGE = (
    Column("mean", "coverage.mean", depth),
    Column("median", "coverage.median", depth),
    *(Column(f"≥ {least} deep", f"coverage.at_least.{least}", percent) for least in (1, 10, 20, 30)),
    Column("deepest place", "deepest", count),
)


def reads(summary: Figures) -> str:
    """Reads of samples and, where there are several, of their lanes."""
    lanes = []
    for lane in summary["lanes"]:
        cells = row(READS, lane, summary, lane["sample"], f"{lane['library']} {lane['lane']}".strip())
        lanes.append((lane["sample"], lane["library"] or NOTHING, lane["lane"] or NOTHING, *cells))
    heads = ("sample", "library", "lane", *(column.head for column in READS))
    return page.section(
        "Reads",
        by_sample([*READS[:3], DUPLICATES, *READS[3:]], summary, summary["samples"]),
        page.text(
            "Insert size: median and standard deviation, in bases. Mismatches: of aligned bases, variants of the "
            "sample included. Duplicates: of all reads.",
            "note",
        ),
        page.part("By lane", page.table(heads, lanes, range(3, len(heads)))),
    )


def coverage(summary: Figures) -> str:
    """How deep samples are covered, as a table and a plot, beside insert sizes."""
    samples = summary["samples"]
    intervals = summary["run"]["intervals"]
    where = f"of the intervals {intervals}" if intervals else "of the reference, N left out"
    bases = next(iter(samples.values()))["coverage"]["bases"]
    depths = [found["coverage"]["depths"] if found["reads"] else None for found in samples.values()]
    inserts = [sizes if (sizes := found["insert_sizes"])["counts"] else None for found in samples.values()]
    drawn = [
        page.figure(plot(values), caption + each_line(samples))
        for plot, values, caption in (
            (plots.depth_plot, depths, "Share of the bases that are at least so deep."),
            (plots.insert_plot, inserts, "Insert sizes of the pairs."),
        )
        if any(values)
    ]
    return page.section(
        "Coverage and insert sizes",
        page.text(
            f"Over {bases:,} bases {where}. Clipped bases do not count, nor do duplicates, but at the deepest place.",
            "note",
        ),
        by_sample(COVERAGE, summary, samples),
        page.legend(plots.colours(list(samples))) if drawn else "",
        page.plots(*drawn) if drawn else page.text("There are no reads, so there is nothing to draw."),
    )


def duplicates(summary: Figures) -> str:
    """Duplicates by library, as the tool that marked them counts them."""
    rows = [
        (
            found["sample"],
            found["library"] or NOTHING,
            count(found["reads"]),
            count(found["duplicates"]),
            percent(found["share"] if found["reads"] else None),
            count(found["optical"]),
            count(found["library_size"]),
        )
        for found in summary["duplicates"]
    ]
    heads = ("sample", "library", "mapped reads", "duplicates", "share", "optical", "molecules, estimated")
    return page.section("Duplicates by library", page.table(heads, rows, range(2, 7)))
