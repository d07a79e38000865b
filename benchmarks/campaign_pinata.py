"""Kill -9 while an account is written and read: python benchmarks/campaign_pinata.py [POINTS [SEED]].

So many points for each operation, once of the client and once of the service. Prints a table; exit status 1 if
anything that was acknowledged is not on Pinata after `push` (or here after `pull`), is there twice, is wrong, or leaves
a temporary file after fsck.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "packages" / "stargazer-storage" / "tests"
sys.path.insert(0, str(TESTS))

from kill_campaign import table  # noqa: E402
from pinata_kills import OPERATIONS, campaign  # noqa: E402


def main(points: int = 16, seed: int = 40) -> int:
    """So many points for each operation and side."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [
            campaign(Path(folder), points, seed, operation, service=service)
            for service in (False, True)
            for operation in OPERATIONS
        ]
    print(table(outcomes))
    print(f"seed {seed}, {time.monotonic() - began:.0f} s")
    bad = [text for o in outcomes for text in (*o.lost, *o.wrong, *o.left, *o.unsound)]
    print("\n".join(bad[:20]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
