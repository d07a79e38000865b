"""stale() and a search beside supersessions, over 100,000 executions: python benchmarks/stale.py [EXECUTIONS].

The index alone is filled, as the documents of these executions would: nothing else is read.
"""

from __future__ import annotations

import base64
import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stargazer.assets.provenance import Entry, Execution, Supersession, ToolUse
from stargazer.storage import Store, open_store
from stargazer.storage.ledger import memo
from stargazer.storage.ledger.claims import edges_of
from stargazer.storage.lineage import stale

LIMIT = 1.0  # seconds
SEARCH_LIMIT = 0.005
STEPS = ("align", "mark_duplicates", "call", "summarise")
ROUNDS = 5


def cid(text: str) -> str:
    """The CID of a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return "b" + base64.b32encode(b"\x01\x55\x12\x20" + digest).decode().lower().rstrip("=")


def cohort(count: int) -> Iterator[tuple[str, Execution]]:
    """Samples of one reference, four tasks each, every task reading the reference as well."""
    for number in range(count):
        sample, step = divmod(number, len(STEPS))
        before = f"{sample} {STEPS[step - 1]}" if step else f"reads {sample}"
        inputs = [Entry(cid=cid(text), keyvalues={}) for text in ("reference", before)]
        outputs = [Entry(cid=cid(f"{sample} {STEPS[step]}"), keyvalues={})]
        yield (
            cid(f"document {number}"),
            Execution(
                task=f"lab.tasks.{STEPS[step]}",
                inputs=inputs,
                outputs=outputs,
                tools=[ToolUse(name=STEPS[step], version=f"1.{sample % 2}")],
                finished=f"{number:09}",
            ),
        )


def chain(count: int) -> Iterator[tuple[str, Execution]]:
    """Executions each of which reads what the one before made."""
    for number in range(count):
        before, after = cid(f"link {number}") if number else cid("reference"), cid(f"link {number + 1}")
        yield (
            cid(f"document {number}"),
            Execution(
                task="lab.tasks.link",
                inputs=[Entry(cid=before, keyvalues={})],
                outputs=[Entry(cid=after, keyvalues={})],
                finished=f"{number:09}",
            ),
        )


def fill(store: Store, executions: Iterator[tuple[str, Execution]]) -> None:
    """Put executions into an index."""
    with store.index.transaction() as connection:
        for document, execution in executions:
            connection.executemany(
                "INSERT INTO edges(cid, role, provenance_cid) VALUES(?, ?, ?)",
                [(*edge, document) for edge in edges_of(execution)],
            )
            memo.note(connection, document, execution)


def median(action: Callable[[], object]) -> float:
    """Median of the processor time of a few calls, in seconds: nothing waits for a disk, and machines are shared."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return statistics.median(times)


def measure(name: str, executions: Iterator[tuple[str, Execution]], questions: list[str]) -> bool:
    """Print how long each question takes."""
    good = True
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store")
        fill(store, executions)
        for what in questions:
            found = stale(store, what)
            seconds = median(lambda what=what: stale(store, what))
            good &= seconds < LIMIT
            label = {cid("reference"): "the reference", cid("0 align"): "an alignment"}.get(what, what)
            print(f"{name}: stale {label:22} {len(found.runs):7,} executions, {seconds * 1000:7.1f} ms")
    return good


def search(supersessions: int) -> bool:
    """Print what a search for one record costs beside so many supersessions."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store")
        store.index.table("records").insert_multiple(
            {"id": str(n), "cid": cid(str(n)), "name": "", "size": 0, "created_at": "",
             "keyvalues": {"asset": "reference", "build": str(n)}} for n in range(10_000)
        )  # fmt: skip
        seconds = []
        for number in (0, supersessions):
            with store.index.transaction() as connection:
                for n in range(number):
                    document = Supersession(record=str(n), cid=cid(str(n)), successor=str(n + 1))
                    store.claims.take_effect(connection, cid(f"supersession {n}"), 1, document, own=True)
            seconds.append(median(lambda: store.query({"asset": "reference", "build": "9999"})))
    print(f"search for one of 10,000 records: {seconds[0] * 1000:.2f} ms; beside {supersessions:,} supersessions "
          f"{seconds[1] * 1000:.2f} ms")  # fmt: skip
    return seconds[1] < SEARCH_LIMIT


def main() -> int:
    """Status 1 if anything takes longer than its limit."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    good = [
        measure("cohort", cohort(count), [cid("reference"), cid("0 align"), "align@1.0", "lab.tasks.call"]),
        measure("chain", chain(count), [cid("reference")]),
        search(1_000),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
