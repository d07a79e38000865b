"""Kill -9 and a full disk at seeded points of everything that writes a store: python benchmarks/campaign.py [POINTS].

Prints a table; exit status 1 if anything that was acknowledged is lost, a wrong byte is visible, a temporary file is
left after fsck, or fsck finds something that it cannot repair.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "packages" / "stargazer-storage" / "tests"
sys.path.insert(0, str(TESTS))

from kill_campaign import DiskFull, campaign, disk_full, namespace, remote_campaign, table  # noqa: E402
from pinata_emulator import PinataProcess  # noqa: E402


def main(points: int = 20, seed: int = 20) -> int:
    """So many points for each operation."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = campaign(Path(folder) / "killed", points, seed)
        with PinataProcess(Path(folder) / "account") as pinata:
            urls = {name: getattr(pinata, name) for name in ("jwt", "api", "uploads", "gateway")}
            outcomes += remote_campaign(Path(folder) / "remote", points, seed, urls)
        if namespace():
            (Path(folder) / "small").mkdir()
            outcomes += disk_full(Path(folder) / "small", DiskFull())
        else:
            print("NOT RUN: disk full (neither root nor user namespaces here)")
    print(table(outcomes))
    print(f"seed {seed}, {time.monotonic() - began:.0f} s")
    bad = [text for o in outcomes for text in (*o.lost, *o.wrong, *o.left, *o.unsound)]
    print("\n".join(bad[:20]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
