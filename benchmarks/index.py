"""The index against stock TinyDB with 100,000 records: python benchmarks/index.py [RECORDS]."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stargazer.storage.index import Index
from tinydb import TinyDB, where

TABLE = "records"
LIMITS = {"open": 50.0, "insert": 1.0, "query": 1.0}  # ms


def record(number: int) -> dict[str, Any]:
    """An alignment as it lies in an index: a record with eight keyvalues."""
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
            "sorted_by": "coordinate",
            "duplicates_marked": "true",
            "provenance_cid": f"bafkreip{number // 3:051d}",
        },
    }


def median_ms(action: Callable[[int], object], rounds: int) -> float:
    """Median of the wall time of action(0), action(1), ... in milliseconds."""
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        action(number)
        times.append(1_000 * (time.perf_counter() - start))
    return statistics.median(times)


def measure(connect: Callable[[], TinyDB], records: int, rounds: int) -> dict[str, float]:
    """Medians of opening, inserting one record durably, and an equality query with one hit."""

    def opened(_: int) -> None:
        with connect() as database:
            database.table(TABLE).get(doc_id=records // 2)

    def query(number: int) -> None:
        wanted = number * 7919 % records
        keyvalues = where("keyvalues")
        condition = (keyvalues["sample"] == f"sample-{wanted}") & (keyvalues["build"] == "GRCh38")
        (hit,) = table.search(condition)
        assert hit["id"] == f"record-{wanted}"

    figures = {"open": median_ms(opened, min(rounds, 20))}
    with connect() as database:
        table = database.table(TABLE)
        figures["query"] = median_ms(query, rounds)
        figures["insert"] = median_ms(lambda number: table.insert(record(records + number)), rounds)
    return figures


def fsync_ms(folder: Path) -> float:
    """Median time of one fsync of a small append on this disk now: no durable insert is faster."""
    with (folder / "probe").open("wb", buffering=0) as file:

        def append(_: int) -> None:
            file.write(b"x" * 32_768)
            os.fsync(file.fileno())

        return median_ms(append, 100)


def main(records: int = 100_000) -> None:
    """Fill both with the same records, measure, and print medians and ratios."""
    with tempfile.TemporaryDirectory() as folder:
        stock_path, index_path = Path(folder) / "stock.json", Path(folder) / "index.sqlite"
        documents = [record(number) for number in range(records)]
        stock_path.write_text(
            json.dumps({TABLE: {str(i): document for i, document in enumerate(documents, 1)}})
        )
        start = time.perf_counter()
        with Index(index_path) as index:
            index.table(TABLE).insert_multiple(documents)
        os.sync()  # the filling must not be written out while the measuring runs
        print(f"{records:,} records; bulk insert into the index {time.perf_counter() - start:.1f} s")

        ours = measure(lambda: Index(index_path), records, rounds=300)
        disk = fsync_ms(Path(folder))
        stock = measure(lambda: TinyDB(stock_path), records, rounds=5)
    print(f"{'median, ms':<12}{'index':>10}{'TinyDB':>12}{'ratio':>12}{'limit':>8}")
    for name, limit in LIMITS.items():
        ratio = stock[name] / ours[name]
        print(f"{name:<12}{ours[name]:>10.2f}{stock[name]:>12.1f}{ratio:>11.0f}x{limit:>8.0f}")
    print(f"(one fsync on this disk at that time: {disk:.2f} ms)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
