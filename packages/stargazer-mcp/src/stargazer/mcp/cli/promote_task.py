"""`stargazer promote-task`: moves a task from a cell of a notebook into the package, with a test of its last run."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stargazer import storage
from stargazer.assets import ConfigurationError, StargazerError
from stargazer.mcp.cli.console import Parser, count, human_size, note, option, print_json, print_text
from stargazer.mcp.cli.progress import working

if TYPE_CHECKING:
    from stargazer.mcp.promotion.branch import Branch
    from stargazer.mcp.promotion.case import Case
    from stargazer.mcp.promotion.checkout import Checkout
    from stargazer.mcp.promotion.extraction import Promoted
    from stargazer.mcp.promotion.regression import Outcome
    from stargazer.mcp.promotion.trial import Trial

__all__ = ["promote_task"]


def promote_task(argv: Sequence[str]) -> int:
    """Move a task from a notebook into the package, or take the last such move back."""
    parser = Parser(
        "promote-task",
        "NOTEBOOK.py::NAME --to MODULE.py [--fixture CID ...] [--dry-run] [--yes] [--branch NAME]\n"
        "                              [--pull-request] [--json] | --undo [--json]",
        "Move a task from a cell of a notebook into the package stargazer-tasks of this checkout: its function and\n"
        "what it needs, and a test that expects what the cell's last run gave. NAME is that of the task or its cell.\n"
        "Nothing is written if that test fails; the notebook is only read. docs/promotion.md says more.",
        "  stargazer promote-task notebooks/scratch/experiment.py::count_records --to tasks/records.py --dry-run\n"
        "  stargazer promote-task experiment.py::count_records --to tasks/records.py --branch promote/count_records\n"
        "  stargazer promote-task --undo",
        {
            "--to": option("MODULE.py", "the module it goes into, below tasks/; made if it is not there"),
            "--fixture": option(
                "CID", "a file of the run that the test is made of, instead of the last run", action="append"
            ),
            "--dry-run": "show what would be written, as a diff",
            "--yes": "do not ask before files are copied into the repository",
            "--branch": option("NAME", "commit the files on a new branch"),
            "--pull-request": "push the branch, and open a draft pull request on GitHub",
            "--undo": "put back what was there before the last promotion",
            "--json": "print what was written as JSON",
        },
    )
    words = parser.sort(argv)
    options = words.options
    if options.undo:
        if words.plain or words.pairs:
            parser.error("--undo takes no words")
        parser.only(words, ["undo"], "promote-task --undo")
        return _undone(as_json=options.json)
    if len(words.plain) != 1 or words.pairs or not options.to:
        parser.error("say which task and where it goes: NOTEBOOK.py::NAME --to MODULE.py")
    return _promoted(
        words.plain[0],
        options.to,
        fixtures=options.fixture or [],
        dry_run=options.dry_run,
        yes=options.yes,
        branch=options.branch or "",
        pull_request=options.pull_request,
        as_json=options.json,
    )


def _undone(*, as_json: bool) -> int:
    from stargazer.mcp.promotion.checkout import find_checkout
    from stargazer.mcp.promotion.edits import undo
    from stargazer.mcp.promotion.installation import refresh_entry_points

    checkout = find_checkout()
    task, files = undo(checkout.root, storage.Settings.load().home)
    refresh_entry_points(checkout)
    if as_json:
        print_json({"undone": task, "files": [str(path) for path in files]})
        return 0
    print_text(f"{task} is not promoted any more; {count(len(files), 'file')} as before:")
    _list(files, checkout)
    return 0


def _promoted(
    word: str,
    to: str,
    *,
    fixtures: Sequence[str],
    dry_run: bool,
    yes: bool,
    branch: str,
    pull_request: bool,
    as_json: bool,
) -> int:
    from stargazer.mcp.promotion.case import find_cases
    from stargazer.mcp.promotion.checkout import find_checkout
    from stargazer.mcp.promotion.edits import difference, recover, undo, write
    from stargazer.mcp.promotion.installation import refresh_entry_points
    from stargazer.mcp.promotion.plan import code_edits, extract_from, make_plan, require_tools, split_place
    from stargazer.mcp.promotion.publication import description, plan_publication

    require_tools()
    checkout, home = find_checkout(), storage.Settings.load().home
    notebook, name = split_place(word)
    if interrupted := recover(home):
        note(f"stargazer: the promotion of {interrupted[0]} was interrupted, and is taken back")
    with working("reading the notebook"):
        extraction, target = extract_from(notebook, name, to, checkout)
        code = code_edits(extraction, target, checkout)
    promoted = extraction.promoted
    for warning in extraction.warnings:
        note(f"stargazer: warning: {warning}")
    cases = find_cases(storage.get_client(), promoted, fixtures)
    first = next(cases)
    where = "on GitHub" if pull_request else "in the repository"
    if not dry_run and not yes and not _can_ask():
        _refuse(first, where)
    planned = make_plan(checkout, extraction, target, code)
    with working("trying the task in a copy of the checkout"), planned as (plan, trial):
        source = code.edits[target.path].decode()
        case, files, outcome = _tried(itertools.chain([first], cases), promoted, checkout, trial, source)
        plan = plan.with_new(files)
        publication = plan_publication(checkout.root, branch, promoted, plan.edits, pull_request=pull_request)
    if dry_run:
        sys.stdout.write(difference(plan.edits, checkout.root))
        return 0
    if not yes:
        (_agree if _can_ask() else _refuse)(case, where)
    journal = write(plan.edits, plan.seen, checkout.root, home, promoted.task)
    is_listed = refresh_entry_points(checkout) or not plan.installs
    done: dict[str, str] = {}
    if publication is not None:
        body = description(promoted, extraction.summary, case, outcome)
        try:
            done = {"branch": publication.branch.name, "commit": publication.commit(body)}
        except BaseException as error:
            try:
                undo(checkout.root, home, journal)
                refresh_entry_points(checkout)
            except StargazerError as other:
                error.add_note(f"what was written stays: {other}")
            raise
        if request := publication.open(body):
            done["pull_request"] = request.url
            if not request.is_new:
                note(f"stargazer: the branch {publication.branch.name!r} had a pull request already")
    if as_json:
        print_json(
            {"task": promoted.task, "module": promoted.module, "files": sorted(map(str, plan.edits)), **done}
        )
        return 0
    print_text(f"{promoted.task} is in {promoted.module}:")
    _list(sorted(plan.edits), checkout)
    if outcome.skipped:
        note(f"stargazer: its test was skipped here: {outcome.skipped}")
    for key, value in done.items():
        print_text(f"{key.replace('_', ' ')}: {value}")
    branch_made = publication.branch if publication else None
    _say_next(checkout, promoted.function, sorted(plan.edits), branch_made, is_listed=is_listed)
    return 0


def _tried(
    cases: Iterator[Case], promoted: Promoted, checkout: Checkout, trial: Trial, source: str
) -> tuple[Case, dict[Path, bytes], Outcome]:
    """The newest case whose test passes in a copy of the checkout, with the files of the test, and what became of it.

    Raises:
        ToolError: the test of the newest fails, and so does each of the others.
    """
    from stargazer.mcp.promotion.regression import AnotherResult, regression_files, run_case

    failure: AnotherResult | None = None
    try:
        for case in cases:
            files = regression_files(promoted, checkout, case, source)
            trial.put(files, checkout)
            (test,) = (path for path in files if path.name == f"test_{promoted.function}.py")
            try:
                outcome = run_case(trial.checkout, trial.checkout.root / test.relative_to(checkout.root))
            except AnotherResult as error:
                failure = failure or error
                continue
            return case, files, outcome
    except StargazerError as error:
        raise failure or error from None
    assert failure is not None
    raise failure


def _list(files: Sequence[Path], checkout: Checkout) -> None:
    for path in files:
        print_text(f"  {os.path.relpath(path, checkout.root.resolve())}")


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _agree(case: Case, where: str) -> None:
    """Ask before files of a run are copied into the repository, or sent on.

    Raises:
        ConfigurationError: the answer is no.
    """
    if not case.files:
        return
    for text in _listed(case):
        note(f"  {text}")
    note(f"{_counted(case)} will be {where} for the test. Reads may be personal. Continue? [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigurationError("nothing was written")


def _refuse(case: Case, where: str) -> None:
    """Say which files would be copied, where there is nobody to ask.

    Raises:
        ConfigurationError: there are such files.
    """
    if case.files:
        raise ConfigurationError(
            f"{_counted(case)} would be {where} for the test, and reads may be personal: {'; '.join(_listed(case))}. "
            "Say --yes if that is meant, or name other files by --fixture; nothing was written"
        )


def _listed(case: Case) -> list[str]:
    return [f"{file.title} ({human_size(file.size)})" for file in case.files]


def _counted(case: Case) -> str:
    return f"{count(len(case.files), 'file')} ({human_size(case.size)})"


def _say_next(
    checkout: Checkout, function: str, files: Sequence[Path], branch: Branch | None, *, is_listed: bool
) -> None:
    note("next:")
    if not is_listed:
        note(
            "  install stargazer-tasks again (`hatch env prune`), so that its new module is listed among the tasks"
        )
    note(f"  hatch run test -k {function}")
    note("  hatch run lint && hatch run types && hatch run layers")
    if not branch:
        names = " ".join(shlex.quote(os.path.relpath(path, checkout.root)) for path in files)
        note(f'  git add {names} && git commit -m "Promote the task {function}"')
        note("  stargazer promote-task --undo    # takes it back")
    else:
        former = f"--detach {branch.former}" if branch.is_detached else branch.former
        note(f"  git switch {former} && git branch -D {branch.name}    # takes it back")
