"""The look of the report: its style sheet and the HTML of tables and texts, with everything escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["STYLE", "Unusual", "code", "document", "drawing", "figure", "folded", "heading", "legend", "listing",
           "part", "picture", "plots", "section", "table", "text", "tiles", "verdict"]  # fmt: skip

LONG = 20
"""Rows from which on a table scrolls within the page; on paper it does not."""

PIXELS = 0.64
"""Of the page for one of a picture: pictures have 150 to an inch, a page 96."""

WHOLE = 620
"""Pixels of the page from which on a picture has a row of its own."""

STYLE_BEFORE = """
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
  display: grid; grid-template-columns: repeat(auto-fit, minmax(13.5rem, 1fr));
  gap: .75rem; margin: 1.6rem 0 0;
}
.tile {
  background: var(--panel); border: 1px solid var(--line);
  border-radius: .5rem; padding: .75rem .9rem;
}
.tile b { display: block; font-size: 1.45rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--ink-soft); font-size: .8rem; }
.wide { overflow-x: auto; }
.long { max-height: 34rem; overflow-y: auto; border-bottom: 1px solid var(--line); }
.long thead th { position: sticky; top: 0; background: var(--paper); z-index: 1; }
.wide th:first-child, .wide td:first-child {
  position: sticky; left: 0; background: var(--paper); overflow-wrap: anywhere;
}
.wide td:first-child { min-width: 7rem; max-width: 16rem; }
.small table { width: auto; min-width: 50%; }
.facts td:first-child { color: var(--ink-soft); width: 14rem; min-width: 0; }
.verdict {
  border-left: 4px solid var(--good); background: var(--panel); padding: .6rem .9rem; margin: 1.2rem 0 0;
}
.verdict.unusual { border-color: var(--bad); }
.verdict b { display: block; }
.legend {
  display: flex; flex-wrap: wrap; gap: .2rem 1rem; list-style: none; margin: .4rem 0; padding: 0;
  font-size: .875rem;
}
.legend i { display: inline-block; width: 1.1rem; height: .2rem; margin-right: .4rem; vertical-align: middle; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
th, td {
  padding: .35rem .7rem .35rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
th { color: var(--ink-soft); font-weight: 500; white-space: nowrap; }
td.u { color: var(--bad); font-weight: 600; }
td.u::after { content: " !"; }
a { color: var(--accent); overflow-wrap: anywhere; }
li { max-width: 52rem; margin: .2rem 0; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
th.n, td.n { padding-right: 1rem; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font: .8125rem/1.45 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
code.block { display: block; white-space: pre-wrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }
figure { margin: .8rem 0; min-width: 0; }
"""

DRAWN = """\
figure svg { width: 100%; height: auto; display: block; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg text { font-family: inherit; }
.drawn { min-width: 40rem; }
.drawn text { font-size: 11px; fill: var(--ink); }
.drawn .soft { font-size: 10px; fill: var(--ink-soft); }
.drawn .middle { text-anchor: middle; }
.drawn rect { fill: var(--series-1); }
.drawn path { fill: none; stroke: var(--line); stroke-width: 1; }
.drawn .pause { stroke: var(--ink-soft); stroke-dasharray: 4 3; }
.drawn .edge { stroke: var(--ink-soft); opacity: .6; }
.drawn .tip { fill: var(--ink-soft); stroke: none; }
.drawn .call, .drawn .files, .drawn .page { fill: var(--panel); stroke: var(--series-1); }
.drawn .files { stroke: var(--series-6); stroke-dasharray: 4 3; }
.drawn .page { stroke: var(--good); stroke-width: 2; }
"""
"""The style of what is drawn as SVG."""

STYLE = (
    STYLE_BEFORE
    + DRAWN
    + """\
details { border-bottom: 1px solid var(--line); padding: .45rem 0; }
summary { cursor: pointer; }
summary span { color: var(--ink-soft); margin-left: .5rem; }
details[open] > *:not(summary) { margin-left: 1rem; }
footer { margin-top: 3rem; color: var(--ink-soft); font-size: .8125rem; }
@media print {
  :root {
    color-scheme: light;
    --paper: #ffffff; --panel: #ffffff; --ink: #000000; --ink-soft: #444444; --line: #cccccc;
    --good: #3a8f6b; --bad: #c4452f; --missed: #d99a2b;
    --series-1: #2b6cb8; --series-2: #d9822b; --series-3: #3a9a74; --series-4: #8a5bb5; --series-5: #b8485f;
    --series-6: #5d6b7a;
  }
  html { font-size: 10.5px; }
  body { max-width: none; padding: 0; font-size: 1rem; }
  th, th.n { white-space: normal; }
  figure, .tile, tr { break-inside: avoid; }
  .wide, .long { overflow: visible; max-height: none; }
  .wide th, .wide td { position: static; padding-right: .45rem; }
  a { color: inherit; text-decoration: none; }
  h2 { break-after: avoid; }
}
"""
)

PICTURES = """
figure img {
  max-width: 100%; height: auto; display: block; background: #ffffff; border: 1px solid var(--line);
  border-radius: .5rem; padding: .5rem;
}
figure.whole { grid-column: 1 / -1; }
"""
"""The style of pictures, for pages that have some."""


class Unusual(str):
    """The text of a cell that is to be looked at."""

    __slots__ = ()


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page of HTML parts, empty ones left out."""
    shown = "\n".join(part for part in parts if part)
    style = STYLE + (PICTURES if "<img " in shown else "")
    return (
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{shown}\n"
        "<footer>Written by Stargazer. This page loads nothing from elsewhere.</footer>\n</body>\n</html>\n"
    )


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (), style: str = ""
) -> str:
    """A table of texts; the columns `numbers` (from 0) are set flush right. Nothing at all if there are no rows."""
    rows = list(rows)
    if not rows:
        return ""

    def cell(tag: str, index: int, value: str) -> str:
        classes = " ".join(["n"] * (index in numbers) + ["u"] * isinstance(value, Unusual))
        named = f' class="{classes}"' if classes else ""
        return f"<{tag}{named}>{escape(value)}</{tag}>"

    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(cell(tag, index, value) for index, value in enumerate(values))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', heads)}</tr></thead>\n" if any(heads) else ""
    classes = " ".join(word for word in ("wide", "long" if len(rows) > LONG else "", style) if word)
    return f'<div class="{classes}"><table>\n{head}<tbody>\n{body}\n</tbody></table></div>'


def tiles(values: Iterable[tuple[str, str]]) -> str:
    """The headline figures: (figure, what it is) pairs."""
    shown = "\n".join(
        f"<div class=tile><b>{escape(value)}</b><span>{escape(label)}</span></div>" for value, label in values
    )
    return f"<div class=tiles>\n{shown}\n</div>"


def verdict(words: str, more: str, *, good: bool) -> str:
    """What is to be read before all else."""
    style = "verdict" if good else "verdict unusual"
    return f'<div class="{style}"><b>{escape(words)}</b>{escape(more)}</div>'


def text(words: str, style: str = "") -> str:
    """A paragraph."""
    return f'<p class="{style}">{escape(words)}</p>' if style else f"<p>{escape(words)}</p>"


def heading(words: str) -> str:
    """The title of the page."""
    return f"<h1>{escape(words)}</h1>"


def code(words: str) -> str:
    """Commands, a line each; nothing at all if there are none."""
    return f"<code class=block>{escape(words)}</code>" if words else ""


def listing(items: Iterable[tuple[str, str]]) -> str:
    """A list of sentences; of (sentence, DOI) pairs, those with a DOI lead to it when somebody follows the link."""
    shown = "".join(f"<li>{escape(words)}{_doi(doi)}</li>" for words, doi in items)
    return f"<ul>{shown}</ul>" if shown else ""


def _doi(doi: str) -> str:
    return f' <a href="https://doi.org/{escape(doi)}" rel=noreferrer>doi:{escape(doi)}</a>' if doi else ""


def figure(svg: str, caption: str) -> str:
    """A plot (an SVG element, inserted as it is) with its caption."""
    return f"<figure>\n{svg}\n<figcaption>{escape(caption)}</figcaption>\n</figure>"


def drawing(svg: str, caption: str) -> str:
    """A figure as wide as the page, which scrolls within it where that is narrow; nothing at all if there is none."""
    return figure(f"<div class=wide>{svg}</div>", caption) if svg else ""


def picture(png: bytes, shows: str, caption: str) -> str:
    """A picture within the page, on white also where the page is dark, with its caption.

    Args:
        png: its bytes, with 150 pixels to an inch.
        shows: what is in it, for whoever does not see it.
    """
    width = round(PIXELS * int.from_bytes(png[16:20], "big"))
    data = b64encode(png).decode("ascii")
    return (
        f"<figure{' class=whole' if width > WHOLE else ''}>\n"
        f'<img src="data:image/png;base64,{data}" width={width} alt="{escape(shows)}">\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>"
    )


def plots(*figures: str) -> str:
    """Figures side by side, as far as the page is wide; nothing at all if there are none."""
    if not figures:
        return ""
    return f"<div class=plots>\n{''.join(figures)}\n</div>"


def legend(names: Iterable[tuple[str, str]]) -> str:
    """What the colours of lines stand for: (name, CSS variable) pairs."""
    items = "".join(
        f'<li><i style="background: var({variable})"></i>{escape(name)}</li>' for name, variable in names
    )
    return f"<ul class=legend>{items}</ul>" if items else ""


def folded(title: str, note: str, *parts: str) -> str:
    """HTML parts that are seen once somebody unfolds them."""
    inside = "\n".join(part for part in parts if part)
    return f"<details><summary>{escape(title)}<span>{escape(note)}</span></summary>\n{inside}\n</details>"


def part(title: str, *parts: str) -> str:
    """A part of a section with a heading of its own; nothing at all if there is nothing in it."""
    shown = "\n".join(part for part in parts if part)
    return f"<h3>{escape(title)}</h3>\n{shown}" if shown else ""


def section(title: str, *parts: str) -> str:
    """A section of HTML parts under a heading; nothing at all if there are no parts."""
    shown = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(title)}</h2>\n{shown}\n</section>" if shown else ""
