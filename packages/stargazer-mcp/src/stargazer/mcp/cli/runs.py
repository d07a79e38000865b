"""`stargazer runs`: lists what was run, and watches, cancels, resumes or removes a run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stargazer.mcp.cli.console import (
    SHOWN,
    Parser,
    Words,
    count,
    escaped,
    human_time,
    note,
    option,
    print_json,
    print_table,
    print_text,
)
from stargazer.mcp.cli.outcome import (
    exit_status,
    named,
    print_results,
    show_started,
    show_to_the_end,
    shown,
)

if TYPE_CHECKING:
    from stargazer.workflows import Run

__all__ = ["runs"]

PAUSE = 0.2  # seconds between looks at logs


def runs(argv: Sequence[str]) -> int | None:
    """List runs, or do something with one."""
    parser = Parser(
        "runs",
        "[show | logs | watch | cancel | resume | rm] [ID] [TASK] [-f] [--kill]\n"
        "       [--detach] [--older-than TIME] [--json]",
        "Without a word, list what was run, the newest first: workflows, and what a server was asked for, single\n"
        "tasks and jobs. A run goes on without whoever started it.\n"
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
            "--json": "print the answer as JSON",
        },
    )
    words = parser.sort(argv)
    action, *rest = words.plain or [""]
    if words.pairs or action not in ACTIONS:
        parser.error(f"{action or next(iter(words.pairs))!r} is none of {', '.join(list(ACTIONS)[1:])}")
    do, options = ACTIONS[action]
    parser.only(words, options, f"runs {action}".rstrip())
    if len(rest) > (2 if action == "logs" else 1) or (rest and not action):
        parser.error(f"{rest[-1]!r} is not expected here")
    if action and not rest and not (action == "rm" and words.options.older_than):
        parser.error(f"say which run: `stargazer runs {action} ID`, or `last`")
    if rest and words.options.older_than:
        parser.error("give a run or --older-than, not both")
    return do(parser, words._replace(plain=rest))


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
        [run.id, named(run), _what(run), run.state, run.started[:16].replace("T", " "), human_time(run.seconds),
         f"{run.computed} computed, {run.memo_hits} remembered"]
        for run in found
    ]  # fmt: skip
    print_table(["RUN", "WORKFLOW", "OF", "STATE", "STARTED (UTC)", "TIME", "TASKS"], rows, most=SHOWN)


def _what(run: Run) -> str:
    """What a run is about, for people: its samples, at most three."""
    given = run.arguments or run.given
    samples = given.get("samples") or given.get("sample") or []
    names = [samples] if isinstance(samples, str) else [str(name) for name in samples]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


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
            ["time", human_time(run.seconds)], ["attempts", str(run.attempt) if run.attempt > 1 else ""],
            ["tasks", f"{run.computed} computed, {run.memo_hits} remembered"],
            *([name, _text(value)] for name, value in (run.arguments or run.given).items()),
            ["is in", run.defined_in], ["outdir", run.outdir], ["folder", str(run.folder)]]  # fmt: skip
    print_text(f"{named(run)} {run.id}")
    for name, value in rows:
        if value:
            print_text(f"  {name:9} {escaped(value)}")
    print_table(["TASK", "CALLS", "LONGEST"], _tasks(run))
    if run.state == "succeeded":
        print_results(run)
    elif run.error:
        print_text(run.error)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _tasks(run: Run) -> list[list[str]]:
    """Each task of the last attempt: how its calls are, and how long the longest took."""
    from collections import Counter

    from stargazer.workflows import CALL_STATES, calls_of

    states: dict[str, Counter[str]] = {}
    longest: dict[str, float] = {}
    for event in calls_of(run):
        name, kind = event["task"], event["kind"]
        goes_on = run.state == "running" or kind in ("finished", "memo hit", "failed")
        states.setdefault(name, Counter())[CALL_STATES.get(kind, kind) if goes_on else "not finished"] += 1
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
    if words.options.json:
        if words.options.follow:
            parser.error("--json gives the logs as they are now: leave -f out")
        print_json(
            [{"log": path.stem, "text": path.read_text(errors="replace")} for path in _logs_of(run, task)]
        )
        return
    seen: dict[Path, int] = {}
    while True:
        goes_on = run.state == "running"
        for path in _logs_of(run, task):
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


def _logs_of(run: Run, task: str) -> list[Path]:
    """What the calls of one task, or of all, printed, in the order in which they began."""
    return sorted(run.logs.glob(f"*-{task}.log" if task else "*.log"))


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
        done = asyncio.run(shown(run))
    except KeyboardInterrupt:
        note(f"run {run.id} goes on; `stargazer runs cancel {run.id}` stops it")
        return 128 + signal.SIGINT
    if not (status := exit_status(done)):
        print_results(done, as_json=words.options.json)
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


ACTIONS: dict[str, tuple[Callable[[Parser, Words], int | None], set[str]]] = {
    "": (_list, set()),
    "show": (_show, set()),
    "logs": (_logs, {"follow"}),
    "watch": (_watch, set()),
    "cancel": (_cancel, {"kill"}),
    "resume": (_resume, {"detach"}),
    "rm": (_remove, {"older_than"}),
}
"""What each action does, and which options it takes beside --json."""
