"""The canvas of the pictures of cells: PNG without a date, no user's style, the same colours for the same names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import anndata
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ACCENT",
    "INK",
    "MOST",
    "SOFT",
    "colours",
    "in_legend",
    "legend",
    "name_points",
    "picture",
    "slanted",
    "styled",
    "write",
]

DPI = 150
INK, SOFT, GRID, ACCENT = "#1c2430", "#8a94a3", "#dfe3e9", "#c4452f"

MOST = 102
"""Categories that scanpy has colours for."""


@contextmanager
def picture(target: str, width: float, height: float) -> Iterator[Figure]:
    """A figure to draw on, of so many inches, which is then written."""
    import matplotlib.pyplot as plt

    with styled():
        figure = plt.figure(figsize=(width, height), dpi=DPI, layout="constrained")
        try:
            yield figure
            write(figure, target)
        finally:
            plt.close(figure)


@contextmanager
def styled() -> Iterator[None]:
    """Draw within it in the style of our pictures, whatever the user's matplotlibrc says."""
    import matplotlib
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({
            "font.size": 9,
            "text.parse_math": False,  # a dollar is a dollar
            "axes.edgecolor": SOFT,
            "axes.labelcolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "grid.color": GRID,
            "legend.frameon": False,
            "text.color": INK,
            "xtick.color": SOFT,
            "ytick.color": SOFT,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
        })  # fmt: skip
        yield


def write(figure: Figure, target: str) -> None:
    """Write a figure as PNG, cut to what is drawn."""
    figure.savefig(
        target, format="png", dpi=DPI, facecolor="white", bbox_inches="tight", metadata={"Software": None}
    )


def colours(cells: anndata.AnnData, key: str, names: Sequence[str]) -> list[str]:
    """The colours of categories in their order: those that the cells have for them, else scanpy's."""
    import scanpy as sc

    own = cells.uns.get(f"{key}_colors")
    if own is not None and len(own) >= len(names):
        return list(map(str, own[: len(names)]))
    palettes = sc.pl.palettes
    first = next(
        palette
        for palette in (palettes.default_20, palettes.default_28, palettes.default_102)
        if len(names) <= len(palette) or len(palette) == MOST
    )
    return [first[place % len(first)] for place in range(len(names))]


def slanted(names: Sequence[str]) -> dict[str, Any]:
    """How names below an axis are set: aslant where they would run into each other."""
    if len(names) < 2 or max(map(len, names)) <= 5:
        return {}
    return {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}


def in_legend(name: str) -> str:
    """A name as a legend shows it: matplotlib leaves out what begins with an underscore."""
    return f" {name}" if name.startswith("_") else name


def legend(panel: Axes, names: Sequence[str]) -> None:
    """Say beside a panel which line is whose, if there are several."""
    if len(names) > 1:
        panel.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, ncols=1 + len(names) // 20)


def name_points(panel: Axes, points: Iterable[tuple[float, float, str]]) -> None:
    """Write names beside points, but those that would cover another name."""
    taken: list[Any] = []
    for x, y, name in points:
        text = panel.annotate(
            name, (x, y), xytext=(4, 0), textcoords="offset points", fontsize=7, va="center"
        )
        box = text.get_window_extent().padded(2)
        if any(box.overlaps(other) for other in taken):
            text.remove()
        else:
            taken.append(box)
