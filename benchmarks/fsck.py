"""fsck: quick on 100,000 objects, full beside a plain threaded hash: python benchmarks/fsck.py [OBJECTS] [MIB]."""

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
from stargazer.assets.provenance import Entry, Import
from stargazer.storage import Addition, Store, open_store
from stargazer.storage.additions import keyvalues_of
from stargazer.storage.ledger.documents import now
from stargazer.storage.maintenance import fsck
from stargazer.storage.settings import available_cores

QUICK_LIMIT = 5.0  # seconds
BATCH = 5_000
FILES = 8
BLOCK = 4 << 20


def fill_with_many(store: Store, count: int) -> None:
    """So many small objects, each with a record."""
    from stargazer.storage import verified

    for start in range(0, count, BATCH):
        entries, kept = [], []
        for number in range(start, min(start + BATCH, count)):
            text = f"report {number}\n".encode()
            path = store.objects.new_temporary()
            path.write_bytes(text)
            digest = hashlib.sha256(text).digest()
            cid = _raw_cid(digest)
            target = store.objects.path(cid)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o444)
            path.rename(target)  # not synced one by one: this is a benchmark of reading
            found = store.objects.stat(cid)
            assert found is not None
            kept.append(found)
            pairs = keyvalues_of(QcReport(kind="flagstat", sample=f"s{number}"))
            entries.append(Entry(cid=cid, keyvalues=pairs, name=f"s{number}.txt", size=len(text)))
        document = Import(files=entries, command="benchmark", at=now())
        with store.arriving() as arrived:
            written = store.write_document(document, arrived)
            with store.index.transaction() as connection:
                verified.remember(connection, kept)
                store.apply(written, document)


def _raw_cid(digest: bytes) -> str:
    import base64

    return "b" + base64.b32encode(b"\x01\x55\x12\x20" + digest).decode().lower().rstrip("=")


def quick(count: int) -> bool:
    """Print how long a quick run takes."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store")
        fill_with_many(store, count)
        listed = min(_seconds(lambda: subprocess.run(["find", folder, "-ls"], stdout=subprocess.DEVNULL, check=True))
                     for _ in range(3))  # fmt: skip
        times = []
        for _ in range(3):
            began = time.perf_counter()
            report = fsck(store)
            times.append(time.perf_counter() - began)
            assert report.problems == [], report.problems[:3]
            assert report.objects >= count
        middle = statistics.median(times)
        print(
            f"quick, {report.objects:,} objects: {middle:.2f} s (limit {QUICK_LIMIT:.0f} s; find -ls {listed:.2f} s)"
        )
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
    ok = quick(objects)
    full(mebibytes)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
