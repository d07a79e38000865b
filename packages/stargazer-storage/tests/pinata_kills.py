"""Processes that send to an account or fetch from it, killed at seeded points, or the account's service is.

`python pinata_kills.py ROOT OPERATION NUMBER LAST VICTIM` is one process: it prepares, then works; just before the step
numbered LAST of what it asks of the system, of SQLite and of the network it sends SIGKILL to itself, or to the process
VICTIM if that is not 0 (the service), and goes on. With LAST 0 nobody dies; it prints how many steps there were.
Where the account is, it reads from the environment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from stargazer.assets import StorageError
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Execution
from stargazer.storage import bundles
from stargazer.storage.changes import amend, retract
from stargazer.storage.client import LocalStorageClient
from stargazer.storage.ledger.documents import now
from stargazer.storage.pinata import PinataFile, upload
from stargazer.storage.pinata.api import Patience, PinataApi
from stargazer.storage.pinata.remote import PinataRemote, pull, push
from stargazer.storage.store import Addition, Store, open_store

if __package__:
    from .kill_campaign import Journal, Outcome, judge
    from .pinata_emulator import PinataProcess
else:  # run as a program
    from kill_campaign import Journal, Outcome, judge
    from pinata_emulator import PinataProcess

__all__ = ["OPERATIONS", "campaign", "open_machine"]

SMALL, LARGE = 50, 900_000  # bytes of the files
PIECE = 32 * 1024  # bytes of one step of an upload
ADDRESS = "PINATA_KILLS"  # environment variable: the account's address as JSON


def open_machine(root: Path, address: dict[str, str]) -> Store:
    """A machine's store with the account; one that does not answer is asked once."""
    api = PinataApi(
        address["jwt"], api=address["api"], uploads=address["uploads"], patience=Patience(attempts=1)
    )
    return open_store(root, remote=PinataRemote(api, gateway=address["gateway"]))


def address_of(pinata: PinataProcess) -> dict[str, str]:
    """What `open_machine` needs to know of an account."""
    return {
        "jwt": pinata.jwt,
        "api": pinata.api,
        "uploads": pinata.uploads,
        "gateway": pinata.gateway,
    }


def files(root: Path, number: str) -> Iterator[Addition]:
    """Two new files, a small and a large one."""
    for size in (SMALL, LARGE):
        name = f"{number}-{size}"
        path = root.parent / f"{name}.txt"
        path.write_text(f"{name} " * (size // len(name)))
        yield Addition(path=path, asset=QcReport(kind="added", sample=name))


def _add(store: Store, journal: Journal, number: str) -> Callable[[], object]:
    items = list(files(store.root, number))

    def act() -> None:
        for record in store.add(items):
            journal.write("there", record)

    return act


def _push(store: Store, journal: Journal, number: str) -> Callable[[], object]:
    local = LocalStorageClient(store.root).store
    records = local.add(files(store.root, number))
    for record in records:
        journal.write("there", record)
    return lambda: push(store, records, progress=lambda name, done, total: None)


def _change(store: Store, journal: Journal, number: str) -> Callable[[], object]:
    first, second = store.add(files(store.root, number))
    journal.write("there", first)
    journal.write("there", second)

    def act() -> None:
        journal.write("intent", first)
        amended = amend(store, first, {"kind": "amended"})
        journal.write("gone", first)
        journal.write("there", amended)
        journal.write("intent", second)
        retract(store, second)
        journal.write("gone", second)

    return act


def _pull(store: Store, journal: Journal, number: str) -> Callable[[], object]:
    origin = open_machine(store.root.parent / "origin", json.loads(os.environ[ADDRESS]))
    origin.root.mkdir(exist_ok=True)
    origin.add(files(origin.root, number))

    def act() -> None:
        pulled = pull(store, store.query({"asset": "qc_report"}), progress=lambda name, done, total: None)
        for record in pulled.records:
            journal.write("there", record)

    return act


def _push_bundle(store: Store, journal: Journal, number: str) -> Callable[[], object]:
    """What a stranger computed, and this machine got in a bundle."""
    theirs = open_store(store.root.parent / f"theirs-{number}")
    path = theirs.objects.work / "made"
    path.write_text(f"made {number}")
    execution = Execution(task="make", run_key=number, finished=now())
    theirs.commit(execution, [("report", QcReport(path=path, kind="made", sample=number))])
    beside = store.root.parent / f"bundle-{number}"
    made = bundles.make(theirs, "theirs", theirs.query({"asset": "qc_report"}), beside)
    local = open_store(store.root)
    records = bundles.fetch(local, bundles.find_bundle(str(made.path), store.root)).records
    for record in records:
        journal.write("there", record)
    return lambda: push(store, records, progress=lambda name, done, total: None)


OPERATIONS = {
    "add": _add,
    "push": _push,
    "push, TUS": _push,
    "push, bundle": _push_bundle,
    "change": _change,
    "pull": _pull,
}


def campaign(folder: Path, points: int, seed: int, operation: str, *, service: bool) -> Outcome:
    """Kill the process at work, or the service, at so many points of an operation; a new account and store for it."""
    chosen = random.Random(f"{seed} {operation} {service}")
    place = folder / f"{operation.replace(', ', '-')}-{'service' if service else 'client'}"
    root = place / "store"
    outcome = Outcome(f"{operation}: {'service' if service else 'client'} killed")
    with PinataProcess(place / "account") as pinata:
        steps = int(_process(root, pinata, operation, "whole", 0)[1])
        for number, point in enumerate(sorted(chosen.randint(1, steps) for _ in range(points))):
            where = f"step {point} of {steps}"
            status, _ = _process(root, pinata, operation, str(number), point, service=service)
            outcome.points += 1
            if service:
                outcome.stopped += pinata.ended
                pinata.restart()
            else:
                outcome.stopped += status == -signal.SIGKILL
                pinata.end_uploads()  # what the dead had sent is filed before anybody looks
            complete = _pulled if operation == "pull" else _pushed
            judge(open_machine(root, address_of(pinata)), outcome, where)
            complete(root, pinata, outcome, where)
        _compare(root, pinata, outcome)
        if operation == "push, bundle":
            _is_foreign(root, pinata, outcome)
    return outcome


def _pulled(root: Path, pinata: PinataProcess, outcome: Outcome, where: str) -> None:
    """After another pull, all that the other machine added is here."""
    store = open_machine(root, address_of(pinata))
    pulled = pull(store, store.query({"asset": "qc_report"}))
    outcome.lost += [f"{where}: {cid}: {why}" for cid, why in pulled.failed.items()]
    outcome.left += [f"{where}: {path}" for path in root.glob("tmp/*")]
    here = {record.id for record in open_store(root).query({})}
    origin = open_store(root.parent / "origin").query({})
    outcome.lost += [f"{where}: {record.id} not here" for record in origin if record.id not in here]


def _pushed(root: Path, pinata: PinataProcess, outcome: Outcome, where: str) -> None:
    """After a push, the account has what is here, each record once, and nothing else."""
    store, local = open_machine(root, address_of(pinata)), open_store(root)
    records = local.query({"asset": "qc_report"})
    push(store, records)
    outcome.lost += [f"{where}: {item} is not sent" for item in store.outbox.waiting()]
    there = Counter(
        (file["network"], file["cid"], PinataFile.parse(file, public=False).as_record().id)
        for file in pinata.files
    )
    here = Counter(("private", record.cid, record.id) for record in local.query({}))
    outcome.lost += [f"{where}: not on Pinata: {key}" for key in here - there]
    outcome.unsound += [f"{where}: on Pinata besides: {key}" for key in there - here]
    for record in records:
        if pinata.content(record.cid) != store.read_here(record.cid).read_bytes():
            outcome.wrong.append(f"{where}: {record.cid} on Pinata")


def _compare(root: Path, pinata: PinataProcess, outcome: Outcome) -> None:
    """Another machine finds and reads all that was promised."""
    elsewhere = open_machine(root.parent / "elsewhere", address_of(pinata))
    found = {record.id for record in elsewhere.query({"asset": "qc_report"})}
    for id, (word, cid) in Journal(root.parent / "journal").promised().items():
        if (word == "there") != (id in found):
            outcome.lost.append(f"another machine: {word} {id}")
        elif word == "there":
            try:
                elsewhere.read(cid)
            except StorageError as error:
                outcome.lost.append(f"another machine: {error}")


def _is_foreign(root: Path, pinata: PinataProcess, outcome: Outcome) -> None:
    """Another machine knows the stranger's executions as those of somebody else: its memo does not answer with them."""
    elsewhere = open_machine(root.parent / "elsewhere", address_of(pinata))
    pull(elsewhere, elsewhere.query({"asset": "qc_report"}))
    executions = elsewhere.query({"asset": "provenance", "kind": "execution"})
    if not executions:
        outcome.lost.append("another machine: no execution is known")
    for record in executions:
        if not elsewhere.is_foreign(record.cid) or elsewhere.remembered(record.keyvalues["run_key"]):
            outcome.unsound.append(f"another machine: {record.cid} counts as its own")


def _process(
    root: Path, pinata: PinataProcess, operation: str, number: str, last: int, *, service: bool = False
) -> tuple[int, str]:
    command = [sys.executable, "-B", __file__, str(root), operation, number, str(last)]
    command.append(str(pinata.pid if service else 0))
    env = {**os.environ, ADDRESS: json.dumps(address_of(pinata))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)
    if done.returncode not in (0, -signal.SIGKILL) and not (service and "StorageError" in done.stderr):
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    if pinata.jwt in done.stdout + done.stderr:
        raise RuntimeError(f"the token was shown: {done.stderr}")
    return done.returncode, done.stdout


def _work(root: Path, operation: str, number: str, last: int, victim: int) -> None:
    """One process."""
    upload._PIECE = PIECE  # type: ignore[attr-defined]
    if operation == "push, TUS":
        upload.TUS_ABOVE, upload.CHUNK, upload._SMALLEST, upload._STEP = SMALL, 4 * PIECE, PIECE, PIECE
    store = open_machine(root, json.loads(os.environ[ADDRESS]))
    act = OPERATIONS[operation](store, Journal(root.parent / "journal"), number)
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(victim or os.getpid(), signal.SIGKILL)

    pread = os.pread

    def read(*asked: int) -> bytes:
        step()
        return pread(*asked)

    os.pread = read  # type: ignore[assignment]
    with store.index.reading() as connection:
        connection.set_trace_callback(step)
    events = ("os.", "open", "fcntl.", "sqlite3.", "socket.")
    sys.addaudithook(lambda event, _: step() if event.startswith(events) else None)
    act()
    print(count)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
