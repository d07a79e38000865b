"""fsck, quick and full: python benchmarks/fsck.py [OBJECTS] [MIB].

Quick on 100,000 objects and on as many documents, full beside a plain threaded hash.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Entry, Import, dump
from stargazer.storage import Addition, Store, open_store
from stargazer.storage.additions import keyvalues_of
from stargazer.storage.ledger.documents import now
from stargazer.storage.maintenance import fsck
from stargazer.storage.objects import Objects, StoredObject
from stargazer.storage.settings import available_cores

QUICK_LIMIT = 5.0  # seconds
BATCH = 5_000
FILES = 8
BLOCK = 4 << 20


def fill_with_many(store: Store, count: int) -> None:
    """So many small objects, each with a record."""
    from stargazer.storage import verified

    store.open_index()
    for start in range(0, count, BATCH):
        entries, kept = [], []
        for number in range(start, min(start + BATCH, count)):
            text = f"report {number}\n".encode()
            found = _put(store.objects, text)
            kept.append(found)
            entries.append(_entry(number, found.cid, len(text)))
        document = Import(files=entries, command="benchmark", at=now())
        with store.arriving() as arrived:
            written = store.write_document(document, arrived)
            with store.index.transaction() as connection:
                verified.remember(connection, kept)
                store.apply(written, document)


def fill_with_documents(store: Store, count: int) -> None:
    """So many documents, each with a record of one file."""
    store.open_index()
    cid = _put(store.objects, b"report\n").cid
    for start in range(0, count, BATCH):
        with store.index.transaction():
            for number in range(start, min(start + BATCH, count)):
                document = Import(files=[_entry(number, cid, 7)], command="benchmark", at=now())
                store.apply(_put(store.ledger.own, dump(document)), document)


def _entry(number: int, cid: str, size: int) -> Entry:
    pairs = keyvalues_of(QcReport(kind="flagstat", sample=f"s{number}"))
    return Entry(cid=cid, keyvalues=pairs, name=f"s{number}.txt", size=size)


def _put(folder: Objects, data: bytes) -> StoredObject:
    """A small object that is not synced: this is a benchmark of reading."""
    path = folder.new_temporary()
    path.write_bytes(data)
    cid = _raw_cid(hashlib.sha256(data).digest())
    target = folder.path(cid)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.chmod(0o444)
    path.rename(target)
    found = folder.stat(cid)
    assert found is not None
    return found


def _raw_cid(digest: bytes) -> str:
    import base64

    return "b" + base64.b32encode(b"\x01\x55\x12\x20" + digest).decode().lower().rstrip("=")


def quick(fill: Callable[[Store, int], None], what: str, count: int) -> bool:
    """Print how long a quick run takes, which hashes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store")
        fill(store, count)
        listed = min(_seconds(lambda: subprocess.run(["find", folder, "-ls"], stdout=subprocess.DEVNULL, check=True))
                     for _ in range(3))  # fmt: skip
        times = []
        for _ in range(3):
            began = time.perf_counter()
            report = fsck(store)
            times.append(time.perf_counter() - began)
            assert report.problems == [], report.problems[:3]
            assert report.objects >= count
        assert report.hashed == 0, report
        middle = statistics.median(times)
        print(f"quick, {count:,} {what}: {middle:.2f} s (limit {QUICK_LIMIT:.0f} s; find -ls {listed:.2f} s)")
        return middle < QUICK_LIMIT


def full(mebibytes: int) -> None:
    """Print how long a full run takes beside hashing the same files without looking at them."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store")
        for number in range(FILES):
            path = Path(folder) / f"{number}.txt"
            with open(path, "wb") as file:
                for _ in range(max(1, mebibytes // FILES)):
                    file.write(os.urandom(1 << 20))
            store.add([Addition(path=path, asset=QcReport(kind="flagstat", sample=f"s{number}"))])
            path.unlink()
        paths = sorted((store.root / "objects").glob("*/*"))
        sides: dict[str, Callable[[], object]] = {
            "fsck --full": lambda: fsck(store, full=True),
            "threaded SHA-256": lambda: _threaded(paths),
            "openssl sha256, all cores": lambda: _openssl(paths),
        }
        for side in sides.values():
            side()
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(5):
            for name, side in sides.items():
                times[name].append(_seconds(side))
        ours = statistics.median(times["fsck --full"])
        size = sum(path.stat().st_size for path in paths)
        for name, found in times.items():
            middle = statistics.median(found)
            print(
                f"{name:26} {middle:6.2f} s  {size / middle / 1e9:5.2f} GB/s  fsck takes {ours / middle:.2f}x"
            )


def _threaded(paths: list[Path]) -> None:
    def digest(path: Path) -> None:
        found = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:
            while block := file.read(BLOCK):
                found.update(block)

    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(digest, paths))


def _openssl(paths: list[Path]) -> None:
    def run(part: list[Path]) -> None:
        subprocess.run(["openssl", "sha256", *map(str, part)], stdout=subprocess.DEVNULL, check=True)

    cores = available_cores()
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(run, [paths[n::cores] for n in range(cores)]))


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main(objects: int = 100_000, mebibytes: int = 1024) -> int:
    """Quick, then full."""
    ok = quick(fill_with_many, "objects", objects)
    ok &= quick(fill_with_documents, "documents", objects)
    full(mebibytes)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
