"""`stargazer why` and `diff`: how a file came to be, and where the ways of two files part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.mcp.cli.finding import existing, one_cid
from stargazer.mcp.cli.output import print_json, print_text
from stargazer.mcp.cli.words import Parser, Words

if TYPE_CHECKING:
    from stargazer.storage import Store
    from stargazer.storage.lineage import Step

__all__ = ["diff", "why"]

FORMATS = ("text", "json", "dot", "mermaid", "rocrate")
EXTENSIONS = {"text": ".txt", "json": ".json", "dot": ".dot", "mermaid": ".mmd"}


def why(argv: Sequence[str]) -> int:
    """Show how a file came to be."""
    parser = Parser(
        "why",
        "CID|ID|FILE|key=value ... [--latest] [--format FORMAT] [--to FOLDER]",
        "How a file came to be: tasks, commands and versions, back to what was imported.\n"
        "A file of this machine is found by what it holds, whatever it is called; the CID of a provenance\n"
        "document shows that very execution.",
        "  stargazer why results/NA12878.variants.vcf.gz\n  stargazer why asset=variants samples=NA12878\n"
        "  stargazer why results/NA12878.variants.vcf.gz --format rocrate --to crate",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="text (default), json, dot (Graphviz), mermaid, or rocrate (RO-Crate, Process Run Crate profile)",
    )
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument("--to", metavar="FOLDER", type=Path, help="write a file there instead of printing")
    parser.add_argument("--latest", action="store_true", help="of several that match, the newest")
    words = parser.sort(argv)
    if len(words.plain) + bool(words.pairs) != 1:
        parser.error("say which file: a CID, a path, or key=value")
    if words.options.json and words.options.format not in (None, "json"):
        parser.error(f"--json and --format {words.options.format} contradict each other")
    form = "json" if words.options.json else words.options.format or "text"
    from stargazer.storage import lineage

    store = existing()
    step = lineage.why(store, one_cid(store, words))
    if words.options.to is not None:
        print_text(str(_written(step, form, words.options.to)))
    elif form in ("json", "rocrate"):
        print_json(_value(step, form))
    else:
        print_text(_text(step, form))
    return 0


def diff(argv: Sequence[str]) -> int:
    """Show where the lineages of two files part, and how their contents differ."""
    parser = Parser(
        "diff",
        "A B [--no-contents] [--json]",
        "Where the ways of two files part: the first inputs, parameters, code, tools and platforms upstream that\n"
        "differ, not all that follows from them; then how the contents differ, of files whose bytes are here.\n"
        "A and B are CIDs, ids or files of this machine; CIDs of provenance documents compare two executions.",
        "  stargazer diff results/NA12878.variants.vcf.gz results2/NA12878.variants.vcf.gz",
    )
    parser.add_argument("--no-contents", action="store_true", help="compare only how they came to be")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")
    words = parser.sort(argv)
    if len(words.plain) != 2 or words.pairs:
        parser.error("say which two files: CIDs, ids or paths")
    from stargazer.storage.lineage import contents, difference_as_json, render_difference
    from stargazer.storage.lineage import diff as compare

    store = existing()
    difference = compare(store, *_two_cids(store, words))
    lines = [] if words.options.no_contents else contents(store, difference.a.entry, difference.b.entry)
    if words.options.json:
        print_json(difference_as_json(difference, lines))
    else:
        print_text(render_difference(difference, lines))
    return 0


def _two_cids(store: Store, words: Words) -> list[str]:
    return [one_cid(store, Words([word], {}, words.options)) for word in words.plain]


def _text(step: Step, form: str) -> str:
    from stargazer.storage.lineage import as_dot, as_mermaid, render

    makers = {"text": render, "dot": as_dot, "mermaid": as_mermaid}
    return makers[form](step)


def _value(step: Step, form: str) -> Any:
    from stargazer.storage.lineage import as_json, as_rocrate

    return as_json(step) if form == "json" else as_rocrate(step)


def _written(step: Step, form: str, folder: Path) -> Path:
    """Write a lineage into a folder, made if it is missing, as `lineage.EXTENSION`, or what RO-Crate wants.

    Raises:
        StorageError: the folder cannot be written.
    """
    import json

    from stargazer.assets import StorageError
    from stargazer.storage.lineage import write_rocrate

    if form == "rocrate":
        return write_rocrate(step, folder)
    text = json.dumps(_value(step, form), indent=2) if form == "json" else _text(step, form)
    path = folder / f"lineage{EXTENSIONS[form]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {str(path)!r}: {error.strerror}") from error
    return path
