"""why and diff of large lineages from a store, records read cold: python benchmarks/lineage.py [EXECUTIONS]."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from stargazer.assets import Asset
from stargazer.assets.catalogue import QcReport
from stargazer.assets.provenance import Entry, Execution, ToolUse
from stargazer.storage import Addition, Store, open_store
from stargazer.storage.lineage import as_json, as_rocrate, diff, render, why
from stargazer.storage.lineage.graph import as_dot

LIMIT = 1.0  # seconds, for why() of 1,000 steps
WIDTH = 10  # files of one layer, each made from two of the layer before


def entry_of(role: str, asset: Asset) -> Entry:
    pairs = asset.keyvalues
    return Entry(
        role=role, cid=asset.cid or "", provenance_cid=pairs.pop("provenance_cid", ""), keyvalues=pairs
    )


def grown(store: Store, executions: int, run: str) -> str:
    """The CID of the last file of a history of layers, of which one import differs from run to run."""
    paths = [store.objects.work / f"{run}-{number}" for number in range(WIDTH)]
    for number, path in enumerate(paths):
        path.write_text(f"reads {number} {run if not number else ''}")
    layer = [
        Asset.from_record(
            store.add([Addition(path=path, asset=QcReport(kind="raw", sample=f"S{number}"))])[0]
        )
        for number, path in enumerate(paths)
    ]
    for number in range(executions):
        path = store.objects.work / "made"
        one, other = layer[number % WIDTH], layer[(number + 1) % WIDTH]
        path.write_text(f"{number} of {one.cid} and {other.cid}")
        report = QcReport(path=path, kind="made", sample=f"step{number}")
        execution = Execution(
            task=f"step{number % 30}", inputs=[entry_of("a", one), entry_of("b", other)],
            tools=[ToolUse(name="samtools", version="1.24")], commands=[["samtools", "view", "-o", "made"]],
        )  # fmt: skip
        store.commit(execution, [("report", report)])
        layer[number % WIDTH] = report
    return layer[(executions - 1) % WIDTH].cid or ""


def main() -> int:
    executions = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(prefix="stargazer-lineage-") as folder:
        root = Path(folder)
        tops = [grown(open_store(root), executions, run) for run in ("one", "other")]
        began = time.perf_counter()
        step = why(open_store(root), tops[0])
        seconds = time.perf_counter() - began
        print(f"why     {executions:,} executions  {seconds:6.3f} s (limit {LIMIT} s)")
        for name, make in (("text", render), ("json", as_json), ("dot", as_dot), ("rocrate", as_rocrate)):
            began = time.perf_counter()
            make(step)
            print(f"{name:7} {time.perf_counter() - began:29.3f} s")
        began = time.perf_counter()
        difference = diff(open_store(root), *tops)
        print(f"diff    {time.perf_counter() - began:29.3f} s, {len(difference.divergences)} divergence")
    return int(executions <= 1000 and seconds > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
