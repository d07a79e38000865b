"""The look of the report: its style sheet and the HTML of tables, with everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["STYLE", "figure", "section", "table", "tiles"]

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #1c2430; --ink-soft: #566172; --line: #dfe3e9;
  --accent: #2b5fb8; --good: #3a8f6b; --bad: #c4452f; --missed: #d99a2b;
  --series-1: #2b6cb8; --series-2: #d9822b; --series-3: #3a9a74; --series-4: #8a5bb5; --series-5: #b8485f;
  --series-6: #5d6b7a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161c; --panel: #1a2028; --ink: #e6eaf0; --ink-soft: #9aa6b5; --line: #2c3541;
    --accent: #7fb0f5; --good: #58b890; --bad: #ea7560; --missed: #e5b454;
    --series-1: #6ea8ec; --series-2: #eca35c; --series-3: #62c39c; --series-4: #b794e0; --series-5: #e5879b;
    --series-6: #9aa6b5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.lead, .note, figcaption { color: var(--ink-soft); }
.note, figcaption { font-size: .875rem; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: .75rem; margin: 1.6rem 0 0;
}
.tile {
  background: var(--panel); border: 1px solid var(--line);
  border-radius: .5rem; padding: .75rem .9rem;
}
.tile b { display: block; font-size: 1.45rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--ink-soft); font-size: .8rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td {
  padding: .35rem .7rem .35rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
th { color: var(--ink-soft); font-weight: 500; white-space: nowrap; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .8125rem/1.45 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
code.block { display: block; white-space: pre-wrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }
figure { margin: .8rem 0; min-width: 0; }
figure svg { width: 100%; height: auto; display: block; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg text { font-family: inherit; }
details { border-bottom: 1px solid var(--line); padding: .45rem 0; }
summary { cursor: pointer; }
summary code { color: var(--ink-soft); margin-left: .5rem; }
details[open] > *:not(summary) { margin-left: 1rem; }
footer { margin-top: 3rem; color: var(--ink-soft); font-size: .8125rem; }
@media print {
  :root {
    color-scheme: light;
    --paper: #ffffff; --panel: #ffffff; --ink: #000000; --ink-soft: #444444; --line: #cccccc;
    --good: #3a8f6b; --bad: #c4452f; --missed: #d99a2b;
    --series-1: #2b6cb8; --series-2: #d9822b; --series-3: #3a9a74; --series-4: #8a5bb5; --series-5: #b8485f;
  }
  body { max-width: none; padding: 0; font-size: 11px; }
  figure, .tile, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
}
"""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of texts; the columns `numbers` (from 0) are set flush right."""

    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if index in numbers else ''}>{escape(value)}</{tag}>"
            for index, value in enumerate(values)
        )

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>\n" if any(heads) else ""
    return f"<div class=wide><table>\n{head}<tbody>\n{body}\n</tbody></table></div>"


def tiles(values: Iterable[tuple[str, str]]) -> str:
    """The headline figures: (figure, what it is) pairs."""
    shown = "\n".join(
        f"<div class=tile><b>{escape(value)}</b><span>{escape(label)}</span></div>" for value, label in values
    )
    return f"<div class=tiles>\n{shown}\n</div>"


def figure(svg: str, caption: str) -> str:
    """A plot (an SVG element, inserted as it is) with its caption."""
    return f"<figure>\n{svg}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def section(title: str, *parts: str) -> str:
    """A section of HTML parts under a heading; nothing at all if there are no parts."""
    shown = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{shown}\n</section>" if shown else ""
