"""What a run costs beside its tasks: a detached run against a plain await, how soon commands answer, a thousand runs.

    python benchmarks/runs.py [--rounds 7]

A workflow of small tasks is run in new stores: `stargazer run`, which starts a worker and watches it, against a script
that awaits the same; both from the first import to the last result. How soon `stargazer --help`, `query`,
`run --detach` and the completion of a word answer is compared with `python -c pass`. `stargazer runs` lists 1,000 runs.
Sides take turns; medians count. Exit status 1 above a limit.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _measure import STARGAZER, Run, alternate, middle_of, report, run

LONGER = 1.0  # seconds that a detached run may take more than a plain await
TIMES = {"--help": 6.0, "query": 12.0, "run --detach": 8.0, "completion": 10.0}  # of `python -c pass`
LISTED, MOST = 1_000, 1.0  # runs, seconds

AWAITED = """
import asyncio
from stargazer.workflows import prepare_reference
asyncio.run(prepare_reference("small", aligner="none"))
"""
WORKFLOW = ("prepare_reference", "build=small", "aligner=none")


class Home:
    """A home and store of their own, with a reference."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "STARGAZER_MODE": "local",
            "STARGAZER_HOME": str(folder / "home"),
            "STARGAZER_LOCAL": str(folder / "home" / "local"),
        }
        (reference := folder / "small.fa").write_text(">c\n" + "ACGT" * 1000 + "\n")
        self.command("add", str(reference), "build=small")
        shutil.copytree(folder / "home", folder / "new")

    def command(self, *words: str) -> Run:
        """A `stargazer` command."""
        return run([STARGAZER, *words], env=self.environment)

    def renewed(self, command: list[str]) -> Callable[[], Run]:
        """Run a command in a store that nothing was computed in yet."""

        def side() -> Run:
            shutil.rmtree(self.folder / "home")
            shutil.copytree(self.folder / "new", self.folder / "home")
            return run(command, env=self.environment)

        return side

    def detached(self) -> Run:
        """Start a run and do not wait; the next side waits for its end."""
        self.settle()
        return self.command("run", *WORKFLOW, "--detach")

    def settle(self) -> None:
        """Wait until no run goes on."""
        while any(json.loads(path.read_bytes())["state"] == "running" for path in self.records()):
            time.sleep(0.1)

    def records(self) -> list[Path]:
        """The records of all runs."""
        return list((self.folder / "home" / "runs").glob("*/run.json"))

    def multiply(self, runs: int) -> None:
        """Copy a run until there are so many."""
        (first, *_) = [path.parent for path in self.records()]
        for number in range(runs - len(self.records())):
            shutil.copytree(first, first.with_name(f"20200101T000000-{number:06d}-abcdef"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    failures = []
    with tempfile.TemporaryDirectory() as name:
        home = Home(Path(name))
        sides = {
            "awaited": home.renewed([sys.executable, "-c", AWAITED]),
            "stargazer run": home.renewed([STARGAZER, "run", *WORKFLOW]),
        }
        results = alternate(sides, rounds)
        report(results, "awaited")
        longer = middle_of(results["stargazer run"]).seconds - middle_of(results["awaited"]).seconds
        print(f"a run takes {longer:.2f} s more than awaiting it")
        if longer > LONGER:
            failures.append(f"a run takes {longer:.2f} s more than awaiting it, at most {LONGER} s expected")

        commands: dict[str, Callable[[], Run]] = {
            "python -c pass": lambda: run([sys.executable, "-c", "pass"]),
            "--help": lambda: home.command("--help"),
            "query": lambda: home.command("query"),
            "run --detach": home.detached,
            "completion": lambda: home.command("completion", "--offer", "--", "query", "build="),
        }
        for side in commands.values():  # modules are compiled, and the workflow is known
            side()
        results = {"python -c pass": [], **{name: [] for name in TIMES}}
        for _ in range(rounds):
            for name, side in commands.items():
                home.settle()
                results[name].append(side())
        report(results, "python -c pass")
        least = middle_of(results["python -c pass"]).seconds
        for name, most in TIMES.items():
            if (times := middle_of(results[name]).seconds / least) > most:
                failures.append(f"{name} takes {times:.1f}x of python -c pass, at most {most:g}x expected")

        home.settle()
        home.multiply(LISTED)
        listed = alternate({f"runs, {LISTED:,} of them": lambda: home.command("runs")}, rounds)
        report(listed, next(iter(listed)))
        if (seconds := middle_of(next(iter(listed.values()))).seconds) > MOST:
            failures.append(f"{LISTED:,} runs are listed in {seconds:.2f} s, at most {MOST} s expected")
    print("; ".join(failures) or "every limit is met")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
