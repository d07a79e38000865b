"""`stargazer verify --recompute` and `replay`: what was computed is computed again, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer.assets import AssetNotFoundError
from stargazer.mcp.cli.measures import count
from stargazer.mcp.cli.output import escaped, note, print_json, print_text
from stargazer.mcp.cli.supervising import supervise
from stargazer.mcp.cli.words import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from stargazer.assets.provenance import Execution
    from stargazer.tasks.execution import Event, Replay, Replayed

__all__ = ["replay", "verify_again"]

SHOWN = 10  # differences of the environment


def verify_again(files: Mapping[str, str], *, as_json: bool) -> int:
    """Do again what made files (names by CID) and say whether the same came of it; the exit status.

    Raises:
        AssetNotFoundError: none of them was computed, as far as is known here.
    """
    from stargazer.storage import get_client
    from stargazer.tasks.execution import execution_of, observe
    from stargazer.tasks.execution import replay as do_again

    client = get_client()
    found = {cid: execution_of(client.store, cid) for cid in files}
    executions = dict(filter(None, found.values()))
    if not executions:
        raise AssetNotFoundError(
            f"no execution is known that made {', '.join(name or cid for cid, name in files.items())}: imported, or "
            "never registered here, so there is nothing to compute again"
        )

    async def main(observer: Callable[[Event], None]) -> list[Replayed]:
        with observe(observer):
            return await do_again(client, executions)

    done = supervise("verify", main)
    if isinstance(done, int):
        return done
    by_file = {cid: _done_of(cid, found[cid], done) for cid in files}
    if as_json:
        print_json([{"cid": cid, "name": name, **_as_dict(by_file[cid])} for cid, name in files.items()])
    else:
        for cid, name in files.items():
            print_text(" ".join(filter(None, [cid, escaped(name), _told(by_file[cid])])))
    return 0 if all(replayed.state == "same" for replayed in done) else 1


def _done_of(cid: str, made: tuple[str, Execution] | None, done: Sequence[Replayed]) -> Replayed | None:
    """What came of the execution that made a file: of several that say the same, one was done."""
    if made is None:
        return None
    return next(
        (
            replayed
            for replayed in done
            if replayed.provenance_cid == made[0]
            or (
                replayed.execution.run_key == made[1].run_key
                and cid in {entry.cid for entry in replayed.execution.outputs}
            )
        ),
        None,
    )


def _told(replayed: Replayed | None) -> str:
    if replayed is None:
        return "imported: nothing to compute again"
    if replayed.state == "same":
        return f"the same again by {replayed.execution.task}"
    return f"NOT ok: {replayed.execution.task} {replayed.note}"


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
    )
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")
    words = parser.sort(argv)
    if len(words.plain) != 1 or words.pairs:
        parser.error("say which bundle: a name, a file, a folder or a URL")
    from stargazer.storage import get_client
    from stargazer.storage.bundles import find_bundle
    from stargazer.tasks.execution import observe, replay_bundle

    client = get_client()
    bundle = find_bundle(words.plain[0], client.store.root)

    async def main(observer: Callable[[Event], None]) -> Replay:
        with observe(observer):
            return await replay_bundle(client, bundle, begun=_begun)

    done = supervise(f"replay {bundle.manifest.name}", main)
    if isinstance(done, int):
        return done
    if words.options.json:
        print_json({"name": bundle.manifest.name, "same": done.same, "environment": done.environment,
                    "executions": [_as_dict(replayed) for replayed in done.executions]})  # fmt: skip
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


def _as_dict(replayed: Replayed | None) -> dict[str, Any]:
    import attrs

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
