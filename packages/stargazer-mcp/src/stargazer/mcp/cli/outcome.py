"""A run that is watched to its end: what is shown meanwhile, what signals do to it, and what came of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer.mcp.cli.console import count, fail, human_time, note, print_json, print_table, print_text

if TYPE_CHECKING:
    from stargazer.workflows import Run

__all__ = ["carried_out", "exit_status", "named", "print_results", "show_started", "show_to_the_end", "shown"]

PAGES = ("germline_report", "scrna_report")
"""Kinds of the result that people look at first."""
KEYS = ("run", "workflow", "kind", "seconds", "computed", "memo_hits", "notes", "results")


def named(run: Run) -> str:
    """What is run, for people: the workflow; of a single task, or a job of a server, also which of the two it is."""
    return run.workflow if run.kind == "workflow" else f"{run.kind} {run.workflow}"


def show_started(run: Run, *, as_json: bool) -> None:
    """Say which run was started."""
    if as_json:
        print_json({"run": run.id})
        return
    print_text(run.id)
    note(f"started; `stargazer runs watch {run.id}` shows it, `stargazer runs cancel {run.id}` stops it")


def show_to_the_end(run: Run, *, as_json: bool) -> int:
    """Show a run until it ends, as `carried_out` does, print what came of it, and return an exit status."""
    done, status = carried_out(run)
    if not status:
        print_results(done, as_json=as_json)
    return status


def carried_out(run: Run) -> tuple[Run, int]:
    """Show a run until it ends; Ctrl-C or SIGTERM cancels it, a second one kills it.

    Returns:
        The run as it is then, and an exit status; if that is not 0, it was said why.
    """
    import asyncio

    from stargazer.workflows import find_run

    received: list[int] = []

    async def main() -> Run:
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            received.append(number)
            note("stargazer: stopping ..." if len(received) == 1 else "stargazer: killing ...")
            loop.run_in_executor(None, _cancelled, run.id, len(received) > 1)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        return await shown(run)

    try:
        done = asyncio.run(main())
    except (KeyboardInterrupt, SystemExit):  # a signal before it listened for them
        _cancelled(run.id, kill=False)
        note(f"stargazer: run {run.id} was cancelled; `stargazer runs resume {run.id}` goes on where it was")
        raise
    if received:
        done = find_run(run.id)  # that it was killed is recorded once it is gone
    return done, exit_status(done, received)


def _cancelled(id: str, kill: bool) -> None:
    """Have a run stopped, if it has not ended; if that cannot be done, say why."""
    from stargazer.assets import InvalidAssetError, StargazerError
    from stargazer.workflows import cancel_run

    try:
        cancel_run(id, kill=kill)
    except InvalidAssetError:  # it has ended
        pass
    except StargazerError as error:
        fail(error.explain())


async def shown(run: Run) -> Run:
    """A run once it has ended; its tasks are shown meanwhile, those of its last attempt."""
    from stargazer.mcp.cli.progress import tasks_shown
    from stargazer.workflows import event_of, watch_run

    with tasks_shown(named(run)) as show:

        def tell(told: dict[str, Any]) -> None:
            if told.get("attempt", 1) != run.attempt:
                return
            if told["kind"] == "warning":
                note(f"stargazer: warning: {told.get('note', '')}")
            elif (event := event_of(told)) is not None:
                show(event)

        return await watch_run(run.id, tell)


def exit_status(run: Run, received: Sequence[int] = ()) -> int:
    """The exit status of a run that has ended; if it has not succeeded, say why.

    Args:
        received: signals by which it was cancelled.
    """
    if run.state == "succeeded":
        return 0
    resume = run.to_go_on
    if run.state == "cancelled" and received:
        note(f"stargazer: stopped by {signal.Signals(received[0]).name}; what was finished is kept: {resume}")
        return 128 + received[0]
    why = {"cancelled": f"run {run.id} was cancelled", "lost": f"run {run.id} was lost: {run.error}"}
    fail(why.get(run.state, run.error))
    if run.state != "lost" and run.computed + run.memo_hits:  # the error of a lost one says so
        note(f"what was finished is kept: {resume}")
    return 1


def print_results(run: Run, *, as_json: bool = False) -> None:
    """What came out and where it is, on stdout; what it took, on stderr."""
    record = run.as_dict()
    if as_json:
        print_json({key: record[key] for key in KEYS})
        return
    files, exported = list(_files(record["results"])), bool(record["outdir"])
    paths = {file["cid"]: _near(file["path"]) if exported and file["path"] else "" for _, file in files}
    rows = [[name, file["asset"], file["cid"], paths[file["cid"]]] for name, file in files]
    print_table(["RESULT", "TYPE", "CID", "FILE"], rows)
    for name, value in record["results"].items():
        if not isinstance(value, Mapping | list) and value is not None:
            print_text(f"{name} = {value}")
    for sentence in record["notes"]:
        note(f"note: {sentence}")
    note(
        f"{named(run)}: {count(record['computed'], 'task')} computed, {record['memo_hits']} remembered, "
        f"{human_time(run.seconds)} (run {record['run']})"
    )
    if files and not exported:
        note("`stargazer get CID --to DIR` copies a result out, `stargazer why CID` says how it was made")
    for name, file in files:
        if file["keyvalues"].get("kind") in PAGES:
            where = (
                paths[file["cid"]]
                if exported
                else f"what `stargazer get {file['cid']} --to DIR` copies out, the {name},"
            )
            note(f"What next: open {where} in a browser; it shows whether the run is sound")


def _near(path: str) -> str:
    """A path as seen from here, if it is below."""
    here = os.path.join(os.getcwd(), "")
    return path.removeprefix(here)


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
