"""`stargazer why`: shows how a file came to be, as text, JSON, a graph or an RO-Crate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer.assets import StorageError
from stargazer.mcp.cli.console import Parser, option, print_text
from stargazer.mcp.cli.selection import existing, one_cid
from stargazer.storage import lineage

if TYPE_CHECKING:
    from stargazer.storage.lineage import Step

__all__ = ["why"]

EXTENSIONS = {"text": ".txt", "json": ".json", "dot": ".dot", "mermaid": ".mmd"}


def why(argv: Sequence[str]) -> None:
    """Show how a file came to be."""
    parser = Parser(
        "why",
        "CID|ID|FILE|key=value ... [--latest] [--format FORMAT | --json] [--to FOLDER]",
        "How a file came to be: tasks, commands and versions, back to what was imported.\n"
        "A file of this machine is found by what it holds, whatever it is called; the CID of a provenance\n"
        "document shows that very execution.",
        "  stargazer why results/NA12878.variants.vcf.gz\n  stargazer why asset=variants samples=NA12878\n"
        "  stargazer why results/NA12878.variants.vcf.gz --format rocrate --to crate",
        {
            "--format": {
                "choices": (*EXTENSIONS, "rocrate"),
                "help": "text (default), json, dot (Graphviz), mermaid, or rocrate (RO-Crate, Process Run Crate "
                "profile)",
            },
            "--json": "the same as --format json",
            "--to": option("FOLDER", "write a file there instead of printing", type=Path),
            "--latest": "of several that match, the newest",
        },
    )
    words = parser.sort(argv)
    if len(words.plain) + bool(words.pairs) != 1:
        parser.error("say which file: a CID, a path, or key=value")
    if words.options.json and words.options.format not in (None, "json"):
        parser.error(f"--json and --format {words.options.format} contradict each other")
    form = "json" if words.options.json else words.options.format or "text"

    store = existing()
    step = lineage.why(store, one_cid(store, words))
    if words.options.to is not None:
        print_text(str(_written(step, form, words.options.to)))
    else:
        print_text(_text(step, form))


def _text(step: Step, form: str) -> str:
    if form in ("json", "rocrate"):
        return json.dumps(lineage.as_json(step) if form == "json" else lineage.as_rocrate(step), indent=2)
    makers = {"text": lineage.render, "dot": lineage.as_dot, "mermaid": lineage.as_mermaid}
    return makers[form](step)


def _written(step: Step, form: str, folder: Path) -> Path:
    """Write a lineage into a folder, made if it is missing, as `lineage.EXTENSION`, or what RO-Crate wants.

    Raises:
        StorageError: the folder cannot be written.
    """
    if form == "rocrate":
        return lineage.write_rocrate(step, folder)
    path = folder / f"lineage{EXTENSIONS[form]}"
    text = _text(step, form)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {str(path)!r}: {error.strerror}") from error
    return path
