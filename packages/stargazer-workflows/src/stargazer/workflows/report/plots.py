"""The report's plots as inline SVG whose bytes depend on the data alone and whose colours follow the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import cycle
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["allele_balance_plot", "coverage_plot", "quality_plot", "truth_plot"]

T = TypeVar("T")

INK, GRID = "#010203", "#040506"
SERIES = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06")
GOOD, BAD, MISSED = "#0c0d01", "#0c0d02", "#0c0d03"
VARIABLES = {
    INK: "--ink-soft",
    GRID: "--line",
    **{colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)},
    GOOD: "--good",
    BAD: "--bad",
    MISSED: "--missed",
}
"""Colours that stand for the page's CSS variables, so that the plots follow light and dark."""


def _plot(salt: str, description: str) -> Callable[[Callable[[T], Figure]], Callable[[T], str]]:
    """Make a function that draws a figure return it as SVG text, whatever the user's matplotlibrc says."""

    def decorate(draw: Callable[[T], Figure]) -> Callable[[T], str]:
        @wraps(draw)
        def drawn(data: T) -> str:
            import matplotlib

            with matplotlib.rc_context():
                matplotlib.rcdefaults()
                matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": f"stargazer-{salt}",
                                            "font.size": 9, "legend.fontsize": 9})  # fmt: skip
                return _svg(draw(data), description)

        return drawn

    return decorate


def _svg(figure: Figure, description: str) -> str:
    """Text of an SVG element: no date, no identifiers but hashed ones, sized by the page."""
    figure.patch.set_visible(False)
    with io.StringIO() as text:
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', svg, count=1)
    svg = svg.replace("xlink:href", "href")
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1).strip()


@_plot("coverage", "Mean depth along the contigs, one line per sample")
def coverage_plot(samples: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Mean depth along each contig: samples, aligned to one reference, by name: `coverage()`'s results."""
    window, contigs = (next(iter(samples.values()))[key] for key in ("window", "contigs"))
    figure = _figure(10, 2.7)
    widths = [max(window * len(depths), 1) for depths in contigs.values()]
    axes = figure.subplots(1, len(contigs), sharey=True, squeeze=False, width_ratios=widths)[0]
    for panel, name in zip(axes, contigs, strict=True):
        for colour, (sample, profile) in zip(cycle(SERIES), samples.items(), strict=False):
            depths = profile["contigs"][name]
            places = [i * window / 1000 for i in range(len(depths))]
            panel.plot(places, depths, color=colour, linewidth=1.1, label=sample)
        _style(panel, xlabel=f"{name} (kb)", ylabel="mean depth" if panel is axes[0] else "")
        panel.margins(x=0)
    depths = [depth for profile in samples.values() for each in profile["contigs"].values() for depth in each]
    axes[0].set_ylim(0, max([1.0, *depths]) * 1.08)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, labelcolor=INK
    )
    return figure


@_plot("quality", "Distribution of variant quality, SNVs and indels")
def quality_plot(quality: Mapping[str, Sequence[float]]) -> Figure:
    """Histogram of QUAL by type: `call_statistics()["quality"]`."""
    figure = _figure(4.9, 2.7)
    panel = figure.subplots()
    edges = quality["edges"]
    below = [0.0] * (len(edges) - 1)
    for colour, kind, label in ((SERIES[0], "snv", "SNV"), (SERIES[1], "indel", "indel")):
        width = 0.9 * (edges[1] - edges[0])
        panel.bar(edges[:-1], quality[kind], width, bottom=below, align="edge", color=colour, label=label)
        below = [one + other for one, other in zip(below, quality[kind], strict=True)]
    _style(panel, xlabel=f"QUAL (last bar: {edges[-2]:g} and above)", ylabel="records")
    panel.set_xlim(edges[0], edges[-1])
    panel.legend(frameon=False, labelcolor=INK, loc="upper left")
    return figure


@_plot("balance", "Allele balance at heterozygous sites, one line per sample")
def allele_balance_plot(samples: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Share of reads with the alternative allele at heterozygous sites: `call_statistics()["samples"]`."""
    figure = _figure(4.9, 2.7)
    panel = figure.subplots()
    for colour, (sample, values) in zip(cycle(SERIES), samples.items(), strict=False):
        balance = values["allele_balance"]
        panel.stairs(balance["counts"], balance["edges"], color=colour, linewidth=1.4, label=sample)
    panel.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    _style(panel, xlabel="share of reads with the alternative allele", ylabel="heterozygous genotypes")
    panel.set_xlim(0, 1)
    panel.set_ylim(0)
    panel.legend(frameon=False, labelcolor=INK, loc="upper right")
    return figure


@_plot("truth", "True positives, false calls and missed variants, per sample and type")
def truth_plot(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure:
    """True, false and missed alleles per sample and type: `compare_to_truth()["samples"]`."""
    rows = {
        f"{sample} {'SNV' if kind == 'snv' else kind}": score
        for sample, kinds in scores.items()
        for kind, score in kinds.items()
    }
    right, false, missed = ([score[key] for score in rows.values()] for key in ("tp", "fp", "fn"))
    figure = _figure(10, 0.9 + 0.32 * len(rows))
    counts, errors = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    places = range(len(rows))
    counts.barh(places, right, 0.62, color=GOOD)
    errors.barh(places, false, 0.62, color=BAD, label="false")
    errors.barh(places, missed, 0.62, left=false, color=MISSED, label="missed")
    beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "color": INK}
    for place, tp, fp, fn in zip(places, right, false, missed, strict=True):
        counts.annotate(str(tp), (tp, place), **beside)
        errors.annotate(f"{fp} false, {fn} missed", (fp + fn, place), **beside)
    _style(counts, xlabel="true positives", ylabel="")
    _style(errors, xlabel="errors", ylabel="")
    counts.set_yticks(places, list(rows))
    counts.invert_yaxis()
    counts.set_xlim(0, 1.12 * max([1, *right]))
    errors.set_xlim(0, 2.0 * max([1, *map(sum, zip(false, missed, strict=True))]))
    for panel in (counts, errors):
        panel.grid(visible=False, axis="y")
        panel.grid(visible=True, axis="x", color=GRID, linewidth=0.7)
        panel.locator_params(axis="x", integer=True, nbins=6)
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _style(panel: Axes, xlabel: str, ylabel: str) -> None:
    panel.set_xlabel(xlabel, color=INK)
    panel.set_ylabel(ylabel, color=INK)
    panel.tick_params(colors=INK, length=3, width=0.7)
    panel.grid(visible=True, axis="y", color=GRID, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.patch.set_visible(False)
    for name, spine in panel.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(GRID)
