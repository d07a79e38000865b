"""Processes that work on a store are killed at seeded points, or find the disk full; what was promised is checked.

`python kill_campaign.py ROOT OPERATION NUMBER LAST` is one victim: it prepares, then works, and dies by SIGKILL just
before the step numbered LAST of what it asks of the system and of SQLite (0: it lives, and prints how many there were).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
from stargazer.assets import IpFile, StorageError
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Entry, Execution, dump
from stargazer.storage.changes import amend, retract
from stargazer.storage.ledger import memo
from stargazer.storage.ledger.documents import now
from stargazer.storage.maintenance._evict import evict
from stargazer.storage.maintenance._fsck import fsck
from stargazer.storage.maintenance._gc import gc
from stargazer.storage.objects import Objects, StoredObject
from stargazer.storage.store import Addition, Store, open_store

__all__ = ["DiskFull", "Outcome", "campaign", "disk_full", "namespace", "remote_campaign", "table"]

ACCOUNT = "STARGAZER_CAMPAIGN_ACCOUNT"
SMALL, LARGE = 50, 700_000  # bytes of the files that come and go


@attrs.define
class Outcome:
    """What came of killing one operation, or of its disk being full, at several points."""

    operation: str
    points: int = 0
    stopped: int = 0
    """Processes that were killed, or operations that were refused."""
    acknowledged: int = 0
    lost: list[str] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)
    left: list[str] = attrs.field(factory=list)
    unsound: list[str] = attrs.field(factory=list)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.wrong or self.left or self.unsound)


class Journal:
    """What was promised, on disk beside the store: a line for each, written once the store has promised it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, word: str, record: IpFile) -> None:
        """`intent`: about to change the record; `there` and `gone`: the store has said so."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(fd, f"{word} {record.id} {record.cid}\n".encode())
        os.close(fd)

    def promised(self) -> dict[str, tuple[str, str]]:
        """Word and CID of each record whose state is certain."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        state: dict[str, tuple[str, str]] = {}
        for word, id, cid in map(str.split, lines):
            state[id] = (word, cid)
        return {id: found for id, found in state.items() if found[0] != "intent"}


@attrs.frozen
class Work:
    """A store, and what one victim does with it."""

    store: Store
    journal: Journal
    number: str

    def add(self, name: str, size: int = SMALL) -> IpFile:
        """Register a file, and note it down when that is acknowledged."""
        path = self.store.root.parent / f"{name}.txt"
        path.write_text(f"{name} " * (size // (len(name) + 1) + 1))
        try:
            (record,) = self.store.add([Addition(path=path, asset=QcReport(kind="added", sample=name))])
        finally:
            path.unlink()
        self.journal.write("there", record)
        return record

    def mirrored(self, name: str, size: int = LARGE) -> IpFile:
        """A registered file that a mirror has too."""
        record = self.add(name, size)
        mirror = self.store.root.parent / f"mirror-{name}.txt"
        mirror.write_bytes(self.store.read(record.cid).read_bytes())
        self.store.add_mirrors({record.cid: [mirror.as_uri()]})
        return record

    @contextlib.contextmanager
    def workspace(self) -> Iterator[Path]:
        """A private folder with its lock, as for tasks."""
        folder = self.store.objects.work / f"campaign-{self.number}"
        lock = folder.with_suffix(".lock")
        held = os.open(lock, os.O_CREAT | os.O_WRONLY, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            folder.mkdir()
            yield folder
        finally:
            for path in folder.glob("*"):
                path.unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()
            lock.unlink()
            os.close(held)

    def commit(self, name: str) -> None:
        """Register what a task made."""
        with self.workspace() as folder:
            outputs = []
            for role, size in (("one", SMALL), ("two", LARGE)):
                (folder / role).write_text(f"{name} {role} " * (size // 10))
                outputs.append((role, QcReport(path=folder / role, kind=role, sample=name)))
            self.store.commit(Execution(task="make", run_key=name, finished=now()), outputs)
            for _, asset in outputs:
                assert asset.record is not None
                self.journal.write("there", asset.record)


Operation = Callable[[Work], Callable[[], object]]
"""Prepares, and answers with what is to be interrupted."""


def _add(work: Work) -> Callable[[], object]:
    return lambda: [work.add(f"small-{work.number}"), work.add(f"large-{work.number}", LARGE)]


def _commit(work: Work) -> Callable[[], object]:
    return lambda: work.commit(f"made-{work.number}")


def _index(work: Work) -> Callable[[], object]:
    first, second = work.add(f"first-{work.number}"), work.add(f"second-{work.number}")

    def change() -> None:
        work.journal.write("intent", first)
        amended = amend(work.store, first, {"kind": "amended"})
        work.journal.write("gone", first)
        work.journal.write("there", amended)
        work.journal.write("intent", second)
        retract(work.store, second)
        work.journal.write("gone", second)

    return change


def _download(work: Work) -> Callable[[], object]:
    record = work.mirrored(f"far-{work.number}", 3 * LARGE)
    work.store.objects.remove(record.cid)
    return lambda: work.store.read(record.cid)


def _gc(work: Work) -> Callable[[], object]:
    work.add(f"kept-{work.number}")
    for letter in "ab":
        record = work.add(f"gone-{letter}-{work.number}")
        work.journal.write("intent", record)
        retract(work.store, record)
        work.journal.write("gone", record)
    return lambda: gc(work.store, grace=-1)


def _evict(work: Work) -> Callable[[], object]:
    record = work.mirrored(f"evicted-{work.number}")
    return lambda: evict(work.store, [record])


def _fsck(work: Work) -> Callable[[], object]:
    work.mirrored(f"damaged-{work.number}")
    (record,) = work.store.query({"sample": f"damaged-{work.number}"})
    path = work.store.objects.path(record.cid)
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.write(b"\0")
    work.store.index.close()
    for path in work.store.root.glob("index.sqlite*"):
        path.unlink()
    fresh = open_store(work.store.root)
    mirror = work.store.root.parent / f"mirror-damaged-{work.number}.txt"
    return lambda: [fsck(fresh), fresh.add_mirrors({record.cid: [mirror.as_uri()]}), fsck(fresh, full=True)]


def _fetch(work: Work) -> Callable[[], object]:
    """A stranger's bundle of what was computed, and of an import in which one record was amended and one taken back."""
    from stargazer.storage import bundles
    from stargazer.storage.bundles import _fetch as fetching

    fetching.AT_ONCE = 1  # else the number of steps is not the same each time
    beside, number = work.store.root.parent, work.number
    theirs = Work(
        open_store(beside / f"theirs-{number}"), Journal(beside / f"their-journal-{number}"), number
    )
    additions = []
    for name in ("changed", "gone", "kept"):
        path = beside / f"{name}-{number}.txt"
        path.write_text(f"{name}-{number}")
        additions.append(Addition(path=path, asset=QcReport(kind="added", sample=f"{name}-{number}")))
    changed, gone, _ = theirs.store.add(additions)
    amend(theirs.store, amend(theirs.store, changed, {"kind": "amended"}), {"kind": "twice"})
    retract(theirs.store, gone)
    theirs.commit(f"their-run-{number}")
    records = theirs.store.query({"asset": "qc_report"})
    made = bundles.make(theirs.store, f"theirs-{number}", records, beside / f"bundle-{number}")
    bundle = bundles.find_bundle(str(made.path), work.store.root)
    for record in (changed, gone):
        work.journal.write("gone", record)

    def fetch() -> None:
        done = bundles.fetch(work.store, bundle, trust=True)
        for record in done.records:
            work.journal.write("there", record)
        done.check(bundle)

    return fetch


def _own(work: Work) -> Callable[[], object]:
    """A document that came in a bundle is found to be the store's own, as when its account says so."""
    fetch = _fetch(work)
    fetch()
    (execution,) = memo.executions(work.store.index, f"their-run-{work.number}")

    def adopt() -> None:
        work.store.ledger.adopt(execution)
        work.store.replay([execution])

    return adopt


def _theirs(work: Work, name: str) -> str:
    """A document of others about a file that is here; the record that it claims is promised once it counts."""
    file = work.add(name)
    pairs = {**file.keyvalues, "kind": "theirs"}
    entry = Entry(role="one", cid=file.cid, keyvalues=pairs, name=name, size=file.size)
    path = work.store.objects.new_temporary()
    path.write_bytes(dump(Execution(task="make", run_key=name, outputs=[entry], finished=now())))
    return work.store.ledger.foreign.adopt(path).cid


def _adopt(work: Work) -> Callable[[], object]:
    cid = _theirs(work, f"adopted-{work.number}")
    work.store.replay([cid])
    (record,) = work.store.query({"sample": f"adopted-{work.number}", "kind": "theirs"})
    work.journal.write("there", record)
    return lambda: [work.store.ledger.adopt(cid), work.store.replay([cid])]


def _fsck_ledger(work: Work) -> Callable[[], object]:
    """One document in both folders, its own copy damaged; one misplaced; one that did not take effect."""
    ledger = work.store.ledger
    record = work.add(f"twice-{work.number}")
    (twice,) = work.store.documents(record.cid)
    other = ledger.foreign.path(twice)
    other.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ledger.own.path(twice), other)
    other.chmod(0o444)
    ledger.own.path(twice).chmod(0o644)
    with open(ledger.own.path(twice), "r+b") as file:
        file.write(b"\0")
    ledger.own.path(twice).chmod(0o444)
    (misplaced,) = work.store.documents(work.add(f"misplaced-{work.number}").cid)
    wrong = ledger.own.folder / "zz"
    wrong.mkdir(exist_ok=True)
    ledger.own.path(misplaced).rename(wrong / misplaced)
    _theirs(work, f"unknown-{work.number}")
    return lambda: fsck(work.store, full=True)


OPERATIONS: dict[str, Operation] = {
    "add": _add,
    "commit": _commit,
    "index write": _index,
    "fetch of a bundle": _fetch,
    "own after all": _own,
    "download": _download,
    "gc": _gc,
    "evict": _evict,
    "fsck": _fsck,
    "adopt": _adopt,
    "fsck of the ledger": _fsck_ledger,
}


def account(root: Path) -> Store:
    """A store with the account that the campaign runs against (its addresses are in the environment)."""
    from stargazer.storage.pinata.api import Patience, PinataApi
    from stargazer.storage.pinata.remote import PinataRemote

    urls = json.loads(os.environ[ACCOUNT])
    api = PinataApi(urls["jwt"], api=urls["api"], uploads=urls["uploads"], patience=Patience(attempts=1))
    remote = PinataRemote(api, gateway=urls["gateway"])
    return open_store(root, remote=remote)


def _push(work: Work) -> Callable[[], object]:
    from stargazer.storage.pinata.remote import push

    records = [work.add(f"near-{work.number}"), work.add(f"near-large-{work.number}", LARGE)]
    store = account(work.store.root)
    return lambda: push(store, records)


def _pull(work: Work) -> Callable[[], object]:
    from stargazer.storage.pinata.remote import pull

    origin = account(work.store.root.parent / "origin" / "store")
    origin.root.parent.mkdir(exist_ok=True)
    theirs = Work(origin, Journal(work.store.root.parent / "their-journal"), work.number)
    samples = (f"theirs-{work.number}", f"theirs-large-{work.number}")
    for name, size in zip(samples, (SMALL, LARGE), strict=True):
        theirs.add(name, size)
    store = account(work.store.root)
    there = [record for name in samples for record in store.query({"sample": name})]
    assert len(there) == 2

    def bring() -> None:
        for record in pull(store, there).records:
            work.journal.write("there", record)

    return bring


REMOTE: dict[str, Operation] = {"push": _push, "pull": _pull}


def remote_campaign(folder: Path, points: int, seed: int, urls: Mapping[str, str]) -> list[Outcome]:
    """As `campaign`, for what goes to and comes from an account; in the end all of it is on both sides, and right."""
    from stargazer.storage.pinata.remote import push

    os.environ[ACCOUNT] = json.dumps(dict(urls))
    try:
        outcomes = campaign(folder, points, seed, list(REMOTE))
        for outcome in outcomes:
            place = folder / outcome.operation
            store = account(place / "store")
            push(store, open_store(store.root).query({"asset": "qc_report"}))
            elsewhere = account(place / "elsewhere")
            for id, (word, cid) in Journal(place / "journal").promised().items():
                try:
                    if word == "there":
                        elsewhere.read(cid)
                except StorageError as error:
                    outcome.lost.append(f"not on Pinata: {id}: {error}")
        return outcomes
    finally:
        del os.environ[ACCOUNT]


def campaign(folder: Path, points: int, seed: int, operations: list[str] | None = None) -> list[Outcome]:
    """Kill each operation at so many points of its run, one process each, all on one store per operation."""
    chosen = random.Random(seed)
    outcomes = []
    for operation in operations or list(OPERATIONS):
        place = folder / operation.replace(" ", "-")
        place.mkdir(parents=True)
        root = place / "store"
        # The first makes the store as well: more steps than those that are killed have.
        steps = min(int(_victim(root, operation, number, 0)[1]) for number in ("first", "whole"))
        outcome = Outcome(operation)
        for point in sorted(chosen.randint(1, steps) for _ in range(points)):
            status, _ = _victim(root, operation, f"{outcome.points}", point)
            outcome.points += 1
            outcome.stopped += status == -signal.SIGKILL
            judge(
                account(root) if operation in REMOTE else open_store(root),
                outcome,
                f"step {point} of {steps}",
            )
        outcomes.append(outcome)
    return outcomes


def judge(store: Store, outcome: Outcome, where: str) -> None:
    """Compare a store with what it promised, before and after fsck."""
    for folder in (store.objects, store.ledger.own, store.ledger.foreign):
        for path in folder.folder.glob("*/*"):
            with contextlib.suppress(StorageError):
                if folder.path(path.name) == path and not _expected_damage(path):
                    outcome.wrong += _wrong(folder, path.name, where)
    for attempt in ("repaired", "again"):
        report = fsck(store, full=True)
        left = [problem for problem in report.problems if attempt == "again" or not problem.fixed]
        left = [problem for problem in left if not _mirror_unknown(store, problem.what)]
        outcome.unsound += [f"{where}: {attempt}: {problem}" for problem in left]
    own, foreign = (
        {found.cid for found in folder.scan() if isinstance(found, StoredObject)}
        for folder in (store.ledger.own, store.ledger.foreign)
    )
    twice = own & foreign
    outcome.unsound += [f"{where}: {cid} is in both folders of the ledger" for cid in twice]
    promised = Journal(store.root.parent / "journal").promised()
    outcome.acknowledged = len(promised)
    records = {record.id: record for record in open_store(store.root).query({})}
    for id, (word, cid) in promised.items():
        if (id in records) != (word == "there"):
            outcome.lost.append(f"{where}: {word} {id}")
        elif word == "there":
            try:
                store.read(cid)
            except StorageError as error:
                if not _mirror_unknown(store, cid):
                    outcome.lost.append(f"{where}: {cid}: {error}")
    outcome.left += [f"{where}: {path}" for path in _temporaries(store.root)]


def _expected_damage(path: Path) -> bool:
    """The fsck victim damages a file itself, before it begins."""
    with open(path, "rb") as file:
        return file.read(1) == b"\0"


def _mirror_unknown(store: Store, cid: str) -> bool:
    """The fsck victim deletes the index, and with it what is known of mirrors: told again, all comes back."""
    for path in store.root.parent.glob("mirror-damaged-*.txt"):
        from stargazer.storage.cid import compute_cid

        if compute_cid(path) == cid:
            store.add_mirrors({cid: [path.as_uri()]})
            store.read(cid)
            return True
    return False


def _wrong(folder: Objects, cid: str, where: str) -> list[str]:
    try:
        folder.verify(cid)
    except StorageError as error:
        return [f"{where}: {error}"]
    return []


def _temporaries(root: Path) -> list[Path]:
    """What should not be there when nobody is at work; a download that was cut stays, to be continued."""
    found = [
        *root.glob("tmp/*"),
        *root.glob("work/*"),
        *root.rglob(".new-*"),
        *root.glob("index.sqlite.new*"),
    ]
    return [path for path in found if path.suffix != ".part" or path.stat().st_size == 0]


def _victim(root: Path, operation: str, number: str, last: int) -> tuple[int, str]:
    # -B: a compiled module that is written counts as a step, and the next victim would not have it
    command = [sys.executable, "-B", __file__, str(root), operation, number, str(last)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return done.returncode, done.stdout


def _work(root: Path, operation: str, number: str, last: int) -> None:
    """One victim."""
    store = open_store(root)
    act = {**OPERATIONS, **REMOTE}[operation](Work(store, Journal(root.parent / "journal"), number))
    count = 0

    def step(*_: object) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    if operation != "fsck":  # it deletes the index
        with store.index.reading() as connection:
            connection.set_trace_callback(step)
    sys.addaudithook(
        lambda event, _: (
            step() if event.startswith(("os.", "open", "fcntl.", "sqlite3.", "socket.")) else None
        )
    )
    act()
    print(count)


# disk full


@attrs.frozen
class DiskFull:
    """The steps in which a small disk is filled: bytes that are left of it."""

    first: int = 0
    last: int = 3_200_000
    step: int = 80_000


def namespace() -> tuple[str, ...] | None:
    """A command that gives what it runs its own mounts; None where that is not allowed."""
    for options in (["--mount"], ["--map-root-user", "--mount"]):
        prefix = ("unshare", *options)
        with contextlib.suppress(OSError):
            probe = [*prefix, "sh", "-c", "mount -t tmpfs none /mnt"]
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return prefix
    return None


def disk_full(mount: Path, plan: DiskFull, operations: list[str] | None = None) -> list[Outcome]:
    """Run each operation with less and less of a disk left, in a process with a small one of its own at `mount`."""
    prefix = namespace()
    if prefix is None:
        raise RuntimeError("no mounts of our own here: neither root nor user namespaces")
    shell = 'mount -t tmpfs -o size=16m none "$1" && exec "$2" "$3" --disk-full "$1" "$4" "$5"'
    names = operations or [name for name in OPERATIONS if name != "fsck"]
    words = [str(mount), sys.executable, __file__, json.dumps(attrs.asdict(plan)), json.dumps(names)]
    done = subprocess.run(
        [*prefix, "sh", "-ec", shell, "sh", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [Outcome(**outcome) for outcome in json.loads(done.stdout.splitlines()[-1])]


def _fill(mount: Path, plan: DiskFull, operations: list[str]) -> list[Outcome]:
    outcomes = []
    for operation in operations:
        outcome, acknowledged = Outcome(f"{operation}, disk full"), 0
        for leave in range(plan.first, plan.last, plan.step):
            place, filler = mount / "store", mount / "filler"
            place.mkdir()
            store = open_store(place / "store")
            act = OPERATIONS[operation](Work(store, Journal(place / "journal"), str(leave)))
            status = os.statvfs(mount)
            with open(filler, "wb") as file:
                file.write(bytes(max(0, status.f_bavail * status.f_frsize - leave)))
            outcome.points += 1
            try:
                act()
            except OSError:  # StorageError, or a file of our own that did not fit
                outcome.stopped += 1
            except Exception as error:
                outcome.unsound.append(f"{leave} bytes left: {type(error).__name__}: {error}")
            filler.unlink()
            judge(store, outcome, f"{leave} bytes left")
            acknowledged += outcome.acknowledged
            store.index.close()
            shutil.rmtree(place)
        outcome.acknowledged = acknowledged
        outcomes.append(outcome)
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """The figures, for people."""
    header = [
        "operation",
        "points",
        "stopped",
        "acknowledged",
        "lost",
        "wrong bytes",
        "temporary files",
        "unsound",
    ]
    rows = [
        [
            o.operation,
            o.points,
            o.stopped,
            o.acknowledged,
            len(o.lost),
            len(o.wrong),
            len(o.left),
            len(o.unsound),
        ]
        for o in outcomes
    ]
    total: list[object] = ["all", *(sum(int(str(row[n])) for row in rows) for n in range(1, len(header)))]
    lines = [header, ["-" * len(word) for word in header], *[list(map(str, row)) for row in [*rows, total]]]
    widths = [max(len(line[n]) for line in lines) for n in range(len(header))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


if __name__ == "__main__":
    if sys.argv[1] == "--disk-full":
        found = _fill(Path(sys.argv[2]), DiskFull(**json.loads(sys.argv[3])), json.loads(sys.argv[4]))
        print(json.dumps([attrs.asdict(outcome) for outcome in found]))
    else:
        _work(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
