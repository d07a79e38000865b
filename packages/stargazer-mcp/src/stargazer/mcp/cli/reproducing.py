"""`stargazer verify --recompute` and `replay`: what was computed is computed again, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer.assets.errors import StargazerError
from stargazer.mcp.cli.measures import count
from stargazer.mcp.cli.output import escaped, note, print_json, print_text
from stargazer.mcp.cli.supervising import supervise
from stargazer.mcp.cli.words import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from stargazer.tasks.execution import Event
    from stargazer.tasks.execution.capsules import Replay
    from stargazer.tasks.execution.replaying import Replayed
    from stargazer.tasks.execution.restoring import Again

__all__ = ["replay", "verify_again"]

SHOWN = 10  # differences of the environment


def verify_again(files: Mapping[str, str], *, as_json: bool) -> int:
    """Do again what made files (names by CID) and say whether the same came of it; the exit status."""
    from stargazer.storage import get_client
    from stargazer.tasks.execution import observe
    from stargazer.tasks.execution.recomputing import reproduce

    async def main(observer: Callable[[Event], None]) -> list[dict[str, Any]]:
        answers = []
        for cid, name in files.items():
            try:
                with observe(observer):
                    answers.append(_answer(cid, name, await reproduce(get_client(), cid)))
            except StargazerError as error:
                answers.append({"cid": cid, "name": name, "ok": False, "error": error.explain()})
        return answers

    answers = supervise("verify", main)
    if isinstance(answers, int):
        return answers
    if as_json:
        print_json(answers)
    else:
        for answer in answers:
            state = f"the same again by {answer['task']}" if answer["ok"] else f"NOT ok: {answer['error']}"
            print_text(escaped(" ".join(filter(None, [answer["cid"], answer["name"], state])), keep="\n"))
    return 0 if all(answer["ok"] for answer in answers) else 1


def _answer(cid: str, name: str, again: Again) -> dict[str, Any]:
    import attrs

    said = "; ".join(result.explain() for result in again.results if not result.same)
    answer = {"cid": cid, "name": name, "ok": again.same, "task": again.execution.task,
              "results": [attrs.asdict(result) for result in again.results]}  # fmt: skip
    return answer if again.same else {**answer, "error": f"{again.execution.task} {said} ({again.changed})"}


def replay(argv: Sequence[str]) -> int:
    """Compute what a bundle holds again and compare."""
    parser = Parser(
        "replay",
        "NAME|FILE|FOLDER|URL [--json]",
        "Compute everything that led to the files of a bundle again, from its imports, and compare every file with\n"
        "what it was. On an empty machine as on any other: only imports are taken from the bundle. What comes out the\n"
        "same counts as computed here from then on. Exit status 1: something does not, or could not be done.",
        "  stargazer bundle make na12878-calls bafkrei... --with-lineage\n  stargazer replay na12878-calls",
    )
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")
    words = parser.sort(argv)
    if len(words.plain) != 1 or words.pairs:
        parser.error("say which bundle: a name, a file, a folder or a URL")
    from stargazer.storage import get_client
    from stargazer.storage.bundles.finding import find_bundle
    from stargazer.tasks.execution import observe
    from stargazer.tasks.execution.capsules import replay_bundle

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
        _print_replay(done)
    return 0 if done.same else 1


def _begun(number: int, environment: list[str]) -> None:
    """Say what is about to be done, and what is not as it was."""
    for line in environment[:SHOWN]:
        note(f"environment: {line}")
    if len(environment) > SHOWN:
        note(f"environment: ... and {len(environment) - SHOWN} more differences")
    note(f"{count(number, 'execution')} to do again")


def _as_dict(replayed: Replayed) -> dict[str, Any]:
    import attrs

    results = replayed.again.results if replayed.again else []
    return {"provenance_cid": replayed.provenance_cid, "task": replayed.execution.task, "state": replayed.state,
            "note": replayed.note, "results": [attrs.asdict(result) for result in results]}  # fmt: skip


def _print_replay(done: Replay) -> None:
    for replayed in done.executions:
        if replayed.state != "same":
            print_text(f"{replayed.execution.task}: {replayed.state}: {replayed.note}")
            print_text(f"  stargazer why {replayed.provenance_cid}")
    states = [replayed.state for replayed in done.executions]
    files = sum(len(replayed.again.results) for replayed in done.executions if replayed.again)
    print_text(
        f"{count(len(states), 'execution')} done again: {states.count('same')} the same, "
        f"{states.count('differs')} not, {states.count('failed')} could not be done; "
        f"{count(files, 'file')} compared"
    )
