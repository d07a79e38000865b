"""`stargazer run`: lists workflows, describes one, or runs it and prints its results."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from stargazer import storage
from stargazer.mcp.cli.console import Parser, count, note, option, print_json, print_table, print_text
from stargazer.mcp.cli.progress import supervise
from stargazer.mcp.cli.selection import bring

if TYPE_CHECKING:
    from stargazer.assets import IpFile
    from stargazer.storage import Store
    from stargazer.tasks.execution import Refresh
    from stargazer.workflows import Entry

__all__ = ["records_of", "run"]

PAGES = ("germline_report", "scrna_report")
"""Kinds of the result that people look at first."""


def run(argv: Sequence[str]) -> None:
    """Run a workflow, list them, or describe one."""
    parser = Parser(
        "run",
        "[WORKFLOW [key=value ...]] [--outdir DIR] [--why-not]\n"
        "       [--refresh | --refresh-task TASK ... | --refresh-from TASK ...] [--json]",
        "Run a workflow. Without a name, list them; `stargazer run WORKFLOW --help` shows its arguments.\n"
        "What has been computed before is remembered and not computed again.",
        "  stargazer run\n  stargazer run germline_short_variant_discovery --help\n"
        "  stargazer run germline_short_variant_discovery samples=NA12878 build=GRCh38 --why-not\n"
        "  stargazer run germline_short_variant_discovery samples=NA12878,NA12891 build=GRCh38 --outdir results",
        {
            "-h --help": "of the command, or of the workflow that is named",
            "--outdir": option(
                "DIR",
                "also copy the results here, under names people read; those of an earlier run, which a list "
                "(stargazer-results.json) names, are removed where nobody changed them",
                type=Path,
            ),
            "--refresh": "compute everything anew, whatever has been computed",
            "--refresh-task": option(
                "TASK",
                "compute this task anew; what reads its results only if they are other bytes",
                action="append",
                default=[],
            ),
            "--refresh-from": option(
                "TASK",
                "compute this task anew, and everything that reads its results",
                action="append",
                default=[],
            ),
            "--why-not": "compute nothing: say what would be computed first, and why",
            "--json": "print the results as JSON",
        },
        add_help=False,
    )
    words = parser.sort(argv)
    options = words.options
    if bool(options.refresh) + bool(options.refresh_task) + bool(options.refresh_from) > 1:
        parser.error("give one of --refresh, --refresh-task and --refresh-from")
    if options.why_not and options.outdir:
        parser.error("--why-not computes nothing, so there is nothing to copy to --outdir")
    if options.help and not words.plain:
        parser.print_help()
        return
    if len(words.plain) > 1:
        parser.error(f"{words.plain[1]!r} is no argument: write key=value")
    if not words.plain:
        if words.pairs:
            parser.error("name the workflow first")
        _list(as_json=options.json)
        return
    from stargazer.workflows import convert, find_workflow

    workflow = find_workflow(words.plain[0])
    if options.help:
        _describe(workflow)
        return
    convert(workflow, words.pairs)  # refused before anything is shown
    (_why_not if options.why_not else _run)(workflow, options, words.pairs)


def _list(*, as_json: bool) -> None:
    from stargazer.workflows import entries

    found = entries("workflow")
    if as_json:
        print_json([{"name": entry.name, "summary": entry.summary} for entry in found])
    else:
        print_table(["WORKFLOW", "WHAT IT DOES"], [[entry.name, entry.summary] for entry in found])
        print_text("\n`stargazer run WORKFLOW --help` shows its arguments.")


def _describe(workflow: Entry) -> None:
    from stargazer.workflows import command_line, usage

    print_text(
        f"usage: stargazer run {workflow.name} key=value ... [--outdir DIR] [--why-not] [--json]\n"
        "       [--refresh | --refresh-task TASK ... | --refresh-from TASK ...]\n"
    )
    print_text(workflow.summary + (f"\n\n{workflow.text}" if workflow.text else "") + "\n")
    print_text("arguments:\n" + "\n".join(usage(workflow)) + f"\n\nfor example:\n  {command_line(workflow)}")


def _run(workflow: Entry, options: argparse.Namespace, given: Mapping[str, Any]) -> None:
    from stargazer.mcp.copies import check_results
    from stargazer.workflows import run as run_workflow

    if options.outdir is not None:
        check_results(options.outdir)
    done = supervise(workflow.name, lambda: run_workflow(workflow, given, refresh=_refresh(options)))
    record = done.as_dict()
    if options.outdir is not None:
        _export(record["results"], options.outdir, record["run"])
    if options.json:
        keys = ("run", "workflow", "seconds", "computed", "memo_hits", "notes", "results")
        print_json({key: record[key] for key in keys})
    else:
        _print_results(record, exported=options.outdir is not None)


def _refresh(options: argparse.Namespace) -> Refresh | None:
    """What is to be computed anew."""
    tasks = (*options.refresh_task, *options.refresh_from)
    if not (options.refresh or tasks):
        return None
    from stargazer.tasks.execution import Refresh

    return Refresh(tasks, below=bool(options.refresh_from))


def _why_not(workflow: Entry, options: argparse.Namespace, given: Mapping[str, Any]) -> None:
    """Say which calls are not remembered, and why."""
    import asyncio

    from stargazer.workflows import why_not

    asked = asyncio.run(why_not(workflow, given, refresh=_refresh(options)))
    if options.json:
        print_json({"workflow": workflow.name, **attrs.asdict(asked)})
        return
    for miss in asked.misses:
        print_text(f"{miss.task} {miss.label}".strip())
        print_text("\n".join(f"  {line}" for line in miss.explain().splitlines()))
    if not asked.misses:
        print_text("nothing would be computed")
    rest = ", and whatever reads their results" if asked.misses else ""
    note(f"{workflow.name}: {count(asked.remembered, 'task call')} remembered, {len(asked.misses)} not{rest}")


def records_of(store: Store, results: Mapping[str, Any]) -> list[IpFile]:
    """The records of a run's results."""
    return [
        record
        for _, file in _files(results)
        for record in store.query({"cid": file["cid"]})
        if dict(record.keyvalues) == file["keyvalues"]
    ]


def _export(results: Mapping[str, Any], folder: Path, run: str) -> None:
    """Copy every file of the results; each then says where its copy is."""
    from stargazer.mcp.copies import export_results

    store = storage.get_client().store
    records = records_of(store, results)
    bring(store, records)
    exported, notes = export_results(store, records, folder, run=run)
    for sentence in notes:
        note(sentence)
    paths = {record.cid: path for path, record in exported}
    for _, file in _files(results):
        if file["cid"] in paths:
            file["path"] = str(paths[file["cid"]])


def _files(results: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every file in results with its name: `variants`, `alignments[0]`."""
    if isinstance(results, Mapping) and {"asset", "cid", "keyvalues"} <= set(results):
        yield name, results  # type: ignore[misc]
    elif isinstance(results, Mapping):
        for key, value in results.items():
            yield from _files(value, f"{name}.{key}" if name else key)
    elif isinstance(results, list):
        for number, value in enumerate(results):
            yield from _files(value, f"{name}[{number}]")


def _print_results(record: Mapping[str, Any], *, exported: bool) -> None:
    """What came out and where it is, on stdout; what it took, on stderr."""
    files = list(_files(record["results"]))
    rows = [[name, file["asset"], file["cid"], file["path"] if exported else ""] for name, file in files]
    print_table(["RESULT", "TYPE", "CID", "FILE"], rows)
    for name, value in record["results"].items():
        if not isinstance(value, Mapping | list) and value is not None:
            print_text(f"{name} = {value}")
    for sentence in record["notes"]:
        note(f"note: {sentence}")
    note(
        f"{record['workflow']}: {count(record['computed'], 'task')} computed, {record['memo_hits']} remembered, "
        f"{record['seconds']:.1f} s (run {record['run']})"
    )
    if files and not exported:
        note("`stargazer get CID --to DIR` copies a result out, `stargazer why CID` says how it was made")
    for name, file in files:
        if file["keyvalues"].get("kind") in PAGES:
            where = (
                file["path"]
                if exported
                else f"what `stargazer get {file['cid']} --to DIR` copies out, the {name},"
            )
            note(f"What next: open {where} in a browser; it shows whether the run is sound")
