"""`stargazer runs`: lists what was run, and watches, cancels, resumes or removes a run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.mcp.cli.console import (
    SHOWN,
    Parser,
    Words,
    count,
    escaped,
    fail,
    human_time,
    note,
    option,
    print_json,
    print_table,
    print_text,
)

if TYPE_CHECKING:
    from stargazer.tasks.execution import Event
    from stargazer.workflows import Run

__all__ = ["carried_out", "runs", "show_started", "show_to_the_end"]

PAGES = ("germline_report", "scrna_report")
"""Kinds of the result that people look at first."""
KEYS = ("run", "workflow", "seconds", "computed", "memo_hits", "notes", "results")
STATES = {"finished": "done", "memo hit": "remembered", "started": "running", "progress": "running"}
"""What is said of a call whose last event is of a kind, where that is another word."""

PAUSE = 0.2  # seconds between looks at logs


def runs(argv: Sequence[str]) -> int | None:
    """List runs, or do something with one."""
    parser = Parser(
        "runs",
        "[show | logs | watch | cancel | resume | rm] [ID] [TASK] [-f] [--kill]\n"
        "       [--detach] [--older-than TIME] [--json]",
        "Without a word, list what was run, the newest first. A run goes on without whoever started it.\n"
        "  show     what was asked for, and what came of it\n"
        "  logs     what its tools printed, of all tasks or of one; -f waits for more\n"
        "  watch    show it until it ends; Ctrl-C ends the watching alone\n"
        "  cancel   stop it and its tools; what was finished is kept\n"
        "  resume   go on with one that failed, was cancelled or lost: only what is missing is computed\n"
        "  rm       remove its record and logs; results stay in the store\n"
        "ID is a run's id, the end of it that no other has, or `last`.",
        "  stargazer runs\n  stargazer runs watch last\n  stargazer runs logs last markdup -f\n"
        "  stargazer runs resume 3f9c2a\n  stargazer runs rm --older-than 30d",
        {
            "-f --follow": "of logs: print what is added until the run ends",
            "--kill": "of cancel: end its process without asking it",
            "--detach": "of resume: do not wait for the end",
            "--older-than": option("TIME", "of rm: all that ended longer ago (30m, 12h, 14d, 2w)"),
            "--json": "print as JSON",
        },
    )
    words = parser.sort(argv)
    action, *rest = words.plain or [""]
    actions: dict[str, Callable[[Parser, Words], int | None]] = {
        "": _list, "show": _show, "logs": _logs, "watch": _watch, "cancel": _cancel, "resume": _resume, "rm": _remove,
    }  # fmt: skip
    if words.pairs or action not in actions:
        parser.error(f"{action or next(iter(words.pairs))!r} is none of {', '.join(list(actions)[1:])}")
    if len(rest) > (2 if action == "logs" else 1) or (rest and not action):
        parser.error(f"{rest[-1]!r} is not expected here")
    if action and not rest and not (action == "rm" and words.options.older_than):
        parser.error(f"say which run: `stargazer runs {action} ID`, or `last`")
    if rest and words.options.older_than:
        parser.error("give a run or --older-than, not both")
    return actions[action](parser, words._replace(plain=rest))


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
        _print_results(done, as_json=as_json)
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
        return await _shown(run)

    try:
        done = asyncio.run(main())
    except (KeyboardInterrupt, SystemExit):  # a signal before it listened for them
        _cancelled(run.id, kill=False)
        note(f"stargazer: run {run.id} was cancelled; `stargazer runs resume {run.id}` goes on where it was")
        raise
    if received:
        done = find_run(run.id)  # that it was killed is recorded once it is gone
    return done, _status(done, received)


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


async def _shown(run: Run) -> Run:
    """A run once it has ended; its tasks are shown meanwhile, those of its last attempt."""
    from stargazer.mcp.cli.progress import tasks_shown
    from stargazer.workflows import watch_run

    with tasks_shown(run.workflow) as show:

        def tell(told: dict[str, Any]) -> None:
            if told.get("attempt", 1) != run.attempt:
                return
            if told["kind"] == "warning":
                note(f"stargazer: warning: {told.get('note', '')}")
            elif (event := _event(told)) is not None:
                show(event)

        return await watch_run(run.id, tell)


def _event(told: Mapping[str, Any]) -> Event | None:
    """An event as the file of events has it; None of one that another version has written otherwise."""
    import attrs
    from stargazer.tasks.execution import Event

    try:
        return Event(**{field.name: told[field.name] for field in attrs.fields(Event) if field.name in told})
    except TypeError:
        return None


def _status(run: Run, received: Sequence[int] = ()) -> int:
    """The exit status of a run that has ended; if it has not succeeded, say why.

    Args:
        received: signals by which it was cancelled.
    """
    if run.state == "succeeded":
        return 0
    resume = f"`stargazer runs resume {run.id}` goes on where it was"
    if run.state == "cancelled" and received:
        note(f"stargazer: stopped by {signal.Signals(received[0]).name}; what was finished is kept: {resume}")
        return 128 + received[0]
    why = {"cancelled": f"run {run.id} was cancelled", "lost": f"run {run.id} was lost: {run.error}"}
    fail(why.get(run.state, run.error))
    if run.state != "lost" and run.computed + run.memo_hits:  # the error of a lost one says so
        note(f"what was finished is kept: {resume}")
    return 1


def _print_results(run: Run, *, as_json: bool = False) -> None:
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
        f"{record['workflow']}: {count(record['computed'], 'task')} computed, {record['memo_hits']} remembered, "
        f"{_elapsed(run)} (run {record['run']})"
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


def _list(parser: Parser, words: Words) -> None:
    from stargazer.workflows import list_runs

    found = list_runs()
    if words.options.json:
        print_json([run.as_dict() for run in found])
        return
    if not found:
        note("nothing was run yet; `stargazer run` lists workflows")
        return
    rows = [
        [run.id, run.workflow, _what(run), run.state, run.started[:16].replace("T", " "), _elapsed(run),
         f"{run.computed} computed, {run.memo_hits} remembered"]
        for run in found
    ]  # fmt: skip
    print_table(["RUN", "WORKFLOW", "OF", "STATE", "STARTED (UTC)", "TIME", "TASKS"], rows, most=SHOWN)


def _what(run: Run) -> str:
    """What a run is about, for people: its samples, at most three."""
    samples = (run.arguments or run.given).get("samples") or []
    names = [samples] if isinstance(samples, str) else [str(name) for name in samples]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _elapsed(run: Run) -> str:
    """How long a run has worked, all attempts together."""
    return human_time(run.seconds)


def _found(words: Words) -> Run:
    """The run that is meant: by its id, by the end of it that no other has, or the last one.

    Raises:
        AssetNotFoundError, AmbiguousAssetError: there is none, or several.
    """
    from stargazer.assets import AmbiguousAssetError, AssetNotFoundError
    from stargazer.workflows import find_run, list_runs

    name = words.plain[0]
    near = [] if "T" in name else list_runs()  # of an id in full only its own record is read
    if name == "last":
        if not near:
            raise AssetNotFoundError("nothing was run yet; `stargazer run` lists workflows")
        return near[0]
    near = [run for run in near if run.id.endswith(name)]
    if len(near) > 1:
        raise AmbiguousAssetError(f"{len(near)} runs end in {name!r}: {', '.join(run.id for run in near)}")
    return near[0] if near else find_run(name)


def _show(parser: Parser, words: Words) -> None:
    run = _found(words)
    record = run.as_dict()
    if words.options.json:
        print_json(record)
        return
    rows = [["state", run.state], ["started", run.started], ["finished", run.finished],
            ["time", _elapsed(run)], ["attempts", str(run.attempt) if run.attempt > 1 else ""],
            ["tasks", f"{run.computed} computed, {run.memo_hits} remembered"],
            *([name, _text(value)] for name, value in (run.arguments or run.given).items()),
            ["outdir", run.outdir], ["folder", str(run.folder)]]  # fmt: skip
    print_text(f"{run.workflow} {run.id}")
    for name, value in rows:
        if value:
            print_text(f"  {name:9} {escaped(value)}")
    print_table(["TASK", "CALLS", "LONGEST"], _tasks(run))
    if run.state == "succeeded":
        _print_results(run)
    elif run.error:
        print_text(run.error)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _tasks(run: Run) -> list[list[str]]:
    """Each task of the last attempt: how its calls are, and how long the longest took."""
    from collections import Counter

    from stargazer.workflows import calls_of

    states: dict[str, Counter[str]] = {}
    longest: dict[str, float] = {}
    for event in calls_of(run):
        name, kind = event["task"], event["kind"]
        goes_on = run.state == "running" or kind in ("finished", "memo hit", "failed")
        states.setdefault(name, Counter())[STATES.get(kind, kind) if goes_on else "not finished"] += 1
        if kind == "finished":
            longest[name] = max(longest.get(name, 0.0), event.get("seconds", 0.0))
    return [
        [name, ", ".join(f"{calls} {state}" for state, calls in found.items()),
         human_time(longest[name]) if name in longest else ""]
        for name, found in states.items()
    ]  # fmt: skip


def _logs(parser: Parser, words: Words) -> None:
    import time

    from stargazer.workflows import find_run

    run, task = _found(words), (words.plain[1] if len(words.plain) > 1 else "").rpartition(".")[2]
    seen: dict[Path, int] = {}
    while True:
        goes_on = run.state == "running"
        for path in sorted(run.logs.glob(f"*-{task}.log" if task else "*.log")):
            _print_rest(path, seen)
        if not (goes_on and words.options.follow):
            break
        time.sleep(PAUSE)
        run = find_run(run.id)
    if not seen:
        tasks = sorted({path.stem.rpartition("-")[2] for path in run.logs.glob("*.log")})
        note(
            f"no logs of {task or 'this run'}" + (f"; there are some of {', '.join(tasks)}" if tasks else "")
        )
    worker = run.folder / "worker.log"
    if not task and worker.is_file() and worker.stat().st_size:
        _print_rest(worker, seen)


def _print_rest(path: Path, seen: dict[Path, int]) -> None:
    """Print what a log has had added since it was printed."""
    with open(path, "rb") as file:
        file.seek(seen.get(path, 0))
        added = file.read()
    if added:
        if list(seen)[-1:] != [path]:
            print_text(f"==> {path.stem} <==")
        seen[path] = seen.pop(path, 0) + len(added)
        print_text(added.decode(errors="replace").rstrip("\n"))
        sys.stdout.flush()


def _watch(parser: Parser, words: Words) -> int:
    import asyncio

    run = _found(words)
    try:
        done = asyncio.run(_shown(run))
    except KeyboardInterrupt:
        note(f"run {run.id} goes on; `stargazer runs cancel {run.id}` stops it")
        return 128 + signal.SIGINT
    if not (status := _status(done)):
        _print_results(done, as_json=words.options.json)
    return status


def _cancel(parser: Parser, words: Words) -> None:
    import asyncio

    from stargazer.workflows import cancel_run, watch_run

    run = _found(words)
    cancel_run(run.id, kill=words.options.kill)
    done = asyncio.run(watch_run(run.id))
    if words.options.json:
        print_json(done.as_dict())
    else:
        end = f"`stargazer runs resume {run.id}` goes on where it was"
        note(f"run {run.id}: {done.state}; {end if done.state != 'succeeded' else 'it was faster'}")


def _resume(parser: Parser, words: Words) -> int | None:
    from stargazer.workflows import resume_run

    run = resume_run(_found(words).id)
    if words.options.detach:
        show_started(run, as_json=words.options.json)
        return None
    return show_to_the_end(run, as_json=words.options.json)


def _remove(parser: Parser, words: Words) -> None:
    import datetime

    from stargazer.workflows import list_runs, remove_run

    if words.plain:
        chosen = [_found(words)]
    else:
        age = datetime.timedelta(seconds=parser.parse_seconds("--older-than", words.options.older_than))
        before = (datetime.datetime.now(datetime.UTC) - age).isoformat()
        chosen = [
            run for run in list_runs() if run.state != "running" and (run.finished or run.started) < before
        ]
    for run in chosen:
        remove_run(run.id)
    if words.options.json:
        print_json([run.id for run in chosen])
    else:
        note(f"{count(len(chosen), 'run')} removed")
