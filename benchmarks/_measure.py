"""Timing whole processes side by side: rounds alternate, the ratio is that of the medians."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["STARGAZER", "Run", "alternate", "middle_of", "report", "run"]

STARGAZER = str(Path(sys.executable).with_name("stargazer"))


class Run:
    """Wall and processor seconds of one command, and the largest resident set of one of its processes in bytes."""

    def __init__(self, seconds: float, peak: int, processor: float = 0.0):
        self.seconds, self.peak, self.processor = seconds, peak, processor


def run(command: Sequence[str], **options: object) -> Run:
    """Run a command to its end; a failure shows what it said and ends the benchmark."""
    os.sync()
    began, used = time.perf_counter(), _processor()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, **options)  # type: ignore[call-overload]  # fmt: skip
    watched: list[int] = [0]
    seen: dict[int, float] = {}
    watcher = threading.Thread(target=_watch, args=(process, watched, seen))
    watcher.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - began
    watcher.join()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with exit status {process.returncode}:\n{said}")
    # a child that ends with its parent is waited for by nobody, and short ones are not seen
    return Run(seconds, watched[0], max(_processor() - used, sum(seen.values())))


def alternate(sides: dict[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Run every side once a round, in turn."""
    results: dict[str, list[Run]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            results[name].append(side())
    return results


def report(results: dict[str, list[Run]], yardstick: str) -> None:
    """Print the median of each side and its ratio to the yardstick's, of wall and processor time."""
    base = middle_of(results[yardstick])
    for name, runs in results.items():
        seconds, middle = sorted(result.seconds for result in runs), middle_of(runs)
        peak = max(result.peak for result in runs) / 1e6
        processor = f"{middle.processor:6.2f} s of processors {_times(middle.processor, base.processor)}"
        print(f"{name:28} {middle.seconds:7.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f})  "
              f"{_times(middle.seconds, base.seconds)}  {processor}  largest process {peak:5.0f} MB")  # fmt: skip


def _times(figure: float, base: float) -> str:
    return f"{figure / base:5.2f}x" if base else ""


def middle_of(runs: Sequence[Run]) -> Run:
    """The median of each figure."""
    return Run(
        statistics.median(run.seconds for run in runs),
        int(statistics.median(run.peak for run in runs)),
        statistics.median(run.processor for run in runs),
    )


def _processor() -> float:
    """Seconds of processor time of all children that ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(process: subprocess.Popen[str], watched: list[int], seen: dict[int, float]) -> None:
    """Sample the high-water mark and the seconds of every process of the command's tree (Linux; 0 elsewhere)."""
    while process.poll() is None:
        for pid in _tree(process.pid):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            except OSError:
                continue
            seen[pid] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    watched[0] = max(watched[0], int(line.split()[1]) * 1024)
        time.sleep(0.1)  # watching takes a processor too; the mark itself never falls


def _tree(root: int) -> list[int]:
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                todo += [int(child) for child in (thread / "children").read_text().split()]
        except OSError:
            continue
    return found
