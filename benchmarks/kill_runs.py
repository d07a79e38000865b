"""Kill -9 of a run's worker at seeded moments, and resume it each time: python benchmarks/kill_runs.py [--kills N].

The run is `germline_short_variant_discovery` on a small simulated sample. Prints a table; exit status 1 if a resumed
run has other results than an undisturbed one, computes again what was kept, leaves a process, a lock or a file, or if
the store is not sound after any of the kills.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "packages" / "stargazer-mcp" / "tests"
sys.path.insert(0, str(TESTS))

from homes import GERMLINE, answer, register, stargazer  # noqa: E402
from run_kills import campaign, figures, undisturbed_run  # noqa: E402


def main(kills: int, seed: int, caller: str) -> int:
    """So many kills of runs with this caller."""
    began = time.monotonic()
    words = [*(word for word in GERMLINE if not word.startswith("caller=")), f"caller={caller}", "samples=S"]
    with tempfile.TemporaryDirectory() as made:
        prepared, home = Path(made, "prepared", "home"), Path(made, "home")
        prepared.parent.mkdir()
        register(prepared.parent)
        if caller == "gatk":
            from _gatk import lend

            lend(prepared)
        os.environ.update(STARGAZER_HOME=str(home), STARGAZER_LOCAL=str(home / "local"), STARGAZER_CORES="2")

        def renew() -> None:
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(prepared, home, symlinks=True)

        renew()
        undisturbed = undisturbed_run(home, answer(stargazer(*words))["run"])
        found = campaign(renew, words, undisturbed, kills, seed)
    print(figures(found, undisturbed))
    print(f"caller={caller}, seed {seed}, {time.monotonic() - began:.0f} s")
    print("\n".join(found.bad))
    return 1 if found.bad else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--caller", choices=("bcftools", "gatk"), default="bcftools")
    options = parser.parse_args()
    sys.exit(main(options.kills, options.seed, options.caller))
