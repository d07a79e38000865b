"""The report's plots as inline SVG whose bytes depend on the data alone and whose colours follow the page."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["balance_plot", "colours", "depth_plot", "insert_plot", "length_plot", "quality_plot", "substitution_plot",
           "truth_plot"]  # fmt: skip

S = TypeVar("S")
T = TypeVar("T")

Samples: TypeAlias = Sequence[Mapping[str, Any] | None]
"""Of each sample what is drawn, in the order of the colours; None where there is nothing."""

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

SEEN = 0.5
"""Percent of the bases that a plot of depths has to show."""

TRANSITIONS = frozenset({"A>G", "G>A", "C>T", "T>C"})


def colours(names: Sequence[str]) -> list[tuple[str, str]]:
    """Samples with the CSS variables of their lines; none where there are too many to tell them apart."""
    return (
        [(name, VARIABLES[colour]) for name, colour in zip(names, SERIES, strict=False)]
        if len(names) <= len(SERIES)
        else []
    )


def _plot(salt: str, description: str) -> Callable[[Callable[[T], Figure]], Callable[[T], str]]:
    """Make a function that draws a figure return it as SVG text, whatever the user's matplotlibrc says."""

    def decorate(draw: Callable[[T], Figure]) -> Callable[[T], str]:
        @wraps(draw)
        def drawn(data: T) -> str:
            import matplotlib

            with matplotlib.rc_context():
                matplotlib.rcdefaults()
                matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": f"stargazer-{salt}",
                                            "text.parse_math": False, "font.size": 9})  # fmt: skip
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
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)  # hundredths of a point are finer than a screen
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1).strip()


@_plot("depth", "Share of bases by depth that they have at least, one line per sample")
def depth_plot(samples: Samples) -> Figure:
    """Share of bases that are at least so deep: of each sample its `coverage.depths`."""
    figure = _figure(4.9, 2.7)
    panel = figure.subplots()
    farthest = 1.0
    for depths, look in _drawn(samples):
        counts = [*depths["counts"], depths["beyond"]]
        left = list(itertools.accumulate(reversed(counts)))[::-1]
        shares = [100 * count / max(1, left[0]) for count in left]
        places = [depths["step"] * number for number in range(len(shares))]
        farthest = max(
            [farthest, *(place for place, share in zip(places, shares, strict=True) if share > SEEN)]
        )
        panel.plot(places, shares, **look)
    _style(panel, xlabel="depth without duplicates", ylabel="% of bases at least so deep")
    panel.set_xlim(0, farthest)
    panel.set_ylim(0, 103)
    return figure


@_plot("inserts", "Distribution of insert sizes, one line per sample")
def insert_plot(samples: Samples) -> Figure:
    """Share of pairs by insert size: of each sample its `insert_sizes`."""
    figure = _figure(4.9, 2.7)
    panel = figure.subplots()
    for sizes, look in _drawn(samples):
        pairs = max(1, sum(sizes["counts"]) + sizes["beyond"])
        middles = [sizes["step"] * (number + 0.5) for number in range(len(sizes["counts"]))]
        panel.plot(middles, [100 * count / pairs for count in sizes["counts"]], **look)
    _style(panel, xlabel="insert size (bases)", ylabel="% of pairs")
    panel.set_xlim(0)
    panel.set_ylim(0)
    return figure


@_plot("quality", "Distribution of variant quality, SNVs and indels")
def quality_plot(quality: Mapping[str, Any]) -> Figure:
    """Calls by QUAL and type: `variants.distributions.quality`."""
    figure = _figure(4.9, 2.7)
    panel = figure.subplots()
    step, bins = quality["step"], len(quality["snvs"])
    edges = [step * number for number in range(bins)]
    for colour, kind, below in (
        (SERIES[0], "snvs", [0] * bins),
        (SERIES[1], "indels", quality["snvs"]),
    ):
        panel.bar(edges, quality[kind], 0.9 * step, bottom=below, align="edge", color=colour)
    _style(panel, xlabel=f"QUAL (last bar: {edges[-1]:g} and above)", ylabel="calls that pass")
    panel.set_xlim(0, step * bins)
    panel.locator_params(axis="y", integer=True)
    return figure


@_plot("balance", "SNVs by share of reads with the alternative allele, one line per sample")
def balance_plot(samples: Sequence[Sequence[int] | None]) -> Figure:
    """SNVs by the share of reads with the alternative allele: of each sample its `alt_read_shares.snvs`."""
    figure = _figure(4.9, 2.7)
    panel = figure.subplots()
    for counts, look in _drawn(samples):
        genotypes, last = max(1, sum(counts)), len(counts) - 1
        shares = [100 * count / genotypes for count in counts]
        panel.plot([number / last for number in range(len(counts))], shares, **look)
    panel.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    _style(panel, xlabel="share of reads with the alternative allele", ylabel="% of SNVs")
    panel.set_xlim(0, 1)
    panel.set_ylim(0)
    return figure


@_plot("lengths", "Indels by length, deletions to the left")
def length_plot(lengths: Mapping[str, int]) -> Figure:
    """Indels by length: `variants.distributions.indel_lengths`."""
    figure = _figure(4.9, 2.7)
    panel = figure.subplots()
    found = {int(length): count for length, count in lengths.items()}
    farthest = max(5, *map(abs, found))
    panel.bar(list(found), list(found.values()), 0.9, color=SERIES[1])
    _style(panel, xlabel="length in bases (deletions negative)", ylabel="calls that pass")
    panel.set_xlim(-farthest - 1, farthest + 1)
    panel.locator_params(axis="y", integer=True)
    return figure


@_plot("substitutions", "SNVs by what is replaced")
def substitution_plot(substitutions: Mapping[str, int]) -> Figure:
    """SNVs by what is replaced: `variants.distributions.substitutions`."""
    figure = _figure(4.9, 2.7)
    panel = figure.subplots()
    names = list(substitutions)
    colours = [SERIES[2] if name in TRANSITIONS else SERIES[0] for name in names]
    panel.bar(range(len(names)), list(substitutions.values()), 0.8, color=colours)
    _style(panel, xlabel="reference > alternative (green: transitions)", ylabel="calls that pass")
    panel.set_xticks(range(len(names)), names, fontsize=7)
    panel.locator_params(axis="y", integer=True)
    return figure


@_plot("truth", "True positives, false calls and missed variants, per sample and type")
def truth_plot(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure:
    """True, false and missed alleles per sample and type: `comparison.samples`."""
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


def _drawn(samples: Sequence[S | None]) -> list[tuple[S, dict[str, Any]]]:
    """What there is to draw, with colour and width of its line: too many to tell apart are thin and of one colour."""
    few = len(samples) <= len(SERIES)
    looks: list[dict[str, Any]] = [{"color": colour, "linewidth": 1.4} for colour in SERIES]
    rest = {"color": SERIES[0], "linewidth": 0.8, "alpha": 0.4}
    return [
        (sample, looks[number] if few else rest)
        for number, sample in enumerate(samples)
        if sample is not None
    ]


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
