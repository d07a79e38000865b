"""`stargazer add` against copying and hashing by hand: one file of 1 GiB, 1,000 of 200 bytes, 10,000 unchanged ones.

    python benchmarks/ingest.py [--gib 1] [--files 1000] [--again 10000] [--rounds 5] [--folder FOLDER]

Yardsticks: `cp`, `sync`, `openssl sha256` for the large file; `cp` and `sha256sum` for the small ones; `find -ls` for
those that were added before and have not changed, and one of them alone, which is what it takes to start. Of the large
file also Objects.add() alone, without starting Python and without the record. A size of 0 leaves a part out. On a
machine with other work the ratio of the fastest runs says more than that of the medians.

Python runs as it does for whoever installed it: without settings of the environment, so with compiled modules.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from _measure import STARGAZER, Run, alternate, report, run

_ALONE = """
import sys, time
from stargazer.storage.objects import Objects
store, began = Objects(sys.argv[2]), time.perf_counter()
store.add(sys.argv[1])
open(sys.argv[3], "w").write(str(time.perf_counter() - began))
"""


def fastest(results: dict[str, list[Run]], yardstick: str) -> None:
    """Print the ratio of the fastest runs."""
    base = min(result.seconds for result in results[yardstick])
    for name, runs in results.items():
        if name != yardstick:
            best = min(result.seconds for result in runs)
            print(f"{name:28} {best:7.2f} s at best, {best / base:.2f}x of {base:.2f} s")


def write_small(folder: Path, number: int) -> list[str]:
    """The paths of so many files of 200 bytes, each with content of its own."""
    folder.mkdir()
    paths = [folder / f"{count}.txt" for count in range(number)]
    for count, path in enumerate(paths):
        path.write_text(f"chr1\t{count}\t{count + 1}\n".ljust(199, "#") + "\n")
    return list(map(str, paths))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--again", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        large = folder / "large.txt"
        with open(large, "wb") as file:
            file.write(b"chr1\t0\t1\n")
            for _ in range(int(options.gib * 64)):
                file.write(os.urandom(1 << 24))
        small = write_small(folder / "small", options.files)
        known = write_small(folder / "known", options.again)
        copies, home = folder / "copies", folder / "home"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment |= {"STARGAZER_MODE": "local", "STARGAZER_HOME": str(home)}
        environment.pop("STARGAZER_LOCAL", None)

        def fresh() -> None:
            shutil.rmtree(copies, ignore_errors=True)
            shutil.rmtree(home, ignore_errors=True)
            copies.mkdir()

        def by_hand() -> Run:
            fresh()
            return run(
                ["sh", "-c", 'cp "$1" "$2" && sync && openssl sha256 "$2"/*', "sh", str(large), str(copies)]
            )

        def by_hand_small() -> Run:
            fresh()
            return run(
                ["sh", "-c", 'cp "$1"/* "$2" && sha256sum "$2"/*', "sh", str(folder / "small"), str(copies)]
            )

        def add_again(files: list[str]) -> Run:
            return run(
                [STARGAZER, "add", *files, "asset=qc_report", "kind=benchmark"],
                env=environment,
            )

        def add(files: list[str]) -> Run:
            fresh()
            return add_again(files)

        def add_alone() -> Run:
            fresh()
            took = folder / "took"
            result = run([sys.executable, "-c", _ALONE, str(large), str(home), str(took)])
            return Run(float(took.read_text()), result.peak)

        if options.gib:
            print(f"one file of {options.gib} GiB")
            sides = {
                "cp, sync, openssl sha256": by_hand,
                "Objects.add": add_alone,
                "stargazer add": lambda: add([str(large)]),
            }
            results = alternate(sides, options.rounds)
            report(results, "cp, sync, openssl sha256")
            fastest(results, "cp, sync, openssl sha256")
        if options.files:
            print(f"{options.files} files of 200 bytes")
            sides = {"cp, sha256sum": by_hand_small, "stargazer add": lambda: add(small)}
            report(alternate(sides, options.rounds), "cp, sha256sum")
        if options.again:
            print(f"{options.again} files of 200 bytes that were added before and have not changed")
            time.sleep(2.5)  # a file that changed just now is read again
            add(known)
            sides = {
                "find -ls": lambda: run(["find", str(folder / "known"), "-ls"]),
                "stargazer add, again": lambda: add_again(known),
                "stargazer add, one of them": lambda: add_again(known[:1]),
            }
            results = alternate(sides, options.rounds)
            report(results, "find -ls")
            fastest(results, "find -ls")
            _, whole, start = (statistics.median(run.seconds for run in runs) for runs in results.values())
            print(f"{(whole - start) / options.again * 1000:.3f} ms for each file, {start:.2f} s to start")


if __name__ == "__main__":
    main()
