"""`stargazer replay`: computes everything that led to the files of a bundle again, and compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
from stargazer import storage
from stargazer.mcp.cli.console import Parser, count, note, print_json, print_text
from stargazer.mcp.cli.progress import supervise
from stargazer.storage import bundles

if TYPE_CHECKING:
    from stargazer.tasks.execution import Replay, Replayed

__all__ = ["as_dict", "replay"]

SHOWN = 10  # differences of the environment


def replay(argv: Sequence[str]) -> int:
    """Compute what a bundle holds again and compare."""
    parser = Parser(
        "replay",
        "NAME|FILE|FOLDER|URL [--json]",
        "Compute everything that led to the files of a bundle again, from its imports, and compare every file with\n"
        "what it was. What was imported is taken from the bundle, and so is a file that does not come out the same,\n"
        "where the bundle has it. What comes out the same is registered as computed here. Exit status 1: something\n"
        "does not, or could not be done.",
        "  stargazer bundle make na12878-calls bafkrei... --with-lineage\n  stargazer replay na12878-calls",
        {"--json": "print what came of it as JSON"},
    )
    words = parser.sort(argv)
    if len(words.plain) != 1 or words.pairs:
        parser.error("say which bundle: a name, a file, a folder or a URL")
    from stargazer.tasks.execution import replay_bundle

    client = storage.get_client()
    bundle = bundles.find_bundle(words.plain[0], client.store.root)
    title = f"replay {bundle.manifest.name}"
    done = supervise(title, lambda: replay_bundle(client, bundle, begun=_begun))
    if words.options.json:
        print_json({"name": bundle.manifest.name, "same": done.same, "environment": done.environment,
                    "executions": [as_dict(replayed) for replayed in done.executions]})  # fmt: skip
    else:
        _print_replay(done, is_capsule=bundle.manifest.environment is not None)
    return 0 if done.same else 1


def _begun(number: int, environment: list[str]) -> None:
    """Say what is about to be done, and what is not as it was."""
    for line in environment[:SHOWN]:
        note(f"environment: {line}")
    if len(environment) > SHOWN:
        note(f"environment: ... and {len(environment) - SHOWN} more differences")
    note(f"{count(number, 'execution')} to do again")


def as_dict(replayed: Replayed | None) -> dict[str, Any]:
    """What came of one execution, for programs."""
    if replayed is None:
        return {"state": "imported"}
    results = replayed.again.results if replayed.again else []
    return {"provenance_cid": replayed.provenance_cid, "task": replayed.execution.task, "state": replayed.state,
            "note": replayed.note, "results": [attrs.asdict(result) for result in results]}  # fmt: skip


def _print_replay(done: Replay, *, is_capsule: bool) -> None:
    """What did not come out the same, with the reason; what was skipped for that is only counted."""
    for replayed in done.executions:
        if replayed.state in ("differs", "failed"):
            print_text(f"{replayed.execution.task}: {replayed.state}: {replayed.note}")
            print_text(f"  stargazer why {replayed.provenance_cid}")
    states = [replayed.state for replayed in done.executions]
    files = sum(
        result.kind == "file"
        for replayed in done.executions
        if replayed.again
        for result in replayed.again.results
    )
    print_text(
        f"{count(len(states), 'execution')}: {states.count('same')} gave the same again, {states.count('differs')} did "
        f"not, {states.count('failed')} could not be done, {states.count('skipped')} skipped for that; "
        f"{count(files, 'file')} compared"
    )
    if not (done.same or is_capsule):
        note("it was not made --with-lineage, so what its files were computed from may be missing")
