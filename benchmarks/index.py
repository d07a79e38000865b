"""The index against stock TinyDB and bare SQLite in one run: python benchmarks/index.py [--full] [RECORDS].

100,000 records unless told otherwise; --full measures 1,000,000 as well (minutes, and about 2 GB of disk). Every
database is measured in a process of its own, so that memory is its own and nothing else is alive to be collected.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TABLE = "records"
LIMITS = {"open": 50.0, "insert": 2.0, "one hit": 2.0}  # ms, with 1,000,000 records; memory: 100 MB
MANY = 10_000
BULK_LIMIT = 30.0  # s for 100,000 records


def record(number: int, records: int = 100_000) -> dict[str, Any]:
    """An alignment as it lies in an index: a record with eight keyvalues; 10,000 of all are of one batch."""
    return {
        "id": f"record-{number}",
        "cid": f"bafkreih{number:051d}",
        "name": f"sample-{number}.bam",
        "size": 40_000_000 + number,
        "created_at": "2026-11-23T12:00:00+00:00",
        "keyvalues": {
            "asset": ("alignment", "variants", "r1", "r2")[number % 4],
            "sample": f"sample-{number}",
            "build": "GRCh38",
            "lane": str(number % 8),
            "platform": "ILLUMINA",
            "batch": str(number % max(1, records // MANY)),
            "duplicates_marked": "true",
            "provenance_cid": f"bafkreip{number // 3:051d}",
        },
    }


class BareSqlite:
    """What a table of documents with one index costs at least: text, one term looked up, json, no checks."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for setting in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-8000"):
            self.connection.execute(f"PRAGMA {setting}")
        self.connection.execute("CREATE TABLE IF NOT EXISTS docs(id INTEGER PRIMARY KEY, body TEXT)")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS terms(key, value, id, PRIMARY KEY(key, value, id)) WITHOUT ROWID"
        )

    def insert_multiple(self, documents: Iterator[dict[str, Any]]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        for document in documents:
            cursor = self.connection.execute("INSERT INTO docs(body) VALUES(?)", (json.dumps(document),))
            terms = [("id", document["id"]), ("cid", document["cid"]), *document["keyvalues"].items()]
            self.connection.executemany(
                "INSERT INTO terms VALUES(?, ?, ?)", [(*term, cursor.lastrowid) for term in terms]
            )
        self.connection.execute("COMMIT")

    def search(self, key: str, value: str) -> list[dict[str, Any]]:
        sql = "SELECT body FROM docs WHERE id IN (SELECT id FROM terms WHERE key=? AND value=?) ORDER BY id"
        return [json.loads(body) for (body,) in self.connection.execute(sql, (key, value)).fetchall()]


def median_ms(action: Callable[[int], object], rounds: int) -> float:
    """Median of the wall time of action(0), action(1), ... in milliseconds."""
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        action(number)
        times.append(1_000 * (time.perf_counter() - start))
    return statistics.median(times)


def measure(kind: str, path: Path, records: int) -> dict[str, float]:
    """Medians in ms of one database that is there: opening it, one hit, many hits, one durable insert; its memory."""
    before = memory_mb()
    search, insert, opened = operations(kind, path)
    rounds = 5 if kind == "tinydb" else 200

    def one(number: int) -> None:
        wanted = number * 7919 % records
        (hit,) = search("sample", f"sample-{wanted}")
        assert hit["id"] == f"record-{wanted}"

    def many(number: int) -> None:
        assert len(search("batch", str(number % max(1, records // MANY)))) >= min(MANY, records)

    figures = {"open": median_ms(opened, min(rounds, 20)), "one hit": median_ms(one, rounds)}
    figures["insert"] = median_ms(lambda number: insert(record(records + number, records)), rounds)
    figures["memory, MB"] = memory_mb() - before  # before the answer of 10,000 records, which is the caller's
    figures[f"{MANY:,} hits"] = median_ms(many, 5)
    return figures


def operations(
    kind: str, path: Path
) -> tuple[Callable[[str, str], Any], Callable[[Any], Any], Callable[[int], Any]]:
    """How to search, insert and open a database of this kind."""
    if kind == "bare SQLite":
        bare = BareSqlite(path)

        def opened_bare(_: int) -> None:
            other = sqlite3.connect(path)
            other.execute("SELECT body FROM docs WHERE id=1").fetchone()
            other.close()

        return bare.search, lambda document: bare.insert_multiple(iter([document])), opened_bare

    from tinydb import TinyDB, where

    if kind == "index":
        from stargazer.storage.index.records import Index

        connect: Callable[[], TinyDB] = lambda: Index(path)  # noqa: E731
    else:
        connect = lambda: TinyDB(path)  # noqa: E731

    def opened(_: int) -> None:
        with connect() as database:
            database.table(TABLE).get(doc_id=1)

    table = connect().table(TABLE)
    return (lambda key, value: table.search(where("keyvalues")[key] == value)), table.insert, opened


def fill(kind: str, path: Path, records: int) -> dict[str, float]:
    """Insert all records in one go; seconds, and the largest memory meanwhile."""
    if kind == "tinydb":
        path.write_text(json.dumps({TABLE: {str(n + 1): record(n, records) for n in range(records)}}))
        return {}
    if kind == "bare SQLite":
        table: Any = BareSqlite(path)
    else:
        from stargazer.storage.index.records import Index

        table = Index(path).table(TABLE)
    start = time.perf_counter()
    for first in range(0, records, 100_000):  # as a caller would who has not got all of them in memory
        last = min(first + 100_000, records)
        table.insert_multiple(record(number, records) for number in range(first, last))
    return {"seconds": time.perf_counter() - start, "MB": memory_mb()}


def memory_mb() -> float:
    """The largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def fsync_ms(folder: Path) -> float:
    """Median time of one fsync of a small append on this disk now: no durable insert is faster."""
    with (folder / "probe").open("wb", buffering=0) as file:

        def append(_: int) -> None:
            file.write(b"x" * 32_768)
            os.fsync(file.fileno())

        return median_ms(append, 100)


def in_process(step: str, kind: str, path: Path, records: int) -> dict[str, float]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--step", step, kind, str(path), str(records)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    os.sync()  # what was filled must not be written out while the next is measured
    return dict(json.loads(said))


def compare(records: int, kinds: list[str]) -> None:
    """Fill, measure and print every kind of database with the same records."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"\n{records:,} records")
        results = {}
        for kind in kinds:
            path = folder / f"{kind}.db"
            filled = in_process("fill", kind, path, records)
            if filled:
                print(f"  {kind}: bulk insert {filled['seconds']:.1f} s, {path.stat().st_size / 1e6:.0f} MB on disk, "
                      f"largest memory {filled['MB']:.0f} MB")  # fmt: skip
            results[kind] = in_process("measure", kind, path, records)
        disk = fsync_ms(folder)
    print(f"  {'median, ms':<14}" + "".join(f"{kind:>14}" for kind in kinds) + f"{'limit':>8}   index/others")
    for name in next(iter(results.values())):
        values = [results[kind][name] for kind in kinds]
        ratios = "  ".join(f"{values[0] / other:.2g}x" for other in values[1:] if other > 0)
        limit = f"{LIMITS[name]:.0f}" if name in LIMITS else ""
        print(f"  {name:<14}" + "".join(f"{value:>14.2f}" for value in values) + f"{limit:>8}   {ratios}")
    print(f"  (one fsync on this disk at that time: {disk:.2f} ms)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", nargs="?", type=int, default=100_000)
    parser.add_argument("--full", action="store_true", help="1,000,000 records as well")
    if "--step" in sys.argv:
        step, kind, path, records = sys.argv[2:]
        print(json.dumps((fill if step == "fill" else measure)(kind, Path(path), int(records))))
        return
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        compare(options.records, ["index", "bare SQLite", "tinydb"])
        if options.full:
            compare(1_000_000, ["index", "bare SQLite"])


if __name__ == "__main__":
    main()
