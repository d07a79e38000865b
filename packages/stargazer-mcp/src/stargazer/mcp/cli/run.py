"""`stargazer run`: lists workflows, describes one, or runs it and prints its results."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer import storage
from stargazer.mcp.cli.console import Parser, count, note, option, print_json, print_table, print_text
from stargazer.mcp.cli.outcome import show_started, show_to_the_end

if TYPE_CHECKING:
    from stargazer.tasks.execution import Refresh
    from stargazer.workflows import Entry

__all__ = ["run"]


def run(argv: Sequence[str]) -> int | None:
    """Run a workflow, list them, or describe one."""
    parser = Parser(
        "run",
        "[WORKFLOW [--samplesheet SHEET [--in-place]] [key=value ...]] [--outdir DIR] [--detach]\n"
        "       [--why-not] [--refresh | --refresh-task TASK ... | --refresh-from TASK ...] [--json]",
        "Run a workflow. Without a name, list them; `stargazer run WORKFLOW --help` shows its arguments.\n"
        "What has been computed before is remembered and not computed again. A run goes on when the terminal\n"
        "is closed: `stargazer runs` lists it. Ctrl-C cancels it, and a second one kills it.",
        "  stargazer run\n  stargazer run germline_short_variant_discovery --help\n"
        "  stargazer run germline_short_variant_discovery samples=NA12878 build=GRCh38 --why-not\n"
        "  stargazer run germline_short_variant_discovery samples=NA12878,NA12891 build=GRCh38 --outdir results\n"
        "  stargazer run germline_short_variant_discovery --samplesheet samples.csv build=GRCh38 --outdir results",
        {
            "-h --help": "of the command, or of the workflow that is named",
            "--samplesheet": option(
                "SHEET",
                "register the files of a sample sheet, and run on its samples, or on those of samples=",
                type=Path,
            ),
            "--in-place": "with --samplesheet: do not copy its files, as of add",
            "--outdir": option(
                "DIR",
                "also copy the results here, under names people read; those of an earlier run, which a list "
                "(stargazer-results.json) names, are removed where nobody changed them",
                type=Path,
            ),
            "--detach": "do not wait for the end: print the id of the run",
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
    if options.why_not and options.detach:
        parser.error("--why-not computes nothing, so there is nothing to detach from")
    if options.why_not and options.outdir:
        parser.error("--why-not computes nothing, so there is nothing to copy to --outdir")
    if options.help and not words.plain:
        parser.print_help()
        return None
    if len(words.plain) > 1:
        parser.error(f"{words.plain[1]!r} is no argument: write key=value")
    if not words.plain:
        if words.pairs or options.samplesheet:
            parser.error("name the workflow first")
        _list(as_json=options.json)
        return None
    from stargazer.workflows import is_known_to_fit

    given: Mapping[str, Any] = words.pairs
    has_sheet = options.samplesheet is not None
    if options.in_place and not has_sheet:
        parser.error("--in-place is for --samplesheet")
    if not (options.help or has_sheet or options.why_not) and is_known_to_fit(words.plain[0], given):
        return _run(words.plain[0], options, given)
    from stargazer.workflows import convert, find_entry, keep_signature

    workflow = find_entry(words.plain[0])
    if options.help:
        _describe(workflow)
        return None
    if has_sheet:
        from stargazer.mcp.cli.samplesheet import run_arguments

        given = run_arguments(workflow, options.samplesheet, given, in_place=options.in_place)
    convert(workflow, given)  # refused before anything is shown
    keep_signature(workflow)
    if options.why_not:
        _why_not(workflow, options, given)
        return None
    return _run(words.plain[0], options, given)


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
        f"usage: stargazer run {workflow.name} [--samplesheet SHEET [--in-place]] key=value ... [--outdir DIR]\n"
        "       [--detach] [--why-not] [--refresh | --refresh-task TASK ... | --refresh-from TASK ...] [--json]\n"
    )
    print_text(workflow.summary + (f"\n\n{workflow.text}" if workflow.text else "") + "\n")
    print_text("arguments:\n" + "\n".join(usage(workflow)) + f"\n\nfor example:\n  {command_line(workflow)}")


def _run(name: str, options: argparse.Namespace, given: Mapping[str, Any]) -> int | None:
    """Run a workflow in a process of its own, and show it to the end unless that is not wanted."""
    from stargazer.workflows import start_run

    if options.outdir is not None:
        storage.check_results(options.outdir)
    tasks = [*options.refresh_task, *options.refresh_from]
    refresh = {"tasks": tasks, "below": bool(options.refresh_from)} if options.refresh or tasks else None
    started = start_run(name, given, refresh=refresh, outdir=options.outdir or "")
    if options.detach:
        show_started(started, as_json=options.json)
        return None
    return show_to_the_end(started, as_json=options.json)


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
        import attrs

        print_json({"workflow": workflow.name, **attrs.asdict(asked)})
        return
    for miss in asked.misses:
        print_text(f"{miss.task} {miss.label}".strip())
        print_text("\n".join(f"  {line}" for line in miss.explain().splitlines()))
    if not asked.misses:
        print_text("nothing would be computed")
    rest = ", and whatever reads their results" if asked.misses else ""
    note(f"{workflow.name}: {count(asked.remembered, 'task call')} remembered, {len(asked.misses)} not{rest}")
