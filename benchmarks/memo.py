"""A memo hit, and writing down an execution: milliseconds, and fsyncs as strace counts: python benchmarks/memo.py."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stargazer.assets import Asset
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Entry, Execution, ToolUse
from stargazer.storage import Addition, Store, get_client
from stargazer.tasks import flagstat
from stargazer.tasks.execution import asking_why

ROUNDS = 200
HIT, RECORD, SYNCS = 5.0, 8.0, 10  # limits: milliseconds, and fsyncs of one execution


def stored(store: Store, name: str) -> Asset:
    path = store.objects.work / name
    path.write_text(name)
    return Asset.from_record(store.add([Addition(path, QcReport(kind="raw", sample=name))])[0])


def execution(number: int, inputs: list[Asset]) -> Execution:
    """One with two inputs, as large as those of the germline workflow."""
    entries = [
        Entry(role=f"in{at}", cid=asset.cid or "", keyvalues=asset.keyvalues)
        for at, asset in enumerate(inputs)
    ]
    return Execution(
        task="bench.made",
        run_key=f"{number:064}",
        code_digest="d" * 64,
        code={f"part{at}": "c" * 8 for at in range(20)},
        inputs=entries,
        tools=[ToolUse(name="samtools", version="1.24", source="wheel pysam==0.24.1")],
        commands=[["samtools", "view", "-b", "-o", "out.bam", f"in/{number}.bam"]] * 3,
        finished="2026-11-29T12:00:00Z",
    )


def recorded(store: Store, rounds: int) -> list[float]:
    """Milliseconds to write down executions whose two results are stored already: what is left without the data."""
    inputs = [stored(store, f"in{number}") for number in range(2)]
    times = []
    for number in range(rounds):
        results = [("one", stored(store, f"one{number}")), ("two", stored(store, f"two{number}"))]
        began = time.perf_counter()
        store.commit(execution(number, inputs), results)
        times.append((time.perf_counter() - began) * 1000)
    return times


def hits(store: Store, rounds: int) -> list[float]:
    """Milliseconds of calls of a task of ours that the memo answers, the index warm."""
    from stargazer.assets import Alignment

    path = store.objects.work / "s.bam"
    path.write_bytes(samtools_bam())
    alignment = Asset.from_record(store.add([Addition(path, Alignment(sample="s"))])[0])
    times = []

    async def run() -> None:
        await flagstat(alignment)
        with asking_why() as misses:
            for _ in range(rounds):
                began = time.perf_counter()
                await flagstat(alignment)
                times.append((time.perf_counter() - began) * 1000)
            assert not misses

    asyncio.run(run())
    return times


def samtools_bam() -> bytes:
    from stargazer.tasks import samtools

    found = samtools.resolve({})
    sam = b"@SQ\tSN:c\tLN:1000\nr\t0\tc\t1\t60\t4M\t*\t0\t0\tACGT\tIIII\n"
    return subprocess.run([*found.argv, "view", "-b", "-"], input=sam, capture_output=True, check=True,
                          env=dict(found.environment)).stdout  # fmt: skip


def syncs() -> int | None:
    """fsyncs of one execution with two new results, beside those of everything around it; None without strace."""
    if shutil.which("strace") is None:
        return None
    counts = []
    for number in (1, 2):
        with tempfile.TemporaryDirectory(prefix="stargazer-memo-") as folder:
            log = Path(folder, "log")
            traced = ["strace", "-f", "-e", "trace=fsync,fdatasync,sync_file_range", "-o", str(log)]
            command = [*traced, sys.executable, __file__, "--executions", str(number)]
            env = {**os.environ, **home(folder)}
            subprocess.run(command, check=True, capture_output=True, env=env)
            counts.append(sum("sync" in line for line in log.read_text().splitlines()))
    return counts[1] - counts[0]


def executions(number: int) -> None:
    """So many executions with two new results."""
    store = get_client().store
    raw = stored(store, "raw")
    for each in range(number):
        results = []
        for name in ("one", "two"):
            path = store.objects.work / f"{name}{each}"
            path.write_text(path.name)
            results.append((name, QcReport(path=path, kind=name)))
        store.commit(execution(each, [raw]), results)


def home(folder: str) -> dict[str, str]:
    return {"STARGAZER_HOME": folder, "STARGAZER_LOCAL": f"{folder}/local", "STARGAZER_MODE": "local"}


def told(what: str, times: list[float], limit: float) -> bool:
    middle = statistics.median(times)
    ninety = statistics.quantiles(times, n=10)[-1]
    print(f"{what:40} {middle:6.2f} ms (90 %: {ninety:.2f} ms; limit {limit:g} ms)")
    return middle <= limit


def main() -> int:
    if sys.argv[1:2] == ["--executions"]:
        executions(int(sys.argv[2]))
        return 0
    with tempfile.TemporaryDirectory(prefix="stargazer-memo-") as folder:
        os.environ.update(home(folder))
        store = get_client().store
        good = [told("memo hit", hits(store, ROUNDS), HIT),
                told("provenance of an execution, written down", recorded(store, ROUNDS), RECORD)]  # fmt: skip
    count = syncs()
    print(f"{'fsyncs of one execution with two files':40} {'strace is not on PATH' if count is None else count} "
          f"(limit {SYNCS})")  # fmt: skip
    return int(not all(good) or (count or 0) > SYNCS)


if __name__ == "__main__":
    sys.exit(main())
