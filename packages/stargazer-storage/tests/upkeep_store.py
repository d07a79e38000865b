"""A store with a few files and what they were made of, for the tests of upkeep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from stargazer.assets import Asset, IpFile
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Entry, Execution
from stargazer.storage.ledger.documents import now
from stargazer.storage.store import Addition, Store

__all__ = ["PRELUDE", "add", "backdate", "commit", "damage", "decay", "lose_index", "spawn", "state"]

PRELUDE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stargazer.storage.changes import amend, retract
from stargazer.storage.store import open_store
from upkeep_store import add, commit
store = open_store(Path(sys.argv[2]))
"""


def add(store: Store, name: str, text: str = "", origin: str = "") -> IpFile:
    """Register a report of this name; its folder is gone afterwards."""
    path = store.root.parent / f"{os.getpid()}-{name}.txt"
    path.write_text(text or name)
    asset = QcReport(kind="added", sample=name)
    try:
        (record,) = store.add([Addition(path=path, asset=asset, name=f"{name}.txt", origin=origin)])
    finally:
        path.unlink()
    return record


def commit(store: Store, name: str, *inputs: IpFile, text: str = "") -> IpFile:
    """Register what a task made of these files."""
    path = store.objects.work / f"{os.getpid()}-{name}.txt"
    path.write_text(text or f"made {name}")
    entries = [Entry(role="report", cid=item.cid, keyvalues=item.keyvalues) for item in inputs]
    report = QcReport(path=path, kind="made", sample=name)
    store.commit(
        Execution(task="summarise", run_key=name, inputs=entries, finished=now()), [("report", report)]
    )
    assert isinstance(report, Asset)
    assert report.record is not None
    return report.record


def state(store: Store) -> object:
    """Everything that people can ask a store for: records, what is known of each file, and the memo."""
    records = [(r.id, r.cid, r.name, r.size, r.created_at, dict(r.keyvalues)) for r in store.query({})]
    cids = sorted({record[1] for record in records})
    edges = [
        (cid, role, sorted(store.documents(cid, role)))
        for cid in cids
        for role in ("input", "output", "amended", "retracted")
    ]
    keys = [r[5]["run_key"] for r in records if "run_key" in r[5]]
    return records, edges, {key: store.remembered(key) for key in keys}


def lose_index(store: Store) -> None:
    """Delete the index with all that lies beside it."""
    for path in store.root.glob("index.sqlite*"):
        path.unlink()


def backdate(path: Path, days: float) -> None:
    """Let the file look as if it was last changed so long ago (its change time cannot be set)."""
    status = path.lstat()
    then = status.st_mtime_ns - int(days * 86_400e9)
    os.utime(path, ns=(then, then), follow_symlinks=False)


def damage(path: Path, at: int = 0) -> None:
    """Flip a bit, as an editor would: the file's times change."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    path.chmod(mode)


def decay(path: Path, at: int = 0) -> None:
    """Flip a bit, as a failing disk would, as far as that can be done: the modification time stays."""
    before = path.stat()
    damage(path, at)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def spawn(code: str, root: Path, *arguments: object) -> subprocess.Popen[str]:
    """Another process with `store`, `add` and `commit`; arguments begin at sys.argv[3]."""
    command = [
        sys.executable,
        "-c",
        PRELUDE + code,
        str(Path(__file__).parent),
        str(root),
        *map(str, arguments),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
