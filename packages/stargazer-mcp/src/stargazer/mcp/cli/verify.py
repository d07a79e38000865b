"""`stargazer verify`: reads files, or makes them again (--recompute), and compares them with their CIDs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stargazer import storage
from stargazer.assets import AssetNotFoundError, IntegrityError, StorageError
from stargazer.mcp.cli.console import Parser, Words, escaped, human_size, print_json, print_text
from stargazer.mcp.cli.progress import supervise, working
from stargazer.mcp.cli.replay import as_dict
from stargazer.mcp.cli.selection import folder_of_store, named_records
from stargazer.storage import maintenance

if TYPE_CHECKING:
    from stargazer.assets.provenance import Execution
    from stargazer.storage import Store
    from stargazer.tasks.execution import Replayed

__all__ = ["verify"]


def verify(argv: Sequence[str]) -> int:
    """Read files in full and compare them with their CIDs."""
    parser = Parser(
        "verify",
        "CID|ID ... | key=value ... [--recompute] [--json]",
        "Read the bytes of files in full and compare them with their CIDs. Exit status 1: one is damaged or missing.\n"
        "With --recompute, do again what made them instead, and compare what comes of it; nothing is registered.",
        "  stargazer verify bafkrei...\n  stargazer verify asset=variants samples=NA12878\n"
        "  stargazer verify bafkrei... --recompute",
        {"--recompute": "run the task that made each file again", "--json": "print the answers as JSON"},
    )
    words = parser.sort(argv)
    if bool(words.plain) == bool(words.pairs):
        parser.error("say which files: CIDs, or key=value")

    store = folder_of_store()
    files = _files(store, words)
    if words.options.recompute:
        return _recompute(files, as_json=words.options.json)
    answers: list[dict[str, Any]] = []
    for cid, name in files.items():
        answer: dict[str, Any] = {"cid": cid, "name": name, "ok": True}
        try:
            with working(f"reading {name or cid}"):
                answer["size"] = maintenance.verify(store, cid).size
        except IntegrityError as error:
            answer |= {"ok": False, "error": str(error)}
        except StorageError as error:
            answer |= {"ok": False, "missing": store.objects.stat(cid) is None, "error": str(error)}
        answers.append(answer)
    if words.options.json:
        print_json(answers)
    else:
        for answer in answers:
            state = f"ok {human_size(answer['size'])}" if answer["ok"] else f"NOT ok: {answer['error']}"
            print_text(escaped(" ".join(filter(None, [answer["cid"], answer["name"], state]))))
    return 0 if all(answer["ok"] for answer in answers) else 1


def _files(store: Store, words: Words) -> dict[str, str]:
    """The names by CID of the files that words mean; bytes without a record have a CID too."""
    bare = {word: "" for word in words.plain if storage.is_cid(word) and not store.query({"cid": word})}
    records = named_records(store, [word for word in words.plain if word not in bare])
    records += storage.find_records(store, words.pairs) if words.pairs else []
    if not bare and not records:
        raise AssetNotFoundError("no record matches: `stargazer query` lists what there is")
    return bare | {record.cid: record.name for record in records}


def _recompute(files: Mapping[str, str], *, as_json: bool) -> int:
    """Do again what made files (names by CID) and say whether the same came of it; the exit status.

    Raises:
        AssetNotFoundError: none of them was computed, as far as is known here.
    """
    from stargazer.tasks.execution import execution_of
    from stargazer.tasks.execution import replay as do_again

    client = storage.get_client()
    found = {cid: execution_of(client.store, cid) for cid in files}
    executions = dict(filter(None, found.values()))
    if not executions:
        raise AssetNotFoundError(
            f"no execution is known that made {', '.join(name or cid for cid, name in files.items())}: imported, or "
            "never registered here, so there is nothing to compute again"
        )
    done = supervise("verify", lambda: do_again(client, executions))
    by_file = {cid: _done_of(cid, found[cid], done) for cid in files}
    if as_json:
        print_json([{"cid": cid, "name": name, **as_dict(by_file[cid])} for cid, name in files.items()])
    else:
        for cid, name in files.items():
            print_text(" ".join(filter(None, [cid, escaped(name), _told(by_file[cid])])))
    return 0 if all(replayed.state == "same" for replayed in done) else 1


def _done_of(cid: str, made: tuple[str, Execution] | None, done: Sequence[Replayed]) -> Replayed | None:
    """What came of the execution that made a file: of several that say the same, one was done."""
    if made is None:
        return None
    for replayed in done:
        made_again = cid in {entry.cid for entry in replayed.execution.outputs}
        alike = replayed.execution.run_key == made[1].run_key and made_again
        if replayed.provenance_cid == made[0] or alike:
            return replayed
    return None


def _told(replayed: Replayed | None) -> str:
    if replayed is None:
        return "imported: nothing to compute again"
    if replayed.state == "same":
        return f"the same again by {replayed.execution.task}"
    return f"NOT ok: {replayed.execution.task} {replayed.note}"
